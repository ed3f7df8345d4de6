"""Differences of two runs: error, coverage and width, on pairs of the largest runs of every shared table.

    python benchmarks/differences.py

A fitted table: the law is fitted to runs at least half a decade (or a decade) of compute below the largest quarter of a
table's runs (at most 12 of those, none under-trained), and every pair of these is predicted. No run of one's own: the
pool of the other sources predicts the same pairs. Neither the prior nor the public scores have seen the source.

The independent difference, which widths are compared with, adds the squares of both runs' own half-widths. The centre
that is used is the difference of the two medians; beside it stands the median of the law's draws' differences.
The constants of `predictor/prediction.py` and the share and length of the misfit of `fitting/backtest.py` were chosen
on the table that this prints.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from _tables import Task, read, tasks
from facts_laws import leave_one_out_priors, public_scores
from foretrain.core.quantity import LEVELS
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import LawPrior, Observations, fit_observations, public_prior
from foretrain.simulator.laws import get_law
from foretrain.simulator.predictor.calibration import Calibration, public_calibration
from foretrain.simulator.predictor.loss_model import LossModel, fit_loss_model
from foretrain.simulator.predictor.pooling import held_out_scores, pool

DECADES = (0.5, 1.0)
PROMISED = ("chinchilla", "olmo_ladder", "steplaw")
COVERS, FITTED_RATIO, POOLED_RATIO = (0.85, 0.95), 0.7, 0.5
FEWEST, MOST_ROWS, MOST_LARGE = 6, 100, 12
_TRAINED_OUT = 5.0  # tokens per parameter; below, forecasts warn
_FEW_TARGETS = {"overtraining": ("c4_val", "paloma_code")}  # of sixteen that are much alike
_KEPT = ["run_id", "params", "tokens", "flops", "loss"]


@dataclass(frozen=True)
class Pairs:
    """True differences of pairs of runs and errors of the predicted ones, nats, each `(m,)`; `inside` by level."""

    true: np.ndarray
    error: np.ndarray
    draws_error: np.ndarray
    inside: Mapping[float, np.ndarray]
    draws_inside: np.ndarray
    width: np.ndarray
    ratio: np.ndarray


def further_tasks() -> Iterator[Task]:
    """Tables that no shipped figure has seen: five corpora at two evaluations, and two suites."""
    for corpus, frame in read("loss_to_loss/runs.csv").groupby("corpus"):
        for target in ("loss", "loss.c4"):
            one = frame.drop(columns="loss") if target != "loss" else frame
            yield _task("loss_to_loss", f"loss_to_loss_{corpus}", target, one.rename(columns={target: "loss"}))
    yield _task("openeurollm", "openeurollm", "own", read("openeurollm/runs.csv"))
    yield _task("delphi", "delphi", "paloma", read("delphi/runs.csv"))


def _task(source: str, table: str, target: str, frame: pd.DataFrame) -> Task:
    kept = frame.loc[frame.loss.notna(), [name for name in _KEPT if name in frame]].reset_index(drop=True)
    run_table = RunTable.from_frame(kept, where=table)
    rows = run_table.fit_rows("loss")
    return Task(source, table, target, Observations.from_table(run_table, "loss"), rows.column("flops"))


def largest(observations: Observations) -> np.ndarray:
    """Places of the runs that are compared: the largest quarter, evenly thinned, without under-trained ones."""
    compute = observations.compute
    able = np.flatnonzero(observations.columns["tokens"] >= _TRAINED_OUT * observations.columns["params"])
    able = able[np.argsort(compute[able], kind="stable")]
    found = able[-max(4, len(compute) // 4) :]
    return found[np.unique(np.linspace(0, len(found) - 1, min(MOST_LARGE, len(found))).round().astype(int))]


def judged(model: LossModel, large: Observations) -> Pairs:
    """Every pair of the large runs, predicted together."""
    prediction = model.predict(large.columns, joint=True)
    drawn = np.exp(model.fit.log_loss_draws(large.columns))
    low, high = prediction.interval(0.9)
    half = (high - low) / 2
    found: dict[str, list] = {name: [] for name in ("true", "error", "draws_error", "draws_inside", "width", "ratio")}
    inside: dict[float, list[bool]] = {level: [] for level in LEVELS}
    for one in range(len(large)):
        for other in range(one):
            true = large.loss[one] - large.loss[other]
            difference = prediction.difference(one, other)
            of_draws = drawn[:, one] - drawn[:, other]
            ends = np.quantile(of_draws, [0.05, 0.95])
            for level in LEVELS:
                least, most = difference.interval(level)
                inside[level].append(bool(least <= true <= most))
            least, most = difference.interval(0.9)
            found["true"].append(true)
            found["error"].append(difference.nats - true)
            found["draws_error"].append(float(np.median(of_draws)) - true)
            found["draws_inside"].append(bool(ends[0] <= true <= ends[1]))
            found["width"].append(most - least)
            found["ratio"].append((most - least) / (2.0 * float(np.hypot(half[one], half[other]))))
    of_levels = {level: np.array(held) for level, held in inside.items()}
    return Pairs(inside=of_levels, **{name: np.array(values) for name, values in found.items()})


def fitted(task: Task, prior: LawPrior, public: Calibration, decades: float) -> Pairs | None:
    """A table's own fit, far enough below; None where too few runs are left, or too few to compare."""
    chosen = largest(task.observations)
    compute = task.observations.compute
    small = task.observations.take(compute <= compute[chosen].min() / 10**decades)
    if len(small) < FEWEST or len(chosen) < 2:
        return None
    model = fit_loss_model(small.thinned(MOST_ROWS), "auto", prior, public=public)
    return judged(model, task.observations.take(chosen))


