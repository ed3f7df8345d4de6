"""The subset that is refreshed during training (`recipe.subset`), by loss and by change of loss, against all text.

On the noisy pool and on the same pool cleaned. Runs of a seed share pool, first weights and order, so differences are
paired. Two comparisons, scoring included: at equal tokens, and at equal FLOPs, which is what counts, as a run without a
subset trains on more tokens for what scoring costs. `worth` is the FLOPs that such a run takes to the same loss, over
those that the subset took: below 1 it lost. Must reach: an interval narrow enough to have shown the .063 nats that a
clean selection gains (notes on selections). That nothing is gained is a result, and no miss.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from foretrain.core.model.architecture import Architecture
from foretrain.datasets.tokens.prepare import prepare
from foretrain.datasets.tokens.store import TokenStore
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.engine._hardware import resolve
from foretrain.proxies.results import Validation
from foretrain.proxies.runs import ProxyRun, Recipe
from foretrain.proxies.settings import EngineSettings
from foretrain.proxies.subset import Subset
from scipy.stats import t

from .pool import NOISE, SHARES, SIZE_BYTES, Pool, make_pool

__all__ = ["main"]

VISIBLE = 0.063  # nats per byte: the gain of a clean selection, which an interval must be able to show
MEASURES = ("loss", "change")
LEVEL = 0.9  # of the intervals
_LONGER = 2.2  # times as many tokens without a subset: what scoring by change costs is 2.07 at keep .5, warm-up .2
_BATCH = 8  # sequences
_POINTS = 9  # of the curve without a subset


@dataclass(frozen=True)
class _Run:
    """A run's validations: FLOPs with scoring, losses in nats per byte, natural mean and mean of topics."""

    tokens: np.ndarray
    flops: np.ndarray
    natural: np.ndarray
    topics: np.ndarray
    seconds: dict[str, float]
    noise: np.ndarray | None
    """Share of what was drawn from the subsets that is noise, by kind; None without one."""

    def at(self, flops: float, losses: np.ndarray) -> float:
        """The loss after so many FLOPs, straight between validations in log FLOPs."""
        return float(np.interp(np.log(flops), np.log(self.flops), losses))

    def flops_to(self, loss: float) -> float:
        """FLOPs until the natural mean is this low; those of an end of the curve beyond it."""
        lowest = np.minimum.accumulate(self.natural)
        return float(np.exp(np.interp(-loss, -lowest, np.log(self.flops))))


def main(options: list[str]) -> list[str]:
    """Print the table; return what was missed."""
    parser = argparse.ArgumentParser(prog="selection.py subset")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=float, default=0.6e6, help="trained on with a subset")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--keep", type=float, default=0.5)
    parser.add_argument("--bytes", type=float, default=SIZE_BYTES, help="of the pool; with few, text is repeated")
    parser.add_argument("--pools", nargs="+", choices=["noisy", "cleaned"], default=["noisy", "cleaned"])
    words = parser.parse_args(options)
    shape = _shape(words.width)
    print(
        f"{shape.params_total / 1e3:.0f}k parameters, {words.tokens / 1e6:.2g}M tokens of pools of "
        f"{words.bytes / 1e6:.2g} MB with their noise, keep {words.keep:g}, warm-up,"
        f" refresh .2; {words.seeds} paired seeds; nats per byte, {LEVEL:.0%} intervals of the differences to all text"
    )
    missed = []
    for name in words.pools:
        started = time.process_time()
        seeds = range(words.seeds)
        runs = [_trained(seed, name == "cleaned", int(words.bytes), shape, words.tokens, words.keep) for seed in seeds]
        widest = _show(name, runs)
        print(f"  {time.process_time() - started:.0f} CPU seconds")
        if widest > VISIBLE:
            missed.append(f"{name} pool: an interval of ± {widest:.3f} nats, expected ± {VISIBLE} at most")
    return missed


def _shape(width: int) -> Architecture:
    return Architecture(
        layers=4, width=width, heads=width // 8, ffn_width=3 * width,
        vocab_size=257, context_length=128, short_conv=4,
    )  # fmt: skip


def _trained(
    seed: int, cleaned: bool, size_bytes: int, shape: Architecture, tokens: float, keep: float
) -> dict[str, _Run]:
    """The runs of a seed on its own pool, by measure; `all` is the one without a subset."""
    with tempfile.TemporaryDirectory(prefix="subset-") as folder:
        pool = make_pool(Path(folder), seed, size_bytes, cleaned)
        store = prepare(pool.corpus, Path(folder, "tokens"))
        shape = shape.model_copy(update={"vocab_size": store.vocab_size})
        batch_tokens = _BATCH * shape.context_length
        tokens = math.ceil(tokens / batch_tokens) * batch_tokens  # whole steps, to compare after equally many
        found = {}
        for measure in ("all", *MEASURES):
            subset = None if measure == "all" else Subset(warmup=0.2, keep=keep, refresh=0.2, measure=measure)
            length = tokens * _LONGER if subset is None else tokens
            run = ProxyRun(
                run_id=measure,
                shape=shape,
                recipe=Recipe(lr=0.01, subset=subset),
                tokens=length,
                batch_sequences=_BATCH,
                evaluate_at=() if subset else (*np.geomspace(tokens / 3, length, _POINTS).tolist(), tokens),
                mix={"pool": 1.0},
                seed=seed,
            )
            found[measure] = _measured(run, store, _noise_of_windows(pool, store, shape.context_length))
    return found


