"""The outcome of one run from a flat mapping, as trackers export it (`config.lr`, `metrics.val_loss`, `State`).

Names, suffixes, shares and states are read as in a run table. A finished run needs nothing but a loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .....core.columns import alias_key
from .....datasets.run_logs.names import number
from .....datasets.runs.columns import is_standard, rule_of
from .....datasets.runs.statuses import STATUS_WORDS, UNFINISHED_WORDS
from .outcome import Asked, RunOutcome, Status, status_word, trial_of

__all__ = ["VALIDATION", "outcome_of_row"]

VALIDATION = (
    "val_loss", "valid_loss", "validation_loss", "eval_loss", "test_loss", "loss_val", "loss_valid",
    "loss_validation", "loss_eval", "val_perplexity", "validation_perplexity", "eval_perplexity",
)  # fmt: skip
"""Names of losses on held-out text, which take precedence over training losses."""

_PREFIXES = ("metrics.", "summary.", "summary/", "params.", "config.", "config/", "tags.")
_RESULTS = ("metrics.", "summary.", "summary/")
_NAMES = ("name", "run_name", "display_name", "tags.mlflow.runname", "run_id", "id")
_IDS = ("run_id", "id", "run_uuid", "name", "run_name")
_TRUE = ("1", "1.0", "true", "yes")


def outcome_of_row(facts: Mapping[str, Any], where: str, at: str, asked: Asked) -> RunOutcome | None:
    """The outcome of one run.

    Args:
        facts: The run's values by exported key.
        where: The file or folder, for messages.
        at: The place within it, such as `line 3`, for messages.
        asked: What is known of the run beforehand.

    Returns:
        The outcome, or None if the run isn't over.

    Raises:
        RunTableError or LogError: A value isn't plausible; names place, column and value.
    """
    facts = {str(key).strip(): value for key, value in facts.items() if str(key).strip() and _plain(value)}
    by_name = {key.lower(): value for key, value in facts.items()}
    place = f"{where}, {at}" if at else where
    trial = trial_of(facts, (by_name[name] for name in _NAMES if name in by_name), asked, place)
    word = status_word(facts)
    if word in UNFINISHED_WORDS:
        return None
    run_id = next((str(by_name[name]) for name in _IDS if name in by_name), place)
    status: Status = "diverged" if _diverged(by_name) else _status(word)
    config = asked.config_of(trial)
    tokens, params = (None, None) if config is None else (config.data.tokens, config.model.params_total)
    if status != "ok":
        return RunOutcome(run_id, status, {}, tokens, params, trial, place)
    values, notes, lost = _values(facts, where, at, asked)
    losses = {name: value for name, value in values.items() if name == "loss" or name.startswith("loss.")}
    columns = {name: value for name, value in values.items() if name not in losses}
    return RunOutcome(
        run_id=run_id,
        status="diverged" if lost else "ok",
        losses={} if lost else losses,
        tokens=columns.pop("tokens", tokens),
        params=columns.pop("params", params),
        trial=trial,
        where=place,
        columns=columns,
        notices=(f"{place}: its loss is no number at the end",) if lost else tuple(notes),
    )


def _values(facts: Mapping[str, Any], where: str, at: str, asked: Asked) -> tuple[dict[str, float], list[str], bool]:
    """The standard columns of a finished run, notes, and whether one of its losses isn't finite."""
    import pandas as pd

    from .....datasets.runs.cell_values import parse_cells, parse_numbers
    from .....datasets.runs.checks.mixes import normalise_mix
    from .....datasets.runs.column_names import name_columns
    from .....datasets.runs.raw_table import raw_from_frame

    frame = pd.DataFrame({key: [str(value)] for key, value in facts.items()}, dtype=object)
    raw = raw_from_frame(frame, where)
    raw.locate = lambda _: at or "the run"
    name_columns(raw, _mapping(facts, asked))
    kept = [name for name in raw.frame.columns if is_standard(name) and name != "status"]
    raw.frame = raw.frame[kept]
    targets = [name for name in kept if name == "loss" or name.startswith("loss.")]
    lost = any(bool(parse_numbers(raw.frame[name]).nonfinite.any()) for name in targets)
    if lost:
        raw.frame = raw.frame.assign(status="diverged")
    parsed = normalise_mix(raw, parse_cells(raw))
    numbers = [name for name in parsed.columns if rule_of(name) is not None]
    values = {name: float(parsed[name].iloc[0]) for name in numbers}
    return {name: value for name, value in values.items() if math.isfinite(value)}, list(raw.notes), lost


def _mapping(facts: Mapping[str, Any], asked: Asked) -> dict[str, str]:
    """The exported key of each standard column: as requested, and held-out losses before training losses."""
    mapping = {standard: name for standard, name in asked.columns.items() if name in facts}
    if mapping.keys() & {"loss", "perplexity"} or any(standard.startswith("loss.") for standard in mapping):
        return mapping
    held_out = {alias_key(_bare(key)): key for key in facts if key.startswith(_RESULTS) or _bare(key) == key}
    name = next((held_out[name] for name in VALIDATION if name in held_out), None)
    if name is None or name in mapping.values():
        return mapping
    return mapping | {"perplexity" if "perplexity" in name else "loss": name}


def _bare(key: str) -> str:
    prefix = next((prefix for prefix in _PREFIXES if key.startswith(prefix)), "")
    return key.removeprefix(prefix)


def _status(word: str | None) -> Status:
    known = STATUS_WORDS.get(word or "ok", "ok")
    return known if known == "diverged" or known == "failed" else "ok"


def _diverged(facts: Mapping[str, Any]) -> bool:
    return any(_bare(key) == "diverged" and str(value).strip().lower() in _TRUE for key, value in facts.items())


def _plain(value: Any) -> bool:
    """Whether a value is non-blank text or a number."""
    return bool(value.strip()) if isinstance(value, str) else number(value) is not None or isinstance(value, bool)
