"""Extrapolation on every shared table: train C ≤ Cmax/10^1.5, score C > Cmax/10^0.5; Chinchilla, Kaplan, ours.

    python benchmarks/extrapolation.py

Nothing of a table reaches its own fit but the training rows: the source is left out of the model over tables, and the
public prior and scores, which tables with terms would use, are learned again without it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from _tables import Task, tasks
from facts_laws import leave_one_out_priors, public_scores
from foretrain.simulator.fitting import Observations, fit_observations
from foretrain.simulator.hierarchy.shipped import population
from foretrain.simulator.laws import get_law
from foretrain.simulator.predictor.calibration import Calibration
from foretrain.simulator.predictor.fit.loss_fit import fit_loss_model

TRAIN_BELOW, SCORE_ABOVE = 10**1.5, 10**0.5
FEWEST = 6


@dataclass(frozen=True)
class Result:
    """Errors of one law on one task: signed log errors, and for ours whether the 90 % interval held and how wide."""

    task: Task
    law: str
    error: np.ndarray
    inside: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    width: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def median(self) -> float:
        """Median relative error, %."""
        return 100 * float(np.median(np.abs(np.expm1(self.error))))

    @property
    def largest(self) -> float:
        """Largest relative error, %."""
        return 100 * float(np.abs(np.expm1(self.error)).max())


def split(task: Task) -> tuple[Observations, Observations] | None:
    """Small runs and large runs; None where fewer than six small runs are left."""
    flops = task.flops
    small, large = flops <= flops.max() / TRAIN_BELOW, flops > flops.max() / SCORE_ABOVE
    return None if small.sum() < FEWEST else (task.observations.take(small), task.observations.take(large))


def plain(name: str, task: Task, small: Observations, large: Observations) -> Result:
    """A law as published: no prior, no weights."""
    fit = fit_observations(get_law(name), small, None)
    return Result(task, name, fit.log_loss(large.columns) - np.log(large.loss))


def ours(task: Task, small: Observations, large: Observations, prior, public: Calibration) -> Result:
    """law="auto" with a prior and public scores that have not seen this source."""
    tables = population().without(task.source)
    prediction = fit_loss_model(small, "auto", prior, public=public, tables=tables).predict(large.columns)
    low, high = prediction.interval(0.9)
    inside = (low <= large.loss) & (large.loss <= high)
    return Result(
        task, "ours(auto)", prediction.log_loss - np.log(large.loss), inside, (high - low) / prediction.loss_nats
    )


def run() -> Iterator[tuple[Task, Observations, Observations, list[Result]]]:
    """Every task that can be split, with its three results."""
    found = tasks()
    priors = leave_one_out_priors(found)
    scores = public_scores(found, priors)
    for task in found:
        parts = split(task)
        if parts is None:
            print(f"{task.name}: left out, fewer than {FEWEST} runs below the cut")
            continue
        public = Calibration.pooled({s: v for s, v in scores.items() if s != task.source})
        mine = ours(task, *parts, priors[task.source], public)
        yield task, *parts, [plain("chinchilla", task, *parts), plain("kaplan", task, *parts), mine]


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    names = f"{'chinchilla':>12s}{'kaplan':>8s}{'ours':>8s}"
    print(f"{'':40s}{'runs':>12s} | {'median error, %':>28s} | {'largest error, %':>28s} | 90 % interval")
    print(f"{'table/target':40s}{'train':>6s}{'score':>6s} | {names} | {names} | covers  width, %")
    rows = []
    for task, small, large, results in run():
        rows.append((task, results))
        medians, largest = (
            f"{v[0]:12.2f}{v[1]:8.2f}{v[2]:8.2f}" for v in ([r.median for r in results], [r.largest for r in results])
        )
        mine = results[2]
        covers = f"{mine.inside.mean():6.0%} {100 * np.median(mine.width):9.1f}"
        print(f"{task.name:40s}{len(small):6d}{len(large):6d} | {medians} | {largest} | {covers}")
    summarise(rows)


def summarise(rows: list[tuple[Task, list[Result]]]) -> None:
    """Means over tables and tasks, and pooled coverage."""
    tables = sorted({task.table for task, _ in rows})
    names = [r.law for r in rows[0][1]]
    print()
    for i, name in enumerate(names):
        per_table = [np.mean([r[i].median for t, r in rows if t.table == table]) for table in tables]
        per_task = [r[i].median for _, r in rows]
        worst = max(r[i].largest for _, r in rows)
        print(f"{name:11s} mean of per-table medians {np.mean(per_table):5.2f} % ({len(tables)} tables), "
              f"of per-task medians {np.mean(per_task):5.2f} % ({len(rows)} tasks), max {worst:.1f} %")  # fmt: skip
    inside = np.concatenate([r[2].inside for _, r in rows])
    width = np.concatenate([r[2].width for _, r in rows])
    by_table = [np.mean(np.concatenate([r[2].inside for t, r in rows if t.table == x])) for x in tables]
    print(f"90 % interval of ours: covers {inside.mean():.1%} of {len(inside)} scored runs "
          f"(by table: {', '.join(f'{x} {c:.0%}' for x, c in zip(tables, by_table, strict=True))}), "
          f"median full width {100 * np.median(width):.1f} % of the loss")  # fmt: skip


if __name__ == "__main__":
    main()
