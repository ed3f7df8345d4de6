"""Losses in other units, which become nats per token on reading: perplexity, bits per token, bits per byte.

A column in such a unit stands for `loss`, or for `loss.<domain>`, in the rows where that one says nothing. Bits per
byte need the bytes of a token: a column `bytes_per_token`, or the name of a tokenizer that the catalogue knows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...core.columns import alias_key
from ...core.errors import UsageError
from ...core.reading.suggest import did_you_mean
from ...core.units import shown
from ..facts.corpora import kinds_of
from ..facts.tokenizers import Tokenizer, bytes_per_token, find_tokenizer, nearest_tokenizers, tokenizers
from .raw_table import Cells, Frame, RawTable

__all__ = ["UNITS", "UNIT_NAMES", "Unit", "by_target", "checked_tokenizer", "target_of", "to_nats", "unit_of"]


@dataclass(frozen=True)
class Unit:
    """A unit of losses: its standard name, the folded names of columns that hold it, and what precedes a domain."""

    name: str
    names: tuple[str, ...]
    prefixes: tuple[str, ...]
    least: float
    """A loss in this unit is larger."""

    def domain_of(self, name: str) -> str | None:
        """The domain of a column in this unit: "" for that of all text, None for a column that isn't in this unit."""
        key = alias_key(name)
        if key in self.names:
            return ""
        prefix = next((one for one in self.prefixes if key.startswith(one) and len(key) > len(one)), None)
        return None if prefix is None else name.strip()[len(prefix) :]


_ALL = (
    Unit(
        "perplexity",
        ("perplexity", "ppl", "val_perplexity", "val_ppl", "eval_perplexity", "eval_ppl", "validation_perplexity"),
        ("perplexity.", "ppl."),
        1.0,
    ),
    Unit("bits_per_token", ("bits_per_token", "bits"), ("bits_per_token.", "bits."), 0.0),
    Unit("bpb", ("bpb", "bits_per_byte", "val_bpb", "eval_bpb", "validation_bpb"), ("bpb.", "bits_per_byte."), 0.0),
)
"""The ones that need no tokenizer first: where a row has several, the first counts."""

UNITS = {unit.name: unit for unit in _ALL}
"""The units by name."""

UNIT_NAMES = tuple(name for unit in _ALL for name in unit.names)
"""Every folded name of a column that can stand for `loss`."""

_TEXT_COLUMNS = ("bpb_domain", "val_domain", "corpus", "dataset", "domain")
"""What may name the text that bits per byte were measured on, surest first."""

_USUAL_TEXT = "web"
_PLAUSIBLE_BYTES = (1.0, 12.0)
"""Bytes per token of any tokenizer on any text; bytes themselves are 1."""


def unit_of(name: str) -> Unit | None:
    """The unit of a column, by its name; None for any other column."""
    return next((unit for unit in _ALL if unit.domain_of(name) is not None), None)


def target_of(name: str) -> str:
    """The loss that a column in another unit stands for: `loss`, or `loss.<domain>`."""
    unit = unit_of(name)
    domain = unit.domain_of(name) if unit is not None else None
    return f"loss.{domain}" if domain else "loss"


def by_target(names: Iterable[str]) -> dict[str, list[str]]:
    """Columns in other units among `names`, by the loss that they stand for, surest first."""
    found: dict[str, list[str]] = {}
    for unit in _ALL:
        for name in names:
            if unit.domain_of(name) is not None:
                found.setdefault(target_of(name), []).append(name)
    return found


def to_nats(raw: RawTable, frame: Frame) -> Frame:
    """Turn the columns that `raw.units` names into nats per token and fill blank losses with them, with notes.

    Raises RunTableError for bits per byte of a row whose bytes per token nobody knows.
    """
    for name, unit in raw.units.items():
        target = raw.fills.get(name, name)
        wanted = frame[name].notna() & (_get(frame, target).isna() if name in raw.fills else True)
        nats = _nats(raw, frame, name, unit, wanted)
        if name in raw.fills:
            frame[target] = frame[target].where(~wanted, nats)
        else:
            frame[target] = nats
        rows = "" if wanted.all() else f" in {int(wanted.sum())} rows"
        source = raw.labels.get(name, name)
        raw.notes.append(f"{target} is {_FORMULAS[unit].format(source)}, in nats per token{rows}")
    return frame


