"""Chains of 5-grams of bytes: what each regime costs over 5 generations, and which form the rise has over many.

Must reach, in every seed: `replace` rises by .4 nats per byte or more in 5 generations, half real and `accumulate` by
.25 at most, `fresh` stays within .01.

In the long run, the evidence for an unbounded rise of `accumulate` and of `subsample` (log) and for bounded ones
(squares, level) is printed; it decides where it does so in every seed. `--csv FILE` keeps all chains as a run table,
for laws: `params` is the mean of the n-grams that generations 0 have, one size for all rows; `tokens` are bytes.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np

from .chains import CHAINS, Chain, Point, run_chains
from .forms import FORMS, evidence

__all__ = ["LONG_GENERATIONS", "main", "write_chains"]

REPLACE_RISES, OTHERS_RISE, FRESH_STAYS = 0.4, 0.25, 0.01  # nats per byte at the last of 5 generations
GENERATIONS, SIZE_BYTES = 5, 200_000
LONG_SIZE_BYTES, LONG_SEEDS, LONG_GENERATIONS = 64_000, 3, 24
TOPIC = "arxiv_cs"
LONG = (Chain("accumulate"), Chain("subsample"))
DECIDED = 10.0  # of a difference of AIC
FIRST = 5  # generations that foretell the last one
FIELDS = (
    "run_id", "seed", "params", "tokens", "loss", "bytes_per_token", "corpus", "generator", "regime", "real_share",
    "synthetic_share", "generation",
)  # fmt: skip


def main(options: list[str]) -> list[str]:
    """Print the tables; return what was missed."""
    parser = argparse.ArgumentParser(prog="collapse.py ngrams")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--long-seeds", type=int, default=LONG_SEEDS)
    parser.add_argument("--long-generations", type=int, default=LONG_GENERATIONS, help="12 or more; 0 for none")
    parser.add_argument("--topic", default=TOPIC, help="of the shared corpora")
    parser.add_argument("--csv", type=Path, help="where the chains go as a run table")
    words = parser.parse_args(options)
    started = time.process_time()
    short = _short(words.seeds, words.topic)
    print(_table(short, words.topic, time.process_time() - started))
    missed = _unmet(short)
    points = short
    if words.long_generations:
        started = time.process_time()
        long = _long(words.long_seeds, words.long_generations, words.topic)
        print(f"\n{_long_run(long, words.long_generations, time.process_time() - started)}")
        points = short + long
    if words.csv is not None:
        _write(words.csv, points, words.topic)
    return missed


def write_chains(path: Path, seeds: int, long_generations: int) -> None:
    """The run table of all chains of the default text, trained unless this process has trained them."""
    _write(path, _short(seeds, TOPIC) + _long(LONG_SEEDS, long_generations, TOPIC), TOPIC)


@cache
def _short(seeds: int, topic: str) -> list[Point]:
    return [point for seed in range(seeds) for point in run_chains(CHAINS, seed, GENERATIONS, SIZE_BYTES, topic)]


@cache
def _long(seeds: int, generations: int, topic: str) -> list[Point]:
    return [point for seed in range(seeds) for point in run_chains(LONG, seed, generations, LONG_SIZE_BYTES, topic)]


def _rises(points: list[Point], chain: Chain) -> np.ndarray:
    """Rises over generation 0 by seed and generation, from 1 on `(seeds, generations)`, in nats per byte."""
    losses: dict[int, list[float]] = {}
    for point in points:
        if point.chain == chain:
            losses.setdefault(point.seed, []).append(point.loss_nats)
    by_seed = np.array(list(losses.values()))
    return by_seed[:, 1:] - by_seed[:, :1]


def _table(points: list[Point], topic: str, cpu_s: float) -> str:
    start = [point.loss_nats for point in points if point.generation == 0 and point.chain == CHAINS[0]]
    return "\n".join(
        [
            f"5-grams on {SIZE_BYTES // 1_000} kB of {topic}, as much new text per generation; mean of {len(start)} "
            f"seeds, {cpu_s:.0f} CPU s",
            f"generation 0: {np.mean(start):.3f} nats per byte on real text; rise over it ± half the range over seeds",
            *_rise_lines(points, CHAINS, list(range(1, GENERATIONS + 1))),
        ]
    )


def _rise_lines(points: list[Point], chains: Iterable[Chain], generations: list[int]) -> list[str]:
    lines = [f"{'generation':20s}" + "".join(f"{n:>15d}" for n in generations)]
    for chain in chains:
        rise = _rises(points, chain)[:, [n - 1 for n in generations]]
        cells = "".join(f"{m:+9.3f} ±{h:.3f}" for m, h in zip(rise.mean(0), np.ptp(rise, axis=0) / 2, strict=True))
        lines.append(f"{chain.name:20s}{cells}")
    return lines


def _unmet(points: list[Point]) -> list[str]:
    """The requirements that don't hold in every seed."""
    bounds = {
        Chain("replace"): (REPLACE_RISES, np.inf),
        Chain("replace", 0.5): (-np.inf, OTHERS_RISE),
        Chain("accumulate"): (-np.inf, OTHERS_RISE),
    }
    missed = []
    for chain, (least, most) in bounds.items():
        for seed, rise in enumerate(_rises(points, chain)[:, -1]):
            if not least <= rise <= most:
                expected = f"{least:g} at least" if np.isfinite(least) else f"{most:g} at most"
                missed.append(f"{chain.name}, seed {seed}: rises by {rise:.3f}, expected {expected}")
    drift = np.abs(_rises(points, Chain("fresh"))).max()
    if not drift <= FRESH_STAYS:
        missed.append(f"fresh: is {drift:.3f} away from generation 0, expected {FRESH_STAYS:g} at most")
    return missed


