"""Data mixes on the RegMix tables: 512 proxies of 1M parameters, 256 unseen mixes at 1M and at 60M.

    python benchmarks/mixtures.py                    every part
    python benchmarks/mixtures.py --part full        fit on all 512 runs, beside published and plain baselines
    python benchmarks/mixtures.py --part fewer       on 256, 128, 64 and 32 of them, drawn at random
    python benchmarks/mixtures.py --part anchors     with a few runs at 60M: the absolute loss of the others there
    python benchmarks/mixtures.py --part anchors --counts 4 8

`ours` is `Predictor.fit` on the run table and `simulate score`'s figures, nothing else. Figures are the mean of the 13
target domains / Pile-CC (`pile_cc`), RegMix's own target. Choices are made on the training rows alone.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from _baselines import MIXES
from _tables import read
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import known_columns
from foretrain.simulator.predictor.evaluation.scoring import score
from foretrain.simulator.predictor.predictor import Predictor
from scipy.stats import spearmanr

FEWER = (256, 128, 64, 32)
FEWER_BESIDE = ("LightGBM as RegMix", "effective tokens", "plain Gaussian process")
PROCESS_MOST = 64  # the plain process takes minutes for every draw of more
ANCHORS = (0, 1, 4, 8, 16)
LEVELS = ("0.5", "0.8", "0.9", "0.95")
MAIN = "pile_cc"
SPEED_MIXES = 20_000
NOTED = {0: "0.669/1.160", 1: "0.129/0.062", 4: "0.078/0.041", 8: "0.067/0.037", 16: "0.060/0.034"}
"""Errors that level and slope per domain reached before, on another 1M surrogate (mean of 13 / Pile-CC, nats)."""

Pair = tuple[float, float]
"""A figure as the mean over the 13 domains, and for Pile-CC."""


@dataclass(frozen=True)
class Runs:
    """One of the three tables: as a frame, and its shares `(n, 17)` and losses `(n, 13)` for the baselines."""

    frame: pd.DataFrame

    @property
    def table(self) -> RunTable:
        """The runs as `simulate fit` and `simulate score` read them."""
        return RunTable.from_frame(self.frame.reset_index(drop=True), where="regmix")

    @property
    def shares(self) -> np.ndarray:
        """Shares of the 17 training domains, rows sum to 1."""
        shares = self.frame[[c for c in self.frame if c.startswith("mix.")]].to_numpy(float)
        return shares / shares.sum(axis=1, keepdims=True)

    @property
    def losses(self) -> pd.DataFrame:
        """Losses in nats, a column for each target domain."""
        return self.frame[[c for c in self.frame if c.startswith("loss.")]].rename(columns=lambda c: c[5:])

    def take(self, rows: np.ndarray) -> Runs:
        """The runs at these places or where this mask holds."""
        return Runs(self.frame.iloc[rows] if rows.dtype != bool else self.frame[rows])


def load(name: str) -> Runs:
    """One of train_1m, test_1m and test_60m."""
    return Runs(read(f"regmix/{name}.csv").drop(columns=["split", "model_label", "mixture_index"]))


def pair(values: pd.Series) -> Pair:
    """The mean over domains, and Pile-CC's value."""
    return float(values.mean()), float(values[MAIN])


def per_target(result: dict[str, Any], of: Callable[[dict[str, Any]], float]) -> pd.Series:
    """A figure of `score` for each target domain."""
    return pd.Series({name.removeprefix("loss."): of(figures) for name, figures in result["targets"].items()})


def ranks(predicted: pd.DataFrame, runs: Runs) -> Pair:
    """Spearman's correlation of predicted and observed losses; 0 where the predictions don't vary."""
    flat = predicted.nunique() == 1
    return pair(pd.Series({d: 0.0 if flat[d] else spearmanr(predicted[d], runs.losses[d])[0] for d in runs.losses}))


def errors(predicted: pd.DataFrame, runs: Runs) -> Pair:
    """Mean squared error, nats²."""
    return pair(((predicted.reset_index(drop=True) - runs.losses.reset_index(drop=True)) ** 2).mean())


def by_domain(baseline, train: Runs, unseen: np.ndarray) -> pd.DataFrame:
    """A baseline's predictions for unseen shares, one model for each target domain."""
    losses = train.losses
    return pd.DataFrame({d: baseline(train.shares, losses[d].to_numpy(), unseen) for d in losses})


def text(value: Pair, digits: int = 4) -> str:
    """`mean/Pile-CC`."""
    return f"{value[0]:.{digits}f}/{value[1]:.{digits}f}"


def ours(train: Runs) -> tuple[Predictor, float]:
    """A predictor fitted on these runs as `simulate fit` does, and the seconds it took."""
    started = time.perf_counter()
    predictor = Predictor.fit(train.table)
    return predictor, time.perf_counter() - started


def spearman_of(figures: dict[str, Any]) -> float:
    """Spearman's correlation; 0 where the predictions don't vary."""
    return figures["spearman"] or 0.0


def covered(result: dict[str, Any], level: str) -> Pair:
    """Share of the runs inside the interval of this level."""
    return pair(per_target(result, lambda f: f["coverage"][level]))


