"""One predictor out of many tables, for a corpus that none of them describes.

Its draws are the tables' own draws side by side, so its spread is that between corpora, tokenizers and authors as
well as within each fit. Terms (repeats, experts) come from the tables that can identify them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..fitting import Fit, Scores, draw_spread, extrapolation_decades
from ..laws import Columns, Reference, get_law, terms
from .calibration import Calibration
from .loss_model import LossModel
from .textbook_parameters import rebase

REFERENCE = Reference({"params": 1e10, "tokens": 2e11})
_DRAWS = 240


def pool(groups: Mapping[str, Sequence[LossModel]], extra: Mapping[str, LossModel] | None = None) -> LossModel:
    """Pool fits of the plain general law. The result has no calibration yet: that comes from `held_out_scores`.

    Args:
        groups: The fitted models of each source; each source counts once.
        extra: Maps a term to the model that supplies its parameters.
    """
    extra = extra or {}
    core = get_law("general")
    models: list[LossModel] = []
    moved_draws: list[np.ndarray] = []
    shares: list[float] = []
    for of_source in groups.values():
        for model in of_source:
            models.append(model)
            moved_draws.append(rebase(core, model.fit.draws, model.fit.reference, REFERENCE))
            shares.append(1.0 / (len(groups) * len(of_source)))
    draws = _stratified(moved_draws, np.array(shares))
    means = [block.mean(axis=0) for block in moved_draws]
    centre = np.average(means, axis=0, weights=shares)

    for term, model in extra.items():
        law = model.fit.law
        places = [law.names.index(parameter.name) for parameter in terms()[term].parameters]
        optimum_and_draws = np.vstack([model.fit.theta, model.fit.draws])
        moved = rebase(law, optimum_and_draws, model.fit.reference, REFERENCE)[:, places]
        # as many draws as the core has: those of the term, over and over
        in_turn = 1 + np.arange(len(draws)) % (len(moved) - 1)
        centre = np.concatenate([centre, moved[0]])
        draws = np.hstack([draws, moved[in_turn]])

    fitted_ranges = {}
    for name in models[0].fitted_ranges:
        lows, highs = zip(*(model.fitted_ranges[name] for model in models), strict=True)
        fitted_ranges[name] = (min(lows), max(highs))

    law = get_law("+".join(["general", *extra]))
    facts = {"why": "pooled over the public tables, each source counted once", "left_out": {}, "backtest_errors": {}}
    noise = float(np.average([model.fit.noise for model in models], weights=shares))
    return LossModel(
        fit=Fit(law, REFERENCE, centre, draws, noise, objective=0.0),
        calibration=Calibration(np.zeros(1)),
        fitted_ranges=fitted_ranges,
        rows=sum(model.rows for model in models),
        choice=facts,
    )


Item = tuple[LossModel, Columns, np.ndarray]
"""A fitted table, and the columns and losses of the runs that a pool of other tables must predict."""


def held_out_scores(groups: Mapping[str, Sequence[Item]]) -> Scores:
    """Leave each source out and predict its runs with the pool of the others; each item is one cut."""
    parts: list[Scores] = []
    for left_out, items in groups.items():
        others = {}
        for source, of_source in groups.items():
            if source != left_out:
                others[source] = [model for model, _, _ in of_source]
        pooled = pool(others)
        for _, columns, loss in items:
            predicted = pooled.fit.log_loss(columns)
            scores = Scores(
                error=predicted - np.log(loss),
                spread=draw_spread(pooled.fit, columns, predicted),
                noise=np.full(len(loss), pooled.fit.noise),
                extrapolation_decades=extrapolation_decades(dict(pooled.fitted_ranges), columns),
                cut=np.full(len(loss), len(parts)),
            )
            parts.append(scores)
    return Scores.joined(parts)


def _stratified(blocks: Sequence[np.ndarray], shares: np.ndarray) -> np.ndarray:
    """Draws in proportion to the shares, evenly spaced within each block so that no randomness is needed."""
    counts = np.maximum(1, np.round(shares / shares.sum() * _DRAWS).astype(int))
    picked = []
    for block, count in zip(blocks, counts, strict=True):
        rows = np.linspace(0, len(block) - 1, count).round().astype(int)
        picked.append(block[rows])
    return np.concatenate(picked)
