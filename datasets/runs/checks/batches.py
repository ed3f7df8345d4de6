"""The batch: in tokens, as laws read it, or in sequences, as trainers print it; and what steps and tokens say of it."""

from __future__ import annotations

import numpy as np

from ....core.columns import alias_key
from ....core.model.plausibility import LEAST_BATCH_TOKENS
from ..raw_table import Cells, Frame, RawTable

__all__ = ["batch_doubt", "batch_from_steps", "read_batch_column"]

_NAMES = ("gbsz", "gbs", "global_batch_size", "global_batch", "batch_size", "bsz", "batch")
"""Folded names of a column that holds tokens or sequences, surest first."""

_AGREES = 0.05  # steps are rounded, and the last one may be short
_FAR = 1.5
_VARIES = 1.05
_ROUND, _ROUNDED = 128, 0.003
_MOST_SEQUENCE = 2.0**24


def read_batch_column(raw: RawTable, frame: Frame) -> None:
    """Make `batch_tokens`, in place, of a column of batches in a unit that the other columns tell.

    That is tokens / steps where they are there: 1 × the column is tokens, a whole number × in every row sequences of so
    many. Without steps, the length of a sequence (`context_length`) and a batch too small to be tokens say it.
    """
    if "batch_tokens" in frame.columns:
        return
    found = {alias_key(str(name)): name for name in frame.columns}
    name = next((found[key] for key in _NAMES if key in found), None)
    if name is None or frame[name].dtype.kind not in "iuf":
        return
    batch = frame[name].astype(float).where(frame[name] > 0)
    factor = _steady(_get(frame, "tokens") / (_get(frame, "steps") * batch))
    if factor is None and _median(batch) < LEAST_BATCH_TOKENS and "context_length" in frame.columns:
        factor = frame["context_length"]
    if factor is None:
        return
    unit = "tokens"
    if not isinstance(factor, float):
        unit = "sequences of context_length tokens"
    elif factor != 1.0:
        unit = f"sequences of {factor:.0f} tokens, as tokens / (steps · {name}) is that in every row"
    frame["batch_tokens"] = batch * factor
    raw.labels["batch_tokens"] = str(name)
    raw.notes.append(f"read column {str(name)!r} as batch_tokens, in {unit}")


def batch_from_steps(frame: Frame) -> Cells | None:
    """Tokens / steps of each row, `(n,)`, where no batch is stated and it varies; None elsewhere."""
    if not {"tokens", "steps"} <= set(frame.columns) or "batch_tokens" in frame.columns:
        return None
    batch = (frame["tokens"] / frame["steps"]).where(frame["status"] == "ok")
    if batch.notna().sum() < 2 or _median(batch) < LEAST_BATCH_TOKENS:
        return None
    return batch if batch.max() / batch.min() > _VARIES else None


def batch_doubt(raw: RawTable, frame: Frame) -> tuple[Cells, str] | None:
    """The rows whose batch can't be in tokens, and why; None where nothing speaks against it."""
    if "batch_tokens" not in frame.columns:
        return None
    batch = frame["batch_tokens"].where(frame["status"] == "ok")
    ratio = frame["tokens"] / (_get(frame, "steps") * batch)
    far = (ratio > _FAR) | (ratio < 1 / _FAR)
    if far.sum() > 0.5 * ratio.notna().sum():
        factor, steady = float(ratio[far].median()), _steady(ratio)
        every = " in every row" if steady is not None else ""
        length = f": in sequences of {factor:.0f} tokens?" if steady is not None and factor > 1 else ""
        return far, f"{raw.label('batch_tokens')}: tokens are {factor:.4g} × batch_tokens · steps{every}{length}"
    if _median(batch) < LEAST_BATCH_TOKENS:
        few = batch < LEAST_BATCH_TOKENS
        return few, f"{raw.label('batch_tokens')}: {batch[few].iloc[0]:g} tokens make no batch: in sequences?"
    return None


def _get(frame: Frame, name: str) -> Cells:
    return frame[name] if name in frame.columns else frame["status"].map(lambda _: np.nan).astype(float)


def _median(values: Cells) -> float:
    known = values.dropna()
    return float(known.median()) if len(known) else np.nan


def _steady(ratio: Cells) -> float | None:
    """The whole number, or 1, that every known row of a ratio has; None where they differ or none is known."""
    known = ratio[np.isfinite(ratio)]
    if len(known) < 1:
        return None
    middle = max(round(float(known.median())), 1)
    round_length = max(round(middle / _ROUND), 1) * _ROUND
    if abs(middle / round_length - 1) < _ROUNDED:  # steps are whole, lengths of sequences round
        middle = round_length
    steady = ((known / middle - 1).abs() <= _AGREES).all() and middle <= _MOST_SEQUENCE
    return float(middle) if steady else None
