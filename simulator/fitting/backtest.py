"""Rolling-compute back-test: fit the small runs, predict the larger ones, cut after cut. Never a random split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...core.errors import FitError
from ..laws import Law
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

    @property
    def cuts(self) -> int:
        """How many cuts could be scored."""
        return len(np.unique(self.cut))

    @property
    def median_relative_error(self) -> float:
        """Mean over cuts of the median |error|, over runs at least 0.3 decades out where a cut has any."""
        return float(np.mean([np.median(np.abs(e)) for e in self._far()])) if self.cuts else float("nan")

    @property
    def max_relative_error(self) -> float:
        """The largest |error|."""
        return float(np.abs(self.error).max()) if self.cuts else float("nan")

    def z(self) -> np.ndarray:
        """Absolute errors over their own scale, `(m,)`."""
        return np.abs(self.error) / error_scale(self.spread, self.noise, self.extrapolation_decades)

    def take(self, rows: np.ndarray) -> Scores:
        """The entries where the mask `rows: (m,)` holds."""
        return Scores(
            self.error[rows], self.spread[rows], self.noise[rows], self.extrapolation_decades[rows], self.cut[rows]
        )

    def cut_weights(self) -> np.ndarray:
        """Weights `(m,)` with which every cut counts once: errors above one cut share their cause."""
        _, place, count = np.unique(self.cut, return_inverse=True, return_counts=True)
        return 1.0 / count[place]

    def _far(self) -> Iterator[np.ndarray]:
        for cut in np.unique(self.cut):
            here = self.cut == cut
            far = here & (self.extrapolation_decades >= _FAR_DECADES)
            yield self.error[far if far.any() else here]


def error_scale(spread: np.ndarray, noise: np.ndarray | float, gap: np.ndarray) -> np.ndarray:
    """s of a prediction, in log loss `(n,)`: √(spread² + noise² + (κ·gap)²)."""
    return np.sqrt(spread**2 + (_NOISE_SCALE * np.asarray(noise)) ** 2 + (_GAP_SCALE * gap) ** 2)


def backtest(law: Law, observations: Observations, prior: LawPrior | None, *, draws: int = 0, seed: int = 0) -> Scores:
    """Fit `law` below each cut in compute and predict what lies above. With `draws`, also the spread."""
    observations = observations.thinned(_MOST_ROWS)
    parts = []
    for number, train in enumerate(cuts(law, observations)):
        small, large = observations.take(train), observations.take(~train)
        try:
            fit = fit_observations(law, small, prior, draws=draws, seed=seed)
        except (FitError, np.linalg.LinAlgError):
            continue  # too little below this cut to fit this law; the others still count
        predicted = fit.log_loss(large.columns)
        spread = draw_spread(fit, large.columns, predicted) if draws else np.zeros(len(large))
        error = predicted - np.log(large.loss)
        gap = decades_beyond(small, large.columns)
        parts.append((error, spread, np.full(len(large), fit.noise), gap, np.full(len(large), number)))
    if not parts:
        return Scores(*(np.zeros(0) for _ in range(5)))
    return Scores(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def fit_observations(
    law: Law, observations: Observations, prior: LawPrior | None, *, draws: int = 0, seed: int = 0
) -> Fit:
    """`fit_law` with the weights that belong to the purpose: plain without a prior, for extrapolation with one."""
    weights = observations.weights if prior is None else observations.extrapolation_weights()
    return fit_law(
        law,
        observations.columns,
        observations.loss,
        weights=weights,
        prior=prior,
        draws=draws,
        seed=seed,
        origins=observations.origins,
    )


def cuts(law: Law, observations: Observations) -> list[np.ndarray]:
    """Training masks `(n,)`, each all runs up to some compute, largest first; every law column still varies below."""
    compute = observations.compute
    limits = [compute.max() / 10**back for back in _CUTS_DECADES]
    found = [mask for mask in (compute <= limit for limit in limits) if _usable(law, observations, mask)]
    if len(found) < 2:
        limits = [np.quantile(compute, share, method="lower") for share in reversed(_CUTS_SHARE)]
        found += [mask for mask in (compute <= limit for limit in limits) if _usable(law, observations, mask)]
    distinct = {mask.tobytes(): mask for mask in found}
    return sorted(distinct.values(), key=lambda mask: -int(mask.sum()))


def _usable(law, observations, train):
    if train.sum() < _FEWEST_ROWS or train.all():
        return False
    return all(len(np.unique(observations.columns[c][train])) >= 2 for c in law.member.uses)


def draw_spread(fit: Fit, columns, centre: np.ndarray) -> np.ndarray:
    """What the fit leaves open at each run, in log loss `(n,)`.

    The root mean square distance of the draws from the point prediction (5 % of tails clipped), and a share of what
    repeats or a wrong learning rate do to the run: the law of a departure is known less well than the law itself.
    """
    drawn = fit.log_loss_draws(columns)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    between = np.mean((np.clip(drawn, low, high) - centre) ** 2, axis=0)
    return np.sqrt(between + (_EFFECT_SHARE * fit.distance_from_tuned(columns)) ** 2)


def decades_beyond(fitted: Observations, columns) -> np.ndarray:
    """Decades beyond the fitted runs, `(n,)`: in compute, or in N and D taken one by one where that is more."""
    return extrapolation_decades(ranges(fitted), columns)


def ranges(fitted: Observations) -> dict[str, tuple[float, float]]:
    """Lowest and highest params, tokens and compute of the fitted runs."""
    named = {"params": fitted.columns["params"], "tokens": fitted.columns["tokens"], "compute": fitted.compute}
    return {name: (float(v.min()), float(v.max())) for name, v in named.items()}


def extrapolation_decades(fitted_ranges: dict[str, tuple[float, float]], columns) -> np.ndarray:
    """`decades_beyond` from stored ranges."""
    params, tokens = np.asarray(columns["params"], float), np.asarray(columns["tokens"], float)

    def outside(values, name):
        low, high = fitted_ranges[name]
        return np.maximum(0.0, np.maximum(np.log10(values / high), np.log10(low / values)))

    return np.maximum(outside(6.0 * params * tokens, "compute"), outside(params, "params") + outside(tokens, "tokens"))
