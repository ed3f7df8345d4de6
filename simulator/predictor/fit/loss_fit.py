"""Choose (or check) the law of one loss, fit it with draws, learn what it leaves over, and calibrate both.

Observations → law → fit with draws → learned residual → back-test → Calibration → LossModel

A table of plain runs, whose columns identify no term, is one more table of the model over tables (`posterior_model`):
so any number of runs will do, and the public tables say what these leave open.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ....datasets.runs.columns import column
from ...fitting import (
    AUTO,
    Choice,
    Forms,
    LawPrior,
    Observations,
    backtest,
    choose,
    fit_observations,
    identifiable_terms,
    ranges,
    require,
    stacked_scores,
)
from ...hierarchy.labels import Labels, describe
from ...hierarchy.population import Population
from ...laws import Law
from ...surrogate import Chosen, choose_surrogate, tried_rows
from ..calibration import Calibration, public_calibration, widened
from ..loss_model import LossModel
from .fit_warnings import fit_warnings
from .posterior_model import WITH_TABLES, posterior_model
from .rival import own_law

Learner = Literal["auto", "none"]
"""Whether to learn what a law leaves over: `auto` where cross-validation says that it helps (never on a law that was
asked for by name: it is taken as it is), or `none`."""

_log = logging.getLogger(__name__)

DRAWS = 200
_BACKTEST_DRAWS = 64
_ONE_VALUE = 1.05  # a column whose highest value is at most this many times its lowest takes one value
_FEWEST_RUNS = 4  # for a law of its own
_SETTINGS = ("lr", "batch_tokens")
"""Numbers whose terms say themselves how they are seen, and whose effect is fitted around an optimum."""


def fit_loss_model(
    observations: Observations,
    law: str,
    prior: LawPrior | None,
    *,
    fixed: Mapping[str, float] | None = None,
    seed: int = 0,
    public: Calibration | None = None,
    learner: Learner = AUTO,
    labels: Labels | None = None,
    tables: Population | None = None,
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
        labels: What is known of the table: corpus, tokenizer, evaluation set.
        tables: Replaces the shipped model over tables, likewise.

    Raises:
        FitError: The runs can't identify what was asked.
    """
    why, with_tables = None, {}
    if law == AUTO and prior is not None and prior.name == "public" and not fixed:
        left_out = left_out_if_plain(observations)
        if left_out is not None:
            model = posterior_model(labels or describe(), observations, tables=tables, law_prior=prior, seed=seed)
            error = model.choice["backtest_errors"].get(WITH_TABLES, 0.0)
            why = own_law(observations, prior, error, model.choice["cuts"], seed)
            if why is None:
                uses = model.fit.law.member.uses
                _log.info("%d runs: law %s, as %s", len(observations), model.fit.law.name, model.choice["why"])
                doubts = fit_warnings(observations, left_out, prior, uses, model.fit.law.domains)
                return replace(model, choice={**model.choice, "left_out": left_out, "doubts": doubts})
            with_tables = {WITH_TABLES: error}
    if public is None:
        public = public_calibration()
    if prior is not None and _same_everywhere(observations):
        prior = prior.centred_at(observations.columns["params"][0], observations.columns["tokens"][0])
    built, facts, choice = _chosen_law(observations, law, prior, fixed, seed)
    if why is not None:
        facts["why"] = why
        facts["backtest_errors"] |= with_tables
    _log.info("%d runs: law %s, as %s", len(observations), built.name, facts["why"])
    fit = fit_observations(built, observations, prior, draws=DRAWS, seed=seed)
    forms = None if choice is None else _further_forms(choice, observations, prior, seed)
    facts["doubts"] = fit_warnings(observations, facts["left_out"], prior, built.member.uses, built.domains)

    chosen = None
    # along a curve a law leaves over what the schedule does, which no plan is asked about
    if learner == AUTO and law == AUTO and observations.progress is None:
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
        if choice is not None and forms is not None:
            scores = stacked_scores({**choice.scores, choice.law: scores}, choice.weights, choice.law)
    calibration, facts["widened"] = widened(scores, scores.z(), lambda some: Calibration.from_scores(some, public))
    facts["cuts"] = scores.cuts
    facts["surrogate"] = _surrogate_facts(chosen)

    return LossModel(
        fit=fit,
        calibration=calibration,
        fitted_ranges=ranges(observations) | _setting_ranges(observations, built),
        rows=len(observations),
        choice=facts,
        surrogate=surrogate,
        within=within,
        forms=forms,
        mix_fitted_ranges=ranges(observations.take(tried_rows(observations, built))) if built.domains else None,
    )


def left_out_if_plain(observations: Observations) -> dict[str, str] | None:
    """Why no term is fitted, by term, where the runs identify only size and data or are too few; else None."""
    groups, left_out = identifiable_terms(observations)
    if len(observations) < _FEWEST_RUNS:
        few = f"{len(observations)} run(s) can't show it; at least {_FEWEST_RUNS} are needed"
        return left_out | {name: few for group in groups for name in group}
    return None if groups else left_out


def _setting_ranges(observations: Observations, law: Law) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of each further number that the law reads and whose column says how it is seen."""
    found = {}
    for name in (*law.columns, *law.optional):
        if name in ("params", "tokens") or name.startswith("mix.") or name not in observations.columns:
            continue
        described = column(name)
        if described is None or (described.feature is None and name not in _SETTINGS):
            continue
        values = observations.columns[name]
        found[name] = (float(values.min()), float(values.max()))
    return found


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
) -> tuple[Law, dict[str, Any], Choice | None]:
    """The law to fit, as asked or as the table can support, what there is to say about the choice, and the choice."""
    facts: dict[str, Any] = {"why": "as asked", "left_out": {}, "backtest_errors": {}}
    choice = None
    if law == AUTO:
        choice = choose(observations, prior, seed=seed)
        law = choice.law
        facts["weights"] = dict(choice.weights)
        facts["why"] = choice.why
        facts["left_out"] = dict(choice.left_out)
        for name, scores in choice.scores.items():
            if scores.cuts:
                facts["backtest_errors"][name] = scores.median_relative_error
    else:
        require(observations.law(law), observations, prior)
    built = observations.law(law)
    if fixed:
        return Law(built.member, built.terms, fixed), facts, None
    return built, facts, choice


def _further_forms(choice: Choice, observations: Observations, prior: LawPrior | None, seed: int) -> Forms | None:
    """The other forms that the back-tests don't rule out, fitted; None without any."""
    weights = {name: weight for name, weight in choice.weights.items() if name != choice.law}
    if not weights:
        return None
    fits = [fit_observations(observations.law(name), observations, prior, seed=seed) for name in weights]
    return Forms(tuple(fits), np.array(list(weights.values())))


def _surrogate_facts(chosen: Chosen | None) -> dict[str, Any] | None:
    """Which learner was chosen, and what cross-validation said of each, as fractions of the loss."""
    if chosen is None:
        return None
    return {"chosen": chosen.name, "errors": chosen.errors, "backtest_errors": chosen.backtest_errors}
