"""Which proxies next: the runs that most reduce the variance of the planned runs' log loss, for what they cost.

The losses of candidates and planned runs are jointly normal (`posterior`), so the variance that a run would leave in
the planned ones is known before it is trained. Runs are chosen greedily by the variance that each removes over cost^p,
and the covariance is conditioned on each before the next. A single p can fail (1 chooses only tiny runs, 0 a single
large one), so several are tried and the best list is returned (Leskovec et al. 2007, KDD, for p of 0 and 1); on the
public tables exchanging runs afterwards gains 0.1 % of the sd. The choice doesn't depend on observed losses and is
deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ....core.errors import InfeasibleError
from .posterior import JointPosterior, as_beliefs, noise_blocks
from .region import Candidates, Region
from .width import Width

__all__ = ["Selection", "choose_in_rounds", "choose_runs"]

_POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_LEAST_GAIN = 3e-3  # share of the remaining variance that a run must remove to be chosen
_COMMITTED = 0.5  # share of each round's plan that is trained before choosing again
_SLACK = 1e-9
_NOTHING = 0.01  # share of today's half-width: runs that narrow it by less, all together, gain nothing

PosteriorOf = Callable[[tuple[int, ...]], JointPosterior | Sequence[JointPosterior]]
"""Returns the posterior, or one for each loss, given the losses of the runs taken so far."""


@dataclass(frozen=True)
class Selection:
    """Runs to train, in the order chosen. The arrays `(k + 1,)` hold the values before the first and after each run.

    `variance` is the posterior variance of log loss, mean over the region and the losses, `cost` the sum spent, and
    `half_width` that of the 90 % interval of the loss as a fraction of it; None without a `Width`.
    """

    runs: tuple[int, ...]
    variance: np.ndarray
    cost: np.ndarray
    half_width: np.ndarray | None = None

    def reaches(self, precision: float) -> bool:
        """Whether the half-width ends at `precision` or below."""
        return self.half_width is not None and bool(self.half_width[-1] <= precision)

    def worthwhile(self) -> Selection:
        """The shortest start of the list after which nothing more is gained: all but _NOTHING of the narrowing."""
        if self.half_width is None or not self.runs:
            return self
        still = self.half_width - self.half_width[-1]
        enough = _NOTHING * self.half_width[0]
        return self.first(int(np.argmax(still <= enough)))

    def first(self, count: int) -> Selection:
        """The first `count` of the runs."""
        widths = None if self.half_width is None else self.half_width[: count + 1]
        return Selection(self.runs[:count], self.variance[: count + 1], self.cost[: count + 1], widths)


def choose_runs(
    beliefs: JointPosterior | Sequence[JointPosterior],
    candidates: Candidates,
    region: Region,
    budget: float = np.inf,
    *,
    taken: Sequence[int] = (),
    width: Width | None = None,
    precision: float | None = None,
) -> Selection:
    """Choose the candidates that most reduce the variance of the planned runs within a budget.

    Args:
        beliefs: The joint posterior, or one for each loss that is to be predicted, equally weighted.
        candidates: The runs to choose from, with their costs.
        region: The planned runs.
        budget: Largest sum of costs, in the unit of `candidates.cost`.
        taken: Candidates that are done, on which the posteriors are conditioned already.
        width: How interval widths follow from the variance; needed with `precision`.
        precision: Stop, as cheaply as possible, where the 90 % half-width reaches this fraction of the loss.

    Raises:
        InfeasibleError: Not even the cheapest run, which is named, fits the budget.
    """
    free = np.isfinite(candidates.cost)
    free[list(taken)] = False
    if not (candidates.cost[free] <= budget * (1 + _SLACK)).any():
        cheapest = f"the cheapest run costs {candidates.cost[free].min():.4g}" if free.any() else "no run is left"
        raise InfeasibleError(f"budget: got {budget:.4g}; {cheapest}")
    pool = _Pool(as_beliefs(beliefs), candidates, region)
    plans = [_greedy(pool, budget, free, power, width, precision) for power in _POWERS]
    if precision is not None and any(plan.reaches(precision) for plan in plans):
        return min((plan for plan in plans if plan.reaches(precision)), key=lambda plan: float(plan.cost[-1]))
    return min(plans, key=lambda plan: float(plan.variance[-1]))


def choose_in_rounds(posterior: PosteriorOf, candidates: Candidates, region: Region, budget: float) -> tuple[int, ...]:
    """Choose runs, train half of them, update the posterior, and repeat until no further run helps or fits the budget.

    `posterior` takes the runs trained so far and returns the posteriors given their losses. Raises the errors of
    `choose_runs`.
    """
    taken: tuple[int, ...] = ()
    while True:
        left = budget - float(candidates.cost[list(taken)].sum())
        try:
            plan = choose_runs(posterior(taken), candidates, region, left, taken=taken).runs
        except InfeasibleError:
            if not taken:
                raise
            return taken
        if not plan:
            return taken
        taken += plan[: int(np.ceil(_COMMITTED * len(plan)))]


class _Pool:
    """Candidates and region with one joint covariance for each posterior."""

    def __init__(self, beliefs: Sequence[JointPosterior], candidates: Candidates, region: Region) -> None:
        self.candidates, self.region = candidates, region
        rows = len(np.asarray(candidates.run))
        self.targets = slice(rows, rows + len(region))
        names = [name for name in candidates.columns if name in region.columns]
        joined = {name: np.concatenate([candidates.columns[name], region.columns[name]]) for name in names}
        self.open = [belief.covariance(joined, joined) for belief in beliefs]
        self.noise = [belief.noise(candidates.columns) for belief in beliefs]
        self.blocks = candidates.blocks()

    def left(self, covariances: Sequence[np.ndarray]) -> np.ndarray:
        """Remaining variance of each planned run, mean over the losses, `(t,)`."""
        return np.mean([np.diag(open_)[self.targets] for open_ in covariances], axis=0)

    def gains(self, covariances: Sequence[np.ndarray]) -> np.ndarray:
        """By how much each candidate would reduce the region's mean variance, `(m,)`."""
        found = np.zeros(len(self.candidates))
        weights = np.asarray(self.region.weights)
        for open_, noise in zip(covariances, self.noise, strict=True):
            for ids, rows in self.blocks:
                across = open_[self.targets][:, rows]  # (t, g, k)
                own = open_[rows[:, :, None], rows[:, None, :]] + noise_blocks(noise[rows])
                if rows.shape[1] == 1:
                    found[ids] += weights @ across[:, :, 0] ** 2 / own[:, 0, 0]
                    continue
                solved = np.linalg.solve(own, across.transpose(1, 2, 0))  # (g, k, t)
                found[ids] += np.einsum("tgk,gkt,t->g", across, solved, weights, optimize=True)
        return found / len(covariances)

    def without(self, covariances: Sequence[np.ndarray], run: int) -> list[np.ndarray]:
        """The covariances conditioned on a run."""
        rows = self.candidates.rows_of([run])
        after = []
        for open_, noise in zip(covariances, self.noise, strict=True):
            across = open_[:, rows]
            own = across[rows] + noise_blocks(noise[rows][None])[0]
            after.append(open_ - across @ np.linalg.solve(own, across.T))
        return after


def _greedy(
    pool: _Pool, budget: float, free: np.ndarray, power: float, width: Width | None, precision: float | None
) -> Selection:
    """Greedy choice, one run after the other, by gain over cost^power."""
    cost, covariances = pool.candidates.cost, pool.open
    price = np.where(np.isfinite(cost), cost, 1.0) ** power
    before = pool.left(covariances)
    runs: list[int] = []
    variance, spent = [pool.region.mean(before)], [0.0]
    widths = [] if width is None else [width.half_width(runs, before, before)]
    free = free.copy()
    while precision is None or not widths or widths[-1] > precision:
        gains = pool.gains(covariances)
        fits = free & (spent[-1] + cost <= budget * (1 + _SLACK)) & (gains > _LEAST_GAIN * variance[-1])
        if not fits.any():
            break
        best = int(np.argmax(np.where(fits, gains / price, -np.inf)))
        covariances = pool.without(covariances, best)
        left = pool.left(covariances)
        free[best] = False
        runs.append(best)
        variance.append(pool.region.mean(left))
        spent.append(spent[-1] + float(cost[best]))
        if width is not None:
            widths.append(width.half_width(runs, left, before))
    return Selection(tuple(runs), np.array(variance), np.array(spent), np.array(widths) if width else None)
