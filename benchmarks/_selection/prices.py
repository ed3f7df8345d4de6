"""How strictly to choose, by a law: fitted to a 5-gram's losses by share and budget, and searched for each budget.

The losses are those of `strictness`. A law of tokens, repetition and selections is fitted to them; a study of
`data.selection.keep` then finds the share for each budget. Must reach: the share found grows with the budget, its
measured loss is within `NEAR` of the budget's best, and the same search without the stock of text, whose repetition it
then doesn't see, keeps too little of the whole pool.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.search.evaluate import Evaluator
from foretrain.simulator.search.local_search.polish import improve
from foretrain.simulator.search.study import Study

from .contenders import MissingStepError
from .pool import SIZE_BYTES
from .strictness import BUDGETS_BYTES, KEEPS, strictness_losses

__all__ = ["main"]

NEAR = 0.01  # nats per byte, of the loss measured at the share found, by interpolation between measured shares
SIZE = 1e6  # parameters: 5-grams have none, and a law of tokens alone reads none
LAW = "tokens_only+muennighoff+selection"
STOCKS = {"with repetition": SIZE_BYTES, "without it": None}


def main(options: list[str]) -> list[str]:
    """Print the table; return what was missed."""
    parser = argparse.ArgumentParser(prog="selection.py prices")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--losses", help="file that losses are kept in, so that they are measured once")
    words = parser.parse_args(options)
    try:
        losses = _measured(words.seeds, words.losses)
    except MissingStepError as error:
        return [f"the judge: {error}"]
    table = RunTable.from_frame(pd.DataFrame(_rows(losses)), where="5-grams")
    mean = losses.mean(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predictor = Predictor.fit(table, LAW, prior="public", name="5-grams")
    found = {name: _found(predictor, stock) for name, stock in STOCKS.items()}
    print(f"{'budget':>10s}  {'measured best':>13s}" + "".join(f"  {name:>32s}" for name in STOCKS))
    above = {
        name: [_loss(mean, row, keep) - mean[row].min() for row, keep in enumerate(of)] for name, of in found.items()
    }
    for row, budget in enumerate(BUDGETS_BYTES):
        cells = "".join(f"  keep {of[row]:.2f}, {above[name][row]:+.4f} nats/byte" for name, of in found.items())
        print(f"{budget / 1e6:7.1f} MB  {KEEPS[mean[row].argmin()]:13g}{cells}")
    return list(_missed(found, above))


def _missed(found: dict[str, list[float]], above: dict[str, list[float]]) -> Iterator[str]:
    keeps, plain = found["with repetition"], found["without it"]
    if not keeps[-1] > keeps[0]:
        yield f"the share found doesn't grow from the smallest budget to the largest: {keeps}"
    if max(above["with repetition"]) > NEAR:
        yield f"a share found is {max(above['with repetition']):.4f} nats above the best measured; at most {NEAR}"
    if not (plain[-1] < keeps[-1] and above["without it"][-1] > above["with repetition"][-1]):
        yield f"without repetition the search gets no worse: it keeps {plain[-1]:.2f} of the pool"


def _measured(seeds: int, file: str | None) -> np.ndarray:
    """Losses `(seeds, budgets, keeps)`."""
    if file is not None and Path(file).exists():
        return np.array(json.loads(Path(file).read_text(encoding="utf-8")))[:seeds]
    losses = np.array([strictness_losses(seed) for seed in range(seeds)])
    if file is not None:
        Path(file).write_text(json.dumps(losses.tolist()), encoding="utf-8")
    return losses


def _rows(losses: np.ndarray) -> Iterator[dict[str, object]]:
    """Rows of a run table: a byte is a token, and all of the pool is text as it is."""
    for seed, of_seed in enumerate(losses):
        for budget, of_budget in zip(BUDGETS_BYTES, of_seed, strict=True):
            for keep, loss in zip(KEEPS, of_budget, strict=True):
                kind = "none" if keep == 1.0 else "judge"
                unique = min(budget, keep * SIZE_BYTES)
                yield {
                    "run_id": f"{kind}-{keep:g}-{budget}-{seed}", "params": SIZE, "tokens": budget, "keep": keep,
                    "unique_tokens": unique, "selection": kind, "loss": loss,
                }  # fmt: skip


def _found(predictor: Predictor, stock: float | None) -> list[float]:
    """The share that a search finds for each budget."""
    shares = []
    for budget in BUDGETS_BYTES:
        data = {"tokens": budget, "unique_tokens": stock, "selection": {"kind": "judge", "keep": 0.5}}
        space = {"data.selection.keep": {"low": KEEPS[0], "high": 1}}
        run = {"model": {"params": SIZE}, "data": data}
        study = Study.from_mapping({"run": run, "space": space, "objective": "loss_nats"}, predictor=predictor)
        evaluator = Evaluator(study)
        ends = [
            improve(evaluator, evaluator({"data.selection.keep": keep}), lambda one: one.goals[0], budget=200)
            for keep in (0.1, 0.4, 0.8)
        ]
        shares.append(float(min(ends, key=lambda one: one.goals).values["data.selection.keep"]))
    return shares


def _loss(mean: np.ndarray, row: int, keep: float) -> float:
    """The measured loss of a budget at a share between measured ones."""
    return float(np.interp(keep, KEEPS, mean[row]))
