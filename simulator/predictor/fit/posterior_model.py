"""A `LossModel` from the model over tables: any number of runs from none up, and what others' runs say of the rest.

Labels and runs → belief about the table → posterior given its runs → draws of its law → LossModel
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...fitting import Fit, LawPrior, Observations, Scores, extrapolation_decades, one_thread, ranges
from ...hierarchy.coordinates import LAW, LEVEL, REFERENCE
from ...hierarchy.errors import Runs, Spread
from ...hierarchy.frontier import expected_runs
from ...hierarchy.labels import Labels
from ...hierarchy.misfit import Misfit, drawn, posterior_scale, predicted
from ...hierarchy.population import Population
from ...hierarchy.posterior import Belief, Component, posterior
from ...hierarchy.readings import with_robust_reading
from ...hierarchy.shipped import population as shipped_population
from ..calibration import Calibration, posterior_calibration, widened
from ..loss_model import LossModel

POSTERIOR_WHY = "what the public tables have in common, and these runs as far as they tell"
WITH_TABLES = "public tables"
"""The name of this in a back-test: the general law, one more table of the model over tables."""
_DRAWS = 300
_MOST_RUNS = 160  # more are thinned: what they share doesn't average out
_CUTS_DECADES = (0.5, 1.0, 1.5, 2.0)
_FEWEST_RUNS = 4  # below a cut
_FAR_DECADES = 0.3
_OWN_LEVEL_SD = 0.7
"""With runs of one's own and no tokenizer named the level is left to them: their tokens may be bytes, or words."""
_NOISE_SCALE = 1.25  # sd of a normal with mean absolute value 1


def posterior_model(
    labels: Labels,
    observations: Observations | None = None,
    *,
    tables: Population | None = None,
    law_prior: LawPrior | None = None,
    seed: int = 0,
) -> LossModel:
    """The loss of a table's runs, given some of them or none.

    Args:
        labels: What is known of the table: corpus, tokenizer, evaluation set.
        observations: Its runs; None for none.
        tables: The model over tables; by default the shipped one.
        law_prior: Prior of the robust reading of the runs; by default that of the public tables.
        seed: Seed of the draws.

    Returns:
        The loss model: draws of the law, what stays open beside them, and a calibration by left-out sources.

    >>> from foretrain.simulator.hierarchy.labels import describe
    >>> labels, run = describe("fineweb", "llama2"), {"params": np.array([1e9]), "tokens": np.array([2e10])}
    >>> one = posterior_model(labels, Observations.from_columns(run, np.array([2.9])))
    >>> larger = {"params": np.array([7e9]), "tokens": np.array([1.4e11])}
    >>> bool(one.predict(larger).scale[0] < posterior_model(labels).predict(larger).scale[0])
    True
    """
    tables = shipped_population() if tables is None else tables
    if observations is None:
        return given_runs(labels, Runs.none(), tables, seed=seed)
    runs = Runs.of(observations.thinned(_MOST_RUNS))
    model = given_runs(labels, runs, tables, law_prior=law_prior, seed=seed)
    return replace(model, fitted_ranges=ranges(observations), rows=len(observations))


def posterior_scores(
    labels: Labels,
    observations: Observations,
    *,
    tables: Population | None = None,
    law_prior: LawPrior | None = None,
    seed: int = 0,
) -> Scores:
    """The back-test of `posterior_model`: the table's smaller runs predict its larger ones, cut after cut.

    Arguments as there. The `spread` of the scores is the whole s of each prediction.
    """
    tables = shipped_population() if tables is None else tables
    with one_thread():
        runs = Runs.of(observations.thinned(_MOST_RUNS))
        prior = _prior(labels, runs, tables)
        _, misfit = _fit(_read(runs, prior, law_prior), runs, seed)
        return _backtest(runs, prior, law_prior, misfit.spreads, seed)


def posterior_widened(scores: Scores) -> tuple[Calibration, float]:
    """The calibration of a posterior model by its back-test, and the factor by which that widened it."""
    z = scores.error / scores.spread if scores.cuts else scores.error
    return widened(scores, z, posterior_calibration)


def given_runs(
    labels: Labels, runs: Runs, tables: Population, *, law_prior: LawPrior | None = None, seed: int = 0
) -> LossModel:
    """The same from runs as the model over tables sees them.

    Args:
        labels: What is known of the table.
        runs: Its runs; there may be none.
        tables: The model over tables.
        law_prior: Prior of the robust reading of the runs; by default that of the public tables.
        seed: Seed of the draws.

    Returns:
        The loss model.
    """
    with one_thread():  # also so that every process finds the same bits
        prior = _prior(labels, runs, tables)
        _, known = _known_table(tables, labels)
        fit, misfit = _fit(_read(runs, prior, law_prior), runs, seed)
        fit = replace(fit, noise=_residual(fit, runs, misfit))
        scores = _backtest(runs, prior, law_prior, misfit.spreads, seed)
    if not len(runs) and len(known):
        variance = np.array([known.variance(spread) for spread in misfit.spreads])
        misfit = replace(misfit, runs=known, variance=variance)
    calibration, factor = posterior_widened(scores)
    return LossModel(
        fit=fit,
        calibration=calibration,
        fitted_ranges=_ranges(runs) if len(runs) else tables_ranges(tables),
        rows=len(runs),
        choice=_facts(scores, factor),
        misfit=misfit,
    )


