"""Contradictions between a log and its plan: learning rates, length, gaps, and settings that the log states."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ...datasets.run_logs.columns import RawLog
from ...datasets.run_logs.names import folded, number
from ...datasets.run_logs.records import Notice
from ..config.run_config import RunConfig
from ..curve.rates.path import RatePath

__all__ = ["Rates", "changes_so_far", "compare_rates", "gaps", "initial_loss", "other_config"]

_CLOSE = 0.02  # of the peak: learning rates that differ by less agree
_PEAK_CLOSE = 0.02  # relative difference of two peaks that is rounding
_FEW = 3  # learning rates that may disagree: around a jump, steps are counted in several ways
_LONG_GAP = 10.0  # times the usual distance of points
_LEAST_GAP = 0.01  # of the plan
_LATE = 0.05  # of the plan: a log that begins later than this lacks its beginning
_EARLY_STEPS = 1.0  # steps after which a model has begun to learn
_EVEN_NATS = 0.7  # nats by which the first loss of a fresh model may miss ln(vocabulary)
_TOTALS = ("max_steps", "total_steps", "train_steps", "num_train_steps", "train_iters", "max_iters", "num_steps",
           "total_iterations", "lr_decay_iters")  # fmt: skip


@dataclass(frozen=True)
class Rates:
    """The learning rates that the law uses: the plan's, or the log's so far where they contradict the plan."""

    path: RatePath
    notices: tuple[Notice, ...] = ()


def compare_rates(where: str, step: np.ndarray, rate: np.ndarray, config: RunConfig, path: RatePath) -> Rates:
    """Compare logged learning rates with the plan's.

    Where they disagree, the logged rates are used for the run so far and the plan's from now on.

    Args:
        where: The log, for messages.
        step: Optimizer steps, `(n,)`.
        rate: Logged learning rates, `(n,)`; NaN where unknown.
        config: The plan.
        path: The plan's learning rates.
    """
    seen = np.isfinite(rate) & (rate >= 0)
    if seen.sum() <= _FEW or not rate[seen].max() > 0:
        return Rates(path)
    at, rate = step[seen], rate[seen]
    notices = []
    # the rate that is logged at a step is that of the step itself, the one before, or the one after
    near = np.stack([path.rate[np.clip(at.astype(int) + k, 0, path.steps - 1)] for k in (-1, 0, 1)])
    stated = config.optim.lr
    high = near[1] > 0.1
    scale = float(np.median(rate[high] / near[1][high])) if high.any() else float(rate.max())
    if stated is not None and abs(scale / stated - 1) > _PEAK_CLOSE and _misses(rate / scale, near).mean() < 0.1:
        text = f"{where}: the learning rate is {scale / stated:.3g} times the plan's all along (peak {stated:g})"
        notices.append(Notice("learning_rate", text, float(at[0]), serious=True))
    elif stated is not None:
        scale = stated
    wrong = _misses(rate / scale, near)
    if wrong.sum() <= max(_FEW, 0.01 * len(wrong)):
        return Rates(path, tuple(notices))
    away = np.where(wrong, np.abs(rate / scale - near[1]), 0.0)
    lasting = np.convolve(wrong, np.ones(_FEW), "valid") == _FEW  # a single mismatch doesn't count
    first = int(np.argmax(lasting)) if lasting.any() else int(np.argmax(wrong))
    most = int(np.argmax(away))
    text = (
        f"{where}: the learning rate contradicts the plan's schedule from step {at[first]:.0f} on: {rate[first]:.3g} "
        f"there, planned {near[1][first] * scale:.3g}; at most at step {at[most]:.0f}: {rate[most]:.3g}, planned "
        f"{near[1][most] * scale:.3g}. What was logged counts so far, and the plan from now on"
    )
    notices.append(Notice("learning_rate", text, float(at[first]), serious=True))
    return Rates(_as_logged(path, at, rate / scale), tuple(notices))


def _misses(share: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Whether shares of the peak `(n,)` differ from each of the plan's around that step, `(3, n)`."""
    return np.min(np.abs(share - near), axis=0) > _CLOSE


def _as_logged(path: RatePath, at: np.ndarray, share: np.ndarray) -> RatePath:
    """The plan's path with the log's rates up to its last step."""
    now = min(int(at[-1]), path.steps - 1)
    rate = path.rate.copy()
    rate[: now + 1] = np.interp(np.arange(now + 1), at, share)
    # before the first point only the plan is known
    first = min(int(at[0]), now)
    rate[:first] = path.rate[:first]
    return replace(path, rate=rate)


