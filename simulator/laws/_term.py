"""What a law is made of: parameters, and terms that change the effective size, the effective data or the loss.

Shapes used in this package: K parameter vectors (starts, bootstraps) times n runs.
`theta: (K, P)`, values `(K, n)`, gradients `(K, P, n)`; runs are the last, contiguous axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from ...core.columns import level_column, level_of
from ...core.errors import FitError

Columns = Mapping[str, np.ndarray]
"""Raw columns of runs by their run-table name, each `(n,)`: params, tokens, num_experts, lr, … A category is read as
one column of 0 and 1 for each of its levels, `architecture=ssm`."""

Levels = Mapping[str, Sequence[str]]
"""The levels of each category, by the category's column."""


@dataclass(frozen=True)
class Parameter:
    """One parameter, its weak generic prior N(mean, sd²), and the box that keeps the arithmetic finite.

    `unstated` is what it was in effect before there was such a parameter, for predictors that were saved then.
    """

    name: str
    mean: float
    sd: float
    lower: float
    upper: float
    unstated: float | None = None


@dataclass
class Effect:
    """What a term does to every run: each part is `(value (K, n), gradient (K, p, n))` or None.

    `log_params` and `log_tokens` are added to log N and log D (so N_eff = N·exp(value)); `log_reducible` is added to
    the log of the reducible loss, `stretch` to the factor on it, `log_floor` to the log of the loss that no run gets
    below; `penalty` is added to the loss itself, as a fraction of the loss level at the reference point.
    """

    log_params: tuple[np.ndarray, np.ndarray] | None = None
    log_tokens: tuple[np.ndarray, np.ndarray] | None = None
    log_reducible: tuple[np.ndarray, np.ndarray] | None = None
    stretch: tuple[np.ndarray, np.ndarray] | None = None
    log_floor: tuple[np.ndarray, np.ndarray] | None = None
    penalty: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class Reference:
    """The point at which parameters are expressed: N, D and whatever else a term centres on, stored with the fit."""

    values: Mapping[str, float] = field(default_factory=dict)

    def log(self, column: str) -> float:
        """Natural log of the reference value of `column`."""
        return float(np.log(self.values[column]))


