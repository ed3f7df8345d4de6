"""What is wrong with a plan's stages: rates that contradict the schedule or each other, batches that don't fit."""

from __future__ import annotations

from collections.abc import Sequence

from ....core.model.architecture import Architecture
from ....core.reading.fields import FieldError
from ....core.units import format_count
from .batches import Stretch
from .spans import checked_spans
from .stage import DataStage, OptimStage

__all__ = [
    "check_contexts",
    "check_data_stages",
    "check_optim_lengths",
    "check_optim_stages",
    "check_sequences",
    "states_rates",
]

_SAME = 0.01  # relative: a rate that is stated in two places may differ by rounding


def states_rates(stages: Sequence[OptimStage]) -> bool:
    """Whether stages state learning rates, and so are the schedule; else they state batches under one."""
    return any(stage.stated_rates for stage in stages)


def check_optim_stages(
    stages: Sequence[OptimStage],
    lr: float | None,
    lr_final: float | None,
    schedule: str | None,
    batch_tokens: float | None,
    warmup: str | None,
) -> None:
    """Raise FieldError, with its place in the section `optim`, for stages that contradict the section or each other.

    Args:
        stages: The stages.
        lr: The stated peak.
        lr_final: The stated rate of the last step.
        schedule: The stated schedule.
        batch_tokens: The stated batch.
        warmup: The key of the section's own warm-up, if it states one.
    """
    if stages and stages[0].branch:
        raise FieldError("stages.0.branch", "the first stage has none before it to leave; expected a stage of the run")
    if stages and all(stage.branch for stage in stages):
        raise FieldError("stages", "are all branches; expected those of the run, too")
    batches = [f"stages.{n}" for n, one in enumerate(stages) if one.batch_tokens or one.batch_tokens_final]
    if batches and batch_tokens is None:
        raise FieldError(
            "batch_tokens", f"is missing; {batches[0]} states its own: expected the run's usual batch, such as 4M"
        )
    if batch_tokens is not None:
        _check_usual_batch(stages, batch_tokens)
    if not states_rates(stages):
        return
    _check_schedule(stages, schedule)
    if warmup is not None and stages[0].warms_up:
        key = "warmup_steps" if stages[0].warmup_steps else "warmup_tokens"
        raise FieldError(f"stages.0.{key}", f"is given beside optim.{warmup}; expected only one of the two")
    if lr is None:
        raise FieldError("lr", "is missing; stages that state rates need the peak beside them, such as lr: 3e-4")
    _check_rates(stages, lr, lr_final)


def _check_usual_batch(stages: Sequence[OptimStage], usual: float) -> None:
    """Some stage must have the batch that the section states: one that states none goes on with the one before."""
    batch, reached = usual, False
    for stage in stages:
        own = stage.batch_tokens or batch
        batch = batch if stage.branch else stage.batch_tokens_final or own
        reached |= usual in (own, batch)
    if stages and not reached:
        raise FieldError(
            "batch_tokens",
            f"got {format_count(usual)}, which no stage has: a stage that states none goes on with the batch before it "
            f"({format_count(batch)}); expected batch_tokens in the stage that reaches it",
        )


def _check_schedule(stages: Sequence[OptimStage], schedule: str | None) -> None:
    if schedule is None:
        return
    number, key = next((n, one.stated_rates[0]) for n, one in enumerate(stages) if one.stated_rates)
    raise FieldError(
        "schedule",
        f"got {schedule}, but optim.stages.{number}.{key} states rates, too; expected no schedule beside stages with "
        "rates, or stages that state batch_tokens alone",
    )


