"""The joint posterior of the losses of runs not yet trained: jointly normal, around a fitted law.

The law is linearised in its parameters at its fit: with g the gradient of log L and Σ the posterior covariance of the
parameters given the prior and the completed runs, two runs' log losses have the covariance gᵀ·Σ·g'. A single run's
loss deviates from the quantity that informs about the planned runs with the variance

    σ²/w + (μ·gap)²        σ the law's noise, w the weight that the fit gives it, gap its decades below the planned runs

so that a tiny run, however cheap, carries little information about a large one. μ and the form were chosen on rolling
cuts inside the pools of benchmarks/active.py, where anything from 0.01 to 0.03 does about as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...fitting import Fit, LawPrior, Observations, fit_observations, weak_prior
from ...laws import Columns, Law, Reference
from .region import Region

__all__ = ["SHARED_LUCK", "JointPosterior", "LawPosterior", "SurrogatePosterior", "gradient", "noise_blocks"]

SHARED_LUCK = 0.5
"""Share of a run's noise that all its evaluations have in common, from two seeds at six sizes and five token counts
(benchmarks/results/ladder.csv, 0.51; by domain 0.14 to 0.72)."""

_MISFIT = 0.02  # μ, log loss per decade
_SD_PER_MEAN = 1.25  # sd of a normal with mean absolute value 1
_USUAL_NOISE = 5e-3  # mean absolute residual of log loss across the public tables, until a fit says better
_RUNS_PER_PARAMETER = 3
"""With fewer runs than this for each free parameter, the prior's centre is a better guide than the fit: choosing around
fits of a handful of runs gave errors some 5 % larger on rolling cuts, and half as much squared error again on RegMix's
mixes at 32 runs (benchmarks/active.py)."""
_TOKENS_PER_PARAM = 20.0  # of a run that is trained enough for full weight


class JointPosterior(Protocol):
    """What the choice of runs needs: the posterior covariance of log losses, and the noise of single runs."""

    def covariance(self, a: Columns, b: Columns) -> np.ndarray:
        """Posterior covariance of the log losses of two sets of runs, without their own noise, `(n, m)`."""
        ...

    def noise(self, columns: Columns) -> np.ndarray:
        """Variance of each run's own noise in log loss, its misfit at small scale included, `(n,)`."""
        ...


@dataclass(frozen=True)
class LawPosterior:
    """A law around `theta: (P,)`, with `open: (P, P)` the covariance of its parameters.

    `run_noise` is the sd of log loss of a run that the fit gives full weight, `largest` the compute (6·N·D) of such
    a run, and `region` what is to be predicted.
    """

    law: Law
    reference: Reference
    theta: np.ndarray
    open: np.ndarray
    run_noise: float
    largest: float
    region: Region

    @classmethod
    def of(
        cls,
        law: Law,
        prior: LawPrior | None,
        region: Region,
        pool: Columns,
        done: Observations | None = None,
        fit: Fit | None = None,
    ) -> LawPosterior:
        """The posterior given completed runs, or the prior alone without any.

        The law is linearised around its fit, or around the prior's centre as long as few runs are done.

        Args:
            law: The law.
            prior: The prior of its parameters; None for a weak generic one.
            region: The planned runs that are to be predicted.
            pool: Columns of the candidate runs, which set the scale of the weights.
            done: The completed runs; None for none.
            fit: The law's fit to `done`, if it is known.
        """
        prior = weak_prior() if prior is None else prior
        done = None if done is None or not len(done) else done
        if done is None:
            reference, noise, theta = law.reference(pool), _USUAL_NOISE, None
        else:
            fit = fit_observations(law, done, prior) if fit is None else fit
            known = len(done) >= _RUNS_PER_PARAMETER * law.free.sum()
            reference, noise, theta = fit.reference, fit.noise, fit.theta if known else None
        if theta is None:
            theta = law.complete(prior.for_law(law, reference)[0][None])[0]
        wide = np.linalg.inv(_precision(law, prior, reference))
        largest = max(_compute(columns).max() for columns in ([pool] if done is None else [pool, done.columns]))
        before = cls(law, reference, theta, wide, _SD_PER_MEAN * noise, float(largest), region)
        return before if done is None else before.after(done.columns, done.origins)

    def after(self, columns: Columns, origins: np.ndarray | None = None) -> LawPosterior:
        """The posterior after runs with these columns as well; `origins: (n,)` numbers the training run of each row."""
        g = gradient(self.law, self.theta, self.reference, columns) / np.sqrt(self.noise(columns))[:, None]
        known = g.T @ g
        if origins is not None:
            # the inverse of noise of which a run's rows share a part, by Sherman and Morrison
            sums = np.zeros((int(origins.max(initial=-1)) + 1, g.shape[1]))
            np.add.at(sums, origins, g)
            rows = np.bincount(origins, minlength=len(sums))
            shared = SHARED_LUCK / (1.0 + (rows - 1) * SHARED_LUCK)
            known = (known - (sums.T * shared) @ sums) / (1.0 - SHARED_LUCK)
        opened = np.linalg.inv(np.linalg.inv(self.open) + known)
        return LawPosterior(
            self.law, self.reference, self.theta, 0.5 * (opened + opened.T), self.run_noise, self.largest, self.region
        )

    def covariance(self, a: Columns, b: Columns) -> np.ndarray:
        """As in `JointPosterior`."""
        left, right = (gradient(self.law, self.theta, self.reference, columns) for columns in (a, b))
        return left @ self.open @ right.T

    def noise(self, columns: Columns) -> np.ndarray:
        """As in `JointPosterior`."""
        below = np.zeros(len(columns["params"]))
        for name, centre in self.region.centre.items():
            if name in self.law.member.uses:
                below += np.maximum(0.0, np.log10(centre / np.asarray(columns[name], dtype=float)))
        return self.run_noise**2 / _weights(columns, self.largest) + (_MISFIT * below) ** 2


