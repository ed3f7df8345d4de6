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
from .stacking import stacking_weights

AUTO = "auto"
_FEWEST_RUNS = 4
_VARIES = 1.5  # a column whose largest value is less than this many times its smallest can't carry an exponent
_ONE_VALUE = 1.005  # and below this many times it is called one value
FORMS_WORTH = {"general": 0.8, "chinchilla": 0.19, "kaplan": 0.01}
"""What forms are worth before any back-test (benchmarks/longer.py); rivals of a term share a quarter."""
_RIVALS_WORTH = 0.25


@dataclass(frozen=True)
class Choice:
    """The chosen law, why, what each candidate's back-test said, and why other terms were left out.

    `weights` are those of all forms that count, the chosen one among them: it has the largest.
    """

    law: str
    why: str
    scores: Mapping[str, Scores] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)


def require(law: Law, observations: Observations, prior: LawPrior | None = None) -> None:
    """Raise FitError, naming the column that varies too little, if the runs (and the prior) can't identify `law`."""
    _enough(observations)
    for column in law.member.uses:
        reason = constant_column(observations, column)
        if reason and law.alone and prior is None:
            raise FitError(f"law {law.name!r}: {reason}; take --law auto or --prior public, which say what it does")
        if reason and not law.alone:
            other = "tokens_only" if column == "params" else "params_only"
            raise FitError(f"law {law.name!r}: {reason}; take --law auto or --law {other}")

    free = int(law.free.sum())
    if law.domains and prior is None and len(observations) < free:
        raise FitError(f"law {law.name!r}: {len(observations)} runs for {free} parameters; take --prior public")

    for term in law.terms:
        reason = term.identifiable(observations.columns)
        if reason:
            raise FitError(f"law {law.name!r}: term {term.name!r} can't be identified: {reason}")

    repeats = [term.name for term in law.terms if term.describes == "repeats"]
    stocks = _stocks(observations)
    if law.domains and repeats and stocks:
        raise FitError(
            f"law {law.name!r}: columns {stocks[0]!r}, … state repeats by domain, which {repeats[0]!r} "
            "would count a second time; leave it out, or those columns"
        )


def candidates(observations: Observations, prior: LawPrior | None = None) -> tuple[list[str], dict[str, str]]:
    """Names of the applicable laws, the preferred one first, and the reason why each other term is left out.

    Where the mix varies, or the share of synthetic text, a law with a prior may hold N or D at one value: the prior
    then says what they do.
    """
    _enough(observations)
    groups, left_out = identifiable_terms(observations)
    constant: dict[str, str] = {}
    for column in ("params", "tokens"):
        reason = constant_column(observations, column)
        if reason:
            constant[column] = reason

    enough = any(_says_alone(group) for group in groups)
    if constant and enough and prior is None:
        first = next(iter(constant.values()))
        why = f"{first}, and there is no prior to say what it does (--prior public)"
        for group in groups:
            if _says_alone(group):
                left_out |= dict.fromkeys(group, why)
        groups = [group for group in groups if not _says_alone(group)]
        enough = False
    if len(constant) == 2 and not enough:
        reasons = [reason for name, reason in left_out.items() if _reads_mix([name])]
        mix = f"; the mix varies, but {reasons[0]}" if reasons else ""
        raise FitError(f"nothing to fit a law on: {constant['params']}, and {constant['tokens']}{mix}")

    if not constant:
        cores = [name for name in ("general", "chinchilla", "kaplan") if name in members()]
    elif enough:
        cores = ["general"]
    else:
        cores = ["params_only" if "tokens" in constant else "tokens_only"]
        left_out = constant | left_out

    names = []
    for core in cores:
        for one_of_each in product(*groups):
            names.append("+".join([core, *one_of_each]))
    if not (constant and enough):
        names += cores
    return list(dict.fromkeys(names)), left_out


def identifiable_terms(observations: Observations) -> tuple[list[list[str]], dict[str, str]]:
    """Groups of rival terms that the runs can identify, in the order of a law's name, and why others are left out.

    There are none where only size and data vary.
    """
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

    of_mix = [group for group in groups if _reads_mix(group)]
    if not of_mix or not _stocks(observations):
        return groups, left_out
    kept = []
    for group in groups:
        if terms()[group[0]].describes == "repeats":
            left_out |= dict.fromkeys(group, f"{of_mix[0][0]!r} counts repeats domain by domain")
        else:
            kept.append(group)
    return kept, left_out


def _rivals() -> list[list[str]]:
    """Terms that describe the same thing, preferred first; at most one of each group enters a law."""
    by_rank = sorted(terms().items(), key=lambda pair: (pair[1].rank, pair[0]))
    groups: dict[str, list[str]] = {}
    for name, term in by_rank:
        groups.setdefault(term.describes or name, []).append(name)
    return list(groups.values())


def _reads_mix(group: Sequence[str]) -> bool:
    """Whether these rival terms read the shares of domains."""
    return terms()[group[0]].takes_domains


def _says_alone(group: Sequence[str]) -> bool:
    """Whether runs that all have one size and data can tell what these rival terms describe."""
    return terms()[group[0]].alone or _reads_mix(group)


