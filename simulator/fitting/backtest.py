"""Rolling-compute back-test: fit the small runs, predict the larger ones, cut after cut. Never a random split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...core.errors import FitError
from ..laws import Columns, Law
from ._fit import Fit, fit_law
from .observations import Observations
from .prior import LawPrior

_CUTS_DECADES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)  # below the largest run
_CUTS_SHARE = (0.5, 0.7, 0.85)  # for tables that span too little compute for decades
_FEWEST_ROWS = 6
_FAR_DECADES = 0.3  # errors nearer than this are interpolation in all but name
_GAP_SCALE = 0.004  # κ per decade; keeps very clean tables (0.1 % noise) from claiming the same far out
_EFFECT_SHARE = 0.15  # of the effect of a departure that is taken as unknown; repeats beyond 60 epochs show the need
_NOISE_SCALE = 1.25  # sd of a normal with mean absolute value 1
_MISFIT_SHARE = 0.75  # of the variance of residuals that is misfit; from pairs of runs, benchmarks/differences.py
_MISFIT_LENGTH = 4.6  # of the misfit over (ln N, ln D), Matérn 3/2: what pooled fits of 68 tables chose
_MOST_ROWS = 600  # more runs than this are thinned: the back-test judges forms, not the last digit


@dataclass(frozen=True)
class Scores:
    """What a back-test saw, one entry per predicted run and cut: all arrays `(m,)`.

    `error` is log(predicted) - log(observed); `spread` the sd of the parameter draws in log loss (zero without draws);
    `noise` the fit's mean absolute residual; `extrapolation_decades` beyond the fitted runs; `cut` numbers the cuts.
    """

    error: np.ndarray
    spread: np.ndarray
    noise: np.ndarray
    extrapolation_decades: np.ndarray
    cut: np.ndarray
    runs: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What each predicted run was, where it is kept: `params`, `tokens`, `loss`, each `(m,)`."""

    @property
    def cuts(self) -> int:
        """How many cuts could be scored."""
        return len(np.unique(self.cut))

    @property
    def median_relative_error(self) -> float:
        """Mean over cuts of the median |error|, over runs at least 0.3 decades out where a cut has any."""
        medians = []
        for cut in np.unique(self.cut):
            here = self.cut == cut
            far = here & (self.extrapolation_decades >= _FAR_DECADES)
            judged = far if far.any() else here
            medians.append(np.median(np.abs(self.error[judged])))
        if not medians:
            return float("nan")
        return float(np.mean(medians))

    @property
    def max_relative_error(self) -> float:
        """The largest |error|."""
        if not self.cuts:
            return float("nan")
        return float(np.abs(self.error).max())

    def z(self) -> np.ndarray:
        """Absolute errors over their own scale, `(m,)`."""
        return np.abs(self.error) / self.scale()

    def scale(self) -> np.ndarray:
        """s of each prediction, log loss `(m,)`."""
        return error_scale(self.spread, self.noise, self.extrapolation_decades)

    def take(self, rows: np.ndarray) -> Scores:
        """The entries where the mask `rows: (m,)` holds."""
        return Scores(
            error=self.error[rows],
            spread=self.spread[rows],
            noise=self.noise[rows],
            extrapolation_decades=self.extrapolation_decades[rows],
            cut=self.cut[rows],
            runs={name: values[rows] for name, values in self.runs.items()},
        )

    @staticmethod
    def joined(parts: Sequence[Scores]) -> Scores:
        """The entries of several, one after the other; no entries without any part."""
        if not parts:
            none = np.zeros(0)
            return Scores(none, none, none, none, none)
        return Scores(
            error=np.concatenate([part.error for part in parts]),
            spread=np.concatenate([part.spread for part in parts]),
            noise=np.concatenate([part.noise for part in parts]),
            extrapolation_decades=np.concatenate([part.extrapolation_decades for part in parts]),
            cut=np.concatenate([part.cut for part in parts]),
            runs={name: np.concatenate([part.runs[name] for part in parts]) for name in parts[0].runs},
        )

    def cut_weights(self) -> np.ndarray:
        """Weights `(m,)` with which every cut counts once: errors above one cut share their cause."""
        _, place, count = np.unique(self.cut, return_inverse=True, return_counts=True)
        return 1.0 / count[place]


