"""`LossModel`: the fitted law of one target, what was learned on top of it, and the calibration of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...core.errors import InputError
from ..fitting import (
    Fit,
    Forms,
    departure_sd,
    draw_covariance,
    draw_spread,
    error_scale,
    extrapolation_decades,
    gap_covariance,
    misfit_covariance,
)
from ..hierarchy.misfit import Misfit, posterior_scale, predicted
from ..laws import Columns
from ..surrogate import Surrogate
from .calibration import Calibration
from .domains import check_domains
from .levels import check_levels, error_of_new_levels
from .monotone.order import never_above, ordered
from .prediction import FADES_DECADES, LossPrediction
from .textbook_parameters import textbook_parameters

_MIX_SHARE = 0.35  # of a mix's effect, unknown a decade out: it grew 0.7 to 1.45 times on RegMix and on our proxies
_SINGLE_VALUE_SLACK = 2.0  # a law without N (or D) still holds this many times off the one value it was fitted at


@dataclass(frozen=True)
class LossModel:
    """The fitted law of one target (`loss`, or `loss.<domain>`), and what was learned on top of it."""

    fit: Fit
    calibration: Calibration
    fitted_ranges: Mapping[str, tuple[float, float]]
    """Lowest and highest params, tokens, compute (6·N·D) and further settings of the fitted runs."""
    rows: int
    choice: Mapping[str, Any] = field(default_factory=dict)
    """Why this law, each candidate's back-test error, and which terms were left out."""
    surrogate: Surrogate | None = None
    within: Calibration | None = None
    """Calibration of predictions among the fitted runs, from runs left out one by one; None without a learner."""
    mix_fitted_ranges: Mapping[str, tuple[float, float]] | None = None
    """`fitted_ranges` of the runs in which the mix varied; None for a law that reads no mix."""
    forms: Forms | None = None
    """Further forms of the law that the runs don't rule out: part of the forecast and of its interval."""
    misfit: Misfit | None = None
    """How the runs deviate from the draws of the law, of a model that rests on the public tables; else None."""

    @property
    def parameters(self) -> dict[str, float]:
        """Textbook parameters: E in nats, A, B, alpha, beta, gamma, and those of the terms."""
        return textbook_parameters(self.fit)

    def predict(self, columns: Columns, joint: bool = False) -> LossPrediction:
        """Predict runs from their columns, each `(n,)`. InputError where the law does not apply to a run.

        A level of a category that no fitted run had is the baseline, with what levels differ by in the interval.

        With `joint` the prediction has the correlation of the runs' errors, so that they can be compared.
        """
        columns = check_levels(self.fit, check_domains(self.fit, columns))
        uses = self.fit.law.member.uses
        found = ordered(self._predict(columns, joint), columns, self.fitted_ranges, self._predict, uses)
        if not joint:
            return found
        further = () if self.forms is None else self.forms.fits
        return replace(found, never_above=never_above(self.fit, columns, further))

    def _predict(self, columns: Columns, joint: bool = False) -> LossPrediction:
        """The same, each run by itself: nothing yet of what larger runs can't do."""
        if self.misfit is not None:
            return self._predict_from_posterior(self.misfit, columns, joint)
        self._refuse_unseen_dimension(columns)
        by_law = self.fit.log_loss(columns)
        gap = extrapolation_decades(dict(self.fitted_ranges), columns)
        of_mix = self._mix_error(columns)
        shift, apart = self._between_forms(columns, by_law, gap)
        of_levels = error_of_new_levels(self.fit, columns)
        beside = np.sqrt(of_mix**2 + (apart**2).sum(axis=0) + (of_levels**2).sum(axis=0))
        if self.surrogate is None:
            spread = np.hypot(draw_spread(self.fit, columns, by_law), beside)
            scale = error_scale(spread, self.fit.noise, gap)
            predicted = LossPrediction(by_law + shift, scale, gap, self.calibration)
        else:
            learned = self.surrogate.correct(self.fit, columns)
            of_law = self._law_spread(columns, by_law, gap)
            spread = np.hypot(self.surrogate.spread(of_law, learned), beside)
            scale = error_scale(spread, 0.0, gap)
            predicted = LossPrediction(by_law + learned.log_loss + shift, scale, gap, self.calibration, self.within)
        if not joint:
            return predicted
        shared = self._shared(columns, by_law, gap) + gap_covariance(gap) + np.outer(of_mix, of_mix) + apart.T @ apart
        shared += of_levels.T @ of_levels
        return replace(predicted, correlation=_correlation(shared, predicted.scale))

    def sd_between(self, columns: Columns) -> float:
        """Sd of the difference in log loss of two runs, `(2,)`, that differ in levels of categories alone.

        What is open of the law, and of a level that no fitted run had: neither run's own luck is part of it.
        """
        columns = check_levels(self.fit, check_domains(self.fit, columns))
        by_law = self.fit.log_loss(columns)
        gap = extrapolation_decades(dict(self.fitted_ranges), columns)
        _, apart = self._between_forms(columns, by_law, gap)
        shared = self._shared(columns, by_law, gap)
        variance = shared[0, 0] + shared[1, 1] - 2.0 * shared[0, 1]
        for errors in (apart, error_of_new_levels(self.fit, columns)):
            variance += (np.diff(errors, axis=1) ** 2).sum()
        return float(np.sqrt(max(variance, 0.0)))

    def _predict_from_posterior(self, misfit: Misfit, columns: Columns, joint: bool) -> LossPrediction:
        """Predict from the draws of a posterior, which say all that is open: how far out a run is needs no extra."""
        centre, covariance = predicted(self.fit, misfit, columns)
        of_departure = departure_sd(self.fit, columns)
        gap = extrapolation_decades(dict(self.fitted_ranges), columns)
        shift, apart = self._between_forms(columns, centre, gap)
        covariance = covariance + np.outer(of_departure, of_departure) + apart.T @ apart
        shared, scale = posterior_scale(covariance, misfit.noise, columns)
        correlation = _correlation(shared, scale) if joint else None
        return LossPrediction(centre + shift, scale, gap, self.calibration, correlation=correlation)

    def _between_forms(self, columns: Columns, by_law: np.ndarray, gap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What `Forms.apart` says. Among the fitted runs a learner knows better, so there it sets in beyond them."""
        if self.forms is None:
            return np.zeros(len(by_law)), np.zeros((0, len(by_law)))
        shift, apart = self.forms.apart(columns, by_law)
        if self.surrogate is None:
            return shift, apart
        beyond = np.minimum(gap / FADES_DECADES, 1.0)
        return shift * beyond, apart * beyond

    def _shared(self, columns: Columns, by_law: np.ndarray, gap: np.ndarray) -> np.ndarray:
        """Covariance of what law and learner leave open at n runs, `(n, n)`; each run's own noise is no part of it."""
        if self.surrogate is None:
            return draw_covariance(self.fit, columns, by_law) + misfit_covariance(self.fit.noise, columns)
        of_learner = self.surrogate.covariance(self.fit, columns, columns)
        if not self.surrogate.joint:
            return of_learner + draw_covariance(self.fit, columns, by_law)
        # further out the draws are wider than the process, whose tangent to the law they take the place of
        wider = self._law_spread(columns, by_law, gap) / np.sqrt(np.diag(of_learner))
        factor = np.maximum(wider, 1.0)
        return of_learner * np.outer(factor, factor)

    def _law_spread(self, columns: Columns, centre: np.ndarray, gap: np.ndarray) -> np.ndarray:
        """Sd of the law's draws, `(n,)`; left at zero among the fitted runs where a joint process knows it already."""
        assert self.surrogate is not None
        spread = np.zeros(len(gap))
        rows = np.ones(len(gap), dtype=bool)
        if self.surrogate.joint:
            rows = gap > 0
        if rows.any():
            there = {name: values[rows] for name, values in columns.items()}
            spread[rows] = draw_spread(self.fit, there, centre[rows])
        return spread

    def _mix_error(self, columns: Columns) -> np.ndarray:
        """One sd of what a mix does beyond the sizes at which mixes were tried, in log loss `(n,)`, with its sign.

        A ladder of one mix says how loss falls with size, not how mixes come apart; that differs by corpus. All effects
        grow or shrink together, so mixes that do the same share the error and opposite ones have opposite errors.
        """
        if self.mix_fitted_ranges is None:
            return np.zeros(len(columns["params"]))
        gap = extrapolation_decades(dict(self.mix_fitted_ranges), columns)
        at_usual_mix = dict(columns)
        for name in columns:
            if "mix." in name:
                at_usual_mix[name] = np.full(len(gap), self.fit.reference.values.get(name, 0.0))
        effect = self.fit.log_loss(columns) - self.fit.log_loss(at_usual_mix)
        return _MIX_SHARE * effect * np.sqrt(gap)

    def _refuse_unseen_dimension(self, columns: Columns) -> None:
        """InputError for a run off the one size (or amount of data) at which a law without N (or D) was fitted."""
        for name in ("params", "tokens"):
            if name in self.fit.law.member.uses:
                continue
            only = self.fit.reference.values[name]
            values = np.asarray(columns[name], dtype=float)
            off = np.abs(np.log(values / only))
            if np.any(off > np.log(_SINGLE_VALUE_SLACK)):
                wrong = float(values.flat[int(off.argmax())])
                raise InputError(
                    f"{name}: got {wrong:.3g}; every fitted run has about {only:.3g}, so this predictor can't say how "
                    f"the loss changes with {name}; expected a value within a factor {_SINGLE_VALUE_SLACK:g} of it, "
                    f"or a predictor fitted on runs in which {name} varies"
                )


def _correlation(shared: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Correlation of n errors `(n, n)` from the covariance of their common part and the sd of each as a whole."""
    found = shared / np.outer(scale, scale)
    # rounding, or draws on which the clipping of tails fell otherwise, must not take a part above the whole
    whole = np.sqrt(np.maximum(np.diag(found), 1.0))
    found /= np.outer(whole, whole)
    np.fill_diagonal(found, 1.0)
    return found
