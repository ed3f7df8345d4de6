"""Files that are mappings as well, given where a run or a study is expected: what they are, and what reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.errors import ConfigError

__all__ = ["refuse_other_files"]

_STUDY = ("space", "objective")
_MODEL_CARD = ("architectures", "model_type", "hidden_size", "num_hidden_layers", "n_embd", "n_layer")
_ENOUGH = 2  # keys of a kind that make a file one of that kind


def refuse_other_files(mapping: Mapping[str, Any], where: str, expected: str) -> None:
    """Raise ConfigError for a file of another kind than the one expected, "run" or "study"."""
    is_run = "model" in mapping and "data" in mapping
    if expected == "run" and not is_run and "run" in mapping and any(key in mapping for key in _STUDY):
        raise ConfigError(
            f"{where}: is a study (run, space, objective); expected a run (model, data). A study is for "
            "`simulate optimize --config`; the run that it starts from is under its key `run`"
        )
    if expected == "study" and is_run and not any(key in mapping for key in (*_STUDY, "run")):
        raise ConfigError(
            f"{where}: is a run (model, data); expected a study (run, space, objective). A run is for "
            "`simulate predict --config`; a study names it as `run:` and says what may vary under `space:`"
        )
    if not is_run and "run" not in mapping and sum(key in mapping for key in _MODEL_CARD) >= _ENOUGH:
        raise ConfigError(
            f"{where}: is a Hugging Face config.json, the shape of a model; expected a {expected}. "
            f"`simulate init DIR --from {where}` makes a run of it, with its numbers as model.architecture"
        )
