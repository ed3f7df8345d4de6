"""What the numbers of a table say that no table of runs says: counts in another unit, swapped columns, odd rates."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from ....core.errors import DataWarning
from ....core.model.plausibility import LEAST_COUNT, MOST_LR, USUAL_TOKENS_PER_PARAM, count_slip, ratio_slip
from ..raw_table import Cells, Frame, RawTable
from .batches import batch_doubt

__all__ = ["FLOPS_PER_PARAM_TOKEN", "refuse_other_units", "warn_of_doubts"]

FLOPS_PER_PARAM_TOKEN = 6.0
"""Training FLOPs per parameter and token: 2 forward and 4 backward (Kaplan et al. 2020, section 2.1)."""

_MOST = 0.5  # share of the rows from which on the table is meant, and not a row

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


def refuse_other_units(raw: RawTable, frame: Frame) -> None:
    """Raise RunTableError where most runs have fewer parameters, or tokens, than any run."""
    ok = frame["status"] == "ok"
    for name in ("params", "tokens"):
        low = (frame[name] < LEAST_COUNT) & ok
        if low.sum() > _MOST * ok.sum():
            value = float(frame[name][low].iloc[0])
            slip = count_slip(name, value)
            maybe = f" ({slip})" if slip else ""
            raw.refuse_row(
                int(frame.index[int(np.argmax(low))]),
                f"{raw.label(name)}: {value:g} {name} are no run, and most rows have as few{maybe}; expected plain "
                "counts, such as 7e9 or 7B",
            )


def warn_of_doubts(raw: RawTable, frame: Frame) -> tuple[str, ...]:
    """Issue a DataWarning for each thing in the ok rows that looks like a slip; returns what was said of the table."""
    said = []
    for rows, message in _doubts(raw, frame):
        others = f" ({int(rows.sum()) - 1} more rows like it)" if rows.sum() > 1 else ""
        place = raw.locate(int(rows.index[int(np.argmax(rows))]))
        warnings.warn(f"{raw.where}, {place}, {message}{others}", DataWarning, stacklevel=5)
        said.append(f"{message}{others}")
    return tuple(said)


def _doubts(raw: RawTable, frame: Frame) -> Iterator[tuple[Cells, str]]:
    """The rows and the words of each doubt."""
    ok = frame["status"] == "ok"
    for column, limit, question in _SLIPS:
        for name in [c for c in frame.columns if c == column or (column == "loss" and c.startswith("loss."))]:
            low = (frame[name] < limit) & ok
            if low.any():
                yield low, f"{raw.label(name)}: {frame[name][low].iloc[0]:g} is below {limit:g}: {question}"
    active = frame["params_active"].fillna(frame["params"]) if "params_active" in frame.columns else frame["params"]
    ratio = frame["flops"] / (FLOPS_PER_PARAM_TOKEN * active * frame["tokens"])
    far = ((ratio > 10) | (ratio < 0.1)) & ok
    if far.any():
        yield far, f"{raw.label('flops')}: {ratio[far].iloc[0]:.3g} × 6 · params_active · tokens; expected about 1 ×"
    low, high = USUAL_TOKENS_PER_PARAM
    data = frame["tokens"] / frame["params"]
    odd = ((data < low) | (data > high)) & ok
    if odd.sum() > _MOST * ok.sum():
        middle = float(data[odd].median())
        yield odd, f"{raw.label('tokens')}: {middle:.2g} tokens per parameter in most rows: {ratio_slip(middle)}"
    if "lr" in frame.columns:
        high_rate = (frame["lr"] > MOST_LR) & ok
        if high_rate.any():
            yield (
                high_rate,
                f"{raw.label('lr')}: {frame['lr'][high_rate].iloc[0]:g} is no learning rate; in units of 1e-4?",
            )
    doubt = batch_doubt(raw, frame)
    if doubt is not None:
        yield doubt[0].fillna(False).astype(bool), doubt[1]