def tables_ranges(tables: Population) -> dict[str, tuple[float, float]]:
    """Lowest and highest params, tokens and compute over all tables."""
    found = {}
    for name in ("params", "tokens", "compute"):
        spans = [table.facts[name] for table in tables.tables]
        found[name] = (min(low for low, _ in spans), max(high for _, high in spans))
    return found


def _prior(labels: Labels, runs: Runs, tables: Population) -> Belief:
    """What is believed of the table before its runs are seen."""
    prior = tables.expected(labels)
    if len(runs) and not labels.tokenizer:
        prior.covariance[LEVEL, LEVEL] += _OWN_LEVEL_SD**2
    prior.mean[LEVEL] += _known_table(tables, labels)[0]
    return prior


def _known_table(tables: Population, labels: Labels) -> tuple[float, Runs]:
    """If the table is among the public ones: its deviation from its law, in log loss, and sizes that it had runs of."""
    same = tables.tables_of(labels)
    if not same:
        return 0.0, Runs.none()
    sizes = np.exp(np.array(same[0].facts["sizes"]))
    return float(same[0].facts["deviation"]), Runs.finished(sizes[:, 0], sizes[:, 1], np.zeros(len(sizes)))


def _read(
    runs: Runs, prior: Belief, law_prior: LawPrior | None, spreads: Sequence[Spread] | None = None
) -> list[Component]:
    """The posterior given some runs and what their frontier foretells, by both readings of them."""
    known = runs.joined(expected_runs(runs))
    components = with_robust_reading(posterior(known, prior, spreads), known, law_prior)
    return [replace(one, variance=one.variance[: len(runs)]) for one in components]


def _fit(components: list[Component], runs: Runs, seed: int, draws: int = _DRAWS) -> tuple[Fit, Misfit]:
    theta, parameters, misfit = drawn(components, runs, draws, seed)
    return Fit(LAW, REFERENCE, theta, parameters, misfit.noise / _NOISE_SCALE, objective=0.0), misfit


def _residual(fit: Fit, runs: Runs, misfit: Misfit) -> float:
    """Mean absolute residual of log loss, for the number of parameters; that of like tables where runs are too few."""
    usual = misfit.noise / _NOISE_SCALE
    free = len(runs) - fit.draws.shape[1]
    if free <= 0:
        return usual
    finished = runs.unfinished == 0
    residual = np.abs(runs.log_loss - fit.log_loss(runs.columns))[finished]
    if not len(residual):
        return usual
    return max(usual, float(residual.mean() * np.sqrt(len(runs) / free)))


def _backtest(
    runs: Runs, prior: Belief, law_prior: LawPrior | None, spreads: Sequence[Spread] | None, seed: int
) -> Scores:
    """Fit the table's smaller runs, predict its larger ones, cut after cut; by these spreads of errors, if any."""
    parts: list[Scores] = []
    finished = runs.unfinished == 0
    for decades in _CUTS_DECADES:
        if len(runs) < _FEWEST_RUNS + 1:
            break
        small = runs.compute <= runs.compute.max() / 10**decades
        if small.sum() < _FEWEST_RUNS:
            break
        fitted = runs.take(small)
        beyond = extrapolation_decades(_ranges(fitted), runs.columns)
        large = ~small & finished & (beyond >= _FAR_DECADES)
        if not large.any():
            continue
        fit, misfit = _fit(_read(fitted, prior, law_prior, spreads), fitted, seed, draws=100)
        judged = runs.take(large)
        centre, covariance = predicted(fit, misfit, judged.columns)
        _, scale = posterior_scale(covariance, misfit.noise, judged.columns)
        scores = Scores(
            error=centre - judged.log_loss,
            spread=scale,
            noise=np.zeros(len(judged)),
            extrapolation_decades=beyond[large],
            cut=np.full(len(judged), len(parts)),
            runs={"params": judged.params, "tokens": judged.tokens, "loss": np.exp(judged.log_loss)},
        )
        parts.append(scores)
    return Scores.joined(parts)


def _ranges(runs: Runs) -> dict[str, tuple[float, float]]:
    named = {"params": runs.params, "tokens": runs.tokens, "compute": runs.compute}
    return {name: (float(values.min()), float(values.max())) for name, values in named.items()}


def _facts(scores: Scores, factor: float) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "why": POSTERIOR_WHY,
        "left_out": {},
        "backtest_errors": {},
        "doubts": [],
        "cuts": scores.cuts,
        "surrogate": None,
        "widened": factor,
    }
    if scores.cuts:
        facts["backtest_errors"][WITH_TABLES] = scores.median_relative_error
    return facts
