"""The size at which a given compute reaches the lowest loss: in closed form for the core law, else numerically.

Near the optimum the loss is flat: a size off by a third costs about 0.1 %. So the search is for the root of the slope
along C = const, not for the lowest value, whose rounding alone would move the size by some 1e-7.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ....core.errors import InfeasibleError, InputError
from ...laws import CAPACITY, CORE, LOG_GAMMA, PARAMS_EXPONENT, TOKENS_EXPONENT
from .surface import FLOPS_PER_PARAM_TOKEN, LossSurface

__all__ = [
    "DRIFT_PER_DECADE",
    "Optimum",
    "check_flops",
    "closed_form",
    "find_optimum",
    "lowest_on_grid",
    "numeric_optimum",
    "optima_of_draws",
    "root_between",
]

DRIFT_PER_DECADE = 0.15
"""Sd of log N* for each decade of compute beyond the fitted runs, besides what the draws leave open.

How far the optimum of laws fitted below a cut was from that of the whole table, on the public tables
(benchmarks/optimum.py): with it, 90 % intervals held 90 % of them; without, 76 %.
"""

_LEAST_FLOPS, _MOST_FLOPS = 1e9, 1e33
_LEAST = 1e3  # params and tokens from which an optimum is looked for
_STEP = 0.05  # of log N in the first look
_DIFFERENCE = 0.02  # of log N, in sixth-order differences: exact to 1e-12 of the slope, and rounding to 1e-14 of it
_CORNER = 1e-4  # of log N, beside a corner
_DRAW_SPAN, _DRAW_STEP = 4.0, 0.02


@dataclass(frozen=True)
class Optimum:
    """Where a compute reaches the lowest loss, by the law alone."""

    flops: float
    params: float
    tokens: float
    log_loss: float
    method: str
    """closed form or numeric."""


def find_optimum(surface: LossSurface, flops: float) -> Optimum:
    """The optimum at `flops`: closed form where the law is its core alone, else numeric. InputError for the compute."""
    check_flops(flops)
    if not surface.plain:
        return numeric_optimum(surface, flops)
    params = math.exp(closed_form(surface, surface.fit.theta[None], flops)[0])
    return _at(surface, flops, params, "closed form")


def check_flops(flops: float) -> None:
    """InputError for a compute that no training run has."""
    if not _LEAST_FLOPS <= flops <= _MOST_FLOPS:
        raise InputError(f"flops: got {flops:.3g}; expected training FLOPs from 1e9 to 1e33, such as 5.76e23")


def closed_form(surface: LossSurface, theta: np.ndarray, flops: float | np.ndarray) -> np.ndarray:
    """Log N* of the core law for parameters `theta: (K, P)`, `(K,)`; `flops` a number or `(K,)`.

    α·A·N^-α = β·B·D^-β at N·D = C/6 (Hoffmann et al. 2022, arXiv:2203.15556, eq. 4); the outer γ moves no optimum. In
    the law's own coordinates A·N^-α is w·(N/N₀)^-α and B·D^-β is (1 - w)·(D/D₀)^-β, of a common factor.
    """
    fit = surface.fit
    full = fit.law.complete(theta)[:, : len(CORE)]
    gamma = np.exp(full[:, LOG_GAMMA])
    alpha, beta = full[:, PARAMS_EXPONENT] / gamma, full[:, TOKENS_EXPONENT] / gamma
    product = np.log(flops / (FLOPS_PER_PARAM_TOKEN * surface.active_share))
    of_params, of_tokens = fit.reference.log("params"), fit.reference.log("tokens")
    tilt = np.log(alpha / beta) + full[:, CAPACITY] + alpha * of_params
    return (tilt + beta * (product - of_tokens)) / (alpha + beta)


def numeric_optimum(surface: LossSurface, flops: float) -> Optimum:
    """The optimum of any law: the lowest of the valleys of its loss, and of the corners where a stock is used up.

    The ends, 1e3 parameters and 1e3 tokens, are none: some laws fall again far out, where nobody has been. Raises
    InfeasibleError where there is no valley.
    """
    product = math.log(flops / (FLOPS_PER_PARAM_TOKEN * surface.active_share))
    low, high = math.log(_LEAST), product - math.log(_LEAST)

    def log_loss(x: np.ndarray) -> np.ndarray:
        return surface.log_loss(np.exp(x), np.exp(product - x))

    corners = sorted(x for x in (product - math.log(tokens) for tokens in surface.kinks) if low < x < high)
    found = [x for a, b in pairwise([low, *corners, high]) for x in _valleys(log_loss, a, b)]
    for corner in corners:
        left, own, right = log_loss(corner + _CORNER * np.array([-1.0, 0.0, 1.0]))
        found += [corner] if own < min(left, right) else []
    if not found:
        raise InfeasibleError(
            f"at {flops:.3g} FLOPs the law {surface.law_name} has no optimum: its loss falls, or rises, with size "
            f"all the way between {_LEAST:g} parameters and {_LEAST:g} tokens"
        )
    return _at(surface, flops, math.exp(found[int(log_loss(np.array(found)).argmin())]), "numeric")


def _valleys(log_loss: Callable[[np.ndarray], np.ndarray], low: float, high: float) -> list[float]:
    """The lowest points inside a smooth stretch of log N, as roots of the slope; its ends aren't among them."""
    if high - low < 12 * _DIFFERENCE:
        return []
    x = np.linspace(low, high, max(5, math.ceil((high - low) / _STEP)))
    values = log_loss(x)
    moves = _DIFFERENCE * np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
    weights = np.array([-1.0, 9.0, -45.0, 45.0, -9.0, 1.0]) / (60.0 * _DIFFERENCE)

    def slope(place: float) -> float:
        return float(weights @ log_loss(place + moves))

    found = []
    for at in range(len(x)):
        near = slice(max(at - 1, 0), at + 2)
        if values[at] > values[near].min():
            continue
        a, b = max(x[near][0], low + 3 * _DIFFERENCE), min(x[near][-1], high - 3 * _DIFFERENCE)
        if a < b and slope(a) < 0 < slope(b):
            found.append(root_between(slope, a, b))
    return found


