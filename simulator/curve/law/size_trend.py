"""How the parameters of the law of a recipe's loss curves change with the model's size.

Each parameter is a line in log N through the sizes that were fitted, with a scatter about it. Its slope has a prior
that the public recipes agree on, so that one size tells something of another, two tell more, and from three on their
own slope rules. What is extrapolated widens with the distance from the sizes and with what the slope leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..library import Curve
from ..smoothing import noise_of
from .fitting import CurveFit

SLOPE = np.array([-0.037, -0.2, -0.02, 0.0, -0.085, 0.16, 0.03])
"""Change of (α, log C, β, γ, log L0, log A, log B) while the size grows e-fold: means over the 25M and 100M recipe (α
-.034, L0 -.087, A .13), the OLMo ladder (-.041, -.093, .20), GPT-3, OPT and Llama 2 (L0 -.06 to -.09, A .08 to .22)."""
SLOPE_SD = np.array([0.008, 0.15, 0.03, 0.015, 0.007, 0.035, 0.05])
"""How far those recipes differ in it, for α, L0, A and B nearly; see SCATTER."""
SCATTER = np.array([0.005, 0.15, 0.03, 0.02, 0.005, 0.03, 0.05])
"""Standard deviation of a size about the line of its recipe. Chosen with SLOPE_SD and the drifts of `prior` so that
90 % intervals of final losses hold about nine in ten runs of sizes left out (25M and 100M from each other, each size of
the OLMo ladder from the three others or from two smaller ones) at 20, 30, 50 and 70 % of the run."""
USUAL_MISFIT = 2.5e-3
"""By how much curves stray from their own law (OLMo ladder .0019 to .0024, 25M and 100M .0009 of the loss), the noise
of single points apart. Curves that stray more, having been read off figures, say, tell that much less of other
sizes."""
_PARTS = 10  # of a run, whose mean misses are its misfit
_FEW = 5  # points, of which noise can't be told from misfit
_LEAST_SHARE = 1e-3  # of L0: A and B of a nonsensical fit may be below 0


@dataclass(frozen=True)
class SizeLaw:
    """The law of one size of a recipe: `theta: (7,)` is (α, log C, β, γ, log L0, log A, log B), nats."""

    size: float
    theta: np.ndarray
    identified: bool = True
    """Whether its curves tell what a decay does."""
    misfit: float = 0.0
    """Standard deviation of log loss about the law, without the noise of single points."""

    @classmethod
    def of(cls, fit: CurveFit, group: str, size: float, misfit: float = 0.0) -> SizeLaw:
        """The law that a fit has of a group."""
        floor, a, b = np.maximum(fit.level[group], _LEAST_SHARE * max(float(fit.level[group][0]), 1.0))
        return cls(size, np.array([*fit.shape, *np.log([floor, a, b])]), fit.identified, misfit)


def at_size(laws: list[SizeLaw], size: float) -> tuple[np.ndarray, np.ndarray]:
    """Parameters of another size of the recipe: mean `(7,)` and standard deviation `(7,)`, in the order of `theta`."""
    away = np.log([law.size / size for law in laws])
    theta = np.array([law.theta for law in laws])
    # of the value at `size` and the slope, given both: the first is left to the sizes, the slope has its prior
    among = np.array([[len(laws), away.sum()], [away.sum(), away @ away]])
    mean, sd = np.zeros(theta.shape[1]), np.zeros(theta.shape[1])
    for k, (slope, slope_sd, scatter) in enumerate(zip(SLOPE, SLOPE_SD, SCATTER, strict=True)):
        precision = among / scatter**2 + np.diag([0.0, slope_sd**-2])
        pull = np.array([theta[:, k].sum(), away @ theta[:, k]]) / scatter**2 + np.array([0.0, slope / slope_sd**2])
        covariance = np.linalg.inv(precision)
        mean[k] = covariance[0] @ pull
        sd[k] = np.sqrt(covariance[0, 0] + scatter**2)
    return mean, sd


def misfit(fit: CurveFit, curves: list[Curve]) -> float:
    """Standard deviation of log loss about the fit, without the white noise of the points."""
    found = []
    for curve in curves:
        warm = curve.warmed()
        if len(warm.step) > _FEW:
            residual = np.log(warm.loss / fit.loss(warm.path, warm.step, warm.group))
            parts = np.array_split(residual, min(_PARTS, len(residual)))
            white = noise_of(residual) ** 2 * np.mean([1.0 / len(part) for part in parts])
            found.append(max(float(np.mean([part.mean() ** 2 for part in parts])) - white, 0.0))
    return float(np.sqrt(np.mean(found))) if found else fit.residual_sd


def roughness(laws: list[SizeLaw]) -> float:
    """How many times wider than usual what such laws tell of another size is, at least 1."""
    return max(1.0, float(np.sqrt(np.mean([law.misfit**2 for law in laws]))) / USUAL_MISFIT)
