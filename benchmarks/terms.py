"""The terms on held-out runs: repeated data, mixture of experts. (Learning rate × batch: `hyperparameters.py`.)

    python benchmarks/terms.py

Every row fits the smaller runs as `simulate fit` does and predicts the larger ones. The public prior is learned again
without the table in question.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from _tables import read, tasks
from facts_laws import GENERAL, groups
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import Fit, LawPrior, Observations, choose, fit_observations, learn_prior
from foretrain.simulator.laws import get_law


def observe(frame: pd.DataFrame) -> Observations:
    """A frame's runs as the fit sees them."""
    return Observations.from_table(RunTable.from_frame(frame.reset_index(drop=True)), "loss")


def auto(train: pd.DataFrame, prior: LawPrior) -> Fit:
    """law="auto" on these rows."""
    observations = observe(train)
    return fit_observations(get_law(choose(observations, prior).law), observations, prior)


def relative_error(fit: Fit, test: pd.DataFrame) -> np.ndarray:
    """|predicted / observed - 1| on these rows."""
    seen = observe(test)
    return np.abs(np.expm1(fit.log_loss(seen.columns) - np.log(seen.loss)))


def repeats(prior: LawPrior) -> None:
    """Data-constrained runs: fit N ≤ 1.2B, predict larger models on repeated data."""
    columns = ["params", "tokens", "unique_tokens", "loss"]
    table = read("datablations/runs.csv")
    for label, rows in (("all rows", table), ("loss ≤ 5", table[table.diverged_or_overfit == 0])):
        fit = auto(rows[rows.params <= 1.2e9][columns], prior)
        large = rows[(rows.params > 1.2e9) & (rows.epochs > 1.01) & (rows.diverged_or_overfit == 0)]
        error = relative_error(fit, large[columns])
        mild = error[(large.epochs <= 60).to_numpy()]
        print(f"repeated data, {label}: {fit.law.name}, {len(error)} runs above 1.2B, {_summary(error)}")
        print(f"    up to 60 epochs: {len(mild)} runs, {_summary(mild)}")


def experts(prior: LawPrior) -> None:
    """Routed transformers: leave the largest size out, router by router, and all rows together."""
    columns = ["params", "tokens", "num_experts", "loss"]
    table = read("routing_moe/runs.csv")
    dense = (table.router_type == "Dense") & (table.k == 1)
    plain = (table.routing_frequency == 0.5) & (table.k == 1) & (table.seed == 42)
    subsets = {router: plain & (table.router_type == router) | dense for router in ("S-Base", "RL-R", "Hash")}
    for label, mask in {**subsets, "every row, routers mixed": table.params > 0}.items():
        rows = table[mask]
        fit = auto(rows[rows.params < rows.params.max()][columns], prior)
        error = relative_error(fit, rows[rows.params == rows.params.max()][columns])
        print(f"experts, {label}: {fit.law.name}, fit ≤ 130M, {len(error)} runs at 370M, {_summary(error)}")


def _summary(error: np.ndarray) -> str:
    return f"median {np.median(error):.2%}, mean {error.mean():.2%}, max {error.max():.2%}"


def main() -> None:
    """Print one line for each held-out set."""
    warnings.simplefilter("ignore")
    found = tasks()
    repeats(learn_prior(GENERAL, groups(found, "datablations")))
    experts(learn_prior(GENERAL, groups(found)))


if __name__ == "__main__":
    main()