def _reason(name: str, observations: Observations) -> str | None:
    """Why the runs can't identify a term, or None if they can."""
    term = terms()[name]
    if term.category is not None and term.category not in observations.levels:
        return f"column {term.category!r} is absent"
    if term.takes_domains and not observations.domains:
        if any(column.startswith("mix.") for column in observations.columns):
            return "the share of every domain is the same in all runs"
        return "a mix is absent"
    built = build_term(name, observations.domains, observations.levels)
    if observations.target is not None:
        built = built.of_target(observations.target)
    return built.identifiable(observations.columns)


def _stocks(observations: Observations) -> list[str]:
    """Columns that state how many distinct tokens there are of a domain."""
    found = []
    for domain in observations.domains:
        name = stock_column(domain)
        if name in observations.columns and np.isfinite(observations.columns[name]).any():
            found.append(name)
    return found


def choose(observations: Observations, prior: LawPrior | None, *, seed: int = 0) -> Choice:
    """Back-test every applicable law and weigh them: the preferred form has most of the weight unless a rival foretells
    the larger runs clearly better.

    Args:
        observations: The runs.
        prior: The prior of the laws' parameters, if there is one.
        seed: Seed of the back-tests.

    Raises:
        FitError: Nothing varies enough, or there are fewer than four runs.
    """
    names, left_out = candidates(observations, prior)
    scores = {name: backtest(observations.law(name), observations, prior, seed=seed) for name in names}
    preferred = names[0]
    why = _describe(preferred, left_out, observations)
    if not scores[preferred].cuts:
        few = "no cut in compute leaves runs to fit and runs to predict" if "+mix" in preferred else "too few runs"
        return Choice(preferred, f"{why}; {few} for a back-test", scores, left_out, {preferred: 1.0})

    worth = _worth(names)
    if any(term.tunes for term in observations.law(preferred).terms):
        # what rate and batch cost is fitted too freely beside another core: its best loss may rise with size
        worth = {name: share for name, share in worth.items() if name.split("+")[0] == preferred.split("+")[0]}
    weights = stacking_weights({name: scores[name] for name in worth}, worth)
    law = max(weights, key=lambda name: weights[name])
    if law != preferred:
        why = f"it foretells this table's larger runs better than {preferred}"
    why += f"; back-test error {scores[law].median_relative_error:.2%} over {scores[law].cuts} cuts"
    others = [f"{name} {weight:.0%}" for name, weight in weights.items() if name != law]
    if others:
        why += f"; the forecast weighs it {weights[law]:.0%}, {', '.join(others)}"
    return Choice(law, why, scores, left_out, weights)


def _worth(names: Sequence[str]) -> dict[str, float]:
    """What each form is worth before any back-test, the preferred one first; a law that lacks terms is none of them."""
    _, *preferred = names[0].split("+")
    found = {}
    for name in names:
        core, *extra = name.split("+")
        if len(extra) < len(preferred):
            continue
        worth = FORMS_WORTH.get(core, 1.0)
        for term, usual in zip(extra, preferred, strict=True):
            worth *= 1.0 if term == usual else _RIVALS_WORTH
        found[name] = worth
    return found


def _enough(observations: Observations) -> None:
    if len(observations) < _FEWEST_RUNS:
        raise FitError(f"{len(observations)} run(s) to fit; at least {_FEWEST_RUNS} are needed")


def constant_column(observations: Observations, column: str) -> str | None:
    """Why a column can't carry an exponent, because its values hardly differ; None if they do."""
    values = observations.columns[column]
    low = float(values.min())
    high = float(values.max())
    if high / low >= _VARIES:
        return None
    if high / low < _ONE_VALUE:
        return f"column {column!r} takes one value, {low:.3g}"
    return f"column {column!r} varies too little, {low:.3g} to {high:.3g}"


def _describe(name: str, left_out: Mapping[str, str], observations: Observations) -> str:
    """Why the preferred law is preferred, and what its terms show of the table."""
    core, *extra = name.split("+")
    constant = [constant_column(observations, column) for column in ("params", "tokens")]
    reasons = [reason for reason in constant if reason]
    if core == "general" and reasons:
        text = f"{' and '.join(reasons)}, so the prior says what else they do"
    elif core == "general":
        text = "N and D both vary, and the general form extrapolates best across the public tables"
    elif core == "params_only":
        text = f"{left_out.get('tokens')}, so only the effect of size can be fitted"
    elif core == "tokens_only":
        text = f"{left_out.get('params')}, so only the effect of data can be fitted"
    else:
        text = f"{core} applies"
    for term in extra:
        text += f"; the table identifies {term!r}"
    return text


def collinearity(observations: Observations) -> float:
    """Squared correlation of log N and log D over the runs; 1 means that their effects can't be told apart."""
    log_params = np.log(observations.columns["params"])
    log_tokens = np.log(observations.columns["tokens"])
    if np.ptp(log_params) < 1e-9 or np.ptp(log_tokens) < 1e-9:
        return 0.0
    return float(np.corrcoef(log_params, log_tokens)[0, 1] ** 2)
