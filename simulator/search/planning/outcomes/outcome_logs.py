"""The outcome of one run from its metrics log: the last held-out loss, or the final level of the training loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from .....core.columns import alias_key
from .....core.errors import LogError
from .....datasets.run_logs.columns import RawLog, choose_columns
from .....datasets.run_logs.names import TOKENS, folded, number
from .....datasets.run_logs.order import in_order
from .....datasets.run_logs.records import Records
from .....datasets.runs.statuses import STATUS_WORDS, UNFINISHED_WORDS
from ....config.run_config import RunConfig
from ....config.text.scale import planned_bytes_per_token
from ....curve.rates.planned_rates import path_of
from ....tracking.reading import points_of
from ....tracking.relatives import public_curves
from ....tracking.track import impossible_axis, planned_loss, predictor_for
from .outcome import Asked, RunOutcome, Status, status_word, trial_of
from .outcome_rows import VALIDATION

__all__ = ["outcome_of_log"]

_REACHED = 0.98  # of the planned tokens: the last step may be counted, logged or rounded in several ways
_LAST_SHARE = 0.01  # of a run's training losses whose median is its final loss: single ones are noisy
_FEWEST = 5
_NAMES = ("name", "run_name", "run_id", "run")
_ENDED = "train_runtime"  # in the last record that a Hugging Face trainer writes


def outcome_of_log(records: Records, run_id: str, asked: Asked) -> RunOutcome | None:
    """The outcome of the run that wrote a log.

    Args:
        records: The log's records.
        run_id: The run's name, unless the log states one.
        asked: What is known of the run beforehand.

    Returns:
        The outcome, or None if the run isn't over.

    Raises:
        LogError: A value isn't plausible; names file and line.
    """
    facts = _facts(records)
    path = PurePosixPath(run_id)
    names = [*(facts[name] for name in _NAMES if name in facts), path.stem, path.parent.name]
    trial = trial_of(facts, names, asked, records.where)
    config = asked.config_of(trial)
    word = _word(records)
    logs = {target: choose_columns(records, key) for target, key in _losses(records, asked).items()}
    if not logs:
        logs = {"loss": choose_columns(records)}
    first = next(iter(logs.values()))
    tokens = _tokens(first, facts, config)
    if not _over(word, facts, tokens, config, asked):
        return None
    if config is not None and tokens is not None and tokens < _REACHED * config.data.tokens:
        _check_axis(first, config)
    status, losses, notices = _ends(logs, config)
    status, cut = _judged(status, word, tokens, config, records.where)
    params = None if config is None else config.model.params_total
    return RunOutcome(
        run_id=str(next((facts[name] for name in _NAMES if name in facts), run_id)),
        status=status,
        losses=losses if status == "ok" else {},
        tokens=tokens,
        params=params,
        trial=trial,
        where=records.where,
        notices=(*notices, *cut),
    )


def _facts(records: Records) -> dict[str, Any]:
    """The values that a log states of its run as a whole; of repeated ones, the last."""
    found: dict[str, Any] = {}
    for _, row in records.rows:
        found |= {key: value for key, value in row.items() if value is not None}
    return found | {key: value for key, value in records.stated.items() if key not in found}


def _losses(records: Records, asked: Asked) -> dict[str, str]:
    """The key of each loss target: as requested, by domain, held-out; empty if only the usual names apply."""
    keys = dict.fromkeys(key for _, row in records.rows for key in row)
    stated = {name: key for name, key in asked.columns.items() if name == "loss" or name.startswith("loss.")}
    missing = [key for key in stated.values() if key not in keys]
    if missing:
        raise LogError(f"{records.where}: there is no {missing[0]!r}; expected one of {', '.join(list(keys)[:12])}")
    if stated:
        return stated
    domains = {key: key for key in keys if key.startswith("loss.") and key != "loss."}
    held_out = {alias_key(folded(key)).replace("/", "_"): key for key in reversed(keys)}
    name = next((held_out[name] for name in VALIDATION if name in held_out), None)
    return domains if name is None else {"loss": name, **domains}


def _word(records: Records) -> str | None:
    """The run's state from its last record or its header. A state in most records describes the steps instead."""
    rows = [row for _, row in records.rows]
    if len(rows) > 1 and sum(status_word(row) is not None for row in rows) > len(rows) / 2:
        return None
    return status_word(rows[-1]) or status_word(records.stated)


