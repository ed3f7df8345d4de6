"""Learning rate and batch size of unseen, larger cells: StepLaw, the five largest (N, D) cells held out.

    python benchmarks/hyperparameters.py

`Predictor.fit` sees the runs of the twelve smaller cells, nothing else: the public prior is learned again without
StepLaw. Every method predicts each held-out run, and recommends a learning rate and a batch size for its cell: the
minimum of its prediction on a fine grid within the range that the cell's runs span, judged by the measured run next to
it (`grid`), and the measured run that it predicts to be the best (`run`). Excess is over the best run of the cell.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from _baselines import regmix_trees
from _tables import read, tasks
from facts_laws import GENERAL, groups
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import fit_observations, learn_prior
from foretrain.simulator.fitting.observations import Observations
from foretrain.simulator.laws import get_law
from foretrain.simulator.predictor.evaluation.scoring import score
from foretrain.simulator.predictor.predictor import Predictor

COLUMNS = ["params", "tokens", "lr", "batch_tokens"]
HELD_CELLS = 5
GRID = 61  # points of each axis of the fine grid
TARGETS = {"mean": 0.006, "r2": 0.97, "excess": 0.001, "coverage": (0.85, 0.97)}

Columns = Mapping[str, np.ndarray]
Predict = Callable[[Columns], np.ndarray]
"""Columns of runs, each `(n,)`, to predicted losses in nats `(n,)`."""


def split() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs of the smaller cells without the diverged ones, and all runs of the five cells with the most compute."""
    table = read("steplaw/dense_runs.csv")
    # as floats: the largest product of params and tokens is beyond a 64-bit integer
    table = table.astype(dict.fromkeys(COLUMNS, float)).drop(columns=["status"], errors="ignore")
    compute = table.params * table.tokens
    held = compute.isin(np.sort(compute.unique())[-HELD_CELLS:])
    return table[~held & (table.diverged == 0)].reset_index(drop=True), table[held].reset_index(drop=True)


def run_table(frame: pd.DataFrame) -> RunTable:
    """A frame's runs as `simulate fit` reads them."""
    return RunTable.from_frame(frame[["run_id", *COLUMNS, "loss"]].reset_index(drop=True), where="steplaw")


