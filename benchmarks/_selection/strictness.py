"""How strictly to choose, by budget: the best share to keep, by a 5-gram.

A judge distilled from 200 labels ranks the documents of the noisy pool; the best share of them is kept, and a budget is
drawn from it, repeated where it is larger. Must reach: the best share grows with the budget (Goyal et al. 2024,
2404.07177), from the smallest budget to the largest, which is the whole pool.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from foretrain.datasets.selection.quota import best

from .contenders import MissingStepError, judged
from .losses import drawn, ngram_loss
from .pool import SIZE_BYTES, make_pool

__all__ = ["BUDGETS_BYTES", "KEEPS", "main"]

KEEPS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
BUDGETS_BYTES = (100_000, 300_000, 1_000_000, SIZE_BYTES)
DRAWS_BYTES = 2_000_000  # drawn in all for a mean: small budgets are drawn anew more often, as their losses vary more
NO_WORSE = 0.003  # nats per byte: shares within it of the best one are told apart by chance


def main(options: list[str]) -> list[str]:
    """Print the table; return what was missed."""
    parser = argparse.ArgumentParser(prog="selection.py strictness")
    parser.add_argument("--seeds", type=int, default=2)
    words = parser.parse_args(options)
    try:
        losses = np.array([_losses(seed) for seed in range(words.seeds)])
    except MissingStepError as error:
        return [f"the judge: {error}"]
    mean = losses.mean(axis=0)
    print(_table(mean, losses))
    of_each = np.array(KEEPS)[losses.argmin(axis=2)]  # (seeds, budgets)
    grows = (of_each[:, -1] > of_each[:, 0]).all()
    return [] if grows else [f"the best share doesn't grow from the smallest budget to the largest: {of_each.tolist()}"]


def _losses(seed: int) -> np.ndarray:
    """Natural means by budget and share kept (budgets, keeps)."""
    with tempfile.TemporaryDirectory(prefix="selection-") as folder:
        pool = make_pool(Path(folder), seed)
        scores = judged(pool, seed)
    sizes = pool.sizes_bytes
    losses = np.empty((len(BUDGETS_BYTES), len(KEEPS)))
    for column, keep in enumerate(KEEPS):
        kept = best(scores, sizes, keep, np.random.default_rng(seed))
        for row, budget in enumerate(BUDGETS_BYTES):
            rngs = [np.random.default_rng([seed, draw]) for draw in range(max(1, round(DRAWS_BYTES / budget)))]
            of_draws = [ngram_loss(pool, drawn(kept, sizes, budget, rng)).natural for rng in rngs]
            losses[row, column] = np.mean(of_draws)
    return losses


def _table(mean: np.ndarray, losses: np.ndarray) -> str:
    lines = [
        "Natural mean of a 5-gram's losses, nats per byte, by share kept (columns) and budget; * within "
        f"{NO_WORSE} of the budget's best; mean of {len(losses)} seeds",
        f"{'budget':>10s}" + "".join(f"{keep:>8g} " for keep in KEEPS) + "  best share of each seed",
    ]
    for row, budget in enumerate(BUDGETS_BYTES):
        marks = ["*" if loss <= mean[row].min() + NO_WORSE else " " for loss in mean[row]]
        cells = "".join(f"{loss:8.3f}{mark}" for loss, mark in zip(mean[row], marks, strict=True))
        found = ", ".join(f"{KEEPS[column]:g}" for column in losses[:, row].argmin(axis=1))
        lines.append(f"{budget / 1e6:7.1f} MB{cells}  {found}")
    return "\n".join(lines)
