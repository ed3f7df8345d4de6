"""`LossModel`: the fitted law of one target, what was learned on top of it, and the calibration of both.

Observations → choose a law → fit with draws → learn the residual → back-test → Calibration → LossModel
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ...core.errors import InputError
from ...datasets.runs.columns import column
from ..fitting import (
    AUTO,
    Fit,
    LawPrior,
    Observations,
    backtest,
    choose,
    draw_covariance,
    draw_spread,
    error_scale,
    extrapolation_decades,
    fit_observations,
    gap_covariance,
    misfit_covariance,
    ranges,
    require,
)
from ..laws import Columns, Law
from ..surrogate import Chosen, Surrogate, choose_surrogate
from .calibration import Calibration, public_calibration
from .domains import check_domains
from .fit_warnings import fit_warnings
from .levels import check_levels
from .prediction import LossPrediction
from .textbook_parameters import textbook_parameters

Learner = Literal["auto", "none"]
"""Whether to learn what a law leaves over: `auto` where cross-validation says that it helps (never on a law that was
asked for by name: it is taken as it is), or `none`."""

_log = logging.getLogger(__name__)

DRAWS = 200
_BACKTEST_DRAWS = 64
_MIX_SHARE = 0.35  # of a mix's effect, unknown a decade out: it grew 0.7 to 1.45 times on RegMix and on our proxies
_ONE_VALUE = 1.05  # a column whose highest value is at most this many times its lowest takes one value
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

    @property
    def parameters(self) -> dict[str, float]:
        """Textbook parameters: E in nats, A, B, alpha, beta, gamma, and those of the terms."""
        return textbook_parameters(self.fit)

    def predict(self, columns: Columns, joint: bool = False) -> LossPrediction:
        """Predict runs from their columns, each `(n,)`. InputError where the law does not apply to a run.

        With `joint` the prediction has the correlation of the runs' errors, so that they can be compared.
        """
        columns = check_levels(self.fit, check_domains(self.fit, columns))
        self._refuse_unseen_dimension(columns)
        by_law = self.fit.log_loss(columns)
        gap = extrapolation_decades(dict(self.fitted_ranges), columns)
        of_mix = self._mix_error(columns)
        if self.surrogate is None:
            spread = np.hypot(draw_spread(self.fit, columns, by_law), np.abs(of_mix))
            predicted = LossPrediction(by_law, error_scale(spread, self.fit.noise, gap), gap, self.calibration)
        else:
            learned = self.surrogate.correct(self.fit, columns)
            of_law = self._law_spread(columns, by_law, gap)
            spread = np.hypot(self.surrogate.spread(of_law, learned), np.abs(of_mix))
            scale = error_scale(spread, 0.0, gap)
            predicted = LossPrediction(by_law + learned.log_loss, scale, gap, self.calibration, self.within)
        if not joint:
            return predicted
        shared = self._shared(columns, by_law, gap) + gap_covariance(gap) + np.outer(of_mix, of_mix)
        return replace(predicted, correlation=_correlation(shared, predicted.scale))

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


def fit_loss_model(
    observations: Observations,
    law: str,
    prior: LawPrior | None,
    *,
    fixed: Mapping[str, float] | None = None,
    seed: int = 0,
    public: Calibration | None = None,
    learner: Learner = AUTO,
) -> LossModel:
    """Choose (or check) the law of one target, fit it with draws, learn what it leaves over, and calibrate both.

    Args:
        observations: The runs.
        law: `auto` or the name of a law.
        prior: The prior of the law's parameters; None for the plain fit.
        fixed: Parameters that fitting must not change, see `Law`.
        seed: Seed of all that is drawn.
        public: Replaces the shipped scores of the public tables, for judging on a table that they have seen.
        learner: Whether to learn what the law leaves over.

    Raises:
        FitError: The runs can't identify what was asked.
    """
    if public is None:
        public = public_calibration()
    if prior is not None and _same_everywhere(observations):
        prior = prior.centred_at(observations.columns["params"][0], observations.columns["tokens"][0])
    built, facts = _chosen_law(observations, law, prior, fixed, seed)
    _log.info("%d runs: law %s, as %s", len(observations), built.name, facts["why"])
    fit = fit_observations(built, observations, prior, draws=DRAWS, seed=seed)
    facts["doubts"] = fit_warnings(observations, facts["left_out"], prior, built.member.uses, built.domains)

    chosen = None
    if learner == AUTO and law == AUTO:
        chosen = choose_surrogate(fit, observations, prior, draws=_BACKTEST_DRAWS, seed=seed)
    if chosen is not None:
        _log.info("learned on top of %s: %s", built.name, chosen.name)
    surrogate = within = None
    if chosen is not None and chosen.surrogate is not None:
        surrogate = chosen.surrogate
        scores = chosen.beyond[chosen.name]
        within = Calibration.from_scores(chosen.within[chosen.name], public, chosen.weights)
    else:
        scores = backtest(built, observations, prior, draws=_BACKTEST_DRAWS, seed=seed)
    facts["cuts"] = scores.cuts
    facts["surrogate"] = _surrogate_facts(chosen)

    return LossModel(
        fit=fit,
        calibration=Calibration.from_scores(scores, public),
        fitted_ranges=ranges(observations) | _setting_ranges(observations, built),
        rows=len(observations),
        choice=facts,
        surrogate=surrogate,
        within=within,
        mix_fitted_ranges=_mix_ranges(observations, built),
    )


def _setting_ranges(observations: Observations, law: Law) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of each further number that the law reads and whose column says how it is seen."""
    found = {}
    for name in (*law.columns, *law.optional):
        described = column(name)
        if described is None or described.feature is None or name not in observations.columns:
            continue
        values = observations.columns[name]
        found[name] = (float(values.min()), float(values.max()))
    return found