def verdict(what: str, value: float, holds: bool, asked: str) -> None:
    """Print a figure beside what was asked for."""
    print(f"    {what:44s} {value:9.4f}   asked {asked:16s} {'met' if holds else 'MISSED'}")


def at_least(what: str, value: Pair, asked: Sequence[float | None]) -> None:
    """Both parts of a pair against lower bounds."""
    for part, number, bound in zip(("mean of 13", "Pile-CC"), value, asked, strict=True):
        if bound is not None:
            verdict(f"{what}, {part}", number, number >= bound, f"at least {bound:g}")


def at_most(what: str, value: Pair, asked: Sequence[float | None]) -> None:
    """Both parts of a pair against upper bounds."""
    for part, number, bound in zip(("mean of 13", "Pile-CC"), value, asked, strict=True):
        if bound is not None:
            verdict(f"{what}, {part}", number, number <= bound, f"at most {bound:g}")


def full(train: Runs, small: Runs, large: Runs) -> None:
    """All 512 runs: ranks, errors, coverage, times, beside the baselines."""
    print(f"512 runs of 1M{'':14s}{'1M Spearman':>15s} {'1M MSE, nats²':>15s} {'60M Spearman':>15s} {'fit, s':>7s}")
    for name, baseline in MIXES.items():
        started = time.perf_counter()
        predicted = by_domain(baseline, train, small.shares)  # the 60M runs have the same mixes
        seconds = time.perf_counter() - started
        _row(name, (ranks(predicted, small), errors(predicted, small), ranks(predicted, large)), seconds)
    predictor, seconds = ours(train)
    at_small, at_large = score(predictor, small.table), score(predictor, large.table)
    rank, squared = per_target(at_small, spearman_of), per_target(at_small, lambda f: f["rmse_nats"] ** 2)
    rank_60 = pair(per_target(at_large, spearman_of))
    _row("ours", (pair(rank), pair(squared), rank_60), seconds)
    for where, result in (("1M", at_small), ("60M, no run there", at_large)):
        shown = "  ".join(f"{level} {text(covered(result, level), 3)}" for level in LEVELS)
        print(f"    intervals at {where}: {shown}")
    print(f"    laws and learners: {_chains(predictor)}")
    every, one = speed(predictor, small)
    print(f"    {every:,.0f} mixes/s with 90 % intervals for all 13 targets, {one:,.0f} for one")
    at_least("1M Spearman", pair(rank), (0.992, 0.995))
    at_most("1M MSE", pair(squared), (0.0085, 0.0012))
    at_least("60M Spearman", rank_60, (0.988, 0.990))
    inside = covered(at_small, "0.9")
    verdict("coverage at 90 %, mean of 13", inside[0], 0.85 <= inside[0] <= 0.95, "0.85 to 0.95")
    verdict("coverage at 90 %, Pile-CC", inside[1], 0.85 <= inside[1] <= 0.95, "0.85 to 0.95")
    verdict("fit, s", seconds, seconds <= 60, "at most 60")
    verdict("mixes/s with intervals", one, one >= SPEED_MIXES, f"at least {SPEED_MIXES}")


def _row(name: str, figures: Sequence[Pair], seconds: float) -> None:
    print(f"{name:28s}" + " ".join(f"{text(f):>15s}" for f in figures) + f" {seconds:7.1f}", flush=True)


def speed(predictor: Predictor, runs: Runs) -> Pair:
    """Mixes per second, prediction and 90 % interval: all targets of each mix, and one target."""
    one = known_columns(runs.table)
    many = {name: np.resize(values, SPEED_MIXES) for name, values in one.items()}
    domains = [name for name in one if name.startswith("mix.")]
    drawn = np.random.default_rng(0).dirichlet(np.full(len(domains), 0.5), SPEED_MIXES)
    many |= dict(zip(domains, drawn.T, strict=True))
    predictor.predict(many).interval(0.9)  # the first call loads what it needs
    started = time.perf_counter()
    for target in predictor.models:
        predictor.predict(many, target).interval(0.9)
    seconds = time.perf_counter() - started
    return SPEED_MIXES / seconds, SPEED_MIXES * len(predictor.models) / seconds


def _chains(predictor: Predictor) -> str:
    """How many targets chose each law and residual learner."""
    chosen = pd.Series([f"{m.fit.law.name} + {_learner(m)}" for m in predictor.models.values()])
    return ", ".join(f"{name} ({count})" for name, count in chosen.value_counts().items())


def _learner(model: Any) -> str:
    surrogate = getattr(model, "surrogate", None)
    return "nothing" if surrogate is None else str(getattr(surrogate, "kind", type(surrogate).__name__))


