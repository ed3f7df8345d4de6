"""Which proxies next: the runs that most reduce the variance of the planned runs' log loss, for what they cost.

The losses of candidates and planned runs are jointly normal (`belief`), so what a run would leave open of the planned
ones is known before it is trained. Runs are taken one by one, by the variance that each removes over cost^p, and what
they remove is taken off the covariance before the next. A fixed p can go wrong (1 buys only crumbs, 0 a single large
run), so several are tried and the best list counts (Leskovec et al. 2007, KDD, for p of 0 and 1); on the public tables
exchanging runs afterwards gains 0.1 % of the sd. Nothing here knows the losses, so nothing is random.
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
_LEAST_GAIN = 3e-3  # a run that removes less of what is open is not worth its place
_COMMITTED = 0.5  # of each round's plan
_SLACK = 1e-9

Believe = Callable[[tuple[int, ...]], JointPosterior | Sequence[JointPosterior]]
"""From the runs taken so far, whose losses are known by then, to what is believed now."""


@dataclass(frozen=True)
class Selection:
    """Runs to train, in the order taken. The arrays `(k + 1,)` say how it stands before the first and after each.

    `variance` is the mean over the region (and the losses) of the open variance of log loss, `cost` what is spent, and
    `half_width` that of the 90 % interval of the loss as a fraction of it; None without a `Width`.
    """

    runs: tuple[int, ...]
    variance: np.ndarray
    cost: np.ndarray
    half_width: np.ndarray | None = None

    def reaches(self, precision: float) -> bool:
        """Whether the half-width ends at `precision` or below."""
        return self.half_width is not None and bool(self.half_width[-1] <= precision)

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
    """Choose candidates whose costs sum to at most `budget`; those `taken` are done and known to the beliefs.

    `beliefs` is one, or one for each loss that is to be predicted, all of which count alike. With `precision` (a
    fraction of the loss) and a `width`, stop where the half-width reaches it, as cheaply as possible. Raises
    InfeasibleError, naming the cheapest run, where not even that fits the budget.
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


def choose_in_rounds(believe: Believe, candidates: Candidates, region: Region, budget: float) -> tuple[int, ...]:
    """Choose, train half of what was chosen, believe anew, and so on until nothing more is worth its cost or fits.

    `believe` gets the runs taken so far and returns the beliefs that follow from their losses. Errors as `choose_runs`.
    """
    taken: tuple[int, ...] = ()
    while True:
        left = budget - float(candidates.cost[list(taken)].sum())
        try:
            plan = choose_runs(believe(taken), candidates, region, left, taken=taken).runs
        except InfeasibleError:
            if not taken:
                raise
            return taken
        if not plan:
            return taken
        taken += plan[: int(np.ceil(_COMMITTED * len(plan)))]


class _Pool:
    """Candidates and region with what is open between them: one joint covariance for each belief."""

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
        """Open variance of each planned run, mean over the losses, `(t,)`."""
        return np.mean([np.diag(open_)[self.targets] for open_ in covariances], axis=0)

    def gains(self, covariances: Sequence[np.ndarray]) -> np.ndarray:
        """What each candidate would take off the region's mean variance, `(m,)`."""
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
        """The covariances once a run is done."""
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
    """One run after the other, by gain over cost^power."""
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
