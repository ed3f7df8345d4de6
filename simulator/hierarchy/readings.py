"""A second reading of a table's runs: the robust fit that trusts large runs more and knows no misfit.

The posterior lets a misfit bend with the sizes, so a table's small runs say little against what other tables have in
common; the robust fit takes its own runs' word. Neither is always nearer to the truth, and their middle errs less than
either (benchmarks/extrapolation.py), so the draws are around both.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...core.errors import FitError
from ..fitting import LawPrior, constant_column, fit_observations, public_prior
from .coordinates import LAW, from_law
from .errors import Runs
from .posterior import Belief, Component

_FEWEST_RUNS = 8
"""With fewer, the robust fit would be little more than its prior."""
_SHARE = 0.6
"""Weight of the robust fit; .5 to .6 are alike (benchmarks/extrapolation.py)."""


def with_robust_reading(components: list[Component], runs: Runs, prior: LawPrior | None = None) -> list[Component]:
    """The posterior with some of its weight moved to where the robust fit has its optimum.

    Args:
        components: The posterior.
        runs: The runs that it rests on.
        prior: The prior of the robust fit; by default that of the public tables.
    """
    if len(runs) < _FEWEST_RUNS:
        return components
    observations = runs.observations()
    varies = not any(constant_column(observations, column) for column in ("params", "tokens"))
    if observations.runs_worth < _FEWEST_RUNS or not varies:
        return components
    try:
        fit = fit_observations(LAW, observations, public_prior() if prior is None else prior)
    except (FitError, np.linalg.LinAlgError):
        return components
    optimum = from_law(fit.theta, fit.reference)
    found = []
    for component in components:
        found.append(replace(component, weight=(1.0 - _SHARE) * component.weight))
        centre = np.append(optimum, component.belief.mean[len(optimum) :])
        around = Belief(centre, component.belief.covariance)
        found.append(replace(component, belief=around, weight=_SHARE * component.weight))
    return found
