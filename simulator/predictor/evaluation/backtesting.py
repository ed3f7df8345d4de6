"""`simulate backtest`: every applicable law on the same rolling cuts, and which one `auto` takes."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....core.progress import Progress
from ....core.quantity import LEVELS
from ...fitting import LawPrior, Observations, Scores, backtest, choose, fit_observations, public_prior, stacked_scores
from ...surrogate import LAW, choose_surrogate
from ..calibration import Calibration, left_out_folds, posterior_calibration, public_calibration, widened
from ..fit.loss_fit import left_out_if_plain
from ..fit.posterior_model import POSTERIOR_WHY, WITH_TABLES, posterior_scores, posterior_widened
from ..fit.rival import own_law
from ..params_kind import without_embeddings
from ..table_labels import table_facts, target_labels

if TYPE_CHECKING:
    from ....datasets.runs.run_table import RunTable

_log = logging.getLogger(__name__)

_DRAWS = 64
_LEVELS_OF_POINTS = (0.5, 0.9)
_MOST_POINTS = 800  # of one target


def backtest_table(
    table: RunTable, *, prior: LawPrior | None = None, seed: int = 0, progress: Progress | None = None
) -> dict[str, dict[str, Any]]:
    """Back-test every law that applies to a table: fit on the smaller runs, predict the larger ones.

    The interval of each cut is calibrated on the other cuts and the public tables only.

    Args:
        table: The runs.
        prior: Prior of the laws' parameters; by default that of the public tables.
        seed: Seed of the draws.
        progress: Called with each target and the share done, 0 to 1.

    Returns:
        By target, `{"chosen", "why", "laws": {name: {…}}, "points": […], …}`; errors are fractions of the loss.
        `points` are predicted against observed losses of the chosen law, nats, with 50 and 90 % intervals; the
        coverage of each level is that law's.

    Raises:
        FitError: The table has too few runs to fit a law.

    >>> import numpy as np
    >>> import pandas as pd
    >>> import foretrain
    >>> params = np.repeat([1e7, 3e7, 1e8, 3e8], 3)
    >>> tokens = params * np.tile([5, 20, 80], 4)
    >>> loss = 1.7 + 400 * params**-0.34 + 1500 * tokens**-0.34
    >>> table = foretrain.RunTable.from_frame(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}))
    >>> found = foretrain.backtest(table)["loss"]
    >>> found["chosen"] in found["laws"]
    True
    """
    prior = public_prior() if prior is None else prior
    table = without_embeddings(table)
    results: dict[str, dict[str, Any]] = {}
    for number, target in enumerate(table.loss_columns):
        if progress is not None:
            progress(target, number / len(table.loss_columns))
        observations = Observations.from_table(table, target)
        choice = choose(observations, prior, seed=seed)
        laws, own = {}, {}
        for name in choice.scores:
            own[name] = backtest(observations.law(name), observations, prior, draws=_DRAWS, seed=seed)
            laws[name] = _figures(own[name])
        _log.info("%s: back-tested %s", target, ", ".join(laws))
        if left_out_if_plain(observations) is not None:
            # what `fit` makes of such a table
            labels = target_labels(table_facts(table), target)
            scores = posterior_scores(labels, observations, law_prior=prior, seed=seed)
            laws[WITH_TABLES] = _posterior_figures(scores)
            why = own_law(observations, prior, scores.median_relative_error, scores.cuts, seed)
            if why is None:
                results[target] = {
                    "chosen": WITH_TABLES,
                    "why": POSTERIOR_WHY,
                    "laws": laws,
                    "left_out": dict(choice.left_out),
                    "points": _points(scores, scores.spread, _posterior_left_out(scores)),
                }
                continue
        else:
            why = choice.why
        learned = _learned(choice.law, observations, prior, seed)
        chosen = stacked_scores(own, choice.weights, choice.law)
        results[target] = {
            "chosen": choice.law,
            "why": why,
            "laws": laws | learned.pop("chains"),
            "left_out": dict(choice.left_out),
            "points": _points(chosen, chosen.scale(), _left_out(chosen)),
            **learned,
        }
    return results


def _learned(law: str, observations: Observations, prior: LawPrior, seed: int) -> dict[str, Any]:
    """The chosen law with each learner on top: figures by chain, which one is chosen, and on what evidence."""
    fit = fit_observations(observations.law(law), observations, prior, draws=_DRAWS, seed=seed)
    chosen = choose_surrogate(fit, observations, prior, draws=_DRAWS, seed=seed)
    if chosen is None:
        return {"chains": {}, "surrogate": None}
    rolling = any(scores.cuts for scores in chosen.beyond.values())
    evidence = "rolling cuts" if rolling else "leave-one-out"
    tried = chosen.beyond if rolling else chosen.within
    named = {name: law if name == LAW else f"{law} + {name}" for name in tried}
    return {
        "chains": {named[name]: {**_figures(scores), "evidence": evidence} for name, scores in tried.items()},
        "surrogate": {
            "chosen": chosen.name,
            "left_out_errors": chosen.errors,
            "backtest_errors": chosen.backtest_errors,
        },
    }


def _posterior_figures(scores: Scores) -> dict[str, Any]:
    """The figures of the model over tables, each cut judged by the widening that the others ask for."""
    inside = np.zeros((len(LEVELS), len(scores.error)), dtype=bool)
    for here, calibration in _posterior_left_out(scores):
        z = np.abs(scores.error[here]) / scores.spread[here]
        inside[:, here] = z <= np.array([calibration.width(level) for level in LEVELS])[:, None]
    covered = {f"{level:g}": float(share) for level, share in zip(LEVELS, inside.mean(axis=1), strict=True)}
    figures = _figures(scores)
    return {**figures, "coverage": covered if scores.cuts else None, "widened": posterior_widened(scores)[1]}


def _figures(scores: Scores) -> dict[str, Any]:
    return {
        "median_relative_error": _finite(scores.median_relative_error),
        "max_relative_error": _finite(scores.max_relative_error),
        "coverage": coverage(scores),
        "cuts": scores.cuts,
        "widened": widened(scores, scores.z(), _public)[1] if scores.cuts else 1.0,
    }


def _public(scores: Scores) -> Calibration:
    return Calibration.from_scores(scores, public_calibration())


def flatten(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The JSON of `simulate backtest`: the first target's result at the top, all of them under `targets`."""
    return {**next(iter(results.values())), "targets": results}


