"""A planner's inputs: the study, its name and storage before it is read in full, and the digest that identifies it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....core.errors import ConfigError, UsageError
from ....core.reading.yaml_reader import load_document
from ....core.units import shown
from ...predictor.predictor import Predictor
from ..space.dimensions import MixDimension, RangeDimension, SetDimension
from ..study import Study

if TYPE_CHECKING:
    from ....datasets.runs.run_table import RunTable

__all__ = ["StudySource", "digest_of", "run_table", "stated", "study_on"]

StudySource = Study | Mapping[str, Any] | str | os.PathLike[str]
"""A study, the mapping that a study file would hold, or the file's path."""


def run_table(runs: Any, columns: Mapping[str, str] | None) -> RunTable:
    """The table to fit on. UsageError for a predictor, which can't be refitted."""
    from ....datasets.runs.run_table import RunTable

    if isinstance(runs, RunTable):
        return runs
    if isinstance(runs, Predictor) or not isinstance(runs, str | os.PathLike) or Path(runs).is_dir():
        got = "a predictor" if isinstance(runs, Predictor) else shown(runs)
        raise UsageError(
            f"runs: got {got}; expected the table of runs that the predictor is fitted on (CSV or Parquet): a planner "
            "fits it anew with every result"
        )
    return RunTable.read(Path(runs), columns)


def stated(config: StudySource) -> tuple[str, str | None]:
    """A study's name and storage, read before the whole study, which needs a predictor."""
    if isinstance(config, Study):
        return config.name, config.options.storage
    mapping = config if isinstance(config, Mapping) else load_document(config).mapping
    search, name = mapping.get("search"), mapping.get("name")
    storage = search.get("storage") if isinstance(search, Mapping) else None
    default = "study" if isinstance(config, Mapping) else Path(config).stem
    return (name if isinstance(name, str) and name else default), (storage if isinstance(storage, str) else None)


def study_on(config: StudySource, predictor: Predictor) -> Study:
    """The study with this predictor. ConfigError if it names losses that the predictor doesn't predict."""
    if isinstance(config, Mapping):
        return Study.from_mapping(config, predictor=predictor)
    if not isinstance(config, Study):
        return Study.load(config, predictor=predictor)
    unknown = [target for target in config.loss_columns if target not in predictor.models]
    if unknown:
        raise ConfigError(f"study {config.name}: asks for {unknown[0]}; the runs have {', '.join(predictor.models)}")
    return replace(config, predictor=predictor)


def digest_of(study: Study, table: RunTable) -> str:
    """A digest of what decides the meaning of proposals: run, space, goals, limits, targets. Runs may be added."""
    facts = {
        "run": study.run.to_digest(),
        "space": [_dimension(dimension) for dimension in study.space.dimensions],
        "goals": [[goal.goal.model_dump(mode="json"), dict(goal.weights or {})] for goal in study.goals],
        "limits": [[one.measure.name, one.side, one.bound, one.chance] for one in study.limits],
        "targets": sorted(table.loss_columns),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _dimension(one: Any) -> list[Any]:
    if isinstance(one, RangeDimension):
        return [one.path, one.low, one.high, one.log, one.step]
    if isinstance(one, SetDimension):
        return [one.path, *one.choices]
    if not isinstance(one, MixDimension):
        return [one.path]
    return [one.path, list(one.domains), *(part.tolist() for part in (one.low, one.high, one.stocks, one.max_epochs))]
