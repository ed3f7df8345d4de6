"""`Study`: one search, complete: the run it starts from, what may vary, goals, limits, and what forecasts them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from ...core.errors import ConfigError, ForetrainError
from ...core.reading.config_messages import Origins, explain
from ...core.reading.yaml_reader import load_document
from ...core.units import shown
from ...core.version import __version__
from ..cluster.step_time.step_model import StepTimeModel
from ..config.run_config import RunConfig
from ..predictor.predictor import Predictor
from .goals.goal_reading import GoalReader, lacking
from .goals.goals import BoundLimit, MeasuredGoal
from .space.space_reading import build_space
from .space.spaces import Space
from .storage.own_journal import own_journal
from .study_config import SearchOptions, StudyConfig

if TYPE_CHECKING:
    from .serving import ServingConfig

__all__ = ["BoundLimit", "MeasuredGoal", "Study"]

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Study:
    """One search, complete."""

    name: str
    run: RunConfig
    space: Space
    goals: tuple[MeasuredGoal, ...]
    limits: tuple[BoundLimit, ...]
    predictor: Predictor
    step_times: StepTimeModel
    serving: ServingConfig
    options: SearchOptions
    digest: str
    """Of everything that decides what a trial means: run, space, goals, limits, predictor."""

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], overrides: Sequence[str] = (), predictor: Predictor | None = None
    ) -> Study:
        """Read a study file; paths in it are relative to it. `overrides` change the run. Raises ConfigError."""
        document = load_document(path)
        origins = Origins(document.where, document.lines, {})
        name = "study" if os.fspath(path) == "-" else Path(path).stem  # piped in
        return cls._made(document.mapping, origins, Path(path).parent, name, overrides, predictor)

    @classmethod
    def from_mapping(
        cls,
        mapping: Mapping[str, Any],
        *,
        predictor: Predictor | None = None,
        step_times: StepTimeModel | None = None,
        overrides: Sequence[str] = (),
        where: str = "study",
        folder: str | os.PathLike[str] = ".",
    ) -> Study:
        """Read what YAML would give; `predictor` and `step_times` stand in for those that it names."""
        origins = Origins(where, {}, {})
        return cls._made(mapping, origins, Path(folder), "study", overrides, predictor, step_times)

    @classmethod
    def _made(
        cls,
        mapping: Mapping[str, Any],
        origins: Origins,
        folder: Path,
        name: str,
        overrides: Sequence[str],
        predictor: Predictor | None = None,
        step_times: StepTimeModel | None = None,
    ) -> Study:
        try:
            config = StudyConfig.model_validate(mapping)
        except ValidationError as error:
            raise ConfigError(explain(error, StudyConfig, origins)) from None
        base, run = _run(config, folder, overrides, origins)
        found = predictor or _named(origins, "predictor", lambda: _predictor(config.predictor, folder))
        times = step_times or _named(origins, "calibration", lambda: _step_times(config.calibration, folder))
        domains = list(dict.fromkeys(d for model in found.models.values() for d in model.fit.law.domains))
        space = build_space(config.space, base, run, domains, origins)
        reader = GoalReader(config, run, space, found, origins)
        goals, limits = reader.goals(), reader.limits()
        reader.check_mix(goals, limits)
        digest = _digest(config, run, found, times)
        return cls(config.name or name, run, space, goals, limits, found, times, config.serving, config.search, digest)

    @property
    def loss_columns(self) -> tuple[str, ...]:
        """The loss targets that goals and limits read."""
        of_limits = (target for limit in self.limits for target in limit.measure.loss_columns)
        return tuple(dict.fromkeys([*(t for goal in self.goals for t in goal.loss_columns), *of_limits]))

    @property
    def needs_cluster(self) -> bool:
        """Whether plans must fit on machines: where the run and the space state them."""
        return not lacking(self.run, self.space)

    def kept_in(self) -> str:
        """The storage that the study names, else a journal of its own. Raises InputError where that can't be."""
        way = self.options.model_dump(mode="json", exclude={"trials", "storage", "timeout"})
        return self.options.storage or own_journal(self.name, __version__, self.digest, sorted(way.items()))

    @property
    def directions(self) -> list[str]:
        """Optuna's directions of the goals."""
        return [goal.goal.direction for goal in self.goals]


def _run(
    config: StudyConfig, folder: Path, overrides: Sequence[str], origins: Origins
) -> tuple[Mapping[str, Any], RunConfig]:
    """The run as it is written, and as it is read."""
    from ..config.run_config import apply_overrides

    if isinstance(config.run, str):
        path = folder / config.run
        raw = _named(origins, "run", lambda: load_document(path)).mapping
        run = RunConfig.load(path, overrides)
    else:
        raw = config.run
        run = RunConfig.from_mapping(raw, f"{origins.of(('run',))}: run", overrides)
    mapping = apply_overrides(raw, overrides)
    if any(path == "model.params" for path in config.space) and run.model.architecture is not None:
        # counts beside the shape would contradict the shapes of other sizes
        mapping = {**mapping, "model": {"architecture": mapping["model"]["architecture"]}}
    return mapping, run


def _named(origins: Origins, key: str, read: Callable[[], _Read]) -> _Read:
    """What a file that the study names holds; what is wrong with it begins with the study's line that names it."""
    try:
        return read()
    except ForetrainError as error:
        raise type(error)(f"{origins.of((key,))}: {key}: {error}") from None


def _predictor(name: str, folder: Path) -> Predictor:
    from ..predictor.storage.folder import load

    return load(str(folder / name) if (folder / name).is_dir() else name)


def _step_times(name: str | None, folder: Path) -> StepTimeModel:
    return StepTimeModel.shipped() if name is None else StepTimeModel.load(folder / name)


def _digest(config: StudyConfig, run: RunConfig, predictor: Predictor, times: StepTimeModel) -> str:
    """A digest of everything that decides what a trial means; how to search isn't part of it."""
    plain = config.model_dump(mode="json", by_alias=True, exclude={"search", "name", "run", "predictor", "calibration"})
    plain |= {"run": run.to_mapping(), "predictor": [predictor.name.split("/")[-1], predictor.about.get("digest")]}
    plain["targets"] = {name: sorted(model.parameters.items()) for name, model in predictor.models.items()}
    plain["step_times"] = [times.calibrated_on, times.offset]
    try:
        text = json.dumps(plain, sort_keys=True)
    except TypeError as error:
        raise ConfigError(f"study: {shown(error)}; expected plain values of YAML") from None
    return hashlib.sha256(text.encode()).hexdigest()
