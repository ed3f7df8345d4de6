"""Chains of small transformers, trained generation after generation on what those before them wrote, as campaigns.

    python benchmarks/collapse.py proxies [--seeds 2] [--generations 3] [--all] [--filtered]
                                          [--out runs.csv] [--work DIR]

59k parameters on bytes of computer-science abstracts: 208 kB of real text, 410k training tokens a generation, as much
new text in each as there was real text, temperature 1. The same seeds for every regime; differences are paired.
`--all` adds the regimes that no requirement is about: accumulate (steps grow), subsample, fresh; `--filtered` marks
every sample and filters corpora by the mark, under which replacing must not rise. With more than 3 generations, all of
them are trained and the requirements stay those of generation 3. What is in `--work` is not trained again; `--out` is
the run table, which `collapse.py law` and `simulate fit` read.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from _proxies import corpora
from foretrain.proxies.executors import get_executor
from foretrain.proxies.generations.comparison import ChainKey, ChainLoss, Difference, differences
from foretrain.proxies.generations.generations import Generations

REAL_TOKENS = 208_000
TOKENS = 410_000
LEAST_NATS = 0.05
"""What replacing must cost over accumulating, and over keeping half of the text real, in generation 3."""

MOST_FILTERED = 0.05
"""What replacing may cost in generation 3 where corpora are filtered: the luck of a run."""

JUDGED = 3
_FILTERED = {"regimes": ["replace"], "watermark": "mark.yaml", "filter": {"watermark": {"keys": "mark.yaml"}}}
REPLACE, HALF, ACCUMULATE = ChainKey("replace", 0.0), ChainKey("replace", 0.5), ChainKey("accumulate_fixed", 0.0)


def main(options: list[str]) -> list[str]:
    """Train the chains, print losses and differences, and return what was missed."""
    parser = argparse.ArgumentParser(prog="collapse.py proxies")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--generations", type=int, default=JUDGED)
    parser.add_argument("--out", help="write the run table here")
    parser.add_argument("--work", help="keep the chains here, and go on from what is there")
    parser.add_argument("--all", action="store_true", help="also accumulate, subsample and fresh")
    parser.add_argument("--filtered", action="store_true", help="also replace with corpora that a watermark filters")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args(options)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(given.work or scratch)
        chains = _trained(folder, given.generations, given.seeds, given.workers, _chains(given.all))
        losses = chains.losses()
        pairs = differences(losses)
        out = given.out or str(folder / "generations.csv")
        chains.write_table(out)
        print("\n".join([*_losses(losses), *_pairs(pairs), f"wrote {out}"]))
        missed = _missed(pairs, chains.chains.shape.params_total, given.seeds)
        if given.filtered:
            filtered = _trained(folder / "filtered", JUDGED, given.seeds, given.workers, _FILTERED).losses()
            print("\n".join(["every sample marked, corpora filtered by the mark", *_losses(filtered)]))
            missed += _still_rising(filtered)
        return missed


def _chains(every: bool) -> dict[str, Any]:
    more = ["accumulate", "subsample", "fresh"] if every else []
    return {"regimes": ["replace", "accumulate_fixed", *more], "real_shares": [0, 0.1, 0.5]}


def _trained(folder: Path, count: int, seeds: int, workers: int, section: dict[str, Any]) -> Generations:
    """Train chains to their end, or go on there, and say what it took."""
    folder.mkdir(parents=True, exist_ok=True)
    space: dict[str, Any] = {
        "corpora": "corpora.yaml",
        "widths": [40],
        "depth": 2,
        "head_width": 20,
        "tokens": [TOKENS],
        "seeds": seeds,
        "lr": 0.01,
        "engine": {"precision": "fp32"},
        "generations": {"count": count, "unique_tokens": REAL_TOKENS, **section},
    }
    (folder / "mark.yaml").write_text(yaml.safe_dump({"key": "of this benchmark alone"}), encoding="utf-8")
    (folder / "corpora.yaml").write_text(yaml.safe_dump(corpora(["arxiv_cs"])), encoding="utf-8")
    (folder / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    started, before = time.monotonic(), _cpu_s()
    chains = Generations.create(folder / "chains", folder / "space.yaml")
    chains.train(get_executor("local", workers), _progress)
    print(file=sys.stderr)
    print(
        f"{chains.chains.shape.params_total:,} parameters, {REAL_TOKENS:,} bytes of real text, {TOKENS:,} tokens a "
        f"generation, {seeds} seeds: {time.monotonic() - started:.0f} s, {_cpu_s() - before:.0f} CPU s"
    )
    return chains


def _losses(losses: Sequence[ChainLoss]) -> list[str]:
    """A line for each chain and generation: the loss, its rise over generation 0, and the rise of each seed."""
    lines = [f"{'chain':18s} {'generation':>10s} {'nats/byte':>9s} {'rise':>7s}  by seed"]
    for chain, number in dict.fromkeys((row.chain, row.generation) for row in losses):
        alike = [row for row in losses if (row.chain, row.generation) == (chain, number)]
        loss, rise = (
            sum(values) / len(alike) for values in zip(*((r.loss_nats, r.rise_nats) for r in alike), strict=True)
        )
        each = " ".join(f"{row.rise_nats:+.3f}" for row in alike)
        lines.append(f"{'real' if chain is None else chain.name:18s} {number:10d} {loss:9.3f} {rise:+7.3f}  {each}")
    return lines


def _pairs(pairs: Sequence[Difference]) -> list[str]:
    """A line for each difference, with its 90 % interval over paired seeds."""
    lines = [f"{'difference':32s} {'generation':>10s}  nats/byte, ± 90 %, by seed"]
    for pair in pairs:
        each = " ".join(f"{value:+.3f}" for value in pair.by_seed.values())
        name = f"{pair.first.name} - {pair.second.name}"
        lines.append(f"{name:32s} {pair.generation:10d}  {pair.mean_nats:+.3f} ± {pair.half_nats:.3f}  {each}")
    return lines


def _missed(pairs: Sequence[Difference], params: int, seeds: int) -> list[str]:
    """What replacing must cost, in words where it doesn't."""
    missed = []
    if params < 50_000 or seeds < 2:
        missed.append(f"{params} parameters, {seeds} seeds; expected 50,000 and 2 at least")
    for other in (HALF, ACCUMULATE):
        found = [pair for pair in pairs if (pair.first, pair.second) == (REPLACE, other) and pair.generation <= JUDGED]
        if len(found) < JUDGED:
            missed.append(f"{REPLACE.name} - {other.name}: only {len(found)} generations are there")
        for pair in found:
            if not all(value > 0 for value in pair.by_seed.values()):
                missed.append(
                    f"{REPLACE.name} - {other.name} at generation {pair.generation}: not above 0 in every pair"
                )
            if pair.generation == JUDGED and pair.mean_nats < LEAST_NATS:
                missed.append(f"{REPLACE.name} - {other.name}: {pair.mean_nats:.3f}; expected {LEAST_NATS} or more")
    return missed


def _still_rising(losses: Sequence[ChainLoss]) -> list[str]:
    """Where chains with filtered corpora rise all the same."""
    last = [row.rise_nats for row in losses if row.generation == JUDGED]
    mean = sum(last) / len(last)
    return [] if mean <= MOST_FILTERED else [f"filtered: rises by {mean:.3f}; expected {MOST_FILTERED} at most"]


def _cpu_s() -> float:
    """CPU seconds of this process and of those that it waited for."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _progress(text: str, share: float) -> None:
    print(f"\r{share:6.1%} {text:<100.100}", end="", file=sys.stderr, flush=True)