_FORMULAS: Mapping[str, str] = {
    "perplexity": "ln({})",
    "bits_per_token": "ln 2 · {}",
    "bpb": "ln 2 · {} · bytes per token",
}


def _get(frame: Frame, name: str) -> Cells:
    return frame[name] if name in frame.columns else pd.Series(np.nan, frame.index)


def _nats(raw: RawTable, frame: Frame, name: str, unit: str, wanted: Cells) -> Cells:
    """Losses in nats per token, (n_rows,), NaN where not `wanted`."""
    values = frame[name].where(wanted)
    if unit == "perplexity":
        return np.log(values.where(values > 0))
    if unit == "bits_per_token":
        return values * math.log(2)
    return values * math.log(2) * _bytes_per_token(raw, frame, name, wanted)


def _bytes_per_token(raw: RawTable, frame: Frame, name: str, wanted: Cells) -> Cells:
    """Bytes per token of each row: as the table states, else by tokenizer, the same for all rows of one tokenizer.

    Raises RunTableError where a wanted row of status ok says neither.
    """
    found = _get(frame, "bytes_per_token")
    low, high = _PLAUSIBLE_BYTES
    odd = ((found < low) | (found > high)).to_numpy()
    raw.refuse_cells("bytes_per_token", odd, frame.index, "is not what a token has", f"{low:g} to {high:g} bytes")

    blank = wanted & found.isna()
    names = _get(frame, "tokenizer").astype(object).where(lambda cells: cells.notna(), raw.tokenizer)
    target = raw.fills.get(name, name)
    text, kinds = _text(frame, name, target)
    for tokenizer in dict.fromkeys(names[blank].dropna()):
        known = _known(str(tokenizer), raw.tokenizer)
        if known is None:
            continue
        value, _ = bytes_per_token(known, kinds)
        found = found.where(~(blank & (names == tokenizer)), value)
        raw.notes.append(f"took {value:.3g} bytes for a token of {known.name} on {text}; a column bytes_per_token wins")

    lacking = (blank & found.isna() & (frame["status"] == "ok")).to_numpy()
    if lacking.any():
        row = int(frame.index[int(np.argmax(lacking))])
        whose = "no tokenizer is stated" if pd.isna(names[row]) else f"nothing is known of tokenizer {names[row]!r}"
        stated = "an empty cell in" if "bytes_per_token" in frame.columns else "no column"
        more = f" ({int(lacking.sum()) - 1} more rows like it)" if lacking.sum() > 1 else ""
        raw.refuse_row(
            row,
            f"{raw.label(name)}: bits per byte become nats per token by the bytes of a token, but there is {stated} "
            f"bytes_per_token, and {whose}; expected such a column (or --columns bytes_per_token=COLUMN), a column "
            f"tokenizer with one of {', '.join(tokenizers())}, or --tokenizer NAME{more}",
        )
    if target == "loss":
        frame["bytes_per_token"] = found
    return found


def checked_tokenizer(name: str) -> str:
    """The name of a tokenizer that the catalogue knows. Raises UsageError for another."""
    if find_tokenizer(name) is None:
        hint = did_you_mean(nearest_tokenizers(name))
        raise UsageError(f"tokenizer: got {shown(name)}; {hint}expected one of {', '.join(tokenizers())}")
    return name


def _known(tokenizer: str, fallback: str | None) -> Tokenizer | None:
    """What the catalogue says of a tokenizer, or else of the one that was given for rows without."""
    found = find_tokenizer(tokenizer)
    return find_tokenizer(fallback) if found is None and fallback is not None else found


def _text(frame: Frame, name: str, target: str) -> tuple[str, Mapping[str, float]]:
    """The text that a target's bits per byte were measured on, and its kinds: its domain, else what most rows state.

    One text for all rows of a target, so that rows of one tokenizer keep their distances.
    """
    named = [target.removeprefix("loss.")] if target.startswith("loss.") else []
    rows = frame[frame[name].notna()]
    for column in _TEXT_COLUMNS:
        if column in rows.columns and rows[column].notna().any():
            named.append(str(rows[column][rows[column].notna()].astype(str).mode().iloc[0]))
    for text in named:
        kinds = kinds_of(text, evaluation=True)
        if kinds is not None:
            return text, kinds
    return f"{_USUAL_TEXT} text", {_USUAL_TEXT: 1.0}
