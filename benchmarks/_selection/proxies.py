"""Selections at equal bytes, by small transformers with paired seeds: half of the noisy pool's bytes is kept.

Everything goes through `selections` of a space.yaml: the selections become shards of one token store, and every seed is
trained with each of them. Must reach: the clean documents alone, and dedup + judge + strata, beat a random half by .03
nats in the natural mean, with 90 % intervals of the paired differences that exclude 0.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from foretrain.datasets.selection.reading import Steps
from foretrain.datasets.selection.selection import select
from pydantic import TypeAdapter
from scipy import stats

from .contenders import CONTENDERS, KEEP, write_labels
from .ladder import Ladder, paired, train, write_clean
from .pool import Pool, make_pool

__all__ = ["main"]

WIDTH = 40
BETTER = 0.03  # nats per byte below random
ALL = "dedup + judge + strata"
COMPARED = ("random", "clean only", ALL, "density, tuned", "dedup, minhash")
NEEDED = ("clean only", ALL)


def main(options: list[str]) -> list[str]:
    """Print the table; return what was missed."""
    parser = argparse.ArgumentParser(prog="selection.py proxies")
    parser.add_argument("--seeds", type=int, default=6, help="paired seeds of the runs")
    parser.add_argument("--pool", type=int, default=0, help="seed of the pool, its labels, and what selections draw")
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--tokens", type=float, default=1_100_000)
    parser.add_argument("--schedule", default="constant", help="of the learning rate")
    parser.add_argument("--workers", type=int, default=2)
    words = parser.parse_args(options)
    with tempfile.TemporaryDirectory(prefix="selection-") as folder:
        pool = make_pool(Path(folder), words.pool)
        write_labels(pool, words.pool)
        selections, facts = {}, {}
        for name in COMPARED:
            selections[name], facts[name] = _half(pool, name, words.pool)
        ladder = Ladder([words.width], [words.tokens], words.seeds, words.workers, words.schedule)
        frame, seconds = train(pool, [*selections.items()], ladder)
    print(_table(frame, facts))
    print(f"{len(frame)} runs of {int(frame['params'].iloc[0]):,} parameters, {seconds:.0f} worker seconds of training")
    return _unmet(frame)


def _half(pool: Pool, name: str, seed: int) -> tuple[list[dict[str, Any]], tuple[float, float, float]]:
    """The steps of a contender, with a random sample last where they keep more than half of the bytes.

    With them: the share of bytes that they keep, the share of noise in it, and the seconds of CPU that they take.
    """
    config = CONTENDERS[name]
    if config is None:
        config = [{"judge": {"scores": write_clean(pool), "keep": KEEP}}]
    steps = [{step: {**settings, "seed": seed} for step, settings in one.items()} for one in config]
    started = time.process_time()
    share = select(pool.corpus, "pool", _read(steps)).kept_share if steps else 1.0
    seconds = time.process_time() - started
    if share > KEEP * 1.01:
        steps.append({"sample": {"keep": KEEP / share, "seed": seed}})
    found = select(pool.corpus, "pool", _read(steps))
    return steps, (found.kept_share, pool.noise_left(found.kept), seconds)


def _read(steps: list[dict[str, Any]]) -> Steps:
    return TypeAdapter(Steps).validate_python(steps)


def _interval(differences: np.ndarray) -> tuple[float, float]:
    """Mean and half-width of its 90 % interval, by Student's t over paired seeds."""
    count = len(differences)
    if count < 2:
        return float(differences.mean()), np.inf
    spread = differences.std(ddof=1) / np.sqrt(count)
    return float(differences.mean()), float(stats.t.ppf(0.95, count - 1) * spread)


def _table(frame: pd.DataFrame, facts: dict[str, tuple[float, float, float]]) -> str:
    levels = [frame.loc[frame["selection"] == "random", mean].mean() for mean in ("natural", "even")]
    lines = [
        f"Differences to random (natural mean {levels[0]:.3f}, mean over topics {levels[1]:.3f} nats per byte), with "
        f"90 % intervals of {frame['seed'].nunique()} paired seeds",
        f"{'kept half':24s} {'kept':>6s} {'noise':>6s} {'CPU s':>6s} {'natural mean':>18s} {'mean over topics':>18s}",
    ]
    for name, (kept, noise, seconds) in facts.items():
        cells = f"{name:24s} {kept:6.1%} {noise:6.1%} {seconds:6.1f}"
        for mean in ("natural", "even"):
            middle, half = _interval(paired(frame, mean, name, "random"))
            cells += f"{'–':>19s}" if name == "random" else f"{f'{middle:+.3f} ± {half:.3f}':>19s}"
        lines.append(cells)
    return "\n".join(lines)


def _unmet(frame: pd.DataFrame) -> list[str]:
    missed = []
    for name in NEEDED:
        middle, half = _interval(paired(frame, "natural", name, "random"))
        if not (middle <= -BETTER and middle + half < 0):
            missed.append(f"{name} is {middle:+.3f} ± {half:.3f} of random; expected {-BETTER} or less, without 0")
    return missed
