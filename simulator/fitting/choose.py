"""Which law a table can support, and which one to trust: `law="auto"`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from ...core.errors import FitError
from ..laws import Law, build_term, members, stock_column, terms
from .backtest import Scores, backtest
from .observations import Observations
from .prior import LawPrior

AUTO = "auto"
_FEWEST_RUNS = 4
_VARIES = 1.5  # a column whose largest value is less than this many times its smallest can't carry an exponent
_SWITCH = 0.5  # a rival form must halve the back-test error: choosing by smaller margins lost accuracy out of sample
_SWITCH_CUTS = 4


@dataclass(frozen=True)
class Choice:
    """The chosen law, why, what each candidate's back-test said, and why other terms were left out."""

    law: str
    why: str
    scores: Mapping[str, Scores] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


def require(law: Law, observations: Observations, prior: LawPrior | None = None) -> None:
    """Raise FitError, naming the column that varies too little, if the runs (and the prior) can't identify `law`."""
    _enough(observations)
    for column in law.member.uses:
        reason = constant_column(observations, column)
        if reason and law.domains and prior is None:
            raise FitError(f"law {law.name!r}: {reason}; take --law auto or --prior public, which say what it does")
        if reason and not law.domains:
            other = "tokens_only" if column == "params" else "params_only"
            raise FitError(f"law {law.name!r}: {reason}; take --law auto or --law {other}")
    if law.domains and prior is None and len(observations) < law.free.sum():
        raise FitError(
            f"law {law.name!r}: {len(observations)} runs for {int(law.free.sum())} parameters; take --prior public"
        )
    for term in law.terms:
        reason = term.identifiable(observations.columns)
        if reason:
            raise FitError(f"law {law.name!r}: term {term.name!r} can't be identified: {reason}")
    both = [term.name for term in law.terms if term.describes == "repeats"]
    if law.domains and both and _stocks(observations):
        raise FitError(
            f"law {law.name!r}: columns {_stocks(observations)[0]!r}, … state repeats by domain, which {both[0]!r} "
            "would count a second time; leave it out, or those columns"
        )


def candidates(observations: Observations, prior: LawPrior | None = None) -> tuple[list[str], dict[str, str]]:
    """Names of the applicable laws, the preferred one first, and the reason why each other term is left out.

    Where the mix varies, a law with a prior may hold N or D at one value: the prior then says what they do.
    """
    _enough(observations)
    groups, left_out = _usable_terms(observations)
    fixed = {c: reason for c in ("params", "tokens") if (reason := constant_column(observations, c))}
    mixed = any(_reads_mix(group) for group in groups)
    if fixed and mixed and prior is None:
        why = f"{next(iter(fixed.values()))}, and there is no prior to say what it does (--prior public)"
        left_out |= {name: why for group in groups if _reads_mix(group) for name in group}
        groups = [group for group in groups if not _reads_mix(group)]
        mixed = False
    if len(fixed) == 2 and not mixed:
        reasons = [reason for name, reason in left_out.items() if _reads_mix([name])]
        mix = f"; the mix varies, but {reasons[0]}" if reasons else ""
        raise FitError(f"nothing to fit a law on: {fixed['params']}, and {fixed['tokens']}{mix}")
    if mixed and fixed:
        cores = ["general"]
    elif fixed:
        cores = ["params_only" if "tokens" in fixed else "tokens_only"]
        left_out = fixed | left_out
    else:
        cores = [name for name in ("general", "chinchilla", "kaplan") if name in members()]
    names = ["+".join([core, *chosen]) for core in cores for chosen in product(*groups)]
    return list(dict.fromkeys([*names, *(() if mixed and fixed else cores)])), left_out


def _usable_terms(observations: Observations) -> tuple[list[list[str]], dict[str, str]]:
    """Groups of rival terms that the runs can identify, in the order of a law's name, and why others are left out."""
    left_out: dict[str, str] = {}
    groups: list[list[str]] = []
    for rivals in _rivals():
        usable = []
        for name in rivals:
            reason = _reason(name, observations)
            if reason is None:
                usable.append(name)
            elif "is absent" not in reason:
                left_out[name] = reason
        if usable and terms()[usable[0]].only_first:
            usable = usable[:1]
        if usable:
            groups.append(usable)
    mix = next((group[0] for group in groups if _reads_mix(group)), None)
    if mix is not None and _stocks(observations):
        for group in [group for group in groups if terms()[group[0]].describes == "repeats"]:
            groups.remove(group)
            left_out |= dict.fromkeys(group, f"{mix!r} counts repeats domain by domain")
    return groups, left_out


