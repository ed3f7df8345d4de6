"""Refuse what no run can have: counts given as logarithms, and losses that guessing would beat."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from ..facts.tokenizers import find_tokenizer
from .columns import rule_of
from .raw_table import Cells, Frame, RawTable

__all__ = ["refuse_impossible_counts", "refuse_losses_beyond_guessing"]

_ANY_VOCABULARY = 1e6
"""Entries of a larger vocabulary than any that is used; what a loss may be where none is stated."""

_SURELY_A_PERPLEXITY = 50.0
_MOST_LOGARITHM = 100.0  # e^100 and more are no counts of a run
_AGREES = math.log(10.0)  # flops and 6 · params · tokens may differ by this factor: sources count FLOPs differently
_SIZES = (math.log(1e4), math.log(1e14))  # parameters of a model
_DATA = (math.log(1e5), math.log(1e16))  # tokens of a run


def refuse_impossible_counts(raw: RawTable, frame: Frame) -> None:
    """Raise RunTableError for counts that no run has: below 1, FLOPs below the parameters, a handful of both sizes.

    What is derived comes after it.
    """
    for name in frame.columns:
        if rule_of(name) == "count":
            _refuse(raw, frame, name, frame[name] < 1, "is less than one")
    if {"params", "tokens"} <= set(frame.columns):
        tiny = (frame["params"] < _MOST_LOGARITHM) & (frame["tokens"] < _MOST_LOGARITHM)
        _refuse(raw, frame, "tokens", tiny, "tokens and as few parameters are no run")
    if "flops" in frame.columns:
        for name in ("params_active", "params"):
            if name in frame.columns:
                _refuse(raw, frame, "flops", frame["flops"] < frame[name], f"FLOPs are fewer than {name}")


def _refuse(raw: RawTable, frame: Frame, name: str, bad: Cells, problem: str) -> None:
    if not bad.any():
        return
    row = frame.index[int(np.argmax(bad.to_numpy()))]
    raw.refuse_cells(name, bad.to_numpy(), frame.index, problem, f"plain counts{_logarithm(frame, name, row)}")


def _logarithm(frame: Frame, name: str, row: int) -> str:
    """` (log10? 10^17.3 is 2e+17)` where that makes a run of the row's counts, else nothing."""
    cells = {key: frame[key][row] for key in ("params", "tokens", "flops") if key in frame.columns}
    for base, log, power in ((10.0, "log10", "10"), (math.e, "natural log", "e")):
        logs = {}
        for key, value in cells.items():
            if np.isfinite(value):
                logs[key] = value * math.log(base) if value < _MOST_LOGARITHM else math.log(value)
        if name in logs and _is_a_run(logs):
            return f" ({log}? {power}^{cells[name]:g} is {math.exp(logs[name]):.2g})"
    return ""


def _is_a_run(logs: dict[str, float]) -> bool:
    """Whether natural logarithms of params, tokens and flops, or of two of them, fit flops = 6 · params · tokens."""
    if len(logs) < 2:
        return False
    known = dict(logs)
    known.setdefault("params", known.get("flops", 0.0) - math.log(6) - known.get("tokens", 0.0))
    known.setdefault("tokens", known.get("flops", 0.0) - math.log(6) - known["params"])
    known.setdefault("flops", math.log(6) + known["params"] + known["tokens"])
    agree = abs(known["flops"] - math.log(6) - known["params"] - known["tokens"]) < _AGREES
    sizes = _SIZES[0] <= known["params"] <= _SIZES[1]
    return agree and sizes and _DATA[0] <= known["tokens"] <= _DATA[1]


def refuse_losses_beyond_guessing(raw: RawTable, frame: Frame) -> None:
    """Raise RunTableError for a loss above that of a uniform guess, ln(vocabulary size), in a row of status ok.

    Rows before the end of a run's schedule may be a nat above it, as a model is at its first steps. So may fewer than
    half of the runs, by any loss that isn't surely a perplexity: models do worse than guess at a learning rate that is
    far too high, and on a domain that they were not trained on; another unit would show in all of them.
    """
    losses = [name for name in frame.columns if name == "loss" or (name.startswith("loss.") and name != "loss.")]
    highest = float(np.nanmax(frame[losses].to_numpy(dtype=float), initial=0.0))
    if highest < _LEAST_GUESS:
        return
    vocabulary = _vocabulary(frame)
    guess, early, ok = np.log(vocabulary), _get(frame, "checkpoint") == 1, frame["status"] == "ok"
    for name in losses:
        beyond = (frame[name] > guess) & ok
        few = beyond.sum() < _FEW * ok.sum()
        bad = beyond & ((frame[name] > _SURELY_A_PERPLEXITY) | (~early | (frame[name] > guess + 1.0)) & (not few))
        if bad.any():
            row = frame.index[int(np.argmax(bad.to_numpy()))]
            stated = float(vocabulary[row])
            of = f"{stated:g} entries" if stated != _ANY_VOCABULARY else f"any vocabulary, {stated:g} entries"
            problem = f"is more than the loss of a uniform guess, ln({of}) = {math.log(stated):.4g} nats per token"
            if float(frame[name][row]) > _SURELY_A_PERPLEXITY:
                problem = f"looks like a perplexity, not a loss in nats per token; it {problem}"
            accepted = f"a loss in nats per token{_other_unit(raw, name, float(frame[name][row]), math.log(stated))}"
            raw.refuse_cells(name, bad.to_numpy(), frame.index, problem, accepted)


_LEAST_GUESS = math.log(256)  # of a tokenizer of bytes
_FEW = 0.5  # share of the runs


def _get(frame: Frame, name: str) -> Cells:
    return frame[name] if name in frame.columns else pd.Series(np.nan, frame.index)


def _vocabulary(frame: Frame) -> Cells:
    """Entries of each row's vocabulary, (n_rows,): as stated, else of the tokenizer that is named, else of any."""
    found = _get(frame, "vocab_size")
    if "tokenizer" in frame.columns:
        sizes = {}
        for name in frame["tokenizer"].dropna().unique():
            known = find_tokenizer(str(name))
            if known is not None:
                sizes[name] = float(known.vocab_size)
        found = found.fillna(frame["tokenizer"].map(sizes).astype(float))
    return found.fillna(_ANY_VOCABULARY)


def _other_unit(raw: RawTable, name: str, value: float, most: float) -> str:
    """What a loss that is too large may be instead, in brackets; nothing where it was in another unit already."""
    if name in raw.units or name in raw.fills.values():
        return ""
    source, domain = raw.labels.get(name, name), name.removeprefix("loss")
    may_be = []
    if value > 1 and math.log(value) < most:
        may_be.append(f"a perplexity? --columns perplexity{domain}={source}")
    if value * math.log(2) < most:
        may_be.append(f"bits per token? --columns bits_per_token{domain}={source}")
    return f" ({'; '.join(may_be)})" if may_be else ""
