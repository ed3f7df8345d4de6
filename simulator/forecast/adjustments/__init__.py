"""What plans state and no law of the predictor reads: its effect on the loss, from published figures.

A member is added by adding it to `ADJUSTMENTS`. Every predicted loss has the effects in it (`law_inputs.planned`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ....datasets.facts.optimisation import setting_costs
from ...config.run_config import RunConfig
from ...laws import Columns
from ...predictor.loss_model import LossModel
from ...predictor.predictor import Predictor
from .architecture import Architecture
from .effect import Adjustment, Effect, adjusted
from .selection import Selection
from .settings import Batch, LearningRate, Optimizer
from .stages import DataStages
from .synthetic import Synthetic

__all__ = [
    "ADJUSTMENTS",
    "Adjustment",
    "Architecture",
    "Effect",
    "adjusted",
    "carried",
    "effects",
    "is_stated",
    "known_places",
    "mean_effects",
    "recommended",
    "sentences",
    "stated_columns",
]

ADJUSTMENTS: tuple[Adjustment, ...] = (
    Batch(),
    LearningRate(),
    Optimizer(),
    Selection(),
    Synthetic(),
    DataStages(),
    Architecture(),
)


def stated_columns(config: RunConfig, predictor: Predictor) -> dict[str, float]:
    """What a plan states beside what laws read, by the place in the plan; where runs of its own had it too, nothing."""
    about = predictor.about
    of_runs = about.get("settings")
    if of_runs is None and isinstance(of_anchors := about.get("stated_by_runs"), Mapping):
        of_runs = of_anchors.get("settings")
    found: dict[str, float] = {}
    for member in ADJUSTMENTS:
        if member.is_known():
            found |= member.columns(config, of_runs if isinstance(of_runs, Mapping) else {})
    return found


def is_stated(column: str) -> bool:
    """Whether a column of `run_columns` is one of `stated_columns`, which no law reads."""
    return column.startswith(("optim.", "data.", "model."))


def effects(model: LossModel, columns: Columns, stated: Columns) -> list[Effect]:
    """The effects on n runs of what their plans state.

    Args:
        model: The fitted law of a target.
        columns: What the law reads, each `(n,)`.
        stated: The `stated_columns` of the plans, each `(n,)`; NaN for a plan that states nothing.
    """
    if not stated:
        return []
    found = [member.effect(model, columns, stated) for member in ADJUSTMENTS]
    return [one for one in found if one is not None]


def carried(stated: Mapping[str, float], columns: Columns) -> dict[str, np.ndarray]:
    """What a plan states, carried over to runs of other sizes, each `(n,)`: as it is, but for rates, which follow size.

    Args:
        stated: The `stated_columns` of the plan, and its own `params` and `tokens`; empty for nothing.
        columns: The runs, with `params` and `tokens`.
    """
    found: dict[str, np.ndarray] = {}
    if not stated:
        return found
    own = {name: np.array([value]) for name, value in stated.items()}
    for member in ADJUSTMENTS:
        found |= member.carried(own, columns)
    return found


def known_places(model: LossModel) -> set[str]:
    """The places in a plan of which published figures say what no law of the model reads."""
    if "tokens" not in model.fit.law.member.uses:
        return set()  # costs are in tokens
    members = [member for member in ADJUSTMENTS if member.is_known() and not member.is_read(model)]
    return {place for member in members for place in member.places}


def recommended(config: RunConfig, model: LossModel, columns: Columns) -> dict[str, float]:
    """Batch, learning rate of AdamW and critical batch that suit a single run, where no law reads them; else empty."""
    costs, params, tokens = setting_costs(), columns["params"], columns["tokens"]
    if config.model.num_experts is not None and config.model.num_experts > 1:
        params = np.array([config.model.params_total - (config.model.params_embedding or 0.0)])
    read = {place for member in ADJUSTMENTS if member.is_read(model) for place in member.places}
    if any(not place.startswith("model.") for place in read):
        return {}
    batch = costs.usual_batch(tokens)
    return {
        "batch_tokens": float(batch[0]),
        "lr": float(costs.best_lr(params, tokens, batch)[0]),
        "critical_batch_tokens": float(costs.critical_batch(tokens)[0]),
    }


def mean_effects(of_targets: Sequence[Sequence[Effect]]) -> tuple[Effect, ...]:
    """The effects on the mean of several targets, from those on each of them."""
    first = of_targets[0]
    if len(of_targets) == 1:
        return tuple(first)
    by_name = [{one.name: one for one in effects_} for effects_ in of_targets]
    return tuple(
        replace(
            one,
            log_loss=np.mean([found[one.name].log_loss for found in by_name if one.name in found], axis=0),
            sd=np.mean([found[one.name].sd for found in by_name if one.name in found], axis=0),
        )
        for one in first
    )


def sentences(found: Sequence[Effect]) -> dict[str, str]:
    """What is to be said of the effects on a single run, by their names."""
    said = {one.name: member.sentence(one) for one in found for member in ADJUSTMENTS if member.name == one.name}
    return {name: text for name, text in said.items() if text is not None}