def _check_rates(stages: Sequence[OptimStage], lr: float, lr_final: float | None) -> None:
    """Rates against the peak, and the last one against what the section says."""
    now = highest = 0.0
    for number, stage in enumerate(stages):
        start = stage.lr if stage.lr is not None else (lr if number == 0 else now)
        end = start if stage.lr_final is None else stage.lr_final
        for key, rate in (("lr", start), ("lr_final", end), ("lr_initial", stage.lr_initial or 0.0)):
            if rate > lr * (1 + _SAME):
                raise FieldError(f"stages.{number}.{key}", f"got {rate:g}; expected at most optim.lr {lr:g}, the peak")
        if stage.form == "exponential" and not start > 0:
            raise FieldError(
                f"stages.{number}.form", "got exponential for a stage that starts at 0; expected another, or its lr"
            )
        highest = max(highest, start, end)
        now = now if stage.branch else end
    if highest < lr * (1 - _SAME):
        raise FieldError("lr", f"got {lr:g}, but no stage has it; expected {highest:g}, the highest of stages")
    if lr_final is not None and abs(lr_final - now) > _SAME * lr:
        raise FieldError("lr_final", f"got {lr_final:g}, but the last of stages ends at {now:g}; expected one of them")


def check_optim_lengths(stages: Sequence[OptimStage], tokens: float, batch_tokens: float | None) -> None:
    """Raise FieldError, with its whole place, for stages that don't add up to `tokens`, or hold no step of theirs."""
    batch = batch_tokens
    for number, (stage, span) in enumerate(zip(stages, checked_spans(stages, tokens, "optim.stages"), strict=True)):
        own = stage.batch_tokens or batch
        batch = batch if stage.branch else stage.batch_tokens_final or own
        where = f"optim.stages.{number}"
        if own is not None and own > span.tokens:
            raise FieldError(
                f"{where}.{'batch_tokens' if stage.batch_tokens else 'tokens'}",
                f"one step of {format_count(own)} tokens is more than the stage's {format_count(span.tokens)}; "
                "expected a smaller batch or a longer stage",
            )
        if stage.warmup_tokens is not None and stage.warmup_tokens > span.tokens:
            raise FieldError(
                f"{where}.warmup_tokens",
                f"got {format_count(stage.warmup_tokens)}; expected at most the stage's {format_count(span.tokens)}",
            )
        if stage.warmup_steps and own is not None:
            steps = Stretch(span.start, span.end, own, stage.batch_tokens_final or own).steps
            if stage.warmup_steps > steps * (1 + _SAME):
                raise FieldError(
                    f"{where}.warmup_steps",
                    f"got {stage.warmup_steps}; expected at most the stage's {steps:.0f} steps",
                )


def check_sequences(stages: Sequence[DataStage], largest_batch: float) -> None:
    """Raise FieldError, with its whole place, for a stage of which one sequence is more than a step takes."""
    for number, stage in enumerate(stages):
        if stage.context_length is not None and stage.context_length > largest_batch:
            raise FieldError(
                f"data.stages.{number}.context_length",
                f"got {stage.context_length}; expected at most the tokens of a step, {format_count(largest_batch)} by "
                "optim.batch_tokens",
            )


def check_contexts(stages: Sequence[DataStage], shape: Architecture) -> None:
    """Raise FieldError, with its whole place, for a stage whose sequences the model's mixer can't be trained on."""
    for number, stage in enumerate(stages):
        if stage.context_length is None:
            continue
        try:
            shape.mixer_fits(stage.context_length)
        except FieldError as error:
            message = error.message
            if error.key != "context_length":
                message = f"got {stage.context_length}; model.architecture.{error.key}: {message}"
            raise FieldError(f"data.stages.{number}.context_length", message) from None


def check_data_stages(stages: Sequence[DataStage], tokens: float, mix: object | None, corpus: object | None) -> None:
    """Raise FieldError, with its place in the section `data`, for stages that don't add up to `tokens`, or whose text
    is unknown where that of others is stated."""
    checked_spans(stages, tokens, "stages")
    for key, stated in (("mix", mix), ("corpus", corpus)):
        having = [number for number, one in enumerate(stages) if getattr(one, key) is not None]
        if having and having[0] > 0 and stated is None:
            raise FieldError(
                f"stages.0.{key}",
                f"is missing, but stages.{having[0]} states its own; expected that of the stages before it, too, or "
                f"data.{key}",
            )