def _long_run(points: list[Point], generations: int, cpu_s: float) -> str:
    """Rises and, for each regime and form, the evidence: all seeds together, and the difference of AIC in each."""
    seeds = len({point.seed for point in points})
    shown = sorted({1, 2, 4, 8, 12, 16, generations} & set(range(1, generations + 1)))
    lines = [
        f"the long run: {LONG_SIZE_BYTES // 1_000} kB, {generations} generations, {seeds} seeds, {cpu_s:.0f} CPU s",
        *_rise_lines(points, LONG, shown),
        f"{'regime':12s}{'form':9s}{'c':>7s}{'q':>6s}{'phi':>6s}{'rmse':>8s}{'AIC - best':>12s}{'by seed':>24s}"
        f"{f'generation {generations} from the first {FIRST}':>36s}",
    ]
    for chain in LONG:
        lines += _evidence_lines(chain, _rises(points, chain))
    return "\n".join(lines)


def _evidence_lines(chain: Chain, measured: np.ndarray) -> list[str]:
    found = {form: evidence(form, measured, FIRST) for form in FORMS}
    alone = np.array([[evidence(form, rise, FIRST).aic for rise in measured] for form in FORMS])
    behind = alone - alone.min(axis=0)  # (forms, seeds)
    best, second = sorted(found.values(), key=lambda one: one.aic)[:2]
    lines = []
    for one, by_seed in zip(found.values(), behind, strict=True):
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        lines.append(
            f"{chain.name:12s}{one.form:9s}{one.scale:7.3f}{ratio:>6s}{one.phi:6.2f}{one.rmse_nats:8.4f}"
            f"{one.aic - best.aic:12.1f}"
            f"{' '.join(f'{value:.1f}' for value in by_seed):>24s}{f'{100 * (one.foretold - 1):+.0f} %':>36s}"
        )
    lead = second.aic - best.aic
    sure = lead >= DECIDED and not behind[FORMS.index(best.form)].any()
    verdict = f"{'decided' if sure else 'undecided'}: {best.form} before {second.form} by {lead:.1f} of AIC"
    return [*lines, f"{chain.name:12s}{verdict}"]


def _write(path: Path, points: list[Point], topic: str) -> None:
    """All points as a run table, the generation 0 that chains share once."""
    params = round(np.mean([point.ngrams for point in points if point.generation == 0]))
    rows: dict[str, dict[str, object]] = {}
    for point in points:
        row = _row(point, topic)
        rows.setdefault(str(row["run_id"]), {**row, "params": params})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows.values())


def _row(point: Point, topic: str) -> dict[str, object]:
    chain, generation = point.chain, point.generation
    share = chain.synthetic_share(generation)
    corpus = f"{topic}-{point.size_bytes // 1_000}kB"
    what = f"{chain.regime}-{chain.real_share:g}" if generation else "real"
    return {
        "run_id": f"{corpus}-{what}-{point.seed}-{generation}",
        "seed": point.seed,
        "tokens": point.trained_bytes,
        "loss": point.loss_nats,
        "bytes_per_token": 1,
        "corpus": corpus,
        "generator": "ngram" if share else "none",
        "regime": chain.regime if generation else "real",
        "real_share": chain.real_share if generation else 0.0,
        "synthetic_share": share,
        "generation": generation,
    }