def fewer(train: Runs, small: Runs, large: Runs, counts: Sequence[int], seeds: int) -> None:
    """Random subsets of the 512 runs; means over seeds."""
    print(f"\nfewer runs, mean of {seeds} draws {'1M Spearman':>15s} {'60M Spearman':>15s} "
          f"{'1M inside 90 %':>15s} {'fit, s':>7s}")  # fmt: skip
    asked = {128: 0.990, 64: 0.985}
    for count in counts:
        draws = [np.random.default_rng(seed).permutation(len(train.frame))[:count] for seed in range(seeds)]
        for name in FEWER_BESIDE if count <= PROCESS_MOST else FEWER_BESIDE[:-1]:
            predicted = [by_domain(MIXES[name], train.take(rows), small.shares) for rows in draws]
            shown = " ".join(f"{text(_mean(ranks(p, runs) for p in predicted)):>15s}" for runs in (small, large))
            print(f"{count:4d} {name:23s}{shown}", flush=True)
        fitted = [ours(train.take(rows)) for rows in draws]
        scored = [[score(predictor, runs.table) for predictor, _ in fitted] for runs in (small, large)]
        rank, rank_60 = (_mean(pair(per_target(r, spearman_of)) for r in results) for results in scored)
        inside, seconds = _mean(covered(r, "0.9") for r in scored[0]), np.mean([s for _, s in fitted])
        shown = f"{text(rank):>15s} {text(rank_60):>15s} {text(inside, 3):>15s}"
        print(f"{count:4d} {'ours':23s}{shown} {seconds:7.1f}", flush=True)
        if count in asked:
            at_least("1M Spearman", rank, (asked[count], None))
        verdict("coverage at 90 %, mean of 13", inside[0], 0.85 <= inside[0] <= 0.95, "0.85 to 0.95")


def anchors(train: Runs, large: Runs, counts: Sequence[int], seeds: int) -> None:
    """The 512 runs and a few at 60M: the absolute loss of the other mixes at 60M."""
    print(f"\nerror at 60M, nats{'':11s}{'level and slope':>16s} {'(noted)':>12s} {'ours':>12s} "
          f"{'inside 90 %':>12s} {'50 %':>12s} {'fit, s':>7s}")  # fmt: skip
    plain, _ = ours(train)
    columns = known_columns(large.table) | {c: np.full(256, train.frame[c].iloc[0]) for c in ("params", "tokens")}
    at_small = pd.DataFrame({d: plain.predict(columns, f"loss.{d}").loss_nats for d in large.losses})
    for count in counts:
        lines, found, inside, half, seconds = [], [], [], [], []
        for seed in range(seeds if count else 1):
            chosen = np.zeros(len(large.frame), dtype=bool)
            chosen[np.random.default_rng(seed).permutation(len(chosen))[:count]] = True
            lines.append(pair(_level_and_slope(at_small, large.losses, chosen)))
            both = Runs(pd.concat([train.frame, large.take(chosen).frame])) if count else train
            predictor, took = ours(both) if count else (plain, 0.0)
            result = score(predictor, large.take(~chosen).table)
            found.append(pair(per_target(result, lambda f: f["mae_nats"])))
            inside.append(covered(result, "0.9"))
            half.append(covered(result, "0.5"))
            seconds.append(took)
        shown = f"{text(_mean(lines), 3):>16s} {NOTED.get(count, ''):>12s} {text(_mean(found), 3):>12s}"
        print(f"{count:4d} runs at 60M{'':14s}{shown} {text(_mean(inside), 3):>12s} {text(_mean(half), 3):>12s} "
              f"{np.mean(seconds):7.1f}", flush=True)  # fmt: skip
        if count in (4, 8):
            at_most(f"error with {count} anchors", _mean(found), ({4: 0.080, 8: 0.065}[count], None))
        if count:
            covers = _mean(inside)
            verdict("coverage at 90 %, mean of 13", covers[0], covers[0] >= 0.85, "at least 0.85")


def _level_and_slope(at_small: pd.DataFrame, losses: pd.DataFrame, chosen: np.ndarray) -> pd.Series:
    """Mean absolute error of the others when the 1M prediction is moved by least squares on the chosen runs.

    No run: the 1M prediction itself. One run: its level. More: level and slope.
    """
    found = {}
    for domain in losses:
        x, y = at_small[domain].to_numpy(), losses[domain].to_numpy()
        slope, level = 1.0, 0.0
        if chosen.sum() == 1:
            level = float((y - x)[chosen].mean())
        elif chosen.any():
            slope, level = np.polyfit(x[chosen], y[chosen], 1)
        found[domain] = np.abs(level + slope * x - y)[~chosen].mean()
    return pd.Series(found)


def _mean(pairs: Iterable[Pair]) -> Pair:
    mean = np.mean(list(pairs), axis=0)
    return float(mean[0]), float(mean[1])


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("all", "full", "fewer", "anchors"), default="all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--counts", type=int, nargs="+", help="only these numbers of runs, or of anchors")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    train, small, large = (load(name) for name in ("train_1m", "test_1m", "test_60m"))
    if asked.part in ("all", "full"):
        full(train, small, large)
    if asked.part in ("all", "fewer"):
        fewer(train, small, large, asked.counts or FEWER, asked.seeds)
    if asked.part in ("all", "anchors"):
        anchors(train, large, asked.counts or ANCHORS, asked.seeds)


if __name__ == "__main__":
    main()
