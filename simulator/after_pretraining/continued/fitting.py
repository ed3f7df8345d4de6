"""`fit_continued`: the law of both losses from runs, as equally likely draws.

The parameters have normal priors, those of logs wide but for the exponents. Residuals are of the log of the ratio to
the general loss before, and follow Student's t, whose sd is learned along: a text of the domain alone forgets the rest
so fast that its runs lie off every law, and must not widen all others. Draws are of the posterior itself: its ridges
are so bent (a floor against a slow term) that a normal distribution around the most likely parameters lies beside what
was measured. Runs of one seed begin from the same weights: as many rows as there are seeds count as one of the mean.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .law import ContinuedLaw, continued_ratio
from .runs import ContinuedRuns
from .storage import ContinuedLaws

__all__ = ["fit_continued"]

_WALKERS, _STEPS, _LEFT_OUT = 60, 1_500, 500  # of the sampler
_EVERY = 100  # a step that is kept
_STRETCH = 2.0
_ROUNDS = 4  # of the residuals' sd
_LEAST_SD = 0.002  # of a log loss: no law is exact
_LEAST_RATIO = 1e-9
_FREEDOM = 4.0  # of Student's t
# Medians, and sds of their logs (of γ itself). Terms of tokens and share are about a tenth of the loss, exponents about
# .3, as in public ladders (Hoffmann et al. 2022, arXiv:2203.15556); once the loss before is known, size moves little.
_MEDIANS = np.array([*np.log([0.7, 0.01, 0.3, 0.1, 0.3, 0.1, 0.3, 0.05]), 0.2])
_SDS = np.array([0.4, 1.0, 0.4, 1.0, 0.5, 1.0, 1.0, 1.0, 0.5])


def fit_continued(runs: ContinuedRuns, seed: int = 0) -> ContinuedLaws:
    """Fit the laws of the domain's loss and of the general loss.

    Args:
        runs: Runs at several shares, and better several sizes and budgets.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    domain, general = runs.ratios
    of_domain = _fit(runs, "domain", domain, runs.share, rng)
    in_general = _fit(runs, "general", general, 1.0 - runs.share, rng)
    return ContinuedLaws(runs.domain, of_domain, in_general, runs.before, runs.tokens_before, runs.in_words)


def _fit(runs: ContinuedRuns, of: str, ratio: np.ndarray, share: np.ndarray, rng: np.random.Generator) -> ContinuedLaw:
    from scipy.optimize import least_squares

    params, tokens = (float(np.exp(np.log(values).mean())) for values in (runs.params, runs.tokens))
    n, d = runs.params / params, runs.tokens / tokens
    seeds = len(np.unique(runs.seed))
    points, log_ratio, counts, between = _pooled(n, d, share, ratio)
    per_run = np.sqrt(counts / seeds)
    sd, at, weights, read_off = 0.02, _MEDIANS, np.ones(len(log_ratio)), 0.0

    def off(values: np.ndarray) -> np.ndarray:
        # a law that is below 0 somewhere on the way of the search is merely far off
        return (np.log(np.maximum(continued_ratio(values, *points), _LEAST_RATIO)) - log_ratio) * per_run

    for _ in range(_ROUNDS):
        found = least_squares(
            _penalised, at, args=(off, weights / sd), bounds=(_MEDIANS - 6 * _SDS, _MEDIANS + 6 * _SDS)
        )
        at, left = found.x, off(found.x)
        told = np.linalg.svd(found.jac[: len(left)] * _SDS)[1] ** 2
        read_off = float((told / (1.0 + told)).sum())
        sd = max(_LEAST_SD, float(np.sqrt(((weights * left) ** 2).sum() / max(len(left) - read_off, 1.0))))
        weights = np.sqrt((_FREEDOM + 1.0) / (_FREEDOM + (left / sd) ** 2))
    start = at + 0.1 * rng.standard_normal((_WALKERS, len(at))) * _SDS

    def log_posterior(values: np.ndarray) -> np.ndarray:
        z = off(values[:, None]) / sd
        t = (_FREEDOM + 1.0) * np.log1p(z**2 / _FREEDOM)
        return -0.5 * (t.sum(axis=-1) + (((values - _MEDIANS) / _SDS) ** 2).sum(axis=-1))

    draws = _sampled(log_posterior, start, rng)
    # a run differs from the mean of its seeds, and that from the law
    noise = np.sqrt(between + sd**2) * np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, len(draws)))
    measured = {
        "params": (float(runs.params.min()), float(runs.params.max())),
        "tokens": (float(runs.tokens.min()), float(runs.tokens.max())),
        "share": (float(runs.share.min()), float(runs.share.max())),
    }
    return ContinuedLaw(of, params, tokens, draws, noise, measured)


def _penalised(values: np.ndarray, off: Callable[[np.ndarray], np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Weighted residuals, and how far each parameter is from its prior."""
    return np.concatenate([off(values) * weights, (values - _MEDIANS) / _SDS])


def _pooled(
    n: np.ndarray, d: np.ndarray, share: np.ndarray, ratio: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Runs that differ in their seed alone as one point.

    The likelihood of runs is that of their mean but for a constant, and has fewer terms.

    Returns:
        Where each point is `(3, points)`, its mean log ratio, how many runs it is of, and the variance between runs of
        a point; 0 where there is one of each.
    """
    points, place, counts = np.unique(np.stack([n, d, share]), axis=1, return_inverse=True, return_counts=True)
    place, log_ratio = place.ravel(), np.log(ratio)
    mean = np.bincount(place, log_ratio) / counts
    repeated = len(ratio) - points.shape[1]
    between = float(((log_ratio - mean[place]) ** 2).sum() / repeated) if repeated else 0.0
    return points, mean, counts, between


def _sampled(
    log_posterior: Callable[[np.ndarray], np.ndarray], walkers: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draws `(n, p)` of a posterior, by stretch moves of two halves of the walkers `(walkers, p)`.

    Goodman and Weare 2010, Ensemble samplers with affine invariance, algorithm of section 2.
    """
    size = walkers.shape[1]
    halves = [np.array(half) for half in np.array_split(walkers, 2)]
    values = [log_posterior(half) for half in halves]
    kept = []
    for step in range(_STEPS):
        for own, other in ((0, 1), (1, 0)):
            mine, count = halves[own], len(halves[own])
            z = ((_STRETCH - 1.0) * rng.random(count) + 1.0) ** 2 / _STRETCH
            towards = halves[other][rng.integers(len(halves[other]), size=count)]
            tried = towards + z[:, None] * (mine - towards)
            value = log_posterior(tried)
            accepted = np.log(rng.random(count)) < (size - 1) * np.log(z) + value - values[own]
            mine[accepted], values[own][accepted] = tried[accepted], value[accepted]
        if step >= _LEFT_OUT and step % _EVERY == 0:
            kept.append(np.concatenate(halves))
    return np.concatenate(kept)