def _mix_ranges(observations: Observations, law: Law) -> dict[str, tuple[float, float]] | None:
    """`ranges` of the runs whose mix isn't the table's most frequent one (a ladder's, if there is a ladder)."""
    if not law.domains:
        return None
    shares = np.array([observations.columns[f"mix.{domain}"] for domain in law.domains]).T.round(3)
    _, mix, count = np.unique(shares, axis=0, return_inverse=True, return_counts=True)
    if count.max() == 1:
        return ranges(observations)
    of_usual_mix = mix.ravel() == count.argmax()
    return ranges(observations.take(~of_usual_mix))


def _same_everywhere(observations: Observations) -> bool:
    """Whether size and data take one value each, so that only the mix varies."""
    fitted = ranges(observations)
    for name in ("params", "tokens"):
        low, high = fitted[name]
        if not high / low < _ONE_VALUE:
            return False
    return True


def errors_over_sd(model: LossModel, observations: Observations) -> np.ndarray:
    """Error of each fitted run over its sd, signed, `(n,)`: left out where a learner tells that, else in sample."""
    if model.surrogate is not None:
        process = model.surrogate.process
        if process is not None and len(process.z) == len(observations):
            error, sd = process.left_out(observations.origins)
            return error / sd
    error = model.fit.log_loss(observations.columns) - np.log(observations.loss)
    return error / model.fit.noise


def _chosen_law(
    observations: Observations, law: str, prior: LawPrior | None, fixed: Mapping[str, float] | None, seed: int
) -> tuple[Law, dict[str, Any]]:
    """The law to fit, as asked or as the table can support, and what there is to say about the choice."""
    facts: dict[str, Any] = {"why": "as asked", "left_out": {}, "backtest_errors": {}}
    if law == AUTO:
        choice = choose(observations, prior, seed=seed)
        law = choice.law
        facts["why"] = choice.why
        facts["left_out"] = dict(choice.left_out)
        for name, scores in choice.scores.items():
            if scores.cuts:
                facts["backtest_errors"][name] = scores.median_relative_error
    else:
        require(observations.law(law), observations, prior)
    built = observations.law(law)
    if fixed:
        built = Law(built.member, built.terms, fixed)
    return built, facts


def _surrogate_facts(chosen: Chosen | None) -> dict[str, Any] | None:
    """Which learner was chosen, and what cross-validation said of each, as fractions of the loss."""
    if chosen is None:
        return None
    return {"chosen": chosen.name, "errors": chosen.errors, "backtest_errors": chosen.backtest_errors}
