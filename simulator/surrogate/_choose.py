"""The choice of the residual learner of a law, if any, by its errors on held-out runs.

Where the table spans enough compute for rolling cuts, these decide: fit below the cut, predict the runs above it.
Otherwise leave-one-out errors decide (rows of one training run are left out together), which measure a learner's
accuracy on runs like the fitted ones; they calibrate intervals for such runs in any case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...core.errors import FitError
from ..fitting import Fit, LawPrior, Observations, Scores, cuts, decades_beyond, draw_spread, fit_observations
from . import _trees
from ._surrogate import MOST_ROWS, Surrogate
from .features import COMPUTE, Features

LAW, PLAIN, JOINT = "law", "gp", "joint"
_CLEARLY_BETTER = 0.98  # a learner must cut the leave-one-out error by 2 %, else the simpler chain is kept
_CLEARLY_BETTER_BEYOND = 0.8  # cuts are few and share runs: by smaller margins, choosing lost accuracy further out
_CUT_ROWS = 600
_FEWEST_RUNS = 16
_OPTIMISM_RUNS = 8.0  # a joint process has seen a run that it leaves out, in its hyperparameters: 1 + 8/n, as measured
_NO_SIGNAL = -30.0  # log variance at which the residual process is switched off and only the law is left


@dataclass(frozen=True)
class Chosen:
    """The chosen learner (None: the bare law), and the scores of every candidate.

    Candidates are `law`, `gp` (a process on the law as fitted), `joint` (one that fits the law again), `trees` and
    `gp+trees` (the mean of process and trees). `within` are leave-one-out scores by candidate, `weights: (n,)` what
    each of them counts (every scale alike); `beyond` are those of rolling cuts, empty where the table allows none.
    """

    name: str
    surrogate: Surrogate | None
    within: Mapping[str, Scores]
    weights: np.ndarray
    beyond: Mapping[str, Scores]

    @property
    def errors(self) -> dict[str, float]:
        """Leave-one-out error of log loss by candidate: the mean over runs and that over scales, geometrically.

        Over scales alone, the noise of a few large runs would decide; over runs alone, they would have no weight.
        """
        return {name: _size(scores.error, self.weights) for name, scores in self.within.items()}

    @property
    def backtest_errors(self) -> dict[str, float]:
        """Median absolute error of log loss over the rolling cuts, by candidate; empty without cuts."""
        return {name: scores.median_relative_error for name, scores in self.beyond.items() if scores.cuts}


@dataclass(frozen=True)
class _Candidate:
    """A chain that was tried: its learner (None: the bare law), leave-one-out errors and sds, `(n,)` each."""

    surrogate: Surrogate | None
    error: np.ndarray
    sd: np.ndarray

    @property
    def scores(self) -> Scores:
        """As back-test scores, every run a cut of its own."""
        none = np.zeros(len(self.error))
        return Scores(self.error, self.sd, none, none, np.arange(len(none)))


def _size(error: np.ndarray, weights: np.ndarray) -> float:
    size = np.abs(error)
    return float(np.sqrt(size.mean() * np.average(size, weights=weights)))


def choose_surrogate(
    fit: Fit, observations: Observations, prior: LawPrior | None, *, draws: int = 0, seed: int = 0
) -> Chosen | None:
    """Learn every applicable learner on a fitted law's residuals and choose. None where there is nothing to learn from.

    That is fewer than 16 runs, or runs that differ in no feature.
    """
    observations = observations.take(observations.weights > 0).thinned(MOST_ROWS)
    thin = observations.thinned(_CUT_ROWS)
    masks = cuts(fit.law, thin)
    features = Features.of(fit, observations.columns, scale=not masks)
    if _runs(observations) < _FEWEST_RUNS or not features.names:
        return None
    processes = {PLAIN, JOINT} if masks or COMPUTE in features.names else {JOINT}
    tried = _candidates(fit, observations, prior, processes, not masks, seed)
    beyond = _rolling(fit, thin, masks, prior, tried, draws, seed)
    within = {name: candidate.scores for name, candidate in tried.items()}
    chosen = Chosen(LAW, None, within, _by_scale(observations), beyond)
    name = _best(chosen.errors, chosen.backtest_errors)
    surrogate = tried[name].surrogate
    kept = None if surrogate is None else replace(surrogate, errors=chosen.errors)
    return replace(chosen, name=name, surrogate=kept)


def _runs(observations: Observations) -> int:
    """How many training runs there are: rows on the way of one run are one."""
    return len(observations) if observations.origins is None else len(np.unique(observations.origins))


def _by_scale(observations: Observations) -> np.ndarray:
    """Weights `(n,)` by which each quarter decade of compute counts once: eight large runs beside 500 small ones are
    what a plan for large runs is like."""
    decade = np.floor(4.0 * np.log10(observations.compute))
    _, place, count = np.unique(decade, return_inverse=True, return_counts=True)
    return 1.0 / count[place]


def _best(within: Mapping[str, float], beyond: Mapping[str, float]) -> str:
    """The candidate with the lowest error; the earlier ones unless a later one is clearly better.

    Rolling cuts decide where there are any: by runs left out at random, whatever interpolates best would extrapolate.
    """
    judged, enough = (beyond, _CLEARLY_BETTER_BEYOND) if beyond else (within, _CLEARLY_BETTER)
    best = LAW
    for name in judged:
        if judged[name] < enough * judged[best]:
            best = name
    return best


def _candidates(fit, observations, prior, processes, scale, seed) -> dict[str, _Candidate]:
    """The bare law, each process, and from 128 runs on trees and the mean of trees and the best process."""
    learned = {
        name: Surrogate.learn(fit, observations, prior, joint=name == JOINT, scale=scale)
        for name in (PLAIN, JOINT)
        if name in processes
    }
    joint, groups = learned[JOINT], observations.origins
    bare = _bare_errors(joint, groups)
    fitted = fit.log_loss(observations.columns) - np.log(observations.loss)
    tried, optimism = {}, 1.0 + _OPTIMISM_RUNS / _runs(observations)
    for name, surrogate in learned.items():
        error, sd = surrogate.process.left_out(groups)
        # a process on a law held at its fit doesn't know what the law owes to the run that is left out
        tried[name] = _Candidate(surrogate, error * optimism if name == JOINT else error + bare - fitted, sd)
    sd = tried[JOINT].sd
    tried = {LAW: _Candidate(None, bare, sd), **tried}
    if _runs(observations) >= _trees.FEWEST_RUNS:
        weights = _by_scale(observations)
        base = min(learned, key=lambda name: _size(tried[name].error, weights))
        process = learned[base].process
        rows = np.arange(len(bare)) if groups is None else groups
        grown = bare + _trees.left_out(process.inputs.x, -bare, process.trust, rows, seed)
        trees = _trees.grow(process.inputs.x, -bare, process.trust, seed)  # on errors at runs that the law hasn't seen
        for kind, error in (("trees", grown), ("gp+trees", 0.5 * (tried[base].error + grown))):
            tried[kind] = _Candidate(replace(learned[base], kind=kind, trees=trees), error, tried[base].sd)
    return tried


def _bare_errors(joint: Surrogate, groups: np.ndarray | None) -> np.ndarray:
    """Leave-one-out errors of the law alone, `(n,)`: the joint process with its residual switched off."""
    hyper = joint.process.hyper
    quiet = replace(hyper, signal=_NO_SIGNAL, noise=0.0, run_noise=np.zeros(len(hyper.run_noise)))
    return replace(joint.process, hyper=quiet).left_out(groups)[0]


def _rolling(fit, observations, masks, prior, tried, draws, seed) -> dict[str, Scores]:
    """Fit law and learners below each cut in compute and predict what lies above, by candidate."""
    parts = {name: [] for name in tried}
    for number, train in enumerate(masks):
        small, large = observations.take(train), observations.take(~train)
        try:
            below = fit_observations(fit.law, small, prior, draws=draws, seed=seed)
            again = _candidates(below, small, prior, set(tried), False, seed)
        except (FitError, np.linalg.LinAlgError):
            continue  # too little below this cut; the others still count
        gap = decades_beyond(small, large.columns)
        for name in tried:
            candidate = again.get(name, again[LAW])  # too few runs for trees below this cut: the law stands in
            scored = _predicted(below, candidate.surrogate, large, draws)
            parts[name].append(Scores(*scored, gap, np.full(len(large), number)))
    return {name: Scores.joined(scores) for name, scores in parts.items()}


def _predicted(below: Fit, surrogate: Surrogate | None, large: Observations, draws: int):
    """Errors, spreads and noise of one chain on the runs above a cut, `(n,)` each."""
    centre = below.log_loss(large.columns)
    error = centre - np.log(large.loss)
    spread = draw_spread(below, large.columns, centre) if draws else np.zeros(len(large))
    if surrogate is None:
        return error, spread, np.full(len(large), below.noise)
    learned = surrogate.correct(below, large.columns)
    return error + learned.log_loss, surrogate.spread(spread, learned), np.zeros(len(large))
