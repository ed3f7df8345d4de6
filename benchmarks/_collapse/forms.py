"""Forms of the rise of a chain's loss in the long run, and the evidence for each.

- `log`: c · log(1 + n), unbounded;
- `squares`: c · sum of 1/j² for j = 1 … n, at most c · π²/6: what linear regression does under `accumulate`
  (Gerstgrasser et al. 2024, arXiv:2404.01413);
- `level`: c · (1 - q^n), which levels off at c.

The luck that one generation has stays with later ones, wholly under `accumulate`, hardly under `subsample`, which draws
anew. So the errors of the rises are a first-order autoregression from 0 at generation 0 on, e_n = φ · e_{n-1} + u_n,
with φ fitted beside the form; φ = 1 compares the steps from generation to generation, φ = 0 the rises themselves. AIC =
m · log(RSS / m) + 2k for m rises, k parameters and the sum of squares of u; a difference of 10 leaves the worse form
without support (Burnham and Anderson 2004, "Multimodel inference").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

__all__ = ["FORMS", "Evidence", "evidence", "rises"]

FORMS = ("log", "squares", "level")


_PHIS = np.linspace(0, 1, 21)


@dataclass(frozen=True)
class Evidence:
    """What rises say of a form: c in nats per byte, q where the form has one, φ, the RMS difference in nats per byte,
    AIC, and the last rise as the first ones foretell it, relative to what came."""

    form: str
    scale: float
    ratio: float | None
    phi: float
    rmse_nats: float
    aic: float
    foretold: float


def rises(form: str, generations: int, ratio: float = 0.5) -> np.ndarray:
    """The rises of generations 1 … `generations` for c = 1 `(generations,)`."""
    n = np.arange(1, generations + 1)
    if form == "log":
        return np.log1p(n)
    return np.cumsum(1 / n**2) if form == "squares" else 1 - ratio**n


def evidence(form: str, measured: np.ndarray, first: int) -> Evidence:
    """Fit a form to measured rises.

    Args:
        form: One of `FORMS`.
        measured: Rises over generation 0, in nats per byte, of the generations 1 … n `(n,)`, or of several chains
            `(chains, n)`.
        first: From how many generations the last one is foretold.
    """
    measured = np.atleast_2d(measured)
    generations = measured.shape[1]
    best, early = _fit(form, measured), _fit(form, measured[:, :first])
    foretold = early.scale * rises(form, generations, early.ratio)[-1] / measured[:, -1].mean()
    parameters = 2 + (form == "level")
    aic = measured.size * np.log(best.squares / measured.size) + 2 * parameters
    rmse = float(np.sqrt(np.mean((measured - best.scale * rises(form, generations, best.ratio)) ** 2)))
    ratio = best.ratio if form == "level" else None
    return Evidence(form, best.scale, ratio, best.phi, rmse, float(aic), float(foretold))


class _Fit(NamedTuple):
    squares: float
    scale: float
    ratio: float
    phi: float


def _fit(form: str, measured: np.ndarray) -> _Fit:
    """The constants with the least sum of squares of u."""

    def at(ratio: float, phi: float) -> _Fit:
        shape = _news(rises(form, measured.shape[1], ratio), phi)
        news = _news(measured, phi)
        scale = float((news @ shape).mean() / (shape @ shape))
        return _Fit(float(((news - scale * shape) ** 2).sum()), scale, ratio, phi)

    if form != "level":
        return min(at(0.5, phi) for phi in _PHIS)
    ratios = [
        minimize_scalar(lambda ratio, phi=phi: at(ratio, phi).squares, bounds=(0.01, 0.999), method="bounded").x
        for phi in _PHIS
    ]
    return min(at(float(ratio), phi) for ratio, phi in zip(ratios, _PHIS, strict=True))


def _news(rise: np.ndarray, phi: float) -> np.ndarray:
    """What each rise adds to φ times the one before it `(..., generations)`."""
    before = np.zeros_like(rise)
    before[..., 1:] = rise[..., :-1]
    return rise - phi * before
