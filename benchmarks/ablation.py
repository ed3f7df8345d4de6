"""What each choice behind `law="auto"` is worth: the extrapolation benchmark with one thing changed at a time.

    python benchmarks/ablation.py              fit all small runs of each table
    python benchmarks/ablation.py --runs 12    fit a dozen of them, drawn three times

Same split and same left-out priors as extrapolation.py; figures are means of per-table medians, %.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from _tables import tasks
from extrapolation import split
from facts_laws import leave_one_out_priors
from foretrain.simulator.fitting import (
    LawPrior,
    Observations,
    backtest,
    fit_law,
    fit_observations,
    stacking_weights,
    weak_prior,
)
from foretrain.simulator.fitting.choose import FORMS_WORTH
from foretrain.simulator.laws import get_law

Variant = Callable[[Observations, LawPrior], np.ndarray]
"""Predicts the large runs' log loss from the small ones; bound to the large runs' columns in `main`."""
FORMS = ("general", "chinchilla", "kaplan")


def variants(large: Observations) -> dict[str, Variant]:
    """Every variant by name, for one task."""

    def form(name: str, with_prior: Callable[[LawPrior], LawPrior | None] = lambda prior: prior) -> Variant:
        return lambda small, prior: fit_observations(get_law(name), small, with_prior(prior)).log_loss(large.columns)

    def unweighted(small: Observations, prior: LawPrior) -> np.ndarray:
        return fit_law(get_law("general"), small.columns, small.loss, prior=prior).log_loss(large.columns)

    def switched(threshold: float) -> Variant:
        def predict(small: Observations, prior: LawPrior) -> np.ndarray:
            error = {name: backtest(get_law(name), small, prior).median_relative_error for name in FORMS}
            rival = min(FORMS[1:], key=lambda name: error[name])
            name = rival if error[rival] < threshold * error["general"] else "general"
            return form(name)(small, prior)

        return predict

    def weighed(small: Observations, prior: LawPrior) -> np.ndarray:
        weights = stacking_weights({name: backtest(get_law(name), small, prior) for name in FORMS}, FORMS_WORTH)
        return np.sum([weight * form(name)(small, prior) for name, weight in weights.items()], axis=0)

    return {
        "general form, learned prior, weights": form("general"),
        "  without the weights": unweighted,
        "  without the prior's correlations": form("general", _independent),
        "  with the weak generic prior": form("general", lambda _: weak_prior()),
        "  with no prior": form("general", lambda _: None),
        "Chinchilla's form, learned prior, weights": form("chinchilla"),
        "Chinchilla's form, no prior": form("chinchilla", lambda _: None),
        "Kaplan's form, no prior": form("kaplan", lambda _: None),
        "form switched by back-test, any gain": switched(1.0),
        "form switched by back-test, a gain of 30 %": switched(0.7),
        "form switched by back-test, a gain of half": switched(0.5),
        "forms weighed by back-test (auto with terms)": weighed,
    }  # fmt: skip


def _independent(prior: LawPrior) -> LawPrior:
    return replace(prior, covariance=np.diag(np.diag(prior.covariance)))


def main() -> None:
    """Print one line for each variant."""
    warnings.simplefilter("ignore")
    found = tasks()
    priors = leave_one_out_priors(found)
    dozen = int(sys.argv[sys.argv.index("--runs") + 1]) if "--runs" in sys.argv else None
    medians: dict[str, dict[str, list[float]]] = {}
    for task in found:
        parts = split(task)
        for small in [] if parts is None else _drawn(parts[0], dozen):
            for name, error in _errors(small, parts[1], priors[task.source]).items():
                medians.setdefault(name, {}).setdefault(task.table, []).append(error)
    for name, by_table in medians.items():
        tables = [float(np.mean(values)) for values in by_table.values()]
        every = [value for values in by_table.values() for value in values]
        of_tables = f"mean over {len(tables)} tables {np.mean(tables):5.2f} %"
        print(f"{name:44s} {of_tables}, over {len(every)} fits {np.mean(every):5.2f} %")


def _drawn(small: Observations, runs: int | None) -> list[Observations]:
    """The small runs whole, or three random draws of so many of them."""
    if runs is None or runs >= len(small):
        return [small]
    rng = np.random.default_rng(0)
    return [small.take(np.sort(rng.choice(len(small), runs, replace=False))) for _ in range(3)]


def _errors(small: Observations, large: Observations, prior: LawPrior) -> dict[str, float]:
    truth = np.log(large.loss)
    return {
        name: 100 * float(np.median(np.abs(np.expm1(predict(small, prior) - truth))))
        for name, predict in variants(large).items()
    }


if __name__ == "__main__":
    main()
