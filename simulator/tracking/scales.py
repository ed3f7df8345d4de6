"""The units of a log: conversion of its counts to optimizer steps, and of its loss to nats per token."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from ...core.errors import LogError, UsageError
from ...core.units import format_count, shown
from ...datasets.run_logs.columns import RawLog
from ...datasets.run_logs.records import Notice
from ..config.run_config import RunConfig
from ..config.text.scale import planned_bytes_per_token
from ..curve.rates.path import RatePath

__all__ = ["UNITS", "StepUnit", "in_nats", "step_unit"]

UNITS = ("auto", "steps", "tokens", "samples")
"""What `--step-unit` takes, beside `steps/K` for K micro-batches to a step, and `Ksteps` for a record per K steps."""

_SLACK = 1.02  # of the plan's end: the last step may be counted, logged or rounded in several ways
_SAME = 0.02  # relative difference below which two batch sizes are one, and two learning rates
_MOST_MICRO = 4096  # micro-batches to a step that are looked for
_MOST_RATES = 500  # learning rates that are compared
_BELOW_PEAK = 0.95  # share of the peak; on the plateau all units look alike
_LEAST_TELLING = 10  # learning rates below it
_RIGHT_RATES = 0.9  # share of learning rates that must fit the plan before they determine the unit
_ABOVE_GUESSING = 1.05  # of ln(vocabulary): what no model that has learned anything shows, in nats
_LARGEST_VOCABULARY = 300_000  # where the plan states none
_MICRO = re.compile(r"steps/([0-9]{1,6})")
_RECORDS = re.compile(r"([0-9]{1,9}) ?steps")
_MANY = 10_000  # from which a count is told by its unit, as 8.00M
_GUESS_STEPS = 2  # steps in which a model still guesses evenly


@dataclass(frozen=True)
class StepUnit:
    """One optimizer step is `per_step` of what the log counts; `name` says what that is."""

    name: str
    per_step: float
    notices: tuple[Notice, ...] = ()


def step_unit(log: RawLog, index: np.ndarray, config: RunConfig, path: RatePath, stated: str = "auto") -> StepUnit:
    """The unit that the log counts in.

    With `stated` "auto" it is detected from the key's name, from tokens logged beside it, from learning rates, and
    from how far it runs beyond the planned steps.

    Args:
        log: The log.
        index: The records that are used, `(n,)`.
        config: The plan.
        path: The plan's learning rates.
        stated: One of UNITS, `steps/K` or `Ksteps`.

    Raises:
        LogError: The log goes beyond the plan in every known unit.
    """
    batch = config.optim.batch_tokens
    assert batch is not None  # a path has steps
    micro = _MICRO.fullmatch(stated)
    if micro and int(micro[1]) > 0:
        return StepUnit("micro-batches", float(micro[1]))
    records = _RECORDS.fullmatch(stated)
    if records and int(records[1]) > 0:
        return StepUnit(f"records of {int(records[1])} steps", 1.0 / int(records[1]))
    if stated not in UNITS:
        raise UsageError(
            f"--step-unit: got {shown(stated)}; expected {', '.join(UNITS)}, steps/8 (micro-batches) or 500steps (a "
            "record every 500)"
        )
    known = {"steps": 1.0, "tokens": batch, "samples": _samples(config, batch)}
    name = log.axis if stated == "auto" else stated
    per_step = known[name]
    if per_step is None:
        raise LogError(f"{log.where}: counts samples; expected model.context_length in the plan, to tell their tokens")
    if name != "steps" or stated != "auto":
        if name == "steps":
            return StepUnit(name, per_step)
        batches = config.batches
        return _said(log, name, per_step, "" if batches is None or batches.even else "and as the plan's stages have it")
    return _guessed(log, index, path, known)


def _samples(config: RunConfig, batch: float) -> float | None:
    return None if config.model.context_length is None else batch / config.model.context_length


def _guessed(log: RawLog, index: np.ndarray, path: RatePath, known: dict[str, float | None]) -> StepUnit:
    """The unit of a key that is called a step."""
    step, tokens = log.step[index], log.tokens[index]
    batch = known["tokens"]
    assert batch is not None
    seen = np.isfinite(tokens) & (tokens > 0) & (step > 0)
    if seen.sum() > 0.5 * len(step):
        per_step = batch / float(np.median(tokens[seen] / step[seen]))
        if abs(per_step - 1) <= _SAME:
            return StepUnit("steps", 1.0)
        if per_step > 1.5 and abs(per_step / round(per_step) - 1) <= _SAME:
            return _said(log, "micro-batches", float(round(per_step)), "by the tokens logged beside it")
        text = (
            f"{log.where}: {format_count(batch / per_step)} tokens per {log.step_key}; the plan's optim.batch_tokens "
            f"is {format_count(batch)}: steps are counted by tokens here. Is it the same run?"
        )
        return StepUnit("steps", per_step, (Notice("other_config", text, serious=True),))
    each = _steps_per_record(step, log.lr[index], path)
    if each > 1:
        text = (
            f"{log.where}: {log.step_key} can't be optimizer steps: by its learning rates it counts records, {each} "
            f"steps each, and is read so (--step-unit {each}steps; --step-unit steps takes it as written)"
        )
        return StepUnit(f"records of {each} steps", 1.0 / each, (Notice("step_axis", text, serious=True),))
    by_rate = _micro_batches(step, log.lr[index], path)
    if by_rate > 1:
        return _said(log, "micro-batches", float(by_rate), "by its learning rates")
    if step[-1] <= _SLACK * path.steps:
        return StepUnit("steps", 1.0)
    for name in ("tokens", "samples"):
        per_step = known[name]
        if per_step and _multiples(step, per_step) and step[-1] <= _SLACK * path.steps * per_step:
            return _said(log, name, per_step, f"its numbers are multiples of {per_step:g}")
    beyond = float(np.mean(step > _SLACK * path.steps))
    if beyond < 0.5:
        return StepUnit("steps", 1.0)  # a run that goes on beyond its plan
    raise LogError(
        f"{log.where}: {log.step_key} runs to {step[-1]:g}, the plan to step {path.steps}: expected steps of the "
        "plan, or --step-unit tokens, samples or steps/K (K micro-batches to a step)"
    )


def _said(log: RawLog, name: str, per_step: float, why: str = "") -> StepUnit:
    reason = f", {why}" if why else ""
    text = f"{log.where}: {log.step_key} counts {name}, {_plain(per_step)} to an optimizer step{reason}"
    return StepUnit(name, per_step, (Notice("step_unit", text),))


def _plain(count: float) -> str:
    return format_count(count) if count >= _MANY else f"{count:g}"


def _multiples(step: np.ndarray, unit: float) -> bool:
    """Whether steps are whole multiples of a unit, most of them: the first may be counted otherwise."""
    share = step[step > 0] / unit
    return bool(len(share)) and float(np.mean(np.abs(share - np.round(share)) < 1e-3)) > _RIGHT_RATES


def _micro_batches(step: np.ndarray, rate: np.ndarray, path: RatePath) -> int:
    """Logged steps per optimizer step, from the learning rates beside them; 1 if these don't determine it."""
    seen = np.isfinite(rate) & (rate > 0)
    if not seen.any():
        return 1
    some = np.unique(np.linspace(0, seen.sum() - 1, _MOST_RATES).astype(int))
    step, share = step[seen][some], rate[seen][some] / rate[seen].max()
    beyond = step[-1] > _SLACK * path.steps
    plain = None if beyond else _rate_misses(step, share, path)
    if not beyond and (plain is None or plain[0] > 0.5):
        return 1
    least = max(2, int(step[-1] // (_SLACK * path.steps)))
    found = {k: _rate_misses(step / k, share, path) for k in range(least, min(_MOST_MICRO, 64 * least))}
    good = {k: fit[1] for k, fit in found.items() if fit is not None and fit[0] > _RIGHT_RATES}
    return min(good, key=lambda k: good[k], default=1)


def _steps_per_record(step: np.ndarray, rate: np.ndarray, path: RatePath) -> int:
    """Optimizer steps per logged step, from the learning rates beside them; 1 if these don't determine it."""
    seen = np.isfinite(rate) & (rate > 0)
    most = int(_SLACK * path.steps / max(step[-1], 1.0))
    if not seen.any() or most < 2:
        return 1
    some = np.unique(np.linspace(0, seen.sum() - 1, _MOST_RATES).astype(int))
    step, share = step[seen][some], rate[seen][some] / rate[seen].max()
    planned = path.rate[np.clip(np.floor(step).astype(int), 0, path.steps - 1)]
    if (np.abs(share - planned) < _SAME).mean() > 0.5:
        return 1
    found = {k: _rate_misses(step * k, share, path) for k in range(2, min(_MOST_MICRO, most) + 1)}
    good = {k: fit[1] for k, fit in found.items() if fit is not None and fit[0] > _RIGHT_RATES}
    return min(good, key=lambda k: good[k], default=1)


def _rate_misses(step: np.ndarray, share: np.ndarray, path: RatePath) -> tuple[float, float] | None:
    """The share of rates `share: (n,)` of the peak that match the plan's at steps `step: (n,)`, and their mean error.

    Only rates below the peak, in the log or in the plan, distinguish units, and those of the warm-up are left out, as a
    longer warm-up looks like another unit; None without enough others.
    """
    planned = path.rate[np.clip(np.floor(step).astype(int), 0, path.steps - 1)]
    telling = (np.minimum(share, planned) < _BELOW_PEAK) & (step > path.warmup)
    if step[-1] > _SLACK * path.steps or telling.sum() < _LEAST_TELLING:
        return None
    miss = np.abs(share - planned)[telling]
    return float((miss < _SAME).mean()), float(miss.mean())


def in_nats(
    log: RawLog, step: np.ndarray, loss: np.ndarray, config: RunConfig, planned: float
) -> tuple[np.ndarray, list[Notice]]:
    """Convert logged losses to nats per token.

    Args:
        log: The log.
        step: Optimizer steps, `(n,)`.
        loss: Logged losses, `(n,)`.
        config: The plan.
        planned: The planned final loss, nats.

    Returns:
        The losses in nats per token, `(n,)`, and notices of the conversion.

    Raises:
        LogError: The losses are implausible in nats, and as perplexities too.
    """
    kind = log.loss_kind
    if kind == "perplexity":
        return np.log(np.maximum(loss, 1 + 1e-12)), [_unit(log, "a perplexity, exp(nats)")]
    if kind == "bits":
        return loss * math.log(2), [_unit(log, "in bits per token")]
    if kind == "bits per byte":
        scale = planned_bytes_per_token(config.data)
        if scale is None:
            raise LogError(
                f"{log.where}: {log.loss_key} is in bits per byte; expected data.bytes_per_token in the plan, "
                "or a data.tokenizer and data.corpus of the catalogue"
            )
        return loss * math.log(2) * scale.value, [_unit(log, f"in bits per byte, {scale.value:.3g} bytes per token")]
    guessing = math.log(config.model.vocab_size or _LARGEST_VOCABULARY)
    if step[0] <= _GUESS_STEPS and config.model.vocab_size and abs(loss[0] / guessing * math.log(2) - 1) < 0.03:
        text = f"in bits: it starts at {loss[0]:.4g}, and log2 of the vocabulary is {guessing / math.log(2):.4g}"
        return loss * math.log(2), [_unit(log, text)]
    if np.median(loss) < _ABOVE_GUESSING * guessing:
        return loss, []
    nats = np.log(np.maximum(loss, 1 + 1e-12))
    if 0.7 * planned < float(np.median(nats)) < 2.0 * planned:
        return nats, [_unit(log, f"a perplexity: half of it lies above {np.median(loss):.4g}")]
    raise LogError(
        f"{log.where}: {log.loss_key}: half of it lies above {np.median(loss):.4g}, and guessing evenly among the "
        f"vocabulary is {guessing:.3g} nats; expected nats per token, or --metric KEY for another loss"
    )


def _unit(log: RawLog, what: str) -> Notice:
    return Notice("loss_unit", f"{log.where}: {log.loss_key} is {what}; turned into nats per token")
