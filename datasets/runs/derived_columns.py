"""Fill in columns that follow from others, and check that they agree."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .checks.batches import batch_from_steps, read_batch_column
from .checks.doubts import FLOPS_PER_PARAM_TOKEN, refuse_other_units
from .columns import aliases
from .impossible_values import refuse_impossible_counts
from .raw_table import Cells, Frame, RawTable

__all__ = ["EPOCHS_TOLERANCE", "FLOPS_PER_PARAM_TOKEN", "complete"]

EPOCHS_TOLERANCE = 0.02
"""Relative disagreement allowed between epochs and tokens / unique_tokens: published tables round both."""


def complete(raw: RawTable, frame: Frame) -> Frame:
    """Fill params, tokens, flops, epochs and unique_tokens where they follow from other columns, with a note for each.

    Raises RunTableError if params or tokens stay unknown in an ok row, if epochs contradict the token counts, and for
    counts that can't be.
    """
    frame = frame.copy()
    refuse_impossible_counts(raw, frame)
    read_batch_column(raw, frame)
    _fill(raw, frame, "tokens", _get(frame, "steps") * _get(frame, "batch_tokens"), "steps · batch_tokens")
    _fill(raw, frame, "params", _get(frame, "params_active"), "params_active")
    _fill(raw, frame, "tokens", _get(frame, "flops") / (FLOPS_PER_PARAM_TOKEN * _active(frame)), "flops / (6 · params)")
    by_flops = _get(frame, "flops") / (FLOPS_PER_PARAM_TOKEN * _get(frame, "tokens"))
    _fill(raw, frame, "params", by_flops, "flops / (6 · tokens)")
    _fill_embedding(raw, frame)
    for name, ways in (("params", "flops and tokens"), ("tokens", "steps and batch_tokens, or from flops and params")):
        _require(raw, frame, name, ways)
    name = "6 · params_active · tokens" if "params_active" in frame.columns else "6 · params · tokens"
    _fill(raw, frame, "flops", FLOPS_PER_PARAM_TOKEN * _active(frame) * frame["tokens"], name)
    refuse_impossible_counts(raw, frame)
    refuse_other_units(raw, frame)
    batch = batch_from_steps(frame)
    if batch is not None:
        _fill(raw, frame, "batch_tokens", batch, "tokens / steps")
    _complete_epochs(raw, frame)
    return frame


def _fill_embedding(raw: RawTable, frame: Frame) -> None:
    """Fill params_embedding from a count with and one without it, where the latter is less."""
    embedding = _get(frame, "params") - _get(frame, "params_non_embedding")
    _fill(raw, frame, "params_embedding", embedding.where(embedding > 0), "params - params_non_embedding")


def _get(frame: Frame, name: str) -> Cells:
    return frame[name] if name in frame.columns else pd.Series(np.nan, frame.index)


def _active(frame: Frame) -> Cells:
    """Parameters that a token passes through; all of them where nothing else is said."""
    return _get(frame, "params_active").fillna(_get(frame, "params"))


def _fill(raw: RawTable, frame: Frame, name: str, values: Cells, source: str) -> None:
    """Write `values` into the blank cells of a column, in place; does nothing (and adds no column) if none is known."""
    blank = _get(frame, name).isna() & np.isfinite(values) & (values > 0)
    if not blank.any():
        return
    frame[name] = _get(frame, name).where(~blank, values)
    rows = "all rows" if blank.all() else f"{int(blank.sum())} rows"
    raw.notes.append(f"made {name} from {source} in {rows}")


def _require(raw: RawTable, frame: Frame, name: str, ways: str) -> None:
    if name not in frame.columns:
        raw.refuse(
            f"there is no column {name!r}; expected it, or one of {', '.join(aliases(name))} "
            f"(or name it with --columns {name}=COLUMN); it can also be made from {ways}; "
            f"the columns are {raw.listed()}"
        )
    missing = (frame[name].isna() & (frame["status"] == "ok")).to_numpy()
    raw.refuse_cells(name, missing, frame.index, "counts as missing", f"a number (it can also be made from {ways})")


def _distinct_by_domain(raw: RawTable, frame: Frame) -> Cells:
    """Distinct tokens of each run, by the stocks of its domains; NaN where none is used up.

    Raises RunTableError for a stock of a domain that has no share.
    """
    stocks = [name for name in frame.columns if name.startswith("unique_tokens.") and name != "unique_tokens."]
    for name in stocks:
        share = "mix." + name.removeprefix("unique_tokens.")
        if share not in frame.columns:
            raw.refuse(
                f"{raw.label(name)} states the stock of a domain that has no column {share!r}; expected its share"
            )
    distinct, repeats = pd.Series(0.0, frame.index), pd.Series(False, frame.index)
    for share in [name for name in frame.columns if name.startswith("mix.") and name != "mix."]:
        seen, stock = frame[share] * frame["tokens"], _get(frame, "unique_tokens." + share.removeprefix("mix."))
        distinct = distinct + np.fmin(seen, stock)
        repeats = repeats | (seen > stock)
    return distinct.where(repeats)


def _complete_epochs(raw: RawTable, frame: Frame) -> None:
    by_domain = _distinct_by_domain(raw, frame)
    unknown = _get(frame, "unique_tokens").isna() & _get(frame, "epochs").isna()
    _fill(raw, frame, "unique_tokens", by_domain.where(unknown), "the domains' shares and stocks")
    if not {"epochs", "unique_tokens"} & set(frame.columns):
        return
    tokens, unique, epochs = frame["tokens"], _get(frame, "unique_tokens"), _get(frame, "epochs")
    product = epochs * unique
    off = ((product / tokens - 1).abs() > EPOCHS_TOLERANCE).to_numpy()
    if off.any():
        row = int(frame.index[int(np.argmax(off))])
        ratio = f"{tokens[row]:g} / {unique[row]:g} = {tokens[row] / unique[row]:g}"
        raw.refuse_row(
            row,
            f"{raw.label('epochs')}: {epochs[row]:g} contradicts tokens / unique_tokens = {ratio}; "
            f"expected agreement within {EPOCHS_TOLERANCE:.0%}, or one of the cells empty",
        )
    single = epochs.isna() & unique.isna()
    _fill(raw, frame, "unique_tokens", tokens.where(single), "tokens, as a single pass,")
    _fill(raw, frame, "unique_tokens", tokens / epochs, "tokens / epochs")
    _fill(raw, frame, "epochs", tokens / _get(frame, "unique_tokens"), "tokens / unique_tokens")
