"""Chains: generations of models, each trained on text of those before it, which share the luck of the first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .raw_table import Frame

__all__ = ["joined_by_chain"]

_SHARED = (
    *("params", "seed", "corpus", "tokenizer", "source", "architecture", "selection", "val_domain"),
    *("generator", "regime", "real_share"),
)
"""What generations of a chain have in common, where a table states it."""


def joined_by_chain(frame: Frame, origins: np.ndarray | None) -> np.ndarray | None:
    """Number rows by the chain that they are of, others by their training run.

    Rows of different budgets count as one chain only within a factor of 2, since training may grow along a chain.

    Args:
        frame: The rows, by standard names.
        origins: The training run of each row, numbered, `(n,)`; None if every row is a run of its own.

    Returns:
        Such numbers `(n,)`, with gaps; None if every row is still by itself.
    """
    if not {"synthetic_share", "generation", "regime"} <= set(frame.columns):
        return origins
    of_chain = ((frame["synthetic_share"] > 0) & (frame["generation"] >= 1)).to_numpy()
    rows = frame[of_chain]
    keys = rows[[name for name in _SHARED if name in rows.columns]].astype(str)
    # by itself the share is that of a chain under replace alone, and accumulated text is n + 1 times as much
    share = rows["synthetic_share"].round(2).where(rows["regime"] == "replace", 0.0)
    grown = np.where(rows["regime"] == "accumulate", rows["generation"] + 1.0, 1.0)
    keys = keys.assign(share=share, budget=np.log2(rows["tokens"] / grown).round())
    numbers = np.arange(len(frame)) if origins is None else origins.copy()
    numbers[of_chain] = numbers.max(initial=0) + 1 + keys.groupby(list(keys), sort=False, dropna=False).ngroup()
    return None if len(np.unique(numbers)) == len(numbers) else numbers
