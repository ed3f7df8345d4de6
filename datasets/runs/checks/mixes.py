"""Shares of a mix: of one, in percent, or as tokens of each domain; all become shares of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..raw_table import Cells, Frame, RawTable

__all__ = ["MIX_TOLERANCE", "normalise_mix", "whole_of"]

MIX_TOLERANCE = 0.01
"""How far from 1 the shares of a row may sum: published tables round shares to three decimals."""

_ROUNDING = 1e-9  # shares this close to 1 are left as they are, so that reading a written table changes nothing


def whole_of(total: np.ndarray, tokens: np.ndarray | None) -> tuple[str, np.ndarray] | None:
    """What the shares of every row sum to, if that is one thing in all of them.

    Args:
        total: Sums of the rows, `(n,)`.
        tokens: Training tokens of the rows, `(n,)`, where the table states them.

    Returns:
        `share`, `percent` or `tokens`, with the sums that stand for a whole, `(n,)`; None where they are none of these.

    >>> whole_of(np.array([100.0, 99.9]), None)[0], whole_of(np.array([1.0, 100.0]), None)
    ('percent', None)
    """
    wholes = {"share": np.ones(len(total)), "percent": np.full(len(total), 100.0)}
    if tokens is not None:
        wholes["tokens"] = tokens
    for name, whole in wholes.items():
        with np.errstate(invalid="ignore"):
            if bool((np.abs(total - whole) <= MIX_TOLERANCE * whole * (1 + 1e-9)).all()) and len(total):
                return name, whole
    return None


def normalise_mix(raw: RawTable, frame: Frame) -> Frame:
    """Make the mix shares of each row sum to 1. Raises RunTableError where they are further than MIX_TOLERANCE from it.

    Rows that all sum to 100, or all to their tokens, are percent, or token counts, and are divided by that with a note.
    A blank share counts as zero, unless all shares of a run that is not ok are blank.
    """
    names = [name for name in frame.columns if name.startswith("mix.") and name != "mix."]
    if not names:
        return frame
    shares = frame[names].to_numpy(dtype=float)  # (n_rows, n_domains)
    blank = np.isnan(shares)
    unknown = blank.all(axis=1) & (frame["status"] != "ok").to_numpy()
    total = _sums(frame, names)
    tokens = frame["tokens"].to_numpy(dtype=float) if "tokens" in frame.columns else None
    found = whole_of(total[~unknown], None if tokens is None else tokens[~unknown])
    if found is not None and found[0] != "share":
        kind, whole = found
        frame.loc[~unknown, names] = frame.loc[~unknown, names].div(pd.Series(whole, frame.index[~unknown]), axis=0)
        read = "percent: divided by 100" if kind == "percent" else "tokens of each domain: divided by tokens"
        raw.notes.append(f"read the mix as {read}, as the columns sum to that in every row")
        shares, total = frame[names].to_numpy(dtype=float), _sums(frame, names)
    _refuse_other_sums(raw, frame, names, np.where(unknown, 1.0, total))
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


def _sums(frame: Frame, names: Sequence[str]) -> np.ndarray:
    """The sum of each row, `(n,)`, in one order whatever the order on disk, so that rounding is the same too."""
    total: Cells = np.zeros(len(frame))
    for name in sorted(names):
        total += frame[name].fillna(0.0).to_numpy()
    return total


def _refuse_other_sums(raw: RawTable, frame: Frame, names: Sequence[str], total: np.ndarray) -> None:
    off = np.abs(total - 1) > MIX_TOLERANCE
    if not off.any():
        return
    place = int(np.argmax(off))
    percent = abs(total[place] - 100) < 100 * MIX_TOLERANCE
    hint = " (percent here, but not in every row: one unit for all)" if percent else ""
    raw.refuse_row(
        int(frame.index[place]),
        f"columns {names[0]!r} to {names[-1]!r}: the {len(names)} mix shares sum to {total[place]:.6g}{hint}; "
        f"expected 1 within {MIX_TOLERANCE}, or percent or tokens of each domain in every row",
    )
