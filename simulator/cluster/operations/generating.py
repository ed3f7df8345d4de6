"""What it takes to write the synthetic text of a plan: inference of the model that writes it."""

from __future__ import annotations

import math

from typing_extensions import override

from ....core.units import format_count, format_flops
from ....datasets.facts.synthetic import synthetic_facts
from ...config.run_config import RunConfig
from .inference import Inference

__all__ = ["Generating", "generating", "generating_notes"]

_NORMAL_90 = 1.6449


class Generating(Inference):
    """The model that writes a plan's synthetic text: its size, the text, and what that takes."""

    @property
    @override
    def sentence(self) -> str:
        return (
            f"a model of {format_count(self.params)} parameters writes {format_count(self.tokens)} tokens before the "
            f"run: {format_flops(self.flops)}"
        )


def generating(config: RunConfig) -> Generating | None:
    """What writes a plan's synthetic text; None without any, or where writing costs nothing worth naming.

    All of it is written once, what is detected and left out included; that the generator was trained isn't counted.

    Args:
        config: The plan.

    >>> data = {"tokens": "2T", "synthetic": {"share": 0.3}}
    >>> generating(RunConfig.from_mapping({"model": {"params": "7B"}, "data": data})).sentence
    'a model of 7.00B parameters writes 600B tokens before the run: 8.40e21 FLOPs'
    """
    synthetic = config.data.synthetic
    if synthetic is None or synthetic.share == 0.0:
        return None
    facts, stated = synthetic_facts(), synthetic.generating
    params = None if stated is None else stated.params
    found = facts.writer_params(synthetic.generator, config.model.params_active) if params is None else params
    if found is None:
        return None
    efficiency = None if stated is None else stated.efficiency
    return Generating(
        params=found,
        tokens=config.data.tokens * synthetic.written_share,
        efficiency=facts.efficiency if efficiency is None else efficiency,
        efficiency_log_sd=facts.efficiency_log_sd if efficiency is None else 0.0,
        params_stated=params is not None,
    )


def generating_notes(config: RunConfig) -> list[str]:
    """What was taken of what writes a plan's synthetic text without being said, and where its cost isn't counted."""
    synthetic, found = config.data.synthetic, generating(config)
    if synthetic is None or synthetic.share == 0.0:
        return []
    if found is None:
        if synthetic_facts().kind_of(synthetic.generator) is not None:
            return []
        return [
            f"data.synthetic.generating.params isn't stated: what writing with {synthetic.generator} costs is not "
            "counted (text that was found on the web costs nothing: generator web)"
        ]
    notes = ["synthetic text is written before the run: paid as accelerator hours, no part of the wall clock"]
    if not found.params_stated:
        notes.append(
            f"data.synthetic.generating.params isn't stated: {format_count(found.params)} taken, "
            f"{synthetic_facts().writer_in_words(synthetic.generator)}"
        )
    if found.efficiency_log_sd > 0:
        notes.append(
            f"data.synthetic.generating.efficiency isn't stated: {found.efficiency:.0%} of the peak taken, within a "
            f"factor of {math.exp(_NORMAL_90 * found.efficiency_log_sd):.1f}"
        )
    return notes
