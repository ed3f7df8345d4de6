"""Text that models wrote: what its columns say of each other, and what blank cells mean beside a share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..raw_table import Cells, Frame, RawTable

__all__ = ["check_synthetic"]

_TOLERANCE = 0.01
"""By which the shares under `replace` may miss 1: tables round them."""
_MOST_GENERATIONS = 1000
_HARMFUL = ("replace", "accumulate", "accumulate_fixed", "subsample")
_MEANT: dict[str, Any] = {"generation": 1.0, "regime": "replace", "generator": "self"}
"""What a blank cell beside a share above 0 means, as in the section `data.synthetic` of a plan."""


def check_synthetic(raw: RawTable, frame: Frame) -> Frame:
    """Complete the columns of synthetic text where there is a share of it.

    A row with a share above 0 that states no generation, regime or generator is of generation 1, `replace` and `self`.

    Args:
        raw: The table as it was read, which keeps notes of what was assumed.
        frame: Its cells, by standard names.

    Raises:
        RunTableError: A row's columns contradict each other, such as generation 0 with a share above 0.
    """
    if "synthetic_share" not in frame.columns or not (frame["synthetic_share"] > 0).any():
        return frame
    written = frame["synthetic_share"] > 0
    for name, meant in _MEANT.items():
        if name not in frame.columns:
            of_none = pd.Series(np.nan, frame.index) if name == "generation" else pd.Series(None, frame.index, "string")
            frame[name] = of_none
        blank = written & frame[name].isna()
        if blank.any():
            frame.loc[blank, name] = meant
            shown = f"{meant:g}" if name == "generation" else meant
            raw.notes.append(f"read blank {name} as {shown} in {int(blank.sum())} rows with a synthetic_share above 0")
    _refuse_contradictions(raw, frame, written)
    return frame


def _refuse_contradictions(raw: RawTable, frame: Frame, written: Cells) -> None:
    generation = frame["generation"]
    beside = "beside a synthetic_share above 0"
    none_or_part = written & ((generation < 1) | (generation > _MOST_GENERATIONS) | (generation % 1 != 0))
    accepted = f"a whole number from 1 to {_MOST_GENERATIONS:,}, or a share of 0"
    _refuse(raw, "generation", none_or_part, generation, beside, accepted)
    regime = frame["regime"]
    unknown = written & ~regime.isin(_HARMFUL)
    _refuse(raw, "regime", unknown, regime, beside, f"one of {', '.join(_HARMFUL)}, or a share of 0")
    generator = frame["generator"]
    _refuse(raw, "generator", written & (generator == "none"), generator, beside, "what wrote it, or a share of 0")
    if "real_share" in frame.columns:
        real, share = frame["real_share"], frame["synthetic_share"]
        apart = written & (regime == "replace") & ((real + share - 1.0).abs() > _TOLERANCE * (1 + 1e-9))
        others = f"beside a synthetic_share of {share[apart].iloc[0]:g} under replace" if apart.any() else ""
        _refuse(raw, "real_share", apart, real, others, "shares that sum to 1, or another regime")


def _refuse(raw: RawTable, column: str, bad: Cells, cells: Cells, problem: str, accepted: str) -> None:
    """Raise RunTableError about the first row where `bad` holds, if there is one."""
    if bad.any():
        row = int(bad.idxmax())
        value = cells[row]
        shown = f"{value:g}" if isinstance(value, float) else repr(str(value))
        raw.refuse_row(row, f"{raw.label(column)}: got {shown} {problem}; expected {accepted}")
