"""`FeedbackLaw`: equally likely α and β of one method, as they depend on what the reward was learned from.

α and β are linear in ln(comparisons) and ln(reward_params) where a table tells these apart (Gao et al. 2022,
arXiv:2210.10760, section 3.2, find both coefficients about so in the size of the reward model). Another reward model,
learned from as many other comparisons, has coefficients of its own around them: `spread`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..draws import decades_outside, rounded
from .gain import FORMS, GainForm

__all__ = ["DRIVERS", "FeedbackLaw"]

DRIVERS = ("comparisons", "reward_params")
"""What α and β may depend on."""
_DOUBT = 0.5  # one sd, as a share, of what is lost beyond what was measured
_FREEDOM = 4.0  # of Student's t, by which reward models alike differ


@dataclass(frozen=True)
class FeedbackLaw:
    """The law of one method, as draws.

    >>> law = FeedbackLaw("best_of_n", {}, np.array([[0.5]]), np.array([[0.125]]), np.zeros((1, 2)), np.zeros(1))
    >>> alpha, beta = law.coefficients({}, np.random.default_rng(0))
    >>> alpha.tolist(), beta.tolist(), law.form.peak(alpha, beta).tolist()
    ([0.5], [0.125], [2.0])
    """

    method: str
    references: Mapping[str, float]
    """Of each driver that the coefficients depend on, the value at which the first column holds."""
    alpha: np.ndarray
    """`(draws, 1 + drivers)`: at the references, then by ln(driver / reference)."""
    beta: np.ndarray
    """`(draws, 1 + drivers)`."""
    spread: np.ndarray
    """`(draws, 2)`: one sd between reward models alike, of α and of β."""
    noise: np.ndarray
    """`(draws,)`: one sd of a measured gain around its law."""
    measured: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Least and most of `kl_nats` and of each driver among what was measured; empty of a prior."""
    standardised: bool = False
    """Whether rewards are in standard deviations of the true reward among the starting policy's answers."""
    source: str = ""
    """What it rests on, in words."""

    @property
    def unit(self) -> str:
        """What gains are in."""
        if self.standardised:
            return "standard deviations of the true reward among the starting policy's answers"
        return "units of the measured reward"

    @property
    def form(self) -> GainForm:
        """What it is the coefficients of."""
        return FORMS[self.method]

    @cached_property
    def draws(self) -> int:
        """How many sets of coefficients are equally likely."""
        return len(self.alpha)

    def coefficients(
        self, drivers: Mapping[str, float | None], rng: np.random.Generator | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """α and β of a reward model `(draws,)`.

        Args:
            drivers: Comparisons and parameters that it is learned with; None or absent stands for the reference.
            rng: Draws what is particular to one reward model; None for the mean of reward models alike.
        """
        at = [1.0]
        for name, reference in self.references.items():
            stated = drivers.get(name)
            at.append(0.0 if stated is None else math.log(stated / reference))
        alpha, beta = self.alpha @ np.array(at), self.beta @ np.array(at)
        if rng is None:
            return alpha, beta
        own = rng.standard_t(_FREEDOM, (self.draws, 2)) * self.spread  # few of them are far worse than the rest
        return alpha + own[:, 0], beta + own[:, 1]

    def gain(self, d: np.ndarray, alpha: np.ndarray, beta: np.ndarray, off: np.ndarray) -> np.ndarray:
        """The gain at d, which broadcasts against draws of α and β `(draws,)`.

        Past the farthest distance that was measured what is lost more grows in doubt: by half of it, times `off`, a
        standard normal of each draw.
        """
        found = self.form.gain(d, alpha, beta)
        if "kl_nats" not in self.measured:
            return found
        farthest = np.array(math.sqrt(self.measured["kl_nats"][1]))
        more = np.maximum(self.form.lost(np.maximum(d, farthest)) - self.form.lost(farthest), 0.0)
        return found - _DOUBT * off * np.abs(beta) * more

    def beyond_decades(self, kl_nats: float, drivers: Mapping[str, float | None]) -> dict[str, float]:
        """How far a set-up lies outside what was measured, in decades; only what does."""
        return decades_outside(self.measured, {"kl_nats": kl_nats, **drivers})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, from which an equal law is read back, to seven digits."""
        return {
            "method": self.method,
            "references": dict(self.references),
            "alpha": rounded(self.alpha),
            "beta": rounded(self.beta),
            "spread": rounded(self.spread),
            "noise": rounded(self.noise),
            "measured": {name: list(ends) for name, ends in self.measured.items()},
            "standardised": self.standardised,
            "source": self.source,
        }
