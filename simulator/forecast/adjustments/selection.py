"""Selections of documents where no law of the predictor has their levels, by published figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from typing_extensions import override

from ....datasets.facts.optimisation import Cost
from ....datasets.facts.selection import UNKNOWN_STEP, SelectionFacts, selection_facts
from ...config.run_config import RunConfig
from ...config.text.selection import NOT_SELECTED
from ...laws import Columns
from ...predictor.loss_model import LossModel
from .effect import Adjustment, Effect, effect_of_cost

__all__ = ["Selection"]

_PLACE = "data.selection"
_UNKNOWN_FACT, _KNOWN_FACT, _LOWER_BOUND, _KEEPS_ALL = "unknown_steps", "known_steps", "lower_bound", "keeps_all"


class Selection(Adjustment):
    """What the kept text is worth beside the text as it is, in tokens: of the same number of distinct ones, more.

    How many distinct tokens are left, and so how often they are seen, is no part of it: laws read that.
    """

    name = "selection"
    places = (_PLACE,)

    def __init__(self, facts: SelectionFacts | None = None) -> None:
        self.facts = selection_facts() if facts is None else facts

    @override
    def is_read(self, model: LossModel) -> bool:
        law = model.fit.law
        return "selection" in {*law.columns, *law.optional, *law.levels}

    @override
    def columns(self, config: RunConfig, of_runs: Mapping[str, Any]) -> dict[str, float]:
        selection = config.data.selection
        if selection is None or selection.kind == NOT_SELECTED:
            return {}
        keeps = self.facts.keeps(selection.steps, selection.keep)
        return {f"{_PLACE}.{step}": keep for step, keep in keeps.items()}

    @override
    def effect(self, model: LossModel, columns: Columns, stated: Columns) -> Effect | None:
        keeps = {
            name.removeprefix(f"{_PLACE}."): values for name, values in stated.items() if name.startswith(f"{_PLACE}.")
        }
        if not keeps or self.is_read(model):
            return None
        gain, sd = self.facts.gain(keeps)
        facts = {
            "tokens_factor": float(np.exp(gain[0])),
            _LOWER_BOUND: float(self.facts.is_lower_bound(list(keeps))),
            _UNKNOWN_FACT: float(UNKNOWN_STEP in keeps),
            _KNOWN_FACT: float(any(step != UNKNOWN_STEP for step in keeps)),
            _KEEPS_ALL: float(all((keep == 1.0).all() for keep in keeps.values())),
        }
        sources = self.facts.sources(list(keeps))
        return effect_of_cost(
            model, columns, Cost(-gain, sd), self.name, self.places, sources, facts=facts, of_text=True
        )  # fmt: skip

    @override
    def sentence(self, effect: Effect) -> str | None:
        facts = effect.facts or {}
        if facts[_KEEPS_ALL]:
            return (
                f"{_PLACE}.keep is 1: nothing is left out, which changes neither the text nor the loss; "
                "state the share that is kept, such as keep: 0.5"
            )
        middle, low, high = effect.percent()
        if low == high == 0.0:  # drawn at random
            return None
        known = f"known are {', '.join(self.facts.known)}"
        if not facts[_KNOWN_FACT]:
            return (
                f"{_PLACE}: nothing is published on such a selection, so what the kept text is worth is left open: "
                f"{low:+.2g} to {high:+.2g} % of loss; {known}"
            )
        said = (
            f"{_PLACE}: the kept text counts about {facts['tokens_factor']:.2f} times its tokens: {middle:+.2g} % of "
            f"loss ({low:+.2g} to {high:+.2g}); published, not measured on runs of this predictor"
        )
        if facts[_UNKNOWN_FACT]:
            said += f"; of one of its steps nothing is published, so it is left open: {known}"
        if facts[_LOWER_BOUND]:
            said += (
                "; what removing copies gains is a lower bound: copies in meaning cost large models more than small "
                "ones (arXiv:2603.06603)"
            )
        return said