class Learner(Protocol):
    """The part of `surrogate.Surrogate` that is used here."""

    @property
    def joint(self) -> bool:
        """Whether the law's own parameters are part of its covariance."""
        ...

    def covariance(self, fit: Fit, columns: Columns, others: Columns) -> np.ndarray:
        """Covariance of log losses after the fitted runs, `(n, m)`."""
        ...


@dataclass(frozen=True)
class SurrogatePosterior:
    """A law with a residual learner: the learner's covariance, plus the law's where the learner doesn't include it.

    For planned runs within the range of the completed ones. The learner doesn't discount small runs, so beyond that
    range it is overconfident, and `LawPosterior` is the better choice.
    """

    law: LawPosterior
    fit: Fit
    learner: Learner

    def covariance(self, a: Columns, b: Columns) -> np.ndarray:
        """As in `JointPosterior`."""
        learned = self.learner.covariance(self.fit, a, b)
        return learned if self.learner.joint else learned + self.law.covariance(a, b)

    def noise(self, columns: Columns) -> np.ndarray:
        """As in `JointPosterior`."""
        return self.law.noise(columns)


def gradient(law: Law, theta: np.ndarray, reference: Reference, columns: Columns) -> np.ndarray:
    """Derivative of log loss by the law's parameters, `(n, P)`; zero for fixed ones."""
    value, grad = law.loss(theta[None], law.prepare(columns, reference), gradient=True)
    return (grad[0] / value[0]).T


def noise_blocks(noise: np.ndarray) -> np.ndarray:
    """Noise covariance of the rows of runs: variances `(g, k)` → `(g, k, k)`, of which runs' rows share a part."""
    root = np.sqrt(noise)
    shared = SHARED_LUCK + (1.0 - SHARED_LUCK) * np.eye(noise.shape[1])
    return root[:, :, None] * root[:, None, :] * shared


def _precision(law: Law, prior: LawPrior, reference: Reference) -> np.ndarray:
    """The prior's precision `(P, P)`, with the generic spread for parameters that it leaves out, such as the level."""
    _, precision = prior.for_law(law, reference)
    generic = np.array([parameter.sd for parameter in law.parameters])
    return precision + np.diag(np.where(np.diag(precision) > 0, 0.0, 1.0 / generic**2))


def _compute(columns: Columns) -> np.ndarray:
    return 6.0 * np.asarray(columns["params"], dtype=float) * np.asarray(columns["tokens"], dtype=float)


def _weights(columns: Columns, largest: float) -> np.ndarray:
    """The weight that a fit for extrapolation gives each run beside a well-trained one of `largest` compute, `(n,)`."""
    params = np.sqrt(largest / (6.0 * _TOKENS_PER_PARAM))
    beside = {"params": params, "tokens": _TOKENS_PER_PARAM * params}
    joined = {name: np.append(np.asarray(columns[name], dtype=float), value) for name, value in beside.items()}
    weights = Observations.from_columns(joined, np.ones(len(joined["params"]))).extrapolation_weights()
    return np.minimum(weights[:-1] / weights[-1], 1.0)


def as_beliefs(beliefs: JointPosterior | Sequence[JointPosterior]) -> list[JointPosterior]:
    """The posteriors as a list, one for each loss that is to be predicted."""
    return list(beliefs) if isinstance(beliefs, Sequence) else [beliefs]