def coverage(scores: Scores) -> dict[str, float] | None:
    """Share of back-tested runs inside the interval, by level; each cut is judged by a calibration that left it out
    (with more than twenty cuts, with every twentieth of them)."""
    if not scores.cuts:
        return None
    inside = np.zeros((len(LEVELS), len(scores.error)), dtype=bool)
    for here, calibration in _left_out(scores):
        inside[:, here] = scores.take(here).z() <= np.array([calibration.width(level) for level in LEVELS])[:, None]
    return {f"{level:g}": float(share) for level, share in zip(LEVELS, inside.mean(axis=1), strict=True)}


def _left_out(scores: Scores) -> list[tuple[np.ndarray, Calibration]]:
    """Masks of scores `(m,)`, each with the calibration that the others give."""
    return [(here, _public(scores.take(~here))) for here in left_out_folds(scores)] if scores.cuts else []


def _posterior_left_out(scores: Scores) -> list[tuple[np.ndarray, Calibration]]:
    """The same for the model over tables, cut by cut."""
    masks = [scores.cut == cut for cut in np.unique(scores.cut)]
    return [(here, posterior_calibration(scores.take(~here))) for here in masks]


def _points(
    scores: Scores, scale: np.ndarray, left_out: Sequence[tuple[np.ndarray, Calibration]]
) -> list[dict[str, Any]]:
    """Predicted beside observed, nats, with the intervals whose coverage is told; of very many every so many-th.

    Args:
        scores: The back-test, with what each run was.
        scale: s of each prediction, log loss `(m,)`.
        left_out: Which calibration judges which of them.
    """
    half = np.zeros((len(_LEVELS_OF_POINTS), len(scale)))
    for here, calibration in left_out:
        half[:, here] = np.array([calibration.width(level) for level in _LEVELS_OF_POINTS])[:, None] * scale[here]
    points = []
    for row in range(0, len(scale), max(1, math.ceil(len(scale) / _MOST_POINTS))):
        observed = float(scores.runs["loss"][row])
        predicted = observed * math.exp(scores.error[row])
        ends = {
            f"{level:g}": [predicted * math.exp(-up), predicted * math.exp(up)]
            for level, up in zip(_LEVELS_OF_POINTS, half[:, row], strict=True)
        }
        points.append(
            {
                "params": float(scores.runs["params"][row]),
                "tokens": float(scores.runs["tokens"][row]),
                "cut": int(scores.cut[row]),
                "extrapolation_decades": float(scores.extrapolation_decades[row]),
                "observed_nats": observed,
                "predicted_nats": predicted,
                "intervals": ends,
            }
        )
    return points


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
