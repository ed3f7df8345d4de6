"""Fill in columns that follow from others, check consistency, and warn about likely unit errors."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from ...core.errors import DataWarning
from .column_names import MIX_TOLERANCE
from .columns import aliases
from .impossible_values import refuse_impossible_counts
from .raw_table import Cells, Frame, RawTable

__all__ = ["EPOCHS_TOLERANCE", "FLOPS_PER_PARAM_TOKEN", "complete", "normalise_mix", "warn_unit_slips"]

FLOPS_PER_PARAM_TOKEN = 6.0
"""Training FLOPs per parameter and token: 2 forward and 4 backward (Kaplan et al. 2020, section 2.1)."""

EPOCHS_TOLERANCE = 0.02
"""Relative disagreement allowed between epochs and tokens / unique_tokens: published tables round both."""

_ROUNDING = 1e-9  # shares this close to 1 are left as they are, so that reading a written table changes nothing

# column, below which value it looks like a slip, which slip
_SLIPS = (
    (
        "params",
        1e4,
        "are parameters counted in millions or billions, or as logarithms? expected plain counts, 7e9 or 7B",
    ),
    (
        "tokens",
        1e5,
        "are tokens counted in millions or billions, or as logarithms? expected plain counts, 1.4e12 or 1.4T",
    ),
    ("loss", 0.1, "bits per byte, or already normalised? expected nats per token"),
)


def complete(raw: RawTable, frame: Frame) -> Frame:
    """Fill params, tokens, flops, epochs and unique_tokens where they follow from other columns, with a note for each.

    Raises RunTableError if params or tokens stay unknown in an ok row, if epochs contradict the token counts, and for
    counts that can't be.
    """
    frame = frame.copy()
    refuse_impossible_counts(raw, frame)
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


def normalise_mix(raw: RawTable, frame: Frame) -> Frame:
    """Make the mix shares of each row sum to 1. Raises RunTableError where they are further than MIX_TOLERANCE from it.

    A blank share counts as zero, unless all shares of a run that is not ok are blank.
    """
    names = [name for name in frame.columns if name.startswith("mix.") and name != "mix."]
    if not names:
        return frame
    shares = frame[names].to_numpy(dtype=float)  # (n_rows, n_domains)
    blank = np.isnan(shares)
    unknown = blank.all(axis=1) & (frame["status"] != "ok").to_numpy()
    total = np.zeros(len(frame))
    for name in sorted(names):  # in one order whatever the order on disk, so that rounding is the same too
        total += frame[name].fillna(0.0).to_numpy()
    off = (np.abs(total - 1) > MIX_TOLERANCE) & ~unknown
    if off.any():
        place = int(np.argmax(off))
        hint = " (percentages? divide by 100)" if abs(total[place] - 100) < 100 * MIX_TOLERANCE else ""
        raw.refuse_row(
            int(frame.index[place]),
            f"columns {names[0]!r} to {names[-1]!r}: the {len(names)} mix shares sum to {total[place]:.6g}{hint}; "
            f"expected 1 within {MIX_TOLERANCE}",
        )
    uneven = (np.abs(total - 1) > _ROUNDING) & ~unknown
    if uneven.any():
        sums = f"{total[uneven].min():.4g} to {total[uneven].max():.4g}"
        raw.notes.append(f"renormalised the mix in {int(uneven.sum())} rows (sums {sums})")
    if (blank & ~unknown[:, None]).any():
        raw.notes.append("read empty mix cells as 0")
    scaled = np.nan_to_num(shares) / np.where(uneven, total, 1.0)[:, None]
    scaled[unknown] = np.nan
    frame[names] = scaled
    return frame


def warn_unit_slips(raw: RawTable, frame: Frame) -> None:
    """Issue one DataWarning per column whose ok rows look like they are in another unit."""
    ok = frame["status"] == "ok"
    for column, limit, question in _SLIPS:
        for name in [c for c in frame.columns if c == column or (column == "loss" and c.startswith("loss."))]:
            low = (frame[name] < limit) & ok
            if low.any():
                value = frame[name][low].iloc[0]
                _warn(raw, low, f"{raw.label(name)}: {value:g} is below {limit:g}: {question}")
    ratio = frame["flops"] / (FLOPS_PER_PARAM_TOKEN * _active(frame) * frame["tokens"])
    far = ((ratio > 10) | (ratio < 0.1)) & ok
    if far.any():
        _warn(
            raw, far, f"{raw.label('flops')}: {ratio[far].iloc[0]:.3g} × 6 · params_active · tokens; expected about 1 ×"
        )


def _warn(raw: RawTable, rows: Cells, message: str) -> None:
    others = f" ({int(rows.sum()) - 1} more rows like it)" if rows.sum() > 1 else ""
    place = raw.locate(int(rows.index[int(np.argmax(rows))]))
    warnings.warn(f"{raw.where}, {place}, {message}{others}", DataWarning, stacklevel=5)
