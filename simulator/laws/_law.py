"""The general law, L = E + (A·N_eff^-α + B·D_eff^-β)^γ + penalties, in scale-free coordinates.

At a reference point (N₀, D₀) near the largest fitted runs the law is written as

    L = λ·[(1 - ρ)·f + ρ·(w·(N_eff/N₀)^(-a/γ) + (1 - w)·(D_eff/D₀)^(-b/γ))^γ·m·(1 + Σ stretch) + Σ penalty]

λ is the loss at the reference point, ρ the share of it that more compute could remove (so E = λ(1 - ρ)), w the part
of that share that belongs to N, m = exp(Σ log_reducible) what the data mix does to it, and f = exp(Σ log_floor) what a
strategy does to E. `a` = γα and `b` = γβ are the exponents that a run limited by N or by D alone would show, so they
keep their meaning as γ moves: γ = 1 is the sum of two power laws (Chinchilla, Hoffmann et al. 2022, eq. 2), γ → 0 the
larger of the two, γ → ∞ their product. Kaplan et al. 2020 (eq. 1.5) is ρ = 1 with β = 1.
All five shape parameters are free of units, which is what lets a prior learned on one table help on another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np

from ...core.errors import FitError
from ._term import Columns, Effect, Parameter, Reference, Term, need

Features = list[dict[str, np.ndarray]]
"""What `Law.prepare` returns: one block of arrays for the core, then one for each term."""

CORE = (
    Parameter("log_level", 1.0, 10.0, -6.0, 6.0),
    Parameter("logit_reducible", -0.6, 1.0, -6.0, 8.0),
    Parameter("logit_capacity", 0.0, 1.5, -12.0, 12.0),
    Parameter("params_exponent", 0.35, 0.15, 1e-3, 3.0),
    Parameter("tokens_exponent", 0.36, 0.15, 1e-3, 3.0),
    Parameter("log_gamma", 0.0, 0.35, -3.0, 3.0),
)
"""The six core parameters: log λ, logit ρ, logit w, a, b, log γ. Means and spreads are the weak generic prior."""

LEVEL, REDUCIBLE, CAPACITY, PARAMS_EXPONENT, TOKENS_EXPONENT, LOG_GAMMA = range(len(CORE))
"""Their places in `theta`."""

NO_FLOOR = 40.0  # logit ρ at which E is zero to machine precision
ALL_CAPACITY = 40.0  # logit w at which only N matters; its negative: only D
_TEXTBOOK = {"E": REDUCIBLE, "alpha": PARAMS_EXPONENT, "beta": TOKENS_EXPONENT, "gamma": LOG_GAMMA}
"""The usual names, and the core parameter that each one determines."""


@dataclass(frozen=True)
class Member:
    """A named member of the family: which parameters it holds fixed (see `Law`), and the columns its core reads."""

    name: str
    title: str
    source: str
    fixed: Mapping[str, float]
    uses: tuple[str, ...] = ("params", "tokens")


class Law:
    """A core member plus terms: evaluates losses and their exact gradients for many parameter vectors at once.

    `fixed` holds values that fitting must not change: any parameter by its name, or the textbook ones `E` (nats),
    `alpha`, `beta`, `gamma`. FitError names an unknown one.
    """

    def __init__(self, member: Member, terms: Sequence[Term] = (), fixed: Mapping[str, float] | None = None):
        self.member = member
        self.terms = tuple(terms)
        self.parameters = CORE + tuple(parameter for term in self.terms for parameter in term.parameters)

        given = _checked(fixed or {})
        for name, value in member.fixed.items():
            if given.get(name, value) != value:
                raise FitError(f"can't fix {name!r}: law {member.name!r} holds it at {value:g} itself")
        self.fixed = {**member.fixed, **given}

        places = {name: place for place, name in enumerate(self.names)}
        unknown = sorted(set(self.fixed) - set(places) - set(_TEXTBOOK))
        if unknown:
            raise FitError(f"can't fix {unknown[0]!r}: no such parameter; there are {', '.join([*_TEXTBOOK, *places])}")
        if len(places) < len(self.parameters):
            raise FitError(f"{self.name!r}: two of its terms describe the same effect; take one of them")

        self.dependent = tuple(_TEXTBOOK[name] for name in ("E", "alpha", "beta") if name in self.fixed)
        self.free = np.ones(len(places), dtype=bool)
        for name in self.fixed:
            place = _TEXTBOOK[name] if name in _TEXTBOOK else places[name]
            if not self.free[place]:
                raise FitError(f"can't fix {name!r}: law {self.name!r} has {self.names[place]!r} fixed already")
            self.free[place] = False

    @property
    def name(self) -> str:
        """Registry name: the member, then its terms, joined by '+'."""
        return "+".join([self.member.name, *(term.name for term in self.terms)])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters, in the order of `theta`."""
        return tuple(p.name for p in self.parameters)

    @property
    def columns(self) -> tuple[str, ...]:
        """Run-table columns that the law needs."""
        names = ["params", "tokens"]
        for term in self.terms:
            names += term.columns
        return tuple(dict.fromkeys(names))

    @property
    def optional(self) -> tuple[str, ...]:
        """Further columns that the law reads where they are there."""
        names: list[str] = []
        for term in self.terms:
            names += term.optional
        return tuple(dict.fromkeys(names))

    @property
    def domains(self) -> tuple[str, ...]:
        """The training domains whose shares the law reads; empty without a mixture term."""
        names: list[str] = []
        for term in self.terms:
            names += term.domains
        return tuple(dict.fromkeys(names))

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """The levels of each category that the law tells apart, by the category's column."""
        found: dict[str, tuple[str, ...]] = {}
        for term in self.terms:
            if term.category is not None:
                found[term.category] = term.levels
            found |= term.further_levels
        return found

    @property
    def alone(self) -> bool:
        """Whether runs that all have one size and data can tell something of it, such as what domains are worth."""
        return any(term.alone or term.domains for term in self.terms)

    @property
    def places(self) -> list[tuple[Term, slice]]:
        """Each term with the places of its parameters in `theta`."""
        found = []
        start = len(CORE)
        for term in self.terms:
            place = slice(start, start + len(term.parameters))
            start = place.stop
            found.append((term, place))
        return found

    @property
    def spreads(self) -> list[tuple[int, list[int]]]:
        """Places in `theta` of the logs of spreads that parameters share, each with the places of those."""
        return [
            (place.start + spread, [place.start + one for one in shared])
            for term, place in self.places
            for spread, shared in term.spreads
        ]

    def of_target(self, target: str | None) -> Law:
        """The same law for losses of this name, of which terms may know more beforehand; itself where none does."""
        if target is None:
            return self
        terms = [term.of_target(target) for term in self.terms]
        if all(one is other for one, other in zip(terms, self.terms, strict=True)):
            return self
        return Law(self.member, terms, {k: v for k, v in self.fixed.items() if k not in self.member.fixed})

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds of all parameters, each `(P,)`."""
        lower = np.array([parameter.lower for parameter in self.parameters])
        upper = np.array([parameter.upper for parameter in self.parameters])
        return lower, upper

    def reference(self, columns: Columns, top: float = 0.2) -> Reference:
        """The geometric mean of the `top` share of runs by compute (N·D): the end from which one extrapolates.

        Args:
            columns: Raw columns of the n runs, each `(n,)`; a size that is absent counts as 1.
            top: Share of the runs that is averaged over, at least one run.
        """
        n = len(next(iter(columns.values())))
        log_size = {}
        for name in ("params", "tokens"):
            log_size[name] = np.log(need(columns, name)) if name in columns else np.zeros(n)
        log_compute = log_size["params"] + log_size["tokens"]
        largest = max(1, round(top * n))
        rows = np.argsort(log_compute, kind="stable")[-largest:]
        values = {name: float(np.exp(log[rows].mean())) for name, log in log_size.items()}
        for term in self.terms:
            values.update(term.centre(columns, rows))
        return Reference(values)

    def prepare(self, columns: Columns, reference: Reference) -> Features:
        """Features of the core and of each term, computed once per data set.

        Args:
            columns: Raw columns of the n runs, each `(n,)`.
            reference: The point at which parameters are expressed.

        Returns:
            First the core's block, x = log N/N₀ and t = log D/D₀ (zero for a size that the core doesn't read), then
            one for each term, empty for a term whose columns are absent.
        """
        n = len(next(iter(columns.values())))
        core = {}
        for key, column in (("x", "params"), ("t", "tokens")):
            if column in self.member.uses:
                core[key] = np.log(need(columns, column)) - reference.log(column)
            else:
                core[key] = np.zeros(n)
        features = [core]
        for term in self.terms:
            if term.speaks_always or all(column in columns for column in term.columns):
                features.append(term.prepare(columns, reference))
            else:
                features.append({})
        return features

    def complete(self, theta: np.ndarray) -> np.ndarray:
        """Parameter vectors with the fixed entries filled in. `theta: (K, P)` → a new `(K, P)`."""
        full = np.array(theta, dtype=float, ndmin=2)
        fixed = self.fixed
        for name in set(fixed) - set(_TEXTBOOK):
            full[:, self.names.index(name)] = fixed[name]
        if "gamma" in fixed:
            full[:, LOG_GAMMA] = np.log(fixed["gamma"])
        if "alpha" in fixed:
            full[:, PARAMS_EXPONENT] = fixed["alpha"] * np.exp(full[:, LOG_GAMMA])
        if "beta" in fixed:
            full[:, TOKENS_EXPONENT] = fixed["beta"] * np.exp(full[:, LOG_GAMMA])
        if "E" in fixed:
            # E = λ(1 - ρ), so ρ/(1 - ρ) = λ/E - 1
            odds = np.exp(full[:, LEVEL]) / max(fixed["E"], 1e-17) - 1.0
            full[:, REDUCIBLE] = np.minimum(np.log(np.maximum(odds, 1e-9)), NO_FLOOR)
        return full

    def _chain(self, grad: np.ndarray, theta: np.ndarray) -> None:
        """Pass the derivatives of dependent parameters on to those that drive them, in place."""
        for name, place in (("alpha", PARAMS_EXPONENT), ("beta", TOKENS_EXPONENT)):
            if name in self.fixed:
                grad[:, LOG_GAMMA] += grad[:, place] * theta[:, place, None]
        if self.fixed.get("E", 0.0) > 0:
            grad[:, LEVEL] += grad[:, REDUCIBLE] / _sigmoid(theta[:, REDUCIBLE, None])
        grad[:, ~self.free] = 0.0

    @overload
    def loss(self, theta: np.ndarray, features: Features, gradient: Literal[False] = False) -> np.ndarray: ...

    @overload
    def loss(self, theta: np.ndarray, features: Features, gradient: Literal[True]) -> tuple[np.ndarray, np.ndarray]: ...

    def loss(self, theta: np.ndarray, features: Features, gradient: bool = False):
        """Loss of every run under every parameter vector, by the formula at the top of this file.

        Args:
            theta: Parameter vectors `(K, P)`; fixed entries are filled in, whatever stands there.
            features: What `prepare` returned for the n runs.
            gradient: Whether to differentiate as well.

        Returns:
            The loss `(K, n)`, nats; with `gradient` a pair, also its derivative `(K, P, n)` by every parameter
            (zero for fixed ones).
        """
        theta = self.complete(theta)
        level = np.exp(theta[:, LEVEL, None])
        rho = _sigmoid(theta[:, REDUCIBLE, None])
        logit_w = theta[:, CAPACITY, None]
        gamma = np.exp(theta[:, LOG_GAMMA, None])
        alpha = theta[:, PARAMS_EXPONENT, None] / gamma
        beta = theta[:, TOKENS_EXPONENT, None] / gamma

        # what the terms do: x = log N_eff/N₀, t = log D_eff/D₀, and their part in the reducible loss and beside it
        x, t = features[0]["x"], features[0]["t"]
        log_m, stretch, log_floor, penalty = 0.0, 1.0, 0.0, 0.0
        effects = self._effects(theta, features, gradient)
        for effect, _ in effects:
            if effect.log_params:
                x = x + effect.log_params[0]
            if effect.log_tokens:
                t = t + effect.log_tokens[0]
            if effect.log_reducible:
                log_m = log_m + effect.log_reducible[0]
            if effect.stretch:
                stretch = stretch + effect.stretch[0]
            if effect.log_floor:
                log_floor = log_floor + effect.log_floor[0]
            if effect.penalty:
                penalty = penalty + effect.penalty[0]

        # s = log(w·(N_eff/N₀)^-α + (1 - w)·(D_eff/D₀)^-β), its summands e^u and e^v taken relative to the larger one
        u = _log_sigmoid(logit_w) - alpha * x
        v = _log_sigmoid(-logit_w) - beta * t
        larger = np.maximum(u, v)
        of_params = np.exp(u - larger)
        total = of_params + np.exp(v - larger)
        s = larger + np.log(total)

        # L = λ·[(1 - ρ)·f + ρ·e^(γs)·m·stretch + penalty]
        plain = rho * np.exp(gamma * s + log_m)
        reducible = plain * stretch
        floor = np.exp(log_floor)
        relative = (1 - rho) * floor + reducible + penalty
        value = level * relative
        if not gradient:
            return value

        # derivatives of L/λ by s, u and v; by_x and by_t are those by -α and -β
        w = _sigmoid(logit_w)
        by_s = gamma * reducible
        by_u = by_s * (of_params / total)
        by_v = by_s - by_u
        by_x = by_u * x
        by_t = by_v * t

        grad = np.zeros((theta.shape[0], theta.shape[1], value.shape[1]))
        grad[:, LEVEL] = relative
        grad[:, REDUCIBLE] = (1 - rho) * (reducible - rho * floor)
        grad[:, CAPACITY] = by_u - w * by_s
        grad[:, PARAMS_EXPONENT] = by_x / -gamma
        grad[:, TOKENS_EXPONENT] = by_t / -gamma
        grad[:, LOG_GAMMA] = by_s * s + by_x * alpha + by_t * beta
        for effect, place in effects:
            if effect.log_params:
                grad[:, place] -= (by_u * alpha)[:, None] * effect.log_params[1]
            if effect.log_tokens:
                grad[:, place] -= (by_v * beta)[:, None] * effect.log_tokens[1]
            if effect.log_floor:
                grad[:, place] += ((1 - rho) * floor)[:, None] * effect.log_floor[1]
            if effect.penalty:
                grad[:, place] += effect.penalty[1]
            if effect.stretch:
                grad[:, place] += plain[:, None] * effect.stretch[1]
            if effect.log_reducible:
                grad[:, place] += reducible[:, None] * effect.log_reducible[1]
        grad *= level[:, None]
        self._chain(grad, theta)
        return value, grad

    def felt(self, features: Features) -> np.ndarray:
        """Which parameters fitting may change and some of the runs feel, `(P,)`."""
        of_terms = [term.felt(feature) for term, feature in zip(self.terms, features[1:], strict=True)]
        return self.free & np.concatenate([np.ones(len(CORE), dtype=bool), *of_terms])

    def without_terms(self) -> Law:
        """The same core with every term taken off."""
        of_core = {parameter.name for parameter in CORE} | set(_TEXTBOOK)
        fixed = {name: value for name, value in self.fixed.items() if name in of_core}
        return Law(self.member, (), fixed)

    def _effects(self, theta: np.ndarray, features: Features, gradient: bool) -> list[tuple[Effect, slice]]:
        """What each term does, with the place of its parameters in `theta`; a term without features is left out."""
        effects = []
        for (term, place), feature in zip(self.places, features[1:], strict=True):
            if not feature:  # a term whose columns are absent is switched off
                continue
            if gradient:
                effects.append((term.effect(theta[:, place], feature), place))
            else:
                effects.append((term.values(theta[:, place], feature), place))
        return effects


def _checked(fixed: Mapping[str, float]) -> dict[str, float]:
    """Fixed values as floats; FitError for one that no law can have."""
    values = {}
    for name, value in fixed.items():
        number = float(value)
        if name == "E":
            expected, possible = "a number of at least 0", number >= 0
        elif name in _TEXTBOOK:
            expected, possible = "a positive number", number > 0
        else:
            expected, possible = "a number", True
        if not (np.isfinite(number) and possible):
            raise FitError(f"can't fix {name} at {value!r}; expected {expected}")
        values[name] = number
    return values


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _log_sigmoid(x: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0.0, -x)
