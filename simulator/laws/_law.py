"""The general law, L = E + (A·N_eff^-α + B·D_eff^-β)^γ + penalties, in scale-free coordinates.

At a reference point (N₀, D₀) near the largest fitted runs the law is written as

    L = λ·[(1 - ρ) + ρ·(w·(N_eff/N₀)^(-a/γ) + (1 - w)·(D_eff/D₀)^(-b/γ))^γ·m·(1 + Σ stretch) + Σ penalty]

λ is the loss at the reference point, ρ the share of it that more compute could remove (so E = λ(1 - ρ)), w the part
of that share that belongs to N, and m = exp(Σ log_reducible) what the data mix does to it. `a` = γα and `b` = γβ are
the exponents that a run limited by N or by D alone would show, so they keep their meaning as γ moves: γ = 1 is the sum
of two power laws (Chinchilla, Hoffmann et al. 2022, eq. 2), γ → 0 the larger of the two, γ → ∞ their product. Kaplan et
al. 2020 (eq. 1.5) is ρ = 1 with β = 1.
All five shape parameters are free of units, which is what lets a prior learned on one table help on another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.errors import FitError
from ._term import Columns, Parameter, Reference, Term, need

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
        self.parameters = CORE + tuple(p for term in self.terms for p in term.parameters)
        given = _checked(fixed or {})
        for name in [n for n, value in member.fixed.items() if given.get(n, value) != value]:
            raise FitError(f"can't fix {name!r}: law {member.name!r} holds it at {member.fixed[name]:g} itself")
        self.fixed = {**member.fixed, **given}
        places = {name: i for i, name in enumerate(self.names)}
        unknown = sorted(set(self.fixed) - set(places) - set(_TEXTBOOK))
        if unknown:
            raise FitError(f"can't fix {unknown[0]!r}: no such parameter; there are {', '.join([*_TEXTBOOK, *places])}")
        self.dependent = tuple(_TEXTBOOK[n] for n in ("E", "alpha", "beta") if n in self.fixed)
        self.free = np.ones(len(places), dtype=bool)
        if len(places) < len(self.parameters):
            raise FitError(f"{self.name!r}: two of its terms describe the same effect; take one of them")
        for name in self.fixed:
            place = _TEXTBOOK[name] if name in _TEXTBOOK else places[name]
            if not self.free[place]:
                raise FitError(f"can't fix {name!r}: law {self.name!r} has {self.names[place]!r} fixed already")
            self.free[place] = False

    @property
    def name(self) -> str:
        """Registry name: the member, then its terms, joined by '+'."""
        return "+".join([self.member.name, *(t.name for t in self.terms)])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters, in the order of `theta`."""
        return tuple(p.name for p in self.parameters)

    @property
    def columns(self) -> tuple[str, ...]:
        """Run-table columns that the law needs."""
        return tuple(dict.fromkeys(["params", "tokens", *(c for t in self.terms for c in t.columns)]))

    @property
    def optional(self) -> tuple[str, ...]:
        """Further columns that the law reads where they are there."""
        return tuple(dict.fromkeys(c for t in self.terms for c in t.optional))

    @property
    def domains(self) -> tuple[str, ...]:
        """The training domains whose shares the law reads; empty without a mixture term."""
        return tuple(dict.fromkeys(d for t in self.terms for d in t.domains))

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """The levels of each category that the law tells apart, by the category's column."""
        return {t.category: t.levels for t in self.terms if t.category is not None}

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds of all parameters, each `(P,)`."""
        return np.array([p.lower for p in self.parameters]), np.array([p.upper for p in self.parameters])

    def reference(self, columns: Columns, top: float = 0.2) -> Reference:
        """The geometric mean of the `top` share of runs by compute (N·D): the end from which one extrapolates."""
        n = len(next(iter(columns.values())))
        size = {c: np.log(need(columns, c)) if c in columns else np.zeros(n) for c in ("params", "tokens")}
        compute = size["params"] + size["tokens"]
        rows = np.argsort(compute, kind="stable")[-max(1, round(top * n)) :]
        values = {c: float(np.exp(size[c][rows].mean())) for c in ("params", "tokens")}
        for term in self.terms:
            values.update(term.centre(columns, rows))
        return Reference(values)

    def prepare(self, columns: Columns, reference: Reference) -> list[dict[str, np.ndarray]]:
        """Features of the core and each term, computed once per data set; empty for a term whose columns are absent."""
        n = len(next(iter(columns.values())))
        core = {}
        for key, column in (("x", "params"), ("t", "tokens")):
            used = column in self.member.uses
            core[key] = np.log(need(columns, column)) - reference.log(column) if used else np.zeros(n)
        present = [term.speaks_always or all(c in columns for c in term.columns) for term in self.terms]
        return [
            core,
            *(t.prepare(columns, reference) if there else {} for t, there in zip(self.terms, present, strict=True)),
        ]

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
            ratio = np.maximum(np.exp(full[:, LEVEL]) / max(fixed["E"], 1e-17) - 1.0, 1e-9)
            full[:, REDUCIBLE] = np.minimum(np.log(ratio), NO_FLOOR)
        return full

    def _chain(self, grad: np.ndarray, theta: np.ndarray) -> None:
        """Pass the derivatives of dependent parameters on to those that drive them, in place."""
        for name, place in (("alpha", PARAMS_EXPONENT), ("beta", TOKENS_EXPONENT)):
            if name in self.fixed:
                grad[:, LOG_GAMMA] += grad[:, place] * theta[:, place, None]
        if self.fixed.get("E", 0.0) > 0:
            grad[:, LEVEL] += grad[:, REDUCIBLE] / _sigmoid(theta[:, REDUCIBLE, None])
        grad[:, ~self.free] = 0.0

    def loss(self, theta: np.ndarray, features: Features, gradient: bool = False):
        """Loss in nats `(K, n)`; with `gradient`, also its derivative `(K, P, n)` by every parameter (fixed: zero)."""
        theta = self.complete(theta)
        effects = self._effects(theta, features, gradient)
        level = np.exp(theta[:, LEVEL])
        rho = _sigmoid(theta[:, REDUCIBLE])
        weight = _sigmoid(theta[:, CAPACITY])
        gamma = np.exp(theta[:, LOG_GAMMA])
        x, t = features[0]["x"], features[0]["t"]
        penalty, stretch, factor = 0.0, 1.0, 0.0
        for effect, _ in effects:
            x = x + effect.log_params[0] if effect.log_params else x
            t = t + effect.log_tokens[0] if effect.log_tokens else t
            penalty = penalty + effect.penalty[0] if effect.penalty else penalty
            stretch = stretch + effect.stretch[0] if effect.stretch else stretch
            factor = factor + effect.log_reducible[0] if effect.log_reducible else factor
        alpha, beta = (theta[:, PARAMS_EXPONENT] / gamma)[:, None], (theta[:, TOKENS_EXPONENT] / gamma)[:, None]
        u = _log_sigmoid(theta[:, CAPACITY])[:, None] - alpha * x
        v = _log_sigmoid(-theta[:, CAPACITY])[:, None] - beta * t
        top = np.maximum(u, v)
        capacity = np.exp(u - top)
        total = capacity + np.exp(v - top)
        s = top + np.log(total)
        plain = rho[:, None] * np.exp(gamma[:, None] * s + factor)
        reducible = plain * stretch
        relative = (1 - rho)[:, None] + reducible + penalty
        value = level[:, None] * relative
        if not gradient:
            return value
        by_s = gamma[:, None] * reducible
        by_u = by_s * (capacity / total)
        by_v = by_s - by_u
        by_x, by_t = by_u * x, by_v * t
        grad = np.zeros((theta.shape[0], theta.shape[1], value.shape[1]))
        grad[:, LEVEL] = relative
        grad[:, REDUCIBLE] = (1 - rho)[:, None] * (reducible - rho[:, None])
        grad[:, CAPACITY] = by_u - weight[:, None] * by_s
        grad[:, PARAMS_EXPONENT] = by_x / -gamma[:, None]
        grad[:, TOKENS_EXPONENT] = by_t / -gamma[:, None]
        grad[:, LOG_GAMMA] = by_s * s + by_x * alpha + by_t * beta
        for effect, place in effects:
            if effect.log_params:
                grad[:, place] -= (by_u * alpha)[:, None] * effect.log_params[1]
            if effect.log_tokens:
                grad[:, place] -= (by_v * beta)[:, None] * effect.log_tokens[1]
            if effect.penalty:
                grad[:, place] += effect.penalty[1]
            if effect.stretch:
                grad[:, place] += plain[:, None] * effect.stretch[1]
            if effect.log_reducible:
                grad[:, place] += reducible[:, None] * effect.log_reducible[1]
        grad *= level[:, None, None]
        self._chain(grad, theta)
        return value, grad

    def without_terms(self) -> Law:
        """The same core with every term taken off."""
        names = {p.name for p in CORE}
        return Law(self.member, (), {k: v for k, v in self.fixed.items() if k in names or k in _TEXTBOOK})

    def _effects(self, theta, features, gradient):
        out, at = [], len(CORE)
        for term, feature in zip(self.terms, features[1:], strict=True):
            place = slice(at, at + len(term.parameters))
            at = place.stop
            if feature:  # a term whose columns are absent is switched off
                evaluate = term.effect if gradient else term.values
                out.append((evaluate(theta[:, place], feature), place))
        return out


def _checked(fixed: Mapping[str, float]) -> dict[str, float]:
    """Fixed values as floats; FitError for one that no law can have."""
    values = {}
    for name, value in fixed.items():
        number = float(value)
        if not np.isfinite(number) or (name in _TEXTBOOK and (number < 0 or (number == 0 and name != "E"))):
            expected = "a number of at least 0" if name == "E" else "a positive number"
            raise FitError(f"can't fix {name} at {value!r}; expected {expected if name in _TEXTBOOK else 'a number'}")
        values[name] = number
    return values


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _log_sigmoid(x: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0.0, -x)
