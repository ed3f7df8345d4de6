"""`fit_feedback`: α and β from measurements, as equally likely draws, linear regression with what is open of its noise.

A measured gain is the law's, plus what is particular to its reward model (of α and of β), plus noise. The three sds are
learned with the coefficients: their marginal likelihood is maximised, and a normal distribution of their logs around
that (Laplace) is drawn from, so that few rows leave wide intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ....core.units import format_count
from .gain import FORMS
from .law import DRIVERS, FeedbackLaw
from .measurements import Measurements

__all__ = ["fit_feedback"]

_SETS = 60  # of sds
_PER_SET = 15  # draws of coefficients for each
_WIDE = 3.0  # prior sd of a coefficient, in the largest that a single row asks for
_SLOPE = 0.3  # prior sd of what ten times a driver changes of a coefficient, in the same unit
_LOG_SD = 1.5  # prior sd of the log of each sd
_NOISE, _SPREAD = 0.05, 0.1  # their prior medians, in the largest gain and the largest coefficients
_STEP = 0.05  # of a log sd, for second differences
_EXACT = 1e-3  # of the largest gain: no measurement is known any better


@dataclass(frozen=True)
class _Regression:
    """The linear model of one table: rows, priors and which rows share a reward model."""

    design: np.ndarray
    """`(rows, coefficients)`: α's, then β's."""
    gold: np.ndarray
    known_variance: np.ndarray
    prior_sd: np.ndarray
    group: np.ndarray
    """`(rows,)`: the reward model of each, numbered."""
    basis: np.ndarray
    """`(rows, 2)`: what α and β of a row's reward model are multiplied by."""
    log_sds: np.ndarray
    """Prior medians of the log of noise, of α's spread and of β's."""

    def posterior(self, log_sds: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Mean and Cholesky factor of the coefficients' precision, and minus the log of the marginal posterior.

        The covariance of the rows is noise of each by itself, and two dimensions of each reward model, so that its
        inverse is known by Woodbury's identity, without a matrix of rows by rows.
        """
        noise, *spread = np.exp(2.0 * log_sds)
        variance = noise + self.known_variance
        known = np.concatenate([self.design, self.gold[:, None]], axis=1)
        weighed = self.basis / variance[:, None]
        # of each reward model: (S⁻¹ + BᵀW B), and Bᵀ W times design and gold
        inner = self._by_group(weighed[:, :, None] * self.basis[:, None]) + np.diag(1.0 / np.array(spread))
        across = self._by_group(weighed[:, :, None] * known[:, None])
        products = known.T @ (known / variance[:, None])
        products -= np.einsum("gij,gik->jk", across, np.linalg.solve(inner, across))
        precision = products[:-1, :-1] + np.diag(self.prior_sd**-2.0)
        mean = np.linalg.solve(precision, products[:-1, -1])
        factor = np.linalg.cholesky(precision)
        fit = products[-1, -1] - mean @ precision @ mean
        volume = np.log(variance).sum() + np.linalg.slogdet(inner * np.array(spread)[:, None])[1].sum()
        volume += 2.0 * np.log(np.diag(factor)).sum()
        prior = (((log_sds - self.log_sds) / _LOG_SD) ** 2).sum()
        return mean, factor, float(0.5 * (fit + volume + prior))

    def _by_group(self, values: np.ndarray) -> np.ndarray:
        """Sums of rows `(rows, a, b)` over each reward model `(groups, a, b)`."""
        flat = values.reshape(len(values), -1)
        groups = int(self.group.max()) + 1
        sums = [np.bincount(self.group, column, minlength=groups) for column in flat.T]
        return np.stack(sums, axis=1).reshape(groups, *values.shape[1:])


def fit_feedback(rows: Measurements, seed: int = 0, *, standardised: bool = False) -> FeedbackLaw:
    """Fit the law of a method to its measurements.

    Args:
        rows: What was measured, at three distances at least.
        seed: Of the draws.
        standardised: Whether rewards are in standard deviations of the true reward among the start's answers.

    >>> from .gain import FORMS
    >>> kl = np.array([0.6, 1.8, 3.2, 4.6, 6.0] * 2)
    >>> gold = FORMS["best_of_n"].gain(np.sqrt(kl), 0.8, 0.15)
    >>> empty = np.full(10, np.nan)
    >>> rows = Measurements("best_of_n", kl, gold, empty, empty, empty, np.repeat([0.0, 1.0], 5))
    >>> law = fit_feedback(rows)
    >>> np.median(law.alpha).round(2), np.median(law.beta).round(2)
    (np.float64(0.8), np.float64(0.15))
    """
    references = _references(rows)
    model = _regression(rows, references)
    best = _most_likely(model)
    spread = _open(model, best)
    rng = np.random.default_rng(seed)
    coefficients, sds = [], []
    for _ in range(_SETS):
        log_sds = best + spread @ rng.standard_normal(len(best))
        mean, factor, _ = model.posterior(log_sds)
        draws = np.linalg.solve(factor.T, rng.standard_normal((len(mean), _PER_SET))).T
        coefficients.append(mean + draws)
        sds.append(np.repeat(np.exp(log_sds)[None], _PER_SET, axis=0))
    found, sd = np.concatenate(coefficients), np.concatenate(sds)
    half = 1 + len(references)
    return FeedbackLaw(
        rows.method,
        references,
        found[:, :half],
        found[:, half:],
        sd[:, 1:],
        sd[:, 0],
        _measured(rows),
        standardised=standardised,
        source=_in_words(rows),
    )


def _references(rows: Measurements) -> dict[str, float]:
    """The drivers that the table tells apart, each with the middle of its logs."""
    found = {}
    for name in DRIVERS:
        values = getattr(rows, name)
        if np.isfinite(values).all() and len(np.unique(values)) > 1:
            found[name] = float(np.exp(np.log(values).mean()))
    return found


def _regression(rows: Measurements, references: dict[str, float]) -> _Regression:
    columns = [np.ones(len(rows))] + [np.log(getattr(rows, name) / at) for name, at in references.items()]
    per_alpha, per_beta = FORMS[rows.method].basis(rows.d).T
    drivers = np.stack(columns, axis=1)
    largest = float(np.abs(rows.gold).max()) or 1.0
    alpha = float(np.abs(rows.gold / rows.d).max()) or 1.0
    beta = largest / float(np.abs(per_beta).max())
    slope = _SLOPE / math.log(10.0)
    shape = np.array([1.0] + [slope] * len(references))
    groups = np.stack([rows.seed, rows.comparisons, rows.reward_params], axis=1)
    groups = np.where(np.isfinite(groups), groups, -1.0)
    group = np.unique(groups, axis=0, return_inverse=True)[1].ravel()
    return _Regression(
        design=np.concatenate([drivers * per_alpha[:, None], drivers * per_beta[:, None]], axis=1),
        gold=rows.gold,
        known_variance=np.where(np.isfinite(rows.gold_se), rows.gold_se, 0.0) ** 2 + (_EXACT * largest) ** 2,
        prior_sd=np.concatenate([_WIDE * alpha * shape, _WIDE * beta * shape]),
        group=group,
        basis=np.stack([per_alpha, per_beta], axis=1),
        log_sds=np.log([_NOISE * largest, _SPREAD * alpha, _SPREAD * beta]),
    )


def _most_likely(model: _Regression) -> np.ndarray:
    """The logs of the sds at which the marginal posterior is highest."""
    from scipy.optimize import minimize

    # no gradients: three numbers, and a value takes well under a millisecond
    found = minimize(lambda at: model.posterior(at)[2], model.log_sds, method="Nelder-Mead", options={"xatol": 1e-3})
    return np.asarray(found.x)


def _open(model: _Regression, best: np.ndarray) -> np.ndarray:
    """A factor `(3, 3)` of the covariance of the logs of the sds, by second differences around the most likely."""
    steps = _STEP * np.eye(len(best))
    value = [[0.0] * len(best) for _ in best]
    for i, one in enumerate(steps):
        for j, other in enumerate(steps):
            ends = [
                sign * model.posterior(best + one * a + other * b)[2]
                for a, b, sign in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
            ]
            value[i][j] = math.fsum(ends) / (4.0 * _STEP**2)
    values, vectors = np.linalg.eigh(np.array(value))
    # no wider than the prior, whatever rounding made of a flat direction
    return vectors * np.sqrt(1.0 / np.maximum(values, _LOG_SD**-2.0))


def _measured(rows: Measurements) -> dict[str, tuple[float, float]]:
    """Least and most of the distances and of each driver."""
    found = {"kl_nats": (float(rows.kl_nats.min()), float(rows.kl_nats.max()))}
    for name in DRIVERS:
        values = getattr(rows, name)
        if np.isfinite(values).all():
            found[name] = (float(values.min()), float(values.max()))
    return found


def _in_words(rows: Measurements) -> str:
    """What the law rests on."""
    ends = _measured(rows)
    least, most = ends["kl_nats"]
    said = f"{len(rows)} measured policies at KL {least:.2g} to {most:.2g} nats"
    for name, word in zip(DRIVERS, ("comparisons", "parameters of the reward model"), strict=True):
        if name in ends:
            low, high = ends[name]
            span = format_count(low) if low == high else f"{format_count(low)} to {format_count(high)}"
            said += f", {span} {word}"
    seeds = len(np.unique(rows.seed))
    return said + (f", {seeds} seeds" if seeds > 1 else "")
