"""What to know of a plan in stages: what the forecast leaves out of them."""

from __future__ import annotations

from collections.abc import Iterator

from ....core.units import format_count
from ...cluster.layout_choice import missing
from ...config.run_config import RunConfig
from ...config.stages.spans import spans
from ...curve.law.multipower import B_SHARE
from ...curve.rates.planned_rates import stages_of
from .one_text import text_stages

__all__ = ["stage_warnings"]

_NOTABLE = 0.3  # of the peak: a rate that hasn't fallen further is said
_MANY = 0.02  # of all steps


def stage_warnings(config: RunConfig, reads_mix: bool) -> list[str]:
    """Sentences on the stages of a plan; none for a plan without any.

    Args:
        config: The plan.
        reads_mix: Whether the predictor reads what a plan trains on.
    """
    return [*_of_text(config, reads_mix), *_of_lengths(config), *_of_batches(config), *_of_rates(config)]


def _of_text(config: RunConfig, reads_mix: bool) -> Iterator[str]:
    stages = text_stages(config)
    if stages is None or stages.alike:
        return
    if not reads_mix:
        yield (
            "data.stages: this predictor reads no mix, so what the stages' texts do to the loss is left out, but for a "
            "wider interval"
        )
    elif config.data.evaluated_on is None:
        yield (
            "data.stages: the loss is that on one text, mixed of all stages; the training loss of the last stage is of "
            "its own text and may lie elsewhere (data.evaluated_on names a text that stays the same)"
        )


def _of_lengths(config: RunConfig) -> Iterator[str]:
    own = config.model.context_length
    others = sorted({s.context_length for s in config.data.stages if s.context_length not in (None, own)})
    if others:
        listed = ", ".join(format_count(float(length or 0)) for length in others)
        at = "the model's" if own is None else format_count(own)
        on_machines = "" if missing(config) else ", memory and times"
        are = "is that" if missing(config) else "are those"
        yield (
            f"data.stages: loss{on_machines} {are} of sequences of {at} tokens; what longer or shorter ones ({listed}) "
            "change is left out"
        )


def _of_batches(config: RunConfig) -> Iterator[str]:
    plan = config.batches
    if plan is None or plan.even:
        return
    usual, steps = config.optim.batch_tokens or 0.0, float(plan.steps)
    smaller = [(batch, count) for batch, count in plan.parts if batch < usual]
    small, seen = sum(count for _, count in smaller), sum(batch * count for batch, count in smaller)
    if small > _MANY * steps:
        yield (
            f"optim.stages: {small / steps:.0%} of the steps, with {seen / plan.tokens:.0%} of the tokens, have "
            "smaller batches than optim.batch_tokens, which machines that are laid out for that one run less "
            "efficiently; a step's tokens and time are means over all steps"
        )


def _of_rates(config: RunConfig) -> Iterator[str]:
    branches = [
        span.tokens
        for stage, span in zip(config.optim.stages, spans(config.optim.stages, config.data.tokens), strict=True)
        if stage.branch
    ]
    if branches:
        yield (
            f"optim.stages: branches take {format_count(sum(branches))} tokens on top of data.tokens "
            f"({sum(branches) / config.data.tokens:.0%}): they are no part of the times and costs here"
        )
    stages = stages_of(config)
    if stages and stages[-1].last > _NOTABLE:
        yield (
            f"optim.stages: the rate still is {stages[-1].last:.0%} of its peak at the end; the predictor's runs "
            f"decayed, so the loss is too low by up to some {B_SHARE * stages[-1].last:.1%} (until a cooldown)"
        )