class Term(ABC):
    """One effect that plugs into the general law. Members live in one file each and register themselves."""

    name: str
    columns: tuple[str, ...]
    """Run-table columns that the term needs, beyond params and tokens."""
    optional: tuple[str, ...] = ()
    """Further columns that it reads where they are there."""
    takes_domains: bool = False
    """True if the term has parameters and columns for each of the training `domains` that it is built from."""
    category: str | None = None
    """The column of the category for whose `levels` the term has parameters and columns; None for most terms."""
    further_levels: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """Levels that it tells apart of categories beside its own, by the category's column: it knows their meaning, so it
    has them whether or not a run does."""
    alone: bool = False
    """True if runs that all have one size and data can tell what it describes."""
    describes: str = ""
    """What the term describes; of the terms that describe the same thing at most one enters a law. Empty: itself."""
    rank: int = 50
    """Place among the terms of a law's name and, among those that describe the same thing, preference: lowest first."""
    only_first: bool = False
    """True if `auto` takes the first usable term of those that describe the same thing, instead of trying each."""
    parameters: tuple[Parameter, ...]
    deviates: bool = False
    """True if the term describes a departure from good practice (repeats, a wrong learning rate). The further a run
    strays, the less it tells about the others, so fitting trusts it less."""
    tunes: bool = False
    """True if the term has an optimum that a well-tuned run is at: `offsets` says how far a run is from it."""
    rebases_exactly: bool = True
    """False if `rebase` is exact only near the old reference point, since something is a share of the loss level."""
    spreads: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """Which parameters are the log of a spread that others share, each with those: their effects are spread times z. A
    fit with a prior finds the spread by what the runs say of each z."""
    speaks_always: bool = False
    """True if the term has something to say of runs that lack its columns; others are switched off for them."""

    def __init__(self, domains: Sequence[str] = (), levels: Sequence[str] = ()) -> None:
        self.domains: tuple[str, ...] = ()
        if self.takes_domains:
            self.domains = tuple(domains)
        self.levels: tuple[str, ...] = tuple(levels)
        if self.category is None:
            return
        if not self.levels:
            raise FitError(
                f"term {self.name!r}: no level of {self.category!r} is known; expected every run to state it, and at "
                f"most {MOST_LEVELS} levels"
            )
        self.columns = tuple(level_column(self.category, level) for level in self.levels)

    @abstractmethod
    def prepare(self, columns: Columns, reference: Reference) -> dict[str, np.ndarray]:
        """Turn raw columns into the arrays that `effect` needs, once per data set; their first axis is the run."""

    @abstractmethod
    def effect(self, theta: np.ndarray, features: dict[str, np.ndarray]) -> Effect:
        """Evaluate the term. `theta: (K, p)` are this term's parameters in the order of `parameters`."""

    def values(self, theta: np.ndarray, features: dict[str, np.ndarray]) -> Effect:
        """The same as `effect` where nobody reads the gradients: they may be left empty."""
        return self.effect(theta, features)

    def rebase(self, theta: np.ndarray, x: float, t: float, level: np.ndarray) -> np.ndarray:
        """This term's parameters `(K, p)` after log N₀ moves by `x`, log D₀ by `t` and log λ by `level: (K,)`."""
        return theta

    def felt(self, features: dict[str, np.ndarray]) -> np.ndarray:
        """Which parameters some of the runs feel, `(p,)`: those of a regime that no run has leave the loss as it is."""
        return np.ones(len(self.parameters), dtype=bool)

    def offsets(self, theta: np.ndarray, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """How far each run is from this term's own optimum, in logs `(n,)` by name; none by default. `theta: (p,)`.

        Free of scale, so a residual learner may carry what it finds there on to larger runs.
        """
        return {}

    def tuned(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The features of the same runs with this term's settings at their best. Default: the term switched off."""
        return {}

    def centre(self, columns: Columns, rows: np.ndarray) -> dict[str, float]:
        """Reference values that the term needs beyond params and tokens, from the runs at `rows`. Default: none."""
        return {}

    def of_target(self, target: str) -> Term:
        """The same term for losses of this name (`arxiv` of `loss.arxiv`), whose prior may know it. Default: itself."""
        return self

    def absent(self, columns: Columns) -> str | None:
        """The reason why the term can't be fitted where the runs lack one of its columns; None where they have all."""
        for name in self.columns:
            if name not in columns:
                return f"column {name!r} is absent"
        return None

    def identifiable(self, columns: Columns) -> str | None:
        """None if the runs can identify the term, else the reason, naming the column that varies too little.

        Default: its columns are there, and each takes more than one value.
        """
        reason = self.absent(columns)
        if reason is not None:
            return reason
        if self.category is not None:
            seen = [level for level, name in zip(self.levels, self.columns, strict=True) if np.any(columns[name])]
            if len(seen) < 2:
                return f"column {self.category!r} takes one value, {', '.join(seen)}"
            return None
        for name in self.columns:
            if np.ptp(columns[name]) == 0:
                return f"column {name!r} takes one value, {columns[name][0]:.3g}"
        return None


MOST_LEVELS = 50
"""Of a category that laws tell apart: a column with more, a run's own name say, is no category."""

DOMAIN_FAMILIES = ("mix.", "unique_tokens.")
"""Prefixes of the columns that laws of the mix read, one for each domain: its share, and its distinct tokens."""


def mix_column(domain: str) -> str:
    """The run-table column that holds a domain's share of the training tokens."""
    return f"mix.{domain}"


def stock_column(domain: str) -> str:
    """The run-table column that holds how many distinct tokens of a domain there are."""
    return f"unique_tokens.{domain}"


_VARIES = 1e-3  # a share whose highest and lowest value differ by less can't show what the domain is worth


def varying_domains(columns: Columns) -> tuple[str, ...]:
    """The domains whose share varies over the runs, in the order of the columns: those that a law can speak of."""
    domains = []
    for name, share in columns.items():
        if name.startswith("mix.") and not np.ptp(share) < _VARIES:
            domains.append(name.removeprefix("mix."))
    return tuple(domains)


def levels_of(columns: Columns) -> dict[str, tuple[str, ...]]:
    """The levels of each category that some run has, by the category's column, in the order of the columns."""
    found: dict[str, list[str]] = {}
    for name, values in columns.items():
        named = level_of(name)
        if named is None or not np.any(values):
            continue
        category, level = named
        found.setdefault(category, []).append(level)
    return {category: tuple(levels) for category, levels in found.items()}


def geometric_means(columns: Columns, names: Iterable[str], rows: np.ndarray) -> dict[str, float]:
    """Geometric means of columns over the runs at `rows`, by name; FitError as `need` raises it."""
    means = {}
    for name in names:
        log_values = np.log(need(columns, name))
        means[name] = float(np.exp(log_values[rows].mean()))
    return means


def need(columns: Columns, name: str) -> np.ndarray:
    """The column as a float array `(n,)` of positive numbers; FitError that names it if it is absent or is not."""
    if name not in columns:
        raise FitError(f"column {name!r} is needed and absent; there are: {', '.join(sorted(columns))}")
    values = np.asarray(columns[name], dtype=float)
    wrong = ~(np.isfinite(values) & (values > 0))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise FitError(f"column {name!r}, run {row}: got {values[row]}; expected a positive finite number")
    return values
