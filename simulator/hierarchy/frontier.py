"""The frontier law: the loss of the best run of each budget of compute, E + k·C^-a.

A table of isoFLOP profiles knows the best size of each budget. What those best runs lose follows a law of compute
alone, which tuned profiles obey for decades. It enters the posterior as runs that are to be expected, the best ones of
larger budgets, as uncertain as the law. So a plan off the frontier is judged by the joint law, which knows the bend.

Only tuned profiles obey it. They are told by the exponent that they would choose themselves and by how closely they
follow it: of the shared profiles delphi and nanochat do (.105 and .143, mean squared residuals .02 and .07), the ten of
loss_to_loss (.16 to .26, .5 to 6.4) and chinchilla's (.162, 1.3) don't.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import Runs

_SAME_BUDGET = 0.04  # of the log of FLOPs
_FEWEST_SIZES = 5
_IN_PARABOLA = 0.7  # the best share of a budget's runs; further ones are no parabola
_FEWEST_BUDGETS = 4
_EXPONENT, _EXPONENT_LOG_SD = 0.10, 0.25
"""Prior of the exponent, and of its log."""
_FLOOR_LOGIT, _FLOOR_LOGIT_SD = 0.2, 1.0
"""Prior of the logit of E's share of the loss at the largest budget."""
_TUNED = (0.06, 0.165)  # where the free exponent of tuned profiles lies: two spreads around the prior
_OPTIMUM_SD = 0.001  # of the log loss of a budget's best run, beside what its parabola leaves open
_CLOSEST = 1.0  # mean squared residual of the optima, over their variance, up to which they obey the law
_AHEAD_DECADES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)


@dataclass(frozen=True)
class Optima:
    """The best run of each budget, in order of compute; all arrays are `(n,)`."""

    flops: np.ndarray
    params: np.ndarray
    tokens: np.ndarray
    log_loss: np.ndarray


