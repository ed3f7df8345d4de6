"""The laws of the public loss curves, which are what a user without curves of related runs has.

Parameters that were fitted to the curves of eleven recipes of seven makers, 25M to 34B parameters, 3,600 to 740,000
steps (datasets/facts/curve_laws.json, made by benchmarks/facts_curves.py). A run of one of these recipes takes the law
of its sizes; any other job takes what the makers have in common, as wide as they differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ....core.units import format_count
from ....datasets.facts.catalogue import read_facts
from ..rates.path import RatePath
from .fitting import CurveFit
from .multipower import FADE, S_REF
from .prior import FLOOR_SHARE, GENERIC_DRIFT, CurvePrior
from .size_trend import SizeLaw, roughness

PUBLIC = "public curves"
"""Name of the prior, and of the family of a run that is of none of the recipes."""
PUBLIC_SD = np.array([0.05, 0.6, 0.1, 0.1, 10.0, 0.5, 0.35])
"""Between a job and the mean of the public recipes, in the order of `prior.NAMES`; L0 is left to the data. About the
mean, recipes scatter by .03, .3, .06, .03, -, .43, .19, the law of a recipe that is none of them by more: forecasts of
each maker's runs from the others' laws chose them (benchmarks/tracking.py)."""
_REFERENCE = 1e8  # parameters, at which A is compared
_NEAR = np.log(4.0)  # ratio of sizes or lengths beyond the public ones up to which nothing is said


@dataclass(frozen=True)
class PublicLaw:
    """The fitted law of one size of a recipe."""

    family: str
    source: str
    """What is one maker's."""
    law: SizeLaw
    steps: tuple[int, int]
    """The shortest and the longest run."""
    peak_steps: float
    """Geometric mean of the runs' lengths, in steps at the peak rate."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PublicLaw:
        """From an entry of the file."""
        fit = CurveFit.from_dict(data)
        law = SizeLaw.of(fit, next(iter(fit.level)), float(data["size"]), float(data["misfit_sd"]))
        shortest, longest = data["steps"]
        return cls(data["family"], data["source"], law, (shortest, longest), float(data["peak_steps"]))


@cache
def public_laws() -> tuple[PublicLaw, ...]:
    """The laws that ship."""
    return tuple(PublicLaw.from_dict(entry) for entry in read_facts("curve_laws.json")["laws"])


def public_prior(size: float, path: RatePath, loss: float, laws: Iterable[PublicLaw] | None = None) -> CurvePrior:
    """For a job of a recipe that nobody knows, from what the public ones have in common.

    A in shares of the loss grows with the size. B is compared at the end of each run, since what a fall of the rate is
    worth fades with the steps, and steps of different batches aren't the same. Makers
    count nearly alike, however many sizes they have, and less where their curves stray from their own law.

    Args:
        size: The run's parameters.
        path: Its learning rates.
        loss: Its current loss, nats, which only sets scales.
        laws: The laws to go by; those that ship by default.
    """
    known = list(public_laws() if laws is None else laws)
    sources = [law.source for law in known]
    rough = np.array([roughness([law.law]) for law in known])
    weight = np.array([sources.count(source) for source in sources]) ** -0.5 / rough
    theta = np.array([law.law.theta for law in known])
    floor, a, b = theta[:, 4:].T
    length = np.array([np.log(law.peak_steps / S_REF) for law in known])
    bigger = np.log([law.law.size / _REFERENCE for law in known])
    slope, start = np.polyfit(bigger, a - floor, 1, w=weight)
    b_end = np.average(b - floor - FADE * length, weights=weight)
    ends = float(np.log(max(float(path.behind(path.steps)), 1.0) / S_REF))
    shape = np.average(theta[:, :4], axis=0, weights=weight)
    level = np.log(loss) + np.array([start + slope * np.log(size / _REFERENCE), b_end + FADE * ends])
    mean = np.array([*shape, FLOOR_SHARE * loss, *level])
    far = sum(max(_outside(*pair) - _NEAR, 0.0) for pair in _ranges(size, path, known))
    return CurvePrior(PUBLIC, mean, PUBLIC_SD * (1.0 + 0.25 * far), GENERIC_DRIFT * np.sqrt(1.0 + far))


def far_from_public(size: float, path: RatePath) -> list[str]:
    """What of a plan lies far beyond the public curves, in plain words; empty where nothing does."""
    (_, sizes), (_, steps) = _ranges(size, path, list(public_laws()))
    said = []
    if _outside(size, sizes) > _NEAR:
        said.append(f"{format_count(size)} parameters (they have {' to '.join(map(format_count, sizes))})")
    if _outside(path.steps, steps) > _NEAR:
        said.append(f"{path.steps:,} steps (they have {steps[0]:,.0f} to {steps[1]:,.0f})")
    return said


def far_note(what: str) -> str:
    """What is said of a part of a plan that lies far beyond the public curves."""
    return f"{what}: far beyond the public curves, so the interval is wide"


def _ranges(
    size: float, path: RatePath, laws: list[PublicLaw]
) -> tuple[tuple[float, tuple[float, float]], tuple[float, tuple[float, float]]]:
    """A run's size and its steps, each with the range of the laws."""
    sizes = [law.law.size for law in laws]
    steps = [step for law in laws for step in law.steps]
    return (size, (min(sizes), max(sizes))), (path.steps, (min(steps), max(steps)))


def _outside(value: float, within: tuple[float, float]) -> float:
    """Log of the ratio by which a value lies outside a range, 0 inside."""
    low, high = within
    return float(np.log(max(1.0, value / high, low / value)))
