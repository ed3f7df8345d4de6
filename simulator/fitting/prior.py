"""Priors over a law's unit-free shape: weak generic ones, and one learned across the public tables (empirical Bayes).

A prior is weighed against the runs by their noise: its precision enters the Huber objective times δ·b, with b the
mean absolute residual of log loss, because far from the optimum the Huber sum is δ·|r| and the Laplace
log-likelihood |r|/b.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources

import numpy as np

from ..laws import CORE, Law, Reference

SHAPE = tuple(p.name for p in CORE[1:])
"""The core parameters that a prior speaks of: all but the level, which every table tells by itself."""
_TEXTBOOK = {"E": 1.81722, "A": 477.83, "B": 2143.4, "alpha": 0.34731, "beta": 0.36717}
"""Chinchilla's approach 3 refitted on its 240 points (Besiroglu et al. 2024, arXiv 2404.10102; our optimum)."""
_FAR = 4.0  # a fixed value this many spreads from the centre is another form, not an unlikely case of this one


@dataclass(frozen=True)
class LawPrior:
    """A Gaussian over the five shape parameters `(5,)`, `(5, 5)`; terms keep their own independent Gaussians."""

    name: str
    mean: np.ndarray
    covariance: np.ndarray
    provenance: Mapping[str, object] = field(default_factory=dict)

    def for_law(self, law: Law, reference: Reference) -> tuple[np.ndarray, np.ndarray]:
        """Centre `(P,)` and precision `(P, P)` for a law; directions without a prior have precision zero.

        Fixed parameters condition the rest where their value is plausible, and drop out where it is not.
        """
        mean, covariance, known = self._joint(law)
        precision = np.zeros_like(covariance)
        precision[np.ix_(known, known)] = np.linalg.inv(covariance[np.ix_(known, known)])
        return mean, precision

    def spread(self, law: Law, rng: np.random.Generator, count: int) -> np.ndarray:
        """`count` random displacements of the centre, `(count, P)`."""
        _, covariance, known = self._joint(law)
        out = np.zeros((count, len(covariance)))
        factor = np.linalg.cholesky(covariance[np.ix_(known, known)])
        out[:, known] = rng.standard_normal((count, known.sum())) @ factor.T
        return out

    def _joint(self, law):
        mean = np.array([p.mean for p in law.parameters])
        covariance = np.diag([p.sd**2 for p in law.parameters])
        mean[1:6], covariance[1:6, 1:6] = self.mean, self.covariance
        at = law.complete(mean[None])[0]
        far = np.abs(at - mean) > _FAR * np.sqrt(np.diag(covariance))
        dependent = np.isin(np.arange(len(mean)), law.dependent)
        known = ~(~law.free & (far | dependent))
        known[0] = False
        return mean, covariance, known

    def centred_at(self, params: float, tokens: float) -> LawPrior:
        """The same prior for runs that all have this size and data, so that they say nothing of what either does.

        How much of their loss more compute could remove, and which part of that belongs to size, is then taken from
        the textbook law at that point rather than from what ladders of usual sizes show.
        """
        of_params = _TEXTBOOK["A"] * params ** -_TEXTBOOK["alpha"]
        of_tokens = _TEXTBOOK["B"] * tokens ** -_TEXTBOOK["beta"]
        mean = self.mean.copy()
        mean[0], mean[1] = np.log((of_params + of_tokens) / _TEXTBOOK["E"]), np.log(of_params / of_tokens)
        return replace(self, mean=mean)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "parameters": list(SHAPE),
            "mean": self.mean.tolist(),
            "covariance": self.covariance.tolist(),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(cls, data: Mapping) -> LawPrior:
        """The inverse of `to_dict`."""
        return cls(data["name"], np.array(data["mean"]), np.array(data["covariance"]), data.get("provenance", {}))


def weak_prior() -> LawPrior:
    """The generic prior: independent, centred on textbook exponents (α .35 ± .15, β .36 ± .15, log γ 0 ± .35)."""
    return LawPrior("weak", np.array([p.mean for p in CORE[1:]]), np.diag([p.sd**2 for p in CORE[1:]]))


@cache
def public_prior() -> LawPrior:
    """The empirical-Bayes prior shipped with the package, learned across the public run tables."""
    text = resources.files("foretrain.datasets.facts.laws").joinpath("prior.json").read_text(encoding="utf-8")
    return LawPrior.from_dict(json.loads(text))