def gaps(where: str, step: np.ndarray, path: RatePath, begins: float = math.inf) -> list[Notice]:
    """Stretches without points, and a beginning that is missing.

    Args:
        where: The log, for messages.
        step: Rising optimizer steps, `(n,)`.
        path: The plan's learning rates.
        begins: The first step with any loss, another one than that of the points too.
    """
    notices = []
    if min(step[0], begins) > max(_LATE * path.steps, 2 * path.warmup):
        text = f"{where}: begins at step {step[0]:.0f}; what came before isn't in it"
        notices.append(Notice("gap", text, float(step[0])))
    apart = np.diff(step)
    if not len(apart):
        return notices
    wide = np.flatnonzero(apart > max(_LONG_GAP * float(np.median(apart)), _LEAST_GAP * path.steps))
    for at in wide[:3].tolist():
        text = f"{where}: no points from step {step[at]:.0f} to {step[at + 1]:.0f}: the forecast spans the gap"
        notices.append(Notice("gap", text, float(step[at])))
    if len(wide) > 3:
        notices.append(Notice("gap", f"{where}: {len(wide) - 3} more gaps"))
    return notices


def changes_so_far(where: str, step: np.ndarray, path: RatePath) -> list[Notice]:
    """What the plan changes at steps that the log has passed, `step: (n,)`: a step of the loss there is no regression.

    Args:
        where: The log, for messages.
        step: Rising optimizer steps, `(n,)`.
        path: The plan's learning rates and changes.
    """
    passed = [one for one in path.changes if step[0] < one.step < step[-1]]
    return [
        Notice(
            "planned_change",
            f"{where}: at step {one.step:,.0f}, as planned, {one.what}: a step of the loss by some "
            f"{100 * one.log_sd:.2g}% there is no regression",
            one.step,
        )
        for one in passed
    ]


def initial_loss(where: str, step: np.ndarray, loss: np.ndarray, config: RunConfig) -> list[Notice]:
    """A notice if the first loss, nats, isn't that of a fresh model: near the logarithm of the vocabulary size."""
    vocabulary = config.model.vocab_size
    if vocabulary is None or step[0] > _EARLY_STEPS or abs(loss[0] - math.log(vocabulary)) < _EVEN_NATS:
        return []
    less = loss[0] < math.log(vocabulary)
    why = "another vocabulary, or a model that was trained before" if less else "another vocabulary, or a bad start"
    text = (
        f"{where}: starts at {loss[0]:.3g} nats; a fresh model with {vocabulary} tokens guesses at "
        f"{math.log(vocabulary):.3g}: {why}?"
    )
    return [Notice("other_config", text, float(step[0]), serious=True)]


def other_config(log: RawLog, config: RunConfig, per_step: float) -> list[Notice]:
    """Notices of settings that the log states differently from the plan."""
    stated = {folded(key).rpartition("/")[2]: value for key, value in log.stated.items()}
    planned: dict[str, tuple[str, float | None]] = {
        "vocab_size": ("model.vocab_size", config.model.vocab_size),
        "context_length": ("model.context_length", config.model.context_length),
        "batch_tokens": ("optim.batch_tokens", config.optim.batch_tokens),
        "tokens": ("data.tokens", config.data.tokens),
        "params": ("model.params", config.model.params_total),
        "num_parameters": ("model.params", config.model.params_total),
        "lr": ("optim.lr", config.optim.lr),
        "learning_rate": ("optim.lr", config.optim.lr),
    }
    found = []
    total = next((name for name in _TOTALS if (number(stated.get(name)) or 0) > 0), None)
    if total is not None and config.steps is not None:
        planned[total] = ("the planned steps", config.steps * (per_step if per_step < config.steps else 1.0))
    batches = [] if config.batches is None else [batch for batch, _ in config.batches.parts]
    for name, (key, plan) in planned.items():
        value = number(stated.get(name))
        if name == "batch_tokens" and value in batches:  # the batch of one of its stages
            continue
        if value and plan and math.isfinite(value) and value > 0 and abs(value / plan - 1) > _PEAK_CLOSE:
            found.append(f"{name} {value:g} ({key}: {plan:g})")
    if not found:
        return []
    text = f"{log.where}: states {', '.join(found)}: a run from another configuration?"
    return [Notice("other_config", text, serious=True)]