def error_scale(spread: np.ndarray, noise: np.ndarray | float, gap: np.ndarray) -> np.ndarray:
    """s of a prediction, in log loss `(n,)`: √(spread² + sd² + (κ·gap)²).

    Args:
        spread: Sd of what the fit leaves open, in log loss `(n,)`.
        noise: Mean absolute residual of the fit, from which its sd follows.
        gap: Decades beyond the fitted runs, `(n,)`.
    """
    sd = _NOISE_SCALE * np.asarray(noise)
    of_gap = _GAP_SCALE * gap
    return np.sqrt(spread**2 + sd**2 + of_gap**2)


def backtest(law: Law, observations: Observations, prior: LawPrior | None, *, draws: int = 0, seed: int = 0) -> Scores:
    """Fit a law below each cut in compute and predict what lies above.

    Args:
        law: The law to judge.
        observations: The runs; more than 600 are thinned.
        prior: The prior of its parameters, if there is one.
        draws: Draws of each fit, from which the spread comes; 0 for none.
        seed: Seed of the draws.

    Returns:
        One entry for each predicted run and cut; none where no cut could be fitted.
    """
    observations = observations.thinned(_MOST_ROWS)
    parts = []
    for number, train in enumerate(cuts(law, observations)):
        small = observations.take(train)
        large = observations.take(~train)
        try:
            fit = fit_observations(law, small, prior, draws=draws, seed=seed)
        except (FitError, np.linalg.LinAlgError):
            continue  # too little below this cut to fit this law; the others still count
        n = len(large)
        predicted = fit.log_loss(large.columns)
        spread = np.zeros(n)
        if draws:
            spread = draw_spread(fit, large.columns, predicted)
        scores = Scores(
            error=predicted - np.log(large.loss),
            spread=spread,
            noise=np.full(n, fit.noise),
            extrapolation_decades=decades_beyond(small, large.columns),
            cut=np.full(n, number),
            runs={"params": large.columns["params"], "tokens": large.columns["tokens"], "loss": large.loss},
        )
        parts.append(scores)
    return Scores.joined(parts)


def fit_observations(
    law: Law, observations: Observations, prior: LawPrior | None, *, draws: int = 0, seed: int = 0
) -> Fit:
    """`fit_law` with the weights that belong to the purpose: plain without a prior, for extrapolation with one."""
    weights = (
        observations.weights * observations.share_of_a_run if prior is None else observations.extrapolation_weights()
    )
    return fit_law(
        law,
        observations.columns,
        observations.loss,
        weights=weights,
        prior=prior,
        draws=draws,
        seed=seed,
        origins=observations.origins,
        runs=observations.runs_worth,
    )


def cuts(law: Law, observations: Observations) -> list[np.ndarray]:
    """Training masks `(n,)`, each all runs up to some compute, largest first; every law column still varies below."""
    compute = observations.compute
    found: list[np.ndarray] = []

    def cut_at(limit: float) -> None:
        train = compute <= limit
        if _usable(law, observations, train):
            found.append(train)

    for decades in _CUTS_DECADES:
        cut_at(compute.max() / 10**decades)
    if len(found) < 2:
        for share in reversed(_CUTS_SHARE):
            cut_at(float(np.quantile(compute, share, method="lower")))
    distinct = {train.tobytes(): train for train in found}
    return sorted(distinct.values(), key=lambda train: -int(train.sum()))


def _usable(law: Law, observations: Observations, train: np.ndarray) -> bool:
    """Whether enough runs lie below a cut and some above, and each size that the law reads varies below."""
    if train.sum() < _FEWEST_ROWS or train.all():
        return False
    return all(len(np.unique(observations.columns[name][train])) >= 2 for name in law.member.uses)


