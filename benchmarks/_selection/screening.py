"""Selections at equal bytes, by a 5-gram trained on what each keeps of the noisy pool.

Half of the pool's bytes is kept; validation text is clean. Must reach: dedup + judge + strata within .02 nats of the
clean selection and .04 below random; lowest perplexity alone worse than random; strata after the judge give back what
it takes from the rarest topic, at no cost to the mean over topics. Each seed makes a pool, labels, and all random
choices anew.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .contenders import CONTENDERS, MissingStepError, Screened, screened
from .losses import Loss, ngram_loss
from .pool import NOISE, SHARES, Pool, make_pool

__all__ = ["main"]

NEAR_CLEAN, BELOW_RANDOM = 0.02, 0.04  # nats per byte
BY_CHANCE = 0.005  # nats per byte between seeds
RAREST = min(SHARES, key=lambda topic: SHARES[topic])  # what a judge gives up first
DRAWS = 4  # of half the bytes, where a contender keeps more
ALL = "dedup + judge + strata"


@dataclass
class _Row:
    """What was found of a contender, one entry per seed: losses are means over draws of half the bytes."""

    natural: list[float] = field(default_factory=list)
    even: list[float] = field(default_factory=list)
    rarest: list[float] = field(default_factory=list)
    noise: list[list[float]] = field(default_factory=list)  # shares of the bytes, by kind
    cpu_s: list[float] = field(default_factory=list)

    def add(self, pool: Pool, found: Screened, seed: int) -> None:
        """Train and score on draws from what a contender keeps."""
        sizes = pool.sizes_bytes
        rngs = [np.random.default_rng([seed, draw]) for draw in range(DRAWS)]
        losses: list[Loss] = [ngram_loss(pool, found.half(pool, rng)) for rng in rngs]
        kept_bytes = sizes * found.kept
        self.natural.append(float(np.mean([loss.natural for loss in losses])))
        self.even.append(float(np.mean([loss.even for loss in losses])))
        self.rarest.append(float(np.mean([loss.by_topic[RAREST] for loss in losses])))
        self.noise.append([kept_bytes[pool.noise == kind].sum() / kept_bytes.sum() for kind in NOISE])
        self.cpu_s.append(found.cpu_s)


def main(options: list[str]) -> list[str]:
    """Print the table; return what was missed."""
    parser = argparse.ArgumentParser(prog="selection.py screening")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="contenders whose name holds this, beside random and clean")
    words = parser.parse_args(options)
    rows = {name: _Row() for name in CONTENDERS if words.only in name or name in ("random", "clean only")}
    missing: dict[str, str] = {}
    for seed in range(words.seeds):
        with tempfile.TemporaryDirectory(prefix="selection-") as folder:
            pool = make_pool(Path(folder), seed)
            for name in [name for name in rows if name not in missing]:
                try:
                    rows[name].add(pool, screened(pool, name, seed), seed)
                except MissingStepError as error:
                    missing[name] = str(error)
    for name in missing:
        del rows[name]
    print(_table(rows, words.seeds))
    unmet = [] if words.only else _unmet(rows)
    return [*(f"{name} was left out: {why}" for name, why in missing.items()), *unmet]


def _unmet(rows: dict[str, _Row]) -> list[str]:
    """The requirements that don't hold in the mean over seeds."""
    needed = ("clean only", ALL, "lowest perplexity", "judge", "judge + strata")
    if absent := [name for name in needed if name not in rows]:
        return [f"nothing is known of {', '.join(absent)}"]
    random, clean, everything, lowest = (float(np.mean(rows[name].natural)) for name in ("random", *needed[:3]))
    checks = {
        f"{ALL}: {everything - clean:+.3f} against clean, expected {NEAR_CLEAN} at most": everything - clean
        <= NEAR_CLEAN,
        f"{ALL}: {everything - random:+.3f} against random, expected -{BELOW_RANDOM} at most": everything - random
        <= -BELOW_RANDOM,
        f"lowest perplexity: {lowest - random:+.3f} against random, expected more than 0": lowest > random,
    }
    for title, what, chance in (("topic mean", "even", BY_CHANCE), (RAREST, "rarest", 0)):
        before, after = (float(np.mean(getattr(rows[name], what))) for name in needed[3:])
        claim = f"{title}: {after:.3f} with strata after the judge, expected less than {before + chance:.3f}"
        checks[claim] = after < before + chance
    return [what for what, holds in checks.items() if not holds]


def _table(rows: dict[str, _Row], seeds: int) -> str:
    """A row per contender: what is left of the noise, and both means with the half range over seeds."""
    noise_title = f"noise left, % ({', '.join(NOISE)})"
    lines = [
        f"5-gram trained on half of the pool's bytes, nats per byte on clean validation text; mean of {seeds} seeds ± "
        "half their range",
        f"{'kept half':24s}{noise_title:>48s}{'natural mean':>15s}{'- random':>10s}{'topic mean':>15s}{'- random':>10s}"
        f"{RAREST:>15s}{'- random':>10s}"
        f"{'CPU s':>9s}",
    ]
    for name, row in rows.items():
        parts = 100 * np.mean(row.noise, axis=0)
        noise = f"{parts.sum():.1f} ({', '.join(f'{part:.1f}' for part in parts)})"
        line = f"{name:24s}{noise:>48s}"
        for what in ("natural", "even", "rarest"):
            mine, theirs = getattr(row, what), getattr(rows["random"], what)
            line += f"{np.mean(mine):9.3f} ±{np.ptp(mine) / 2:.3f}{np.mean(mine) - np.mean(theirs):+10.3f}"
        lines.append(f"{line}{np.mean(row.cpu_s):9.1f}")
    return "\n".join(lines)