def _tokens(log: RawLog, facts: Mapping[str, Any], config: RunConfig | None) -> float | None:
    """Tokens seen at the end: as logged, or the number of steps times the plan's batch size."""
    seen = [float(value) for value in log.tokens if math.isfinite(value)]
    seen += [value for key, fact in facts.items() if folded(key) in TOKENS and (value := number(fact)) is not None]
    seen = [value for value in seen if math.isfinite(value) and value > 0]
    if seen:
        return max(seen)
    batch = None if config is None else config.optim.batch_tokens
    if config is None or batch is None or log.axis != "steps":
        return None
    steps = max(float(log.step.max()), number(facts.get(log.step_key)) or 0.0)
    return min(steps * batch, config.data.tokens)


def _check_axis(log: RawLog, config: RunConfig) -> None:
    """`LogError` where the steps of a run that seems to have ended early can't be optimizer steps.

    Only steps can be wrong that are all there is, and only a plan with learning rates tells.
    """
    counted = log.axis == "steps" and not np.isfinite(log.tokens).any() and log.loss_kind == "nats"
    if not counted or config.optim.schedule is None or config.optim.batch_tokens is None:
        return
    plan = planned_loss(config, predictor_for(config, None))
    try:
        points = points_of(log, config, path_of(config), plan.loss_nats)
    except LogError:
        return  # a log that can't be tracked may still have a final loss
    curves = public_curves(config)
    notices = [*points.notices, *impossible_axis(points, points.path, plan, curves)]
    wrong = next((notice for notice in notices if notice.kind == "step_axis"), None)
    if wrong is not None:
        raise LogError(wrong.text)


def _over(
    word: str | None, facts: Mapping[str, Any], tokens: float | None, config: RunConfig | None, asked: Asked
) -> bool:
    """Whether the run is over: by its state, by reaching the planned tokens, or as the log is no longer written."""
    if word in UNFINISHED_WORDS:
        return False
    if asked.whole or (word is not None and word in STATUS_WORDS) or _ENDED in facts:
        return True
    return config is not None and tokens is not None and tokens >= _REACHED * config.data.tokens


def _ends(logs: Mapping[str, RawLog], config: RunConfig | None) -> tuple[Status, dict[str, float], list[str]]:
    """The final loss of each target in nats, and whether the run diverged."""
    losses: dict[str, float] = {}
    notices: list[str] = []
    for target, log in logs.items():
        if not np.isfinite(log.loss).any():
            return "diverged", {}, [f"{log.where}: {log.loss_key}: no finite loss"]
        ordered = in_order(log)
        notices += [notice.text for notice in ordered.notices]
        if ordered.diverged_at is not None:
            return "diverged", {}, notices
        values = log.loss[ordered.index]
        if alias_key(folded(log.loss_key)).replace("/", "_") in VALIDATION or target != "loss":
            level = float(values[-1])
        else:
            last = max(_FEWEST, math.ceil(_LAST_SHARE * len(values)))
            level = float(np.median(values[-last:]))
            notices.append(f"{log.where}: {log.loss_key}: no held-out loss; the median of the last {last} counts")
        losses[target] = _in_nats(log, level, config)
    return "ok", losses, notices


def _in_nats(log: RawLog, value: float, config: RunConfig | None) -> float:
    if log.loss_kind == "perplexity":
        return math.log(value)
    if log.loss_kind == "bits":
        return value * math.log(2.0)
    if log.loss_kind == "nats":
        return value
    scale = None if config is None else planned_bytes_per_token(config.data)
    if scale is None:
        raise LogError(
            f"{log.where}: {log.loss_key}: counts bits per byte; expected data.bytes_per_token in the plan, "
            "or a data.tokenizer and data.corpus of the catalogue"
        )
    return value * math.log(2.0) * scale.value


def _judged(
    status: Status, word: str | None, tokens: float | None, config: RunConfig | None, where: str
) -> tuple[Status, list[str]]:
    """The final status: a run that states that it finished has finished; one that stopped early has failed."""
    known = STATUS_WORDS.get(word or "")
    if status == "diverged" or known == "diverged":
        return "diverged", []
    if known == "failed":
        return "failed", []
    if known == "ok" or config is None or tokens is None or tokens >= _REACHED * config.data.tokens:
        return "ok", []
    share = tokens / config.data.tokens
    return "failed", [f"{where}: ends after {share:.0%} of the planned tokens, without a word that it is done"]