def draw_spread(fit: Fit, columns: Columns, centre: np.ndarray) -> np.ndarray:
    """What the fit leaves open at each run, in log loss `(n,)`.

    The root mean square distance of the draws from the point prediction (5 % of tails clipped), and a share of what
    repeats or a wrong learning rate do to the run: the law of a departure is known less well than the law itself.

    Args:
        fit: The fit, with draws.
        columns: Columns of the runs, each `(n,)`.
        centre: The point prediction, log loss `(n,)`.
    """
    variance = np.mean(_deviations(fit, columns, centre) ** 2, axis=0)
    return np.sqrt(variance + departure_sd(fit, columns) ** 2)


def draw_covariance(fit: Fit, columns: Columns, centre: np.ndarray) -> np.ndarray:
    """What the fit leaves open at n runs, together: `(n, n)`, with the squares of `draw_spread` on its diagonal.

    A draw is one law for all runs, so most of it is common to them. Arguments as `draw_spread`.
    """
    away = _deviations(fit, columns, centre)
    departing = departure_sd(fit, columns)
    return away.T @ away / len(away) + np.outer(departing, departing)


def gap_covariance(gap: np.ndarray) -> np.ndarray:
    """The part of `error_scale` that grows with the decades beyond the fitted runs, common to n runs: `(n, n)`."""
    return _GAP_SCALE**2 * np.outer(gap, gap)


def misfit_covariance(noise: float, columns: Columns) -> np.ndarray:
    """The part of a fit's residuals that runs of like N and D have in common, `(n, n)`: the law's misfit.

    The rest of `error_scale`'s noise is a run's own: its luck, and how exactly its loss was read.
    """
    return _MISFIT_SHARE * (_NOISE_SCALE * noise) ** 2 * misfit_correlation(columns, columns)


def misfit_correlation(some: Columns, others: Columns) -> np.ndarray:
    """How much of a law's misfit runs `(n,)` share with others `(m,)`, by their N and D: Matérn 3/2, `(n, m)`."""
    squares = 0.0
    for name in ("params", "tokens"):
        squares = squares + (np.log(some[name])[:, None] - np.log(others[name])[None, :]) ** 2
    scaled = np.sqrt(3.0 * squares) / _MISFIT_LENGTH
    return (1.0 + scaled) * np.exp(-scaled)


def _deviations(fit: Fit, columns: Columns, centre: np.ndarray) -> np.ndarray:
    """Draws minus the point prediction, log loss `(K, n)`, 5 % of tails clipped."""
    drawn = fit.log_loss_draws(columns)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return np.clip(drawn, low, high) - centre


def departure_sd(fit: Fit, columns: Columns) -> np.ndarray:
    """The part of what repeats or a wrong learning rate do to each run that counts as unknown, log loss `(n,)`."""
    return _EFFECT_SHARE * fit.distance_from_tuned(columns)


def decades_beyond(fitted: Observations, columns: Columns) -> np.ndarray:
    """Decades beyond the fitted runs, `(n,)`: in compute, or in N and D taken one by one where that is more."""
    return extrapolation_decades(ranges(fitted), columns)


def ranges(fitted: Observations) -> dict[str, tuple[float, float]]:
    """Lowest and highest params, tokens and compute of the fitted runs."""
    named = {"params": fitted.columns["params"], "tokens": fitted.columns["tokens"], "compute": fitted.compute}
    return {name: (float(values.min()), float(values.max())) for name, values in named.items()}


def extrapolation_decades(fitted_ranges: dict[str, tuple[float, float]], columns: Columns) -> np.ndarray:
    """`decades_beyond` from stored ranges."""

    def outside(values: np.ndarray, name: str) -> np.ndarray:
        low, high = fitted_ranges[name]
        above = np.log10(values / high)
        below = np.log10(low / values)
        return np.maximum(0.0, np.maximum(above, below))

    params = np.asarray(columns["params"], float)
    tokens = np.asarray(columns["tokens"], float)
    in_compute = outside(6.0 * params * tokens, "compute")
    in_sizes = outside(params, "params") + outside(tokens, "tokens")
    return np.maximum(in_compute, in_sizes)