def columns_of(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """The four columns that every method reads, each `(n,)`."""
    return {name: frame[name].to_numpy(float) for name in COLUMNS}


def trees(train: pd.DataFrame) -> Predict:
    """Raw LightGBM on the logarithms of the four columns, with RegMix's settings and rounds by cross-validation."""

    def logs(columns):
        return np.column_stack([np.log(columns[name]) for name in COLUMNS])

    model = regmix_trees(logs(columns_of(train)), train.loss.to_numpy())
    return lambda columns: np.asarray(model.predict(logs(columns)))


def published_rule(params: float, tokens: float) -> tuple[float, float]:
    """StepLaw's rule (Li et al. 2025, arXiv 2503.04715): learning rate and batch in tokens. Fitted on these cells."""
    return 1.79 * params**-0.713 * tokens**0.307, 0.58 * tokens**0.571


def nearest(cell: pd.DataFrame, lr: float, batch: float) -> float:
    """Loss of the measured run nearest to a learning rate and batch, by log distance; diverged ones count."""
    away = (np.log(cell.lr / lr) ** 2 + np.log(cell.batch_tokens / batch) ** 2).to_numpy()
    return float(cell.loss.to_numpy()[away.argmin()])


def recommended(predict: Predict, cell: pd.DataFrame) -> tuple[float, float]:
    """The learning rate and batch with the lowest prediction on a grid within the range of the cell's runs."""
    axes = [np.geomspace(cell[name].min(), cell[name].max(), GRID) for name in ("lr", "batch_tokens")]
    lr, batch = (axis.ravel() for axis in np.meshgrid(*axes))
    columns = {"lr": lr, "batch_tokens": batch}
    columns |= {name: np.full(len(lr), cell[name].iloc[0]) for name in ("params", "tokens")}
    best = int(predict(columns).argmin())
    return float(lr[best]), float(batch[best])


def excess(predict: Predict | None, test: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Excess over each cell's best run, `(cells,)`: of the run next to the recommendation, of the run picked.

    Without `predict`, the recommendation is the published rule's, which picks no run.
    """
    grid, picked = [], []
    for (params, tokens), cell in test.groupby(["params", "tokens"]):
        best = cell.loss.min()
        rule = published_rule(params, tokens) if predict is None else recommended(predict, cell)
        grid.append(nearest(cell, *rule) / best - 1)
        fine = cell[cell.diverged == 0]
        run = fine.loss.to_numpy()[predict(columns_of(fine)).argmin()] if predict else np.nan
        picked.append(run / best - 1)
    return np.array(grid), np.array(picked)


def line(name: str, predict: Predict | None, test: pd.DataFrame, coverage: str = "") -> dict[str, float]:
    """Print a method's row and return its figures."""
    grid, picked = excess(predict, test)
    figures = {"grid": grid.mean(), "run": picked.mean()}
    errors = f"{'':27s}"
    if predict is not None:
        fine = test[test.diverged == 0]
        predicted, observed = predict(columns_of(fine)), fine.loss.to_numpy()
        relative = np.abs(predicted / observed - 1)
        r2 = 1 - ((predicted - observed) ** 2).sum() / ((observed - observed.mean()) ** 2).sum()
        figures |= {"mean": relative.mean(), "r2": r2}
        errors = f"{relative.mean():8.2%} {np.median(relative):8.2%} {r2:9.3f}"
    runs = "" if predict is None else f"{picked.mean():8.3%} {picked.max():7.3%}"
    print(f"{name:28s}{errors} {coverage:>27s} {grid.mean():9.3%} {grid.max():7.3%} {runs}")
    return figures


def by_cell(predict: Predict, test: pd.DataFrame) -> None:
    """Print bias and scatter of the predictions in each held-out cell."""
    for (params, tokens), cell in test[test.diverged == 0].groupby(["params", "tokens"]):
        error = np.log(predict(columns_of(cell)) / cell.loss.to_numpy())
        print(f"    {params:.3g} parameters, {tokens:.3g} tokens: {len(cell)} runs, bias {np.median(error):+.2%}, "
              f"mean {np.abs(error).mean():.2%}, max {np.abs(error).max():.2%}")  # fmt: skip


def verdict(name: str, value: float, holds: bool, target: str) -> None:
    """Print a figure beside what the issue asks for."""
    print(f"    {name:34s} {value:8.3%}   asked {target:16s} {'met' if holds else 'MISSED'}")


def main() -> None:
    """Print the table, the cells, and what was asked for."""
    warnings.simplefilter("ignore")
    train, test = split()
    prior = learn_prior(GENERAL, groups(tasks(), "steplaw"))
    started = time.perf_counter()
    predictor = Predictor.fit(run_table(train), prior=prior)
    seconds = time.perf_counter() - started
    model = predictor.models["loss"]
    fine = test[test.diverged == 0]
    figures = score(predictor, run_table(fine))["targets"]["loss"]
    covers = " ".join(f"{figures['coverage'][level]:.0%}".rjust(6) for level in ("0.5", "0.8", "0.9", "0.95"))

    print(f"{len(train)} runs of {train.groupby(['params', 'tokens']).ngroups} cells fitted in {seconds:.1f} s: "
          f"law {model.fit.law.name}; {len(fine)} runs of {HELD_CELLS} cells held out, "
          f"{len(test) - len(fine)} more had diverged")  # fmt: skip
    print(f"{'':28s}{'error':>17s} {'':9s} {'covered at 50, 80, 90, 95':>27s} {'excess: grid':>17s} {'run':>16s}")
    print(f"{'':28s}{'mean':>8s} {'median':>8s} {'R²':>9s} {'':27s} {'mean':>9s} {'max':>7s} {'mean':>8s} {'max':>7s}")

    def ours(columns):
        return predictor.predict(columns).loss_nats

    mine = line("ours", ours, test, covers)
    line("its law alone", lambda columns: np.exp(model.fit.log_loss(columns)), test)
    bowls = fit_observations(get_law("general+lr_batch"), Observations.from_table(run_table(train), "loss"), prior)
    line("general+lr_batch alone", lambda columns: np.exp(bowls.log_loss(columns)), test)
    line("LightGBM on the logs", trees(train), test)
    line("StepLaw's rule", None, test)
    by_cell(ours, test)
    low, high = TARGETS["coverage"]
    coverage = figures["coverage"]["0.9"]
    verdict("mean error", mine["mean"], mine["mean"] <= TARGETS["mean"], "at most 0.6 %")
    verdict("R²", mine["r2"], mine["r2"] >= TARGETS["r2"], "at least 97 %")
    verdict("excess, grid", mine["grid"], mine["grid"] <= TARGETS["excess"], "at most 0.10 %")
    verdict("excess, run picked", mine["run"], mine["run"] <= TARGETS["excess"], "at most 0.10 %")
    verdict("coverage at 90 %", coverage, low <= coverage <= high, "85 % to 97 %")


if __name__ == "__main__":
    main()