def pooled(found: list[Task], priors: Mapping[str, LawPrior], scores) -> Iterator[tuple[str, Pairs]]:
    """No run of the source at all: the pool of the others, calibrated on each of them left out."""
    general = get_law("general")
    items: dict[str, list] = {}
    for task in found:
        rows = task.observations.thinned(MOST_ROWS)
        fit = fit_observations(general, rows, priors[task.source], draws=64)
        model = LossModel(fit, public_calibration(), _ranges(rows), len(rows))
        top = task.observations.take(largest(task.observations))
        items.setdefault(task.source, []).append((model, top.columns, top.loss))
    for source, of_source in items.items():
        others = {name: its for name, its in items.items() if name != source}
        public = Calibration.pooled({name: its for name, its in scores.items() if name != source})
        calibration = Calibration.from_scores(held_out_scores(others), public)
        model = replace(pool({k: [m for m, _, _ in v] for k, v in others.items()}), calibration=calibration)
        for _, columns, loss in of_source:
            yield source, judged(model, Observations.from_columns(columns, loss))


def _ranges(rows: Observations) -> dict[str, tuple[float, float]]:
    named = {"params": rows.columns["params"], "tokens": rows.columns["tokens"], "compute": rows.compute}
    return {name: (float(values.min()), float(values.max())) for name, values in named.items()}


def show(title: str, found: Mapping[str, list[Pairs]], promised: float) -> None:
    """A row for each source, sources together, and whether the promise is kept."""
    print(f"\n{title}\n{'':16s}{'pairs':>6s} | {'|error|, mnats':>15s} | {'covers at 50, 80, 90, 95 %':>28s} | "
          f"{'90 % width, mnats':>17s}{'ratio':>7s} | draws alone")  # fmt: skip
    for source, parts in found.items():
        errors, by_draws = (
            1e3 * np.median(np.abs(np.concatenate([getattr(part, name) for part in parts])))
            for name in ("error", "draws_error")
        )
        covers = " ".join(f"{_mean(part.inside[level] for part in parts):6.0%}" for level in LEVELS)
        width = 1e3 * np.median(np.concatenate([part.width for part in parts]))
        ratio = np.median(np.concatenate([part.ratio for part in parts]))
        pairs = sum(len(part.error) for part in parts)
        print(f"{source:16s}{pairs:6d} | {errors:7.1f}{by_draws:8.1f} | {covers:>28s} | {width:17.1f}{ratio:7.2f} | "
              f"{_mean(part.draws_inside for part in parts):6.0%}")  # fmt: skip
    for name, sources in (("promised", [s for s in found if s in PROMISED]), ("all sources", list(found))):
        covered = np.mean([_mean(part.inside[0.9] for part in found[source]) for source in sources])
        ratio = np.median(np.concatenate([part.ratio for source in sources for part in found[source]]))
        kept = COVERS[0] <= covered <= COVERS[1] and ratio <= promised
        print(f"{name}, each source once: 90 % covers {covered:.1%}, median ratio {ratio:.2f}; promised "
              f"{COVERS[0]:.0%} to {COVERS[1]:.0%}, at most {promised}: {'kept' if kept else 'NOT KEPT'}")  # fmt: skip
    slopes = [np.median([_slope(parts, name) for parts in found.values()]) for name in ("error", "draws_error")]
    print(
        f"true difference for a predicted one of 1, median of sources: {slopes[0]:.2f}; by the draws: {slopes[1]:.2f}"
    )


def _slope(parts: list[Pairs], name: str) -> float:
    """By least squares through 0: what of a predicted difference comes true."""
    true = np.concatenate([part.true for part in parts])
    predicted = true + np.concatenate([getattr(part, name) for part in parts])
    return float(predicted @ true / (predicted @ predicted))


def _mean(parts: Iterator[np.ndarray]) -> float:
    return float(np.mean(np.concatenate(list(parts))))


def main() -> None:
    """Print the tables."""
    warnings.simplefilter("ignore")
    seven = [task for task in tasks() if task.target in _FEW_TARGETS.get(task.source, (task.target,))]
    priors = leave_one_out_priors(seven)
    scores = public_scores(seven, priors)
    print("|error|: of the difference of medians, and of the median of the law's draws; ratio: width over independent")
    for decades in DECADES:
        found: dict[str, list[Pairs]] = {}
        for task in (*seven, *further_tasks()):
            public = public_calibration()
            if task.source in scores:
                public = Calibration.pooled({name: its for name, its in scores.items() if name != task.source})
            pairs = fitted(task, priors.get(task.source) or public_prior(), public, decades)
            if pairs is not None:
                found.setdefault(task.source, []).append(pairs)
        show(f"fitted {decades:g} decades below the largest runs", found, FITTED_RATIO)
    unseen: dict[str, list[Pairs]] = {}
    for source, pairs in pooled(seven, priors, scores):
        unseen.setdefault(source, []).append(pairs)
    show("no run of the source", unseen, POOLED_RATIO)


if __name__ == "__main__":
    main()