@dataclass(frozen=True)
class FrontierLaw:
    """log loss = level + log(share + (1 - share)·(C/C₀)^-a), by its parameters `(3,)` and their covariance `(3, 3)`."""

    theta: np.ndarray
    covariance: np.ndarray
    flops: float
    """C₀, the largest budget."""
    misfit: float
    """Mean squared residual of the optima over their variance."""

    def log_loss(self, flops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log loss of the best runs of budgets `(m,)`, and its standard deviation `(m,)`."""
        log_budget = np.log(flops / self.flops)
        value, slope = _law(self.theta, log_budget)
        return value, np.sqrt(np.einsum("mi,ij,mj->m", slope, self.covariance, slope))


def optima(runs: Runs) -> Optima | None:
    """The bracketed optima of a table's profiles.

    Args:
        runs: The table's runs; budgets are told by their `flops`.

    Returns:
        The best run of each budget; None where fewer than four budgets have one.
    """
    if not np.isfinite(runs.flops).all() or len(runs) < _FEWEST_BUDGETS * _FEWEST_SIZES:
        return None
    order = np.argsort(runs.flops, kind="stable")
    starts = np.flatnonzero(np.diff(np.log(runs.flops[order])) > _SAME_BUDGET) + 1
    found = []
    for budget in np.split(order, starts):
        best = _optimum(runs.take(budget))
        if best is not None:
            found.append(best)
    if len(found) < _FEWEST_BUDGETS:
        return None
    return Optima(*np.array(found).T)


def _optimum(profile: Runs) -> tuple[float, float, float, float] | None:
    """FLOPs, size, tokens and log loss of a budget's best run, by a parabola; None where it isn't bracketed."""
    if len(np.unique(profile.params)) < _FEWEST_SIZES:
        return None
    kept = profile.take(np.argsort(profile.log_loss)[: max(_FEWEST_SIZES, round(_IN_PARABOLA * len(profile)))])
    size = np.log(kept.params)
    bend, slope, _ = parabola = np.polyfit(size, kept.log_loss, 2)
    if bend <= 0:
        return None
    best = -slope / (2.0 * bend)
    if not size.min() < best < size.max():
        return None
    tokens = np.polyval(np.polyfit(size, np.log(kept.tokens), 2), best)
    flops = float(np.median(kept.flops))
    return flops, float(np.exp(best)), float(np.exp(tokens)), float(np.polyval(parabola, best))


def _law(theta: np.ndarray, log_budget: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log loss `(m,)` and derivatives `(m, 3)` by level, logit of the floor's share, log of the exponent."""
    level, logit, log_exponent = theta
    share = 1.0 / (1.0 + np.exp(-logit))
    exponent = np.exp(log_exponent)
    falling = np.exp(-exponent * log_budget)
    inside = share + (1.0 - share) * falling
    by_share = (1.0 - falling) / inside * share * (1.0 - share)
    by_exponent = -(1.0 - share) * falling * exponent * log_budget / inside
    return level + np.log(inside), np.stack([np.ones_like(inside), by_share, by_exponent], axis=1)


def fit_frontier(found: Optima, *, free: bool = False) -> FrontierLaw:
    """Fit the law to the optima.

    Args:
        found: The optima.
        free: Whether to leave out the exponent's prior, to see which one they would choose.
    """
    start = float(found.flops.max())
    log_budget = np.log(found.flops / start)
    widen = 100.0 if free else 1.0
    mean = np.array([found.log_loss.min(), _FLOOR_LOGIT, np.log(_EXPONENT)])
    # without a prior on the floor the exponent isn't determined by a few budgets: that one stays
    precision = np.diag([1e-6, _FLOOR_LOGIT_SD**-2, (widen * _EXPONENT_LOG_SD) ** -2])
    theta = mean.copy()
    damping = 1e-3
    best = np.inf
    for _ in range(100):
        value, slope = _law(theta, log_budget)
        residual = (found.log_loss - value) / _OPTIMUM_SD
        jacobian = slope / _OPTIMUM_SD
        curvature = jacobian.T @ jacobian + precision
        gradient = jacobian.T @ residual - precision @ (theta - mean)
        step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), gradient)
        trial = np.clip(theta + step, [-6.0, -6.0, -5.0], [6.0, 6.0, 1.0])
        off = (found.log_loss - _law(trial, log_budget)[0]) / _OPTIMUM_SD
        objective = off @ off + (trial - mean) @ precision @ (trial - mean)
        if objective > best:
            damping = min(damping * 10.0, 1e8)
            continue
        done = best - objective < 1e-10
        theta, best, damping = trial, objective, damping / 10.0
        if done:
            break
    value, slope = _law(theta, log_budget)
    misfit = float(np.mean(((found.log_loss - value) / _OPTIMUM_SD) ** 2))
    jacobian = slope / (_OPTIMUM_SD * max(1.0, np.sqrt(misfit)))
    return FrontierLaw(theta, np.linalg.inv(jacobian.T @ jacobian + precision), start, misfit)


def obeys(found: Optima) -> bool:
    """Whether profiles are tuned ones, which obey the frontier law further out."""
    free = fit_frontier(found, free=True)
    low, high = _TUNED
    return low <= float(np.exp(free.theta[2])) <= high and free.misfit <= _CLOSEST


def expected_runs(runs: Runs) -> Runs:
    """The best runs of larger budgets, as the frontier law has them.

    Args:
        runs: The table's runs.

    Returns:
        Runs half a decade to three decades beyond the largest budget, each in doubt as the law is there; none for
        tables whose profiles don't obey it.
    """
    found = optima(runs)
    if found is None or not obeys(found):
        return Runs.none()
    law = fit_frontier(found)
    flops = law.flops * 10.0 ** np.array(_AHEAD_DECADES)
    value, sd = law.log_loss(flops)
    log_flops = np.log(found.flops)
    params = np.exp(np.polyval(np.polyfit(log_flops, np.log(found.params), 1), np.log(flops)))
    # tokens of what the embeddings leave of the budget: their share falls with compute
    spent = 6.0 * found.params * found.tokens / found.flops
    lost = np.polyfit(log_flops, np.log(np.maximum(1.0 - spent, 1e-3)), 1)
    share = 1.0 - np.minimum(np.exp(np.polyval(lost, np.log(flops))), 1.0 - spent[-1] if spent[-1] < 1 else 1e-3)
    tokens = share * flops / (6.0 * params)
    ahead = Runs.finished(params, tokens, value)
    return ahead.with_extra_sd(sd)
