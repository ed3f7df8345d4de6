"""What a plan changes on the way: text, sequence length, batch and rates, each with what that may do to the loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from ....core.units import format_count
from ...config.run_config import RunConfig
from ...config.stages.batches import BatchPlan
from ...config.stages.spans import spans
from ...config.stages.stage import DataStage
from .changes import PlannedChange
from .staged import RateStage

__all__ = ["TEXT_LOG_SD", "TextLevels", "changed_share", "last_text_sd", "planned_changes"]

TEXT_LOG_SD = 0.4
"""Sd of the difference in log loss of two texts, times the share of tokens that changes: √2 times the spread between
domains, .27 between the 22 of the public bimix_pile (280M) and .31 between the 13 of regmix (60M)."""
_UNKNOWN_SHARE = 0.3  # of tokens that change where one of two texts isn't stated
_LEAST_SD = 5e-3  # of any change of the text: so far do reruns of a curve differ
_LENGTH_LOG_SD = 0.015
"""Per doubling of the sequence length, a judgement: longer contexts take a percent or two off the loss per token."""
_BATCH_LOG_SD = 3e-3
"""Per doubling of the batch, a judgement: the square-root rule is good to some tenths of a percent of the loss below
the critical batch."""
_RISE_LOG_SD = 1e-2
"""Of a rise of the rate by the whole peak, a judgement: the states of the optimizer may be lost, too."""
_FALL_LOG_SD = 2e-3
"""Of a fall by the whole peak, a judgement: cooldowns that a law wasn't fitted on are foretold about as well."""
_SAME = 1e-3  # of the peak, by which a rate may change without being a change


class TextLevels(NamedTuple):
    """What a predictor says of the texts of a plan's stages: `log_nats` the logarithm of the loss on each.

    `log_sd` is how far their difference is open, per share of the tokens that changes.
    """

    log_nats: tuple[float, ...]
    log_sd: float


def planned_changes(
    config: RunConfig, plan: BatchPlan, stages: list[RateStage], text_levels: TextLevels | None = None
) -> tuple[PlannedChange, ...]:
    """What changes on the way of a plan, in order; none for a plan without stages.

    Args:
        config: The plan.
        plan: Its tokens per step.
        stages: Its stages of the rates.
        text_levels: What a predictor says of the texts of the stages, if anything.
    """
    found = [*_of_data(config, plan, text_levels), *_of_batches(plan), *_of_rates(stages)]
    return tuple(sorted(found))


def changed_share(before: Mapping[str, float] | str | None, after: Mapping[str, float] | str | None) -> float:
    """Share of the tokens that are of other domains after a change than before it; a guess where one is unknown.

    >>> round(changed_share({"web": 0.9, "code": 0.1}, {"web": 0.5, "code": 0.5}), 2)
    0.4
    """
    if before is None or after is None:
        return 0.0 if before == after else _UNKNOWN_SHARE
    old = {before: 1.0} if isinstance(before, str) else before
    new = {after: 1.0} if isinstance(after, str) else after
    return 0.5 * math.fsum(abs(old.get(name, 0.0) - new.get(name, 0.0)) for name in {*old, *new})


def _of_data(config: RunConfig, plan: BatchPlan, levels: TextLevels | None) -> Iterator[PlannedChange]:
    data = config.data
    mix, corpus, length = data.mix, data.corpus, config.model.context_length
    for number, (stage, span) in enumerate(zip(data.stages, spans(data.stages, data.tokens), strict=True)):
        new = stage.mix or mix, stage.corpus or corpus, stage.context_length or length
        if number:
            shares = [changed_share(old, now) for old, now in ((mix, new[0]), (corpus, new[1]))]
            doublings = abs(math.log2((new[2] or 1) / (length or new[2] or 1)))
            per_share = TEXT_LOG_SD if levels is None else levels.log_sd
            text = max(per_share * max(shares), _LEAST_SD) if max(shares) else 0.0
            level = 0.0 if levels is None else levels.log_nats[number] - levels.log_nats[number - 1]
            sd = math.hypot(text, _LENGTH_LOG_SD * doublings)
            if sd:
                what = [f"{max(shares):.0%} of its text is other text"] if max(shares) else []
                what += [f"sequences of {format_count(new[2] or 0)}"] if doublings else []
                yield PlannedChange(plan.step_at(span.start), f"{_name(stage, number)}: {', '.join(what)}", level, sd)
        mix, corpus, length = new


def _of_batches(plan: BatchPlan) -> Iterator[PlannedChange]:
    for before, after in pairwise(plan.stretches):
        doublings = abs(math.log2(after.first / before.last))
        if doublings:
            what = f"the batch goes from {format_count(before.last)} to {format_count(after.first)} tokens"
            yield PlannedChange(plan.step_at(after.start), what, 0.0, _BATCH_LOG_SD * doublings)


def _of_rates(stages: list[RateStage]) -> Iterator[PlannedChange]:
    for before, after in pairwise(stages):
        rise = max(after.first - before.last, after.first - after.initial, after.last - after.first)
        fall = max(before.last - after.initial, after.first - after.last)
        if rise <= _SAME and fall <= _SAME:
            continue
        what = "the rate rises" if rise > _SAME else "the rate falls"
        sd = _RISE_LOG_SD * max(rise, 0.0) + _FALL_LOG_SD * max(fall, 0.0)
        yield PlannedChange(after.start, f"{_name(after.stage, after.number)}: {what}", 0.0, sd)


def _name(stage: DataStage | object, number: int) -> str:
    name = getattr(stage, "name", None)
    return f"stage {number + 1}" if name is None else str(name)


def last_text_sd(config: RunConfig) -> float:
    """Sd of log loss between the last stage's own text, on which the end is trained, and the text of the whole run."""
    data = config.data
    mix, corpus, mean = data.mix, data.corpus, dict[str, float]()
    for stage, span in zip(data.stages, spans(data.stages, data.tokens), strict=True):
        mix, corpus = stage.mix or mix, stage.corpus or corpus
        text = corpus or mix
        if text is None:
            continue
        for name, share in ({text: 1.0} if isinstance(text, str) else text).items():
            mean[name] = mean.get(name, 0.0) + share * span.tokens / data.tokens
    return TEXT_LOG_SD * changed_share(mean, corpus or mix) if mean else 0.0