def _measured(run: ProxyRun, store: TokenStore, noise_of: dict[bytes, np.ndarray]) -> _Run:
    """Train a run and note what it draws; `noise_of` says how much of each window is noise, by kind."""
    settings = EngineSettings(device="cpu", precision="fp32", eval_tokens=32_000)
    group = TrainingGroup([run], store, settings, resolve(settings, [run]))
    starts = {} if run.recipe.subset is None else dict(run.recipe.subset.spans(run.steps))
    drawn: list[np.ndarray] = []
    while not group.finished:
        begin, stop = group.step, starts.get(group.step)
        group.advance()
        if stop is not None and group.subsets is not None:
            (rows,) = group.subsets.rows(begin * run.batch_sequences, stop * run.batch_sequences)
            drawn += [noise_of[window.tobytes()] for window in rows]
    assert group.diverged_steps() == [None], f"seed {run.seed}, {run.run_id}: diverged"
    forward = run.shape.forward_flops_per_token()
    (points,) = group.evaluations
    return _Run(
        tokens=np.array([point.tokens for point in points]),
        flops=np.array([forward * (3 * point.tokens + point.scored_tokens) for point in points]),
        natural=np.array([point.losses["pool"].mean_nats for point in points]),
        topics=np.array([_topics(point) for point in points]),
        seconds=dict(group.stopwatch.seconds()),
        noise=np.mean(drawn, axis=0) if drawn else None,
    )


def _noise_of_windows(pool: Pool, store: TokenStore, context_length: int) -> dict[bytes, np.ndarray]:
    """Share of each training window's tokens that is noise, by kind, under the window's bytes."""
    labels, seen = [], set()
    for text, noise in zip(pool.texts, pool.noise, strict=True):
        if (plain := " ".join(text.split())) not in seen:  # as `prepare` leaves out repeats
            labels.append(np.full(len(text.encode()) + 1, noise))  # and the end of the document
            seen.add(plain)
    label = np.concatenate(labels)
    assert len(label) == store.count("pool", "train"), "the documents don't make the tokens"
    is_of_kind = np.stack([label == kind for kind in NOISE], 1)
    windows = store.windows("pool", "train", context_length)
    shares = {}
    for number, window in enumerate(windows.gather(np.arange(len(windows)))):
        start = number * context_length
        shares[window.tobytes()] = is_of_kind[start : start + context_length].mean(0)
    return shares


def _topics(point: Validation) -> float:
    return float(np.mean([point.losses[topic].mean_nats for topic in SHARES]))


def _show(name: str, runs: list[dict[str, _Run]]) -> float:
    """Print what was found on a pool; return half the width of the widest interval at equal tokens."""
    print(f"{name} pool: all text {_curve([seed['all'] for seed in runs])}")
    titles = ("natural", "- all", "topics", "- all", "FLOPs", "- all, equal FLOPs", "worth", "scoring s, of all")
    noise_title = f"noise drawn, % ({', '.join(NOISE)})"
    print("  {:10}{:>9}{:>17}{:>9}{:>17}{:>8}{:>20}{:>7}{:>19}".format("subset by", *titles) + f"{noise_title:>46}")
    widest = 0.0
    for measure in MEASURES:
        pairs = [(seed["all"], seed[measure]) for seed in runs]
        natural = [(of.natural[-1], _same_tokens(plain, of, plain.natural)) for plain, of in pairs]
        topics = [(of.topics[-1], _same_tokens(plain, of, plain.topics)) for plain, of in pairs]
        flops = [of.flops[-1] / _same_tokens(plain, of, plain.flops) for plain, of in pairs]
        equal = [of.natural[-1] - plain.at(of.flops[-1], plain.natural) for plain, of in pairs]
        worth = [plain.flops_to(of.natural[-1]) / of.flops[-1] for plain, of in pairs]
        spent = [of.seconds["scoring"] for _, of in pairs], [sum(of.seconds.values()) for _, of in pairs]
        difference, half = _interval([mine - theirs for mine, theirs in natural])
        other, other_half = _interval([mine - theirs for mine, theirs in topics])
        level, level_half = _interval(equal)
        widest = max(widest, half)
        noise = 100 * np.mean([of.noise for _, of in pairs], axis=0)
        noise_drawn = f"{noise.sum():.0f} ({', '.join(f'{part:.0f}' for part in noise)})"
        print(
            f"  {measure:10}{np.mean([mine for mine, _ in natural]):9.3f}{difference:+9.3f} ±{half:6.3f}"
            f"{np.mean([mine for mine, _ in topics]):9.3f}{other:+9.3f} ±{other_half:6.3f}{np.mean(flops):8.2f}"
            f"{level:+12.3f} ±{level_half:6.3f}{np.mean(worth):7.2f}{np.mean(spent[0]):11.1f} {np.mean(spent[1]):7.1f}"
            f"{noise_drawn:>46}"
        )
    return widest


def _curve(runs: list[_Run]) -> str:
    """Every second point of the mean curve without a subset, in words."""
    tokens, losses = runs[0].tokens, np.mean([run.natural for run in runs], axis=0)
    return ", ".join(f"{losses[at]:.3f} at {tokens[at] / 1e6:.2f}M" for at in range(len(tokens) - 1, -1, -2))


def _same_tokens(plain: _Run, other: _Run, losses: np.ndarray) -> float:
    """The loss without a subset where the other run ended: a validation of its own, at the same step."""
    (at,) = np.flatnonzero(plain.tokens == other.tokens[-1])
    return float(losses[at])


def _interval(differences: list[float]) -> tuple[float, float]:
    """Mean of paired differences, and half of its interval by Student's t; infinite for one seed."""
    count = len(differences)
    if count < 2:
        return float(np.mean(differences)), float("inf")
    spread = np.std(differences, ddof=1) / np.sqrt(count)
    return float(np.mean(differences)), float(t.ppf((1 + LEVEL) / 2, count - 1) * spread)
