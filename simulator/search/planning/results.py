"""The forms in which a run's result may be reported to a planner, read as a `RunOutcome`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from ....core.errors import InputError
from ....core.units import shown
from ...config.run_config import RunConfig
from ..study import Study
from .outcomes.outcome import RunOutcome, Status

__all__ = ["ReportedResult", "headline", "headline_nats", "read_result"]

ReportedResult = RunOutcome | float | Mapping[str, float] | str | None
"""A `RunOutcome`; the loss of the study's target, nats per token; losses by target; `failed` (or None), `diverged`."""

_NATS = "loss_nats"
_BROKEN = [status for status in get_args(Status) if status != "ok"]


def headline(study: Study) -> dict[str, float]:
    """The loss targets of a study's first goal that is a loss, with their weights."""
    goal = next((goal for goal in study.goals if goal.loss_columns), None)
    if goal is not None:
        return dict(goal.weights or dict.fromkeys(goal.loss_columns, 1.0))
    if study.loss_columns:
        return {study.loss_columns[0]: 1.0}
    data = study.run.data
    main = study.predictor.main_loss_on(data.evaluated_on, data.corpus_text)
    return dict.fromkeys(study.predictor.parts(main), 1.0)


def headline_nats(losses: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The weighted mean of the losses named in `weights`, nats per token. InputError if one of them is missing."""
    lacking = [target for target in weights if target not in losses]
    if lacking:
        raise InputError(f"the result has no {lacking[0]}; expected {', '.join(weights)}, in nats per token")
    return sum(losses[target] * weight for target, weight in weights.items()) / sum(weights.values())


def read_result(
    name: str, config: RunConfig, result: ReportedResult, targets: Sequence[str], weights: Mapping[str, float]
) -> tuple[RunOutcome, tuple[str, ...]]:
    """Read a reported result. A loss that isn't finite means that the run diverged.

    Args:
        name: The proposal's name, for the outcome and for messages.
        config: The plan, which gives the size and tokens of a run whose result is a bare loss.
        result: The result in any of the forms of `ReportedResult`.
        targets: The known loss targets; others are left out.
        weights: Weights of the study's own loss targets, from `headline`.

    Returns:
        The outcome, and notes for the user.

    Raises:
        InputError: The value is not a result.
    """
    sizes = (config.data.tokens, config.model.params_total)
    if result is None or isinstance(result, str):
        status = "failed" if result is None else result
        if status not in _BROKEN:
            raise InputError(f"{name}: got {shown(status)}; expected a loss in nats per token, {' or '.join(_BROKEN)}")
        return RunOutcome(name, status, {}, *sizes, None, "told"), ()  # type: ignore[arg-type] - one of them
    if not isinstance(result, RunOutcome):
        result = RunOutcome(name, "ok", _losses(name, result, targets, weights), *sizes, None, "told")
    if result.status != "ok":
        return result, result.notices
    losses, dropped = {}, []
    for target, loss in result.losses.items():
        known = target if target in targets else (targets[0] if target == "loss" and len(targets) == 1 else None)
        if known is None:
            dropped.append(target)
        else:
            losses[known] = _checked(name, target, loss)
    if not losses:
        got = ", ".join(dropped) or "no loss"
        raise InputError(f"{name}: got {got}; expected {', '.join(targets)}, in nats per token")
    notes = (f"not used, since the table of runs has no such targets: {', '.join(dropped)}",) if dropped else ()
    told = replace(result, losses=losses)
    if any(math.isnan(loss) for loss in losses.values()):
        told = replace(told, status="diverged", losses={})
    return told, (*result.notices, *notes)


def _losses(
    name: str, result: float | Mapping[str, float], targets: Sequence[str], weights: Mapping[str, float]
) -> dict[str, float]:
    """Losses by target, from one number or a mapping; `loss_nats.github` is accepted for `loss.github`."""
    if isinstance(result, Mapping):
        losses = {}
        for key, loss in result.items():
            target = str(key).replace(_NATS, "loss", 1) if str(key).startswith(f"{_NATS}.") else str(key)
            target = _main(name, weights) if target == _NATS else target
            if target not in targets:
                raise InputError(f"{name}: got a loss of {shown(key)}; expected {', '.join(targets)}")
            losses[target] = loss
        return losses
    return {_main(name, weights): result}


def _main(name: str, weights: Mapping[str, float]) -> str:
    if len(weights) > 1:
        raise InputError(f"{name}: got one loss; the study is about several: expected those of {', '.join(weights)}")
    return next(iter(weights))


def _checked(name: str, target: str, loss: object) -> float:
    """A loss above 0; NaN if it isn't finite."""
    if isinstance(loss, bool) or not isinstance(loss, int | float):
        raise InputError(f"{name}: {target}: got {shown(loss)}; expected a loss in nats per token")
    value = float(loss)
    if value <= 0:
        raise InputError(f"{name}: {target}: got {value:g}; expected a loss above 0, in nats per token")
    return value if math.isfinite(value) else math.nan
