"""How runs deviate from the law of their table: noise of single runs, and a misfit that neighbours share.

    log loss = law + misfit(ln N, ln D) + along(run, ln D) + noise

The misfit is what no law of seven numbers describes; it doesn't average out over rows, which is why a hundred rows
don't make a forecast a hundred times surer. Points of one training run share its luck.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..fitting import Observations, misfit_correlation

_ALONG_SD = 0.004  # of points of one run around its own luck, in log loss
_ALONG_LENGTH = 1.5  # in ln D
_FEW_STEPS = 5000.0
_FEW_STEPS_SD = 0.1  # times ln(5000 / steps): runs of few steps lie off the law of longer ones
_TUNED_SD = 0.01  # of runs that are tuned: extra sd counts beside this
_CARRY_A_LAW = 8
_TRAINED = 10.0  # tokens per parameter from which a run is trained enough
_UNDER_TRAINED_SD = 0.05  # times ln(10 · params / tokens)
FREEDOM = 4.0
"""Degrees of freedom of the noise of single runs: a few runs of any table went wrong."""


@dataclass(frozen=True)
class Spread:
    """Standard deviations of log loss: of single runs, and of the misfit that neighbours share."""

    noise: float
    misfit: float


SPREADS = (
    Spread(0.002, 0.008), Spread(0.002, 0.02), Spread(0.006, 0.008), Spread(0.006, 0.02), Spread(0.015, 0.012),
)  # fmt: skip
"""What tables are like: forecasts weigh these by how well each explains the runs."""
NOISY = (Spread(0.05, 0.02), Spread(0.25, 0.02))
"""What tables of one recipe are not like; taken where nothing else explains the runs."""


@dataclass(frozen=True)
class Runs:
    """The runs of one table and one loss, as the hierarchical model sees them; all arrays are `(n,)`."""

    params: np.ndarray
    tokens: np.ndarray
    log_loss: np.ndarray
    unfinished: np.ndarray
    """√(1 - t/T) where a row is a point on the way of a run, 0 for finished runs."""
    run: np.ndarray
    """Number of the training run that each row belongs to."""
    extra_sd: np.ndarray
    """What is known to be wrong with a run in advance, as sd of log loss: few steps, a figure read off a picture."""
    weight: np.ndarray
    """The user's weights: a run of weight 4 has half the noise."""
    flops: np.ndarray
    """Training FLOPs as the table states them, NaN where they aren't known."""

    @classmethod
    def of(cls, observations: Observations) -> Runs:
        """The runs of some observations."""
        n = len(observations)
        unfinished = np.zeros(n)
        if observations.progress is not None:
            unfinished = np.sqrt(np.maximum(1.0 - observations.progress, 0.0))
        extra_sd = under_trained_sd(observations.columns["params"], observations.columns["tokens"])
        if observations.steps is not None:
            extra_sd = np.hypot(extra_sd, few_steps_sd(observations.steps))
        run = np.arange(n) if observations.origins is None else np.unique(observations.origins, return_inverse=True)[1]
        return cls(
            params=np.asarray(observations.columns["params"], float),
            tokens=np.asarray(observations.columns["tokens"], float),
            log_loss=np.log(observations.loss),
            unfinished=unfinished,
            run=run.ravel(),
            extra_sd=extra_sd,
            weight=observations.weights / observations.weights.mean(),
            flops=np.full(n, np.nan) if observations.flops is None else observations.flops,
        )

    def __len__(self) -> int:
        return len(self.log_loss)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """What the law reads."""
        return {"params": self.params, "tokens": self.tokens}

    @property
    def compute(self) -> np.ndarray:
        """6·N·D of each run, `(n,)`."""
        return 6.0 * self.params * self.tokens

    def observations(self) -> Observations:
        """The same for fits that know no misfit: what is in doubt of a run counts as a smaller weight."""
        trust = 1.0 / (1.0 + (self.extra_sd / _TUNED_SD) ** 2)
        plain = Observations.from_columns(self.columns, np.exp(self.log_loss), self.weight * trust)
        if not self.unfinished.any():
            return plain
        return replace(plain, origins=self.run, progress=1.0 - self.unfinished**2)

    @classmethod
    def finished(cls, params: np.ndarray, tokens: np.ndarray, log_loss: np.ndarray) -> Runs:
        """Finished runs of which no more is known, each array `(n,)`."""
        n = len(log_loss)
        return cls(params, tokens, log_loss, np.zeros(n), np.arange(n), np.zeros(n), np.ones(n), np.full(n, np.nan))

    @classmethod
    def none(cls) -> Runs:
        """No runs at all."""
        empty = np.zeros(0)
        return cls(empty, empty, empty, empty, np.zeros(0, dtype=int), empty, empty, empty)

    def take(self, rows: np.ndarray) -> Runs:
        """The runs at `rows`, a mask or indices."""
        return Runs(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def joined(self, other: Runs) -> Runs:
        """These runs and others, which are runs of their own."""
        if not len(other):
            return self
        named = {}
        for name in self.__dataclass_fields__:
            values = getattr(other, name)
            if name == "run" and len(self):
                values = values + self.run.max() + 1
            named[name] = np.concatenate([getattr(self, name), values])
        return Runs(**named)

    def with_extra_sd(self, extra_sd: np.ndarray) -> Runs:
        """The same runs, each with so much more in doubt, `(n,)` as sd of log loss."""
        return replace(self, extra_sd=np.hypot(self.extra_sd, extra_sd))

    def variance(self, spread: Spread) -> np.ndarray:
        """Variance of each run's own noise, `(n,)`."""
        return spread.noise**2 / np.maximum(self.weight, 1e-6) + self.extra_sd**2


def few_steps_sd(steps: np.ndarray) -> np.ndarray:
    """What is wrong in advance with runs of few optimizer steps.

    Where hardly any run is long, the longest eight count in full: something must carry the law.

    Args:
        steps: Optimizer steps of the runs, `(n,)`; NaN where they aren't known, which counts as enough.

    Returns:
        Extra standard deviation of log loss, `(n,)`: .1·ln(5000/steps), as measured on nine sources.
    """
    known = np.nan_to_num(steps, nan=_FEW_STEPS)
    enough = min(_FEW_STEPS, np.sort(known)[-min(_CARRY_A_LAW, len(known))]) if len(known) else _FEW_STEPS
    return _FEW_STEPS_SD * np.maximum(np.log(enough / np.maximum(known, 1.0)), 0.0)


def under_trained_sd(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Extra sd of log loss `(n,)` of runs of few tokens for their size: they follow another curve."""
    return _UNDER_TRAINED_SD * np.maximum(np.log(_TRAINED * params / tokens), 0.0)


def shared(a: Runs, spread: Spread) -> np.ndarray:
    """What the deviations of a table's runs share: its misfit, and the luck of points of one training run.

    Args:
        a: The runs.
        spread: How large noise and misfit are.

    Returns:
        Covariance of the deviations without each run's own noise, `(n, n)`, of log loss.
    """
    covariance = misfit_covariance(a.columns, a.columns, spread)
    same = a.run[:, None] == a.run[None, :]
    if same.sum() > len(a):
        distance = np.abs(np.log(a.tokens)[:, None] - np.log(a.tokens)[None, :])
        covariance = covariance + same * _ALONG_SD**2 * np.exp(-distance / _ALONG_LENGTH)
    return covariance


def misfit_covariance(a: dict[str, np.ndarray], b: dict[str, np.ndarray], spread: Spread) -> np.ndarray:
    """Covariance of the misfit between runs: Matérn 3/2 in ln N and ln D.

    Args:
        a: `params` and `tokens` of some runs, each `(n,)`.
        b: Those of others, each `(m,)`.
        spread: How large the misfit is.

    Returns:
        The covariance, `(n, m)`, of log loss.
    """
    return spread.misfit**2 * misfit_correlation(a, b)