def _rivals() -> list[list[str]]:
    """Terms that describe the same thing, preferred first; at most one of each group enters a law."""
    groups: dict[str, list[str]] = {}
    for name, term in sorted(terms().items(), key=lambda pair: (pair[1].rank, pair[0])):
        groups.setdefault(term.describes or name, []).append(name)
    return list(groups.values())


def _reads_mix(group: Sequence[str]) -> bool:
    """Whether these rival terms read the shares of domains."""
    return terms()[group[0]].takes_domains


def _reason(name: str, observations: Observations) -> str | None:
    """Why the runs can't identify a term, or None if they can."""
    term = terms()[name]
    if term.category is not None and term.category not in observations.levels:
        return f"column {term.category!r} is absent"
    if term.takes_domains and not observations.domains:
        given = any(column.startswith("mix.") for column in observations.columns)
        return "the share of every domain is the same in all runs" if given else "a mix is absent"
    return build_term(name, observations.domains, observations.levels).identifiable(observations.columns)


def _stocks(observations: Observations) -> list[str]:
    """Columns that state how many distinct tokens there are of a domain."""
    names = [stock_column(domain) for domain in observations.domains]
    return [name for name in names if name in observations.columns and np.isfinite(observations.columns[name]).any()]


def choose(observations: Observations, prior: LawPrior | None, *, seed: int = 0) -> Choice:
    """Back-test every applicable law and choose: the preferred form unless a rival clearly predicts better.

    Raises FitError if nothing varies enough or there are fewer than four runs.
    """
    names, left_out = candidates(observations, prior)
    built = {name: observations.law(name) for name in names}
    scores = {name: backtest(law, observations, prior, seed=seed) for name, law in built.items()}
    best, why = names[0], _describe(names[0], left_out, observations)
    errors = {name: s.median_relative_error for name, s in scores.items() if s.cuts}
    if best not in errors:
        few = "no cut in compute leaves runs to fit and runs to predict" if "+mix" in best else "too few runs"
        return Choice(best, f"{why}; {few} for a back-test", scores, left_out)
    rival = min(errors, key=lambda name: errors[name])
    if errors[rival] < _SWITCH * errors[best] and scores[rival].cuts >= _SWITCH_CUTS:
        why = f"it at least halves the back-test error of {best} ({errors[rival]:.2%} against {errors[best]:.2%})"
        return Choice(rival, why, scores, left_out)
    return Choice(best, f"{why}; back-test error {errors[best]:.2%} over {scores[best].cuts} cuts", scores, left_out)


def _enough(observations: Observations) -> None:
    if len(observations) < _FEWEST_RUNS:
        raise FitError(f"{len(observations)} run(s) to fit; at least {_FEWEST_RUNS} are needed")


def constant_column(observations: Observations, column: str) -> str | None:
    """Why a column can't carry an exponent, because its values hardly differ; None if they do."""
    values = observations.columns[column]
    low, high = float(values.min()), float(values.max())
    if high / low >= _VARIES:
        return None
    if high / low < 1.005:
        return f"column {column!r} takes one value, {low:.3g}"
    return f"column {column!r} varies too little, {low:.3g} to {high:.3g}"


def _describe(name: str, left_out: Mapping[str, str], observations: Observations) -> str:
    core, *extra = name.split("+")
    constant = [reason for reason in (constant_column(observations, c) for c in ("params", "tokens")) if reason]
    text = {
        "general": "N and D both vary, and the general form extrapolates best across the public tables",
        "params_only": f"{left_out.get('tokens')}, so only the effect of size can be fitted",
        "tokens_only": f"{left_out.get('params')}, so only the effect of data can be fitted",
    }.get(core, f"{core} applies")
    if core == "general" and constant:
        text = f"{' and '.join(constant)}, so the prior says what else they do"
    return text + "".join(f"; the table identifies {term!r}" for term in extra)


def collinearity(observations: Observations) -> float:
    """Squared correlation of log N and log D over the runs; 1 means that their effects can't be told apart."""
    x, t = np.log(observations.columns["params"]), np.log(observations.columns["tokens"])
    if np.ptp(x) < 1e-9 or np.ptp(t) < 1e-9:
        return 0.0
    return float(np.corrcoef(x, t)[0, 1] ** 2)
