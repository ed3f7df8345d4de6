"""`Surrogate`: a residual learner on top of a fitted law, with its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ...core.processors import usable_cores
from ..fitting import Fit, LawPrior, Observations, one_thread
from ..fitting.trees import Trees
from ..laws import Columns
from ._process import Inputs, Process, learn
from ._tangent import Tangent
from .fading import Fade
from .features import Features, run_noise

Kind = Literal["gp", "trees", "gp+trees"]
KINDS: tuple[Kind, ...] = ("gp", "trees", "gp+trees")
MOST_ROWS = 1500
"""A process is conditioned on at most this many runs, evenly spread over compute."""

_LEARNING_ROWS = 320  # hyperparameters are learned from this many runs; more change nothing but the time
_LEAST_UNIT = 5e-4  # no residual scale is taken below 0.05 % of the loss
_CHUNK = 1024  # rows predicted at once, so that a block of the kernel stays in cache


@dataclass(frozen=True)
class Correction:
    """What a surrogate adds to the law's log loss, and the variances of what is not known, each `(n,)`."""

    log_loss: np.ndarray
    variance: np.ndarray
    noise_variance: np.ndarray


@dataclass(frozen=True)
class Surrogate:
    """A residual learner on top of one fitted law.

    `kind` names the learner of the correction: the process (`gp`), trees, or the mean of both. The uncertainty is
    always the process's.
    A `joint` process learns the law's parameters again, together with the residual: better among runs like the fitted
    ones, while the law's own fit, weighted for it, is what extrapolates. Whatever was learned fades (`fade`) towards
    that fit beyond the sizes where it was learned.
    `errors` are the mean absolute cross-validated errors of log loss by candidate, the bare law included.
    """

    kind: Kind
    features: Features
    tangent: Tangent
    process: Process
    fade: Fade
    joint: bool = True
    trees: Trees | None = None
    errors: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def learn(
        cls, fit: Fit, observations: Observations, prior: LawPrior | None, *, joint: bool = True, scale: bool = True
    ) -> Surrogate:
        """Learn the process on runs; `kind` is `gp`. `scale` says whether compute is one of the features."""
        observations = observations.thinned(MOST_ROWS)
        columns = observations.columns
        features = Features.of(fit, columns, scale)
        tangent = Tangent.of(fit, prior) if joint else Tangent.none(fit)
        gradient = tangent.gradient(fit, columns)
        residual = np.log(observations.loss) - fit.log_loss(columns)
        unit = max(1.4826 * float(np.median(np.abs(residual - np.median(residual)))), _LEAST_UNIT)
        inputs = Inputs(features.matrix(fit, columns), run_noise(fit, columns), gradient @ tangent.root / unit)
        explained = residual + gradient @ tangent.offset
        process = learn(inputs, explained, len(features.shares), features.lengths, unit=unit, rows=_LEARNING_ROWS)
        return cls("gp", features, tangent, process, Fade.learned(observations, fit.law, process), joint)

    def correct(self, fit: Fit, columns: Columns) -> Correction:
        """The correction of runs given as columns `(n,)`."""
        n = len(columns["params"])
        blocks = [
            {name: values[at : at + _CHUNK] for name, values in columns.items()} for at in range(0, max(n, 1), _CHUNK)
        ]
        # a thread for each block, not for each product: the blocks are small, and most of the time is outside products
        with one_thread(), ThreadPoolExecutor(max_workers=usable_cores()) as pool:
            parts = list(pool.map(lambda block: self._correct(fit, block), blocks))
        return Correction(*(np.concatenate(block) for block in zip(*parts, strict=True)))

    def _correct(self, fit, columns):
        mean, variance, noise = self._learned(fit, columns)
        decades = self.fade.decades(columns)
        off = decades > 0
        if off.any():
            prior = self.process.prior_variance
            variance[off] = self.fade.variance(decades[off], variance[off], prior, mean[off])
            mean *= self.fade.mean(decades)
        return mean, variance, noise

    def _learned(self, fit, columns):
        """The correction, its variance and that of the noise as at sizes where mixes (or what else) were tried."""
        inputs, gradient = self._inputs(fit, columns)
        mean, variance, noise = self.process.predict(inputs)
        mean -= gradient @ self.tangent.offset
        if self.trees is not None:
            grown = self.trees.predict(inputs.x)
            mean = grown if self.kind == "trees" else 0.5 * (mean + grown)
        return mean, variance, noise

    def _inputs(self, fit, columns) -> tuple[Inputs, np.ndarray]:
        gradient = self.tangent.gradient(fit, columns)
        tangent = gradient @ self.tangent.root / self.process.unit
        return Inputs(self.features.matrix(fit, columns), run_noise(fit, columns), tangent), gradient

    def spread(self, law: np.ndarray, learned: Correction) -> np.ndarray:
        """The sd of log loss `(n,)` of law and learner together; `law` is the sd of the law's own draws.

        A joint process has the law's parameters in its variance, near their optimum; the draws know how they bend
        further out, so the larger of the two counts. Run-to-run noise is added to it.
        """
        both = np.maximum(learned.variance, law**2) if self.joint else learned.variance + law**2
        return np.sqrt(both + learned.noise_variance)

    def covariance(self, fit: Fit, columns: Columns, others: Columns) -> np.ndarray:
        """Posterior covariance of the log losses of two sets of runs, their own noise left out, `(n, m)`."""
        sides = [self._inputs(fit, side)[0] for side in (columns, others)]
        learned = self.process.covariance(*sides)
        decades, beyond = self.fade.decades(columns), self.fade.decades(others)
        if not (decades.any() or beyond.any()):
            return learned
        means = np.outer(self._learned(fit, columns)[0], self._learned(fit, others)[0])
        return self.fade.covariance(decades, beyond, learned, self.process.prior_covariance(*sides), means)
