"""The largest size of each mixer from its smaller ones: by a law of its own, and by the law of all mixers at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from foretrain.core.errors import FitError
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.predictor.predictor import Predictor

from .tables import cut, fittable, largest, of_mixer, predicted, sizes_of, whole_mixers

__all__ = ["report_halves", "report_largest"]

MOST_ERROR_PERCENT = 3.0
"""The median error over budgets and domains that must be reached, as for the transformer."""


@dataclass(frozen=True)
class Foretold:
    """How runs came out against what was foretold: errors, %, by budget and size, and whether inside 90 %."""

    tokens: np.ndarray
    errors_percent: np.ndarray
    inside: np.ndarray

    @property
    def median(self) -> float:
        return float(np.median(np.abs(self.errors_percent)))

    @property
    def reached(self) -> bool:
        return self.median <= MOST_ERROR_PERCENT and bool(self.inside.mean() >= 0.9)


def foretold(fitted: Predictor, rows: RunTable, targets: list[str]) -> Foretold:
    """Predict runs and compare: errors of the mean of the seeds by size and budget, intervals against each seed."""
    tokens, errors, inside = [], [], []
    for target in targets:
        said, loss = predicted(fitted, rows, target), rows.column(target)
        low, high = said.interval(0.9)
        inside.append((low <= loss) & (loss <= high))
        for size, budget in sorted(set(zip(rows.column("params"), rows.column("tokens"), strict=True))):
            at = (rows.column("params") == size) & (rows.column("tokens") == budget)
            tokens.append(budget)
            errors.append(100 * (said.loss_nats[at][0] / loss[at].mean() - 1))
    return Foretold(np.array(tokens), np.array(errors), np.concatenate(inside))


def report_largest(table: RunTable) -> list[str]:
    """Print the errors at every mixer's largest size; return the mixers whose own law misses it."""
    left_out = largest(table)
    print("\nthe largest size of each mixer from the smaller ones: error, %, of the mean loss by budget; median of all")
    budgets = sorted(set(table.column("tokens")))
    heads = "".join(f"{tokens / 1e6:>7.2f}M" for tokens in budgets)
    print(f"{'mixer':<14}{'parameters':>11}{'beyond':>8} {'law':<9}{heads}{'median':>8}{'inside':>8}")
    missed = []
    alone = {name: _fit(table, of_mixer(table, name) & ~left_out) for name in whole_mixers(table)}
    joint = _fit(table, ~left_out)
    for name in whole_mixers(table):
        rows = table.select(of_mixer(table, name) & left_out)
        sizes = sizes_of(table, name)
        for kind, fitted in (("own", alone[name]), ("joint", joint)):
            all_targets = foretold(fitted, rows, table.loss_columns)
            of_loss = foretold(fitted, rows, ["loss"])
            by_budget = dict(zip(of_loss.tokens, of_loss.errors_percent, strict=True))
            texts = "".join(f"{by_budget[tokens]:>+8.2f}" if tokens in by_budget else " " * 8 for tokens in budgets)
            print(
                f"{name:<14}{sizes[-1]:>11.0f}{sizes[-1] / sizes[-2]:>7.2f}x {kind:<9}{texts}"
                f"{all_targets.median:>8.2f}{all_targets.inside.mean():>8.0%}"
            )
            if kind == "own" and not all_targets.reached:
                missed.append(name)
    return missed


def report_halves(table: RunTable) -> None:
    """Print the errors at a mixer's two largest sizes from its two smaller ones, by its own law and by all mixers'."""
    larger = largest(table, 2)
    print("\na mixer's larger half left out: error, %, of the mean loss, median over budgets and sizes (inside 90 %)")
    print(f"{'mixer':<14}{'own law':>16}{'joint law':>16}{'without mixers':>16}")
    everything = cut(table, fittable(table), main_loss_alone=True)
    for name in whole_mixers(table):
        own = of_mixer(everything, name)
        left_out = own & largest(everything, 2)
        rows = cut(table, of_mixer(table, name) & larger, main_loss_alone=True)
        ways: dict[str, RunTable] = {
            "own": everything.select(own & ~left_out),
            "joint": everything.select(~left_out),
            "without": _unnamed(everything.select(~left_out)),
        }
        texts = []
        for way, fitted_on in ways.items():
            try:
                fitted = Predictor.fit(fitted_on)
            except FitError:  # a law of its own may need more sizes than two
                texts.append("no law")
                continue
            found = foretold(fitted, _unnamed(rows) if way == "without" else rows, ["loss"])
            texts.append(f"{found.median:.2f} ({found.inside.mean():.0%})")
        print(f"{name:<14}" + "".join(f"{text:>16}" for text in texts))


def _unnamed(table: RunTable) -> RunTable:
    """The same runs as if nobody knew their mixers."""
    return RunTable.from_frame(table.frame.drop(columns="architecture"), where=table.where)


def _fit(table: RunTable, rows: np.ndarray) -> Predictor:
    return Predictor.fit(cut(table, rows & fittable(table)))