def optima_of_draws(surface: LossSurface, flops: float, centre: float) -> np.ndarray:
    """Log N* of each draw of the law's parameters, `(K,)`; `centre` is the law's own N*.

    Laws with terms: on a grid of log N of step 0.02 around the centre, and a parabola through the lowest three points.
    """
    if surface.plain:
        return closed_form(surface, surface.fit.draws, flops)
    product = math.log(flops / (FLOPS_PER_PARAM_TOKEN * surface.active_share))
    x = math.log(centre) + np.arange(-_DRAW_SPAN, _DRAW_SPAN + _DRAW_STEP / 2, _DRAW_STEP)
    return lowest_on_grid(x, surface.log_loss_draws(np.exp(x), np.exp(product - x)))[0]


def lowest_on_grid(x: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place and value `(K,)` of the lowest point of curves `values: (K, n)` on an even grid `x: (n,)`.

    A parabola through the lowest point and its neighbours; the end itself where the lowest point is an end.
    """
    rows = np.arange(len(values))
    at = values.argmin(axis=1)
    inner = np.clip(at, 1, len(x) - 2)
    left, middle, right = (values[rows, inner + k] for k in (-1, 0, 1))
    bend = left - 2.0 * middle + right
    smooth = (at == inner) & (bend > 0)
    shift = np.where(smooth, 0.5 * (left - right) / np.where(smooth, bend, 1.0), 0.0)
    value = np.where(smooth, middle - 0.25 * (left - right) * shift, values[rows, at])
    return x[at] + shift * (x[1] - x[0]), value


def root_between(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that changes its sign between `low` and `high` is zero, to rounding."""
    from scipy.optimize import root_scalar

    return float(root_scalar(function, bracket=(low, high), method="brentq", xtol=1e-13, rtol=1e-14).root)


def _at(surface: LossSurface, flops: float, params: float, method: str) -> Optimum:
    tokens = float(surface.tokens_for(flops, params))
    value = float(surface.log_loss(np.array([params]), np.array([tokens]))[0])
    return Optimum(flops, params, tokens, value, method)
