"""Which law a table can support, and which one to trust: `law="auto"`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from ...errors import FitError
from ..laws import Law, get_law, members, terms
from .backtest import Scores, backtest
from .observations import Observations
from .prior import Prior

AUTO = "auto"
_FEWEST_RUNS = 4
_VARIES = 1.5  # a column whose largest value is less than this many times its smallest can't carry an exponent
_LEARNING_RATE = ("lr_batch", "lr")
_RIVALS = (("repetition", "muennighoff"), ("experts",), _LEARNING_RATE)
"""Terms that describe the same thing, preferred first; at most one of each group enters a law."""
_SWITCH = 0.5  # a rival form must halve the back-test error: choosing by smaller margins lost accuracy out of sample
_SWITCH_CUTS = 4


@dataclass(frozen=True)
class Choice:
    """The chosen law, why, what each candidate's back-test said, and why other terms were left out."""

    law: str
    why: str
    scores: Mapping[str, Scores] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


def require(law: Law, observations: Observations) -> None:
    """Raise FitError, naming the column that varies too little, if the runs can't identify `law`."""
    _enough(observations)
    for column in law.member.uses:
        reason = _constant(observations, column)
        if reason:
            other = "tokens_only" if column == "params" else "params_only"
            raise FitError(f"law {law.name!r}: {reason}; take --law auto or --law {other}")
    for term in law.terms:
        reason = term.identifiable(observations.columns)
        if reason:
            raise FitError(f"law {law.name!r}: term {term.name!r} can't be identified: {reason}")


def candidates(observations: Observations) -> tuple[list[str], dict[str, str]]:
    """Names of the applicable laws, the preferred one first, and the reason why each other term is left out."""
    fixed = {c: _constant(observations, c) for c in ("params", "tokens")}
    _enough(observations)
    if all(fixed.values()):
        raise FitError(f"nothing to fit a law on: {fixed['params']}, and {fixed['tokens']}")
    if any(fixed.values()):
        cores = ["params_only" if fixed["tokens"] else "tokens_only"]
    else:
        cores = [name for name in ("general", "chinchilla", "kaplan") if name in members()]
    left_out = {name: reason for name, reason in fixed.items() if reason}
    groups = []
    for group in _groups():
        usable = []
        for name in group:
            reason = terms()[name]().identifiable(observations.columns)
            if reason is None:
                usable.append(name)
            elif "is absent" not in reason:
                left_out[name] = reason
        if group == _LEARNING_RATE:
            usable = usable[:1]  # lr alone is for tables where the batch size says nothing
        if usable:
            groups.append(usable)
    suffixes = ["+".join(chosen) for chosen in product(*groups)] if groups else [""]
    names = [f"{core}+{s}" if s else core for core in cores for s in suffixes]
    return list(dict.fromkeys([*names, *cores])), left_out


def choose(observations: Observations, prior: Prior | None, *, seed: int = 0) -> Choice:
    """Back-test every applicable law and choose: the preferred form unless a rival clearly predicts better.

    Raises FitError if nothing varies enough or there are fewer than four runs.
    """
    names, left_out = candidates(observations)
    scores = {name: backtest(get_law(name), observations, prior, seed=seed) for name in names}
    best, why = names[0], _describe(names[0], left_out)
    errors = {name: s.median_relative_error for name, s in scores.items() if s.cuts}
    if best not in errors:
        return Choice(best, why + "; too few runs for a back-test", scores, left_out)
    rival = min(errors, key=lambda name: errors[name])
    if errors[rival] < _SWITCH * errors[best] and scores[rival].cuts >= _SWITCH_CUTS:
        why = f"it at least halves the back-test error of {best} ({errors[rival]:.2%} against {errors[best]:.2%})"
        return Choice(rival, why, scores, left_out)
    return Choice(best, f"{why}; back-test error {errors[best]:.2%} over {scores[best].cuts} cuts", scores, left_out)


def _enough(observations: Observations) -> None:
    if len(observations) < _FEWEST_RUNS:
        raise FitError(f"{len(observations)} run(s) to fit; at least {_FEWEST_RUNS} are needed")


def _groups() -> Iterator[tuple[str, ...]]:
    grouped = {name for group in _RIVALS for name in group}
    yield from _RIVALS
    yield from ((name,) for name in sorted(set(terms()) - grouped))


def _constant(observations: Observations, column: str) -> str | None:
    values = observations.columns[column]
    low, high = float(values.min()), float(values.max())
    if high / low >= _VARIES:
        return None
    if high / low < 1.005:
        return f"column {column!r} takes one value, {low:.3g}"
    return f"column {column!r} varies too little, {low:.3g} to {high:.3g}"


def _describe(name: str, left_out: Mapping[str, str]) -> str:
    core, *extra = name.split("+")
    text = {
        "general": "N and D both vary, and the general form extrapolates best across the public tables",
        "params_only": f"{left_out.get('tokens')}, so only the effect of size can be fitted",
        "tokens_only": f"{left_out.get('params')}, so only the effect of data can be fitted",
    }.get(core, f"{core} applies")
    return text + "".join(f"; the table identifies {term!r}" for term in extra)


def collinearity(observations: Observations) -> float:
    """Squared correlation of log N and log D over the runs; 1 means that their effects can't be told apart."""
    x, t = np.log(observations.columns["params"]), np.log(observations.columns["tokens"])
    if np.ptp(x) < 1e-9 or np.ptp(t) < 1e-9:
        return 0.0
    return float(np.corrcoef(x, t)[0, 1] ** 2)
