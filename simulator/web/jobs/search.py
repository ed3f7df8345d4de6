"""A search for a better plan as a background job: `simulate optimize` in a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from ....core.errors import ConfigError, InputError
from ....core.units import parse_duration_s, shown
from ...predictor.predictor import Predictor
from ...search.study import Study
from ..api.requests import refuse_files

__all__ = ["checked_study", "search_command", "written"]


def checked_study(
    study: Mapping[str, Any], predictor: Predictor, trials: int | None, most_trials: int, most_s: float
) -> dict[str, Any]:
    """A study as a job runs it: without files, its trials and its time within the server's limits.

    Args:
        study: What the request states.
        predictor: What forecasts its plans.
        trials: How many trials the request wants; None for what the study says.
        most_trials: How many it may want.
        most_s: Seconds that it may take.

    Raises:
        ConfigError: Something is wrong with the study.
        InputError: It names a file or a storage, or wants too much.
    """
    if isinstance(study.get("run"), str):
        raise InputError(f"study: run: got {shown(study['run'])}, a file; expected the run itself, in place")
    refuse_files(study, "study")
    for part in ("run", "space"):
        inner = study.get(part)
        if isinstance(inner, Mapping):
            refuse_files(inner, f"study: {part}")
    options = study.get("search") or {}
    if not isinstance(options, Mapping):
        raise ConfigError(f"study: search: got {shown(options)}; expected a section")
    if options.get("storage") not in (None, "memory"):
        raise InputError(f"study: search.storage: got {shown(options['storage'])}; expected none: nothing is stored")
    plain = {key: value for key, value in study.items() if key != "predictor"}
    read = Study.from_mapping(plain, predictor=predictor)
    wanted = read.options.trials if trials is None else trials
    if wanted > most_trials:
        raise InputError(f"trials: got {wanted}; expected at most {most_trials}")
    stated = options.get("timeout")
    timeout_s = most_s if stated is None else min(most_s, parse_duration_s(stated))
    return {**plain, "search": {**options, "trials": wanted, "timeout": f"{timeout_s:g}s"}}


def search_command(predictor: str) -> list[str]:
    """The command that reads a study from standard input and prints its answer as JSON."""
    return [
        *(sys.executable, "-m", "foretrain", "optimize", "--config", "-", "--storage", "memory"),
        *("--predictor", predictor, "--log-json", "--json"),
    ]


def written(study: Mapping[str, Any]) -> bytes:
    """A study as the command reads it."""
    return json.dumps(study).encode()
