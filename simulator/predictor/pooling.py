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
    """Pool fits of the plain general law; each group counts once. `extra` maps a term to the model that supplies it.

    The result has no calibration yet: that comes from `held_out_scores`.
    """
    extra = extra or {}
    core = get_law("general")
    cores, shares = [], []
    for models in groups.values():
        for model in models:
            cores.append(rebase(core, model.fit.draws, model.fit.reference, REFERENCE))
            shares.append(1.0 / (len(groups) * len(models)))
    draws = _stratified(cores, np.array(shares))
    centre = np.average([block.mean(axis=0) for block in cores], axis=0, weights=shares)
    for term, model in extra.items():
        places = [model.fit.law.names.index(p.name) for p in terms()[term].parameters]
        moved = rebase(model.fit.law, np.vstack([model.fit.theta, model.fit.draws]), model.fit.reference, REFERENCE)
        centre = np.concatenate([centre, moved[0, places]])
        draws = np.hstack([draws, moved[1 + np.arange(len(draws)) % (len(moved) - 1)][:, places]])
    law = get_law("+".join(["general", *extra]))
    models = [model for group in groups.values() for model in group]
    noise = float(np.average([m.fit.noise for m in models], weights=shares))
    fitted_ranges = {
        key: (min(m.fitted_ranges[key][0] for m in models), max(m.fitted_ranges[key][1] for m in models))
        for key in models[0].fitted_ranges
    }
    facts = {"why": "pooled over the public tables, each source counted once", "left_out": {}, "backtest_errors": {}}
    fit = Fit(law, REFERENCE, centre, draws, noise, objective=0.0)
    empty = Calibration(np.zeros(1))
    return LossModel(fit, empty, fitted_ranges, sum(m.rows for m in models), facts)


Item = tuple[LossModel, Columns, np.ndarray]
"""A fitted table, and the columns and losses of the runs that a pool of other tables must predict."""


def held_out_scores(groups: Mapping[str, Sequence[Item]]) -> Scores:
    """Leave each source out and predict its runs with the pool of the others; each item is one cut."""
    parts = []
    for left, items in groups.items():
        rest = pool({name: [m for m, _, _ in others] for name, others in groups.items() if name != left})
        for _, columns, loss in items:
            centre = rest.fit.log_loss(columns)
            spread = draw_spread(rest.fit, columns, centre)
            gap, noise = extrapolation_decades(dict(rest.fitted_ranges), columns), np.full(len(loss), rest.fit.noise)
            parts.append((centre - np.log(loss), spread, noise, gap, np.full(len(loss), len(parts))))
    return Scores(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _stratified(blocks, shares):
    """Draws in proportion to the shares, evenly spaced within each block so that no randomness is needed."""
    counts = np.maximum(1, np.round(shares / shares.sum() * _DRAWS).astype(int))
    picked = [b[np.linspace(0, len(b) - 1, c).round().astype(int)] for b, c in zip(blocks, counts, strict=True)]
    return np.concatenate(picked)
