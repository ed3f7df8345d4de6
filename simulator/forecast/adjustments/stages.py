"""Stages of the data: how far it is open what text their mixes amount to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from typing_extensions import override

from ...config.run_config import RunConfig
from ...laws import Columns, mix_column
from ...predictor.loss_model import LossModel
from ..stages.one_text import LOG_LOSS_PER_SHARE, text_stages
from .effect import Adjustment, Effect

__all__ = ["DataStages"]

_PLACE = "data.stages"
_OF_DOMAIN = f"{_PLACE}.mix."
_SOURCES = ("Bergsma et al. 2025, arXiv:2509.25380", "Wang & Aitchison 2024, arXiv:2405.13698")


class DataStages(Adjustment):
    """The law is given the middle of two mixes, by tokens and by what AdamW keeps; half their difference is open."""

    name = "data_stages"
    places = (_PLACE,)

    @override
    def columns(self, config: RunConfig, of_runs: Mapping[str, Any]) -> dict[str, float]:
        stages = text_stages(config)
        if stages is None or stages.alike:
            return {}
        by_tokens, kept = stages.mix(0.0) or {}, stages.mix(1.0) or {}
        halves = {f"{_OF_DOMAIN}{name}": 0.5 * (kept.get(name, 0.0) - by_tokens.get(name, 0.0)) for name in kept}
        return {_PLACE: stages.open_share} | halves

    @override
    def effect(self, model: LossModel, columns: Columns, stated: Columns) -> Effect | None:
        if _PLACE not in stated:
            return None
        open_share = np.nan_to_num(stated[_PLACE])
        sd = LOG_LOSS_PER_SHARE * open_share
        if model.fit.law.domains:
            ends = [model.fit.log_loss(self._moved(columns, stated, sign)) for sign in (-1.0, 1.0)]
            sd = 0.5 * np.abs(ends[1] - ends[0])
        return Effect(
            self.name, self.places, np.zeros(len(sd)), sd, _SOURCES, facts={"open_share": float(open_share[0])}
        )

    def _moved(self, columns: Columns, stated: Columns, sign: float) -> dict[str, np.ndarray]:
        """The columns with every domain's share at one end of what is open."""
        found = dict(columns)
        for name, half in stated.items():
            column = mix_column(name.removeprefix(_OF_DOMAIN))
            if name.startswith(_OF_DOMAIN) and column in found:
                found[column] = np.maximum(found[column] + sign * np.nan_to_num(half), 0.0)
        return found

    @override
    def sentence(self, effect: Effect) -> str | None:
        _, low, high = effect.percent()
        return (
            "data.stages: the mixes count midway between their tokens and what AdamW's weights keep of them, "
            f"by rate and age; what lies between leaves {low:+.1f} % to {high:+.1f} % of loss open (90 %)"
        )
