"""`Study`: one search, complete: the run it starts from, what may vary, goals, limits, and what forecasts them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...core.errors import ConfigError, ForetrainError
from ...core.reading.config_messages import Origins
from ...core.reading.config_reader import validated
from ...core.reading.yaml_reader import load_document
from ...core.units import shown
from ...core.version import __version__
from ..cluster.step_time.step_model import StepTimeModel
from ..config.other_files import refuse_other_files
from ..config.run_config import RunConfig
from ..forecast.for_plan import for_plan
from ..predictor.loss_model import LossModel
from ..predictor.predictor import AVERAGE, Predictor
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
_TEXT = ("data.corpus", "data.tokenizer", "data.evaluated_on", "data.val_domain", "data.bytes_per_token")
"""What a plan says of its text."""


@dataclass(frozen=True)
class Study:
    """A complete search problem: the run it starts from, what may vary, goals and limits, and what forecasts them.

    `load` reads a study from a file, `from_mapping` from plain values; `optimize` and `Planner` take either.

    >>> import foretrain
    >>> study = foretrain.Study.from_mapping({
    ...     "run": {"model": {"params": "1B"}, "data": {"tokens": "20B"}},
    ...     "predictor": "web-text",
    ...     "space": {"data.tokens": {"low": "10B", "high": "100B", "log": True}},
    ...     "objective": {"minimise": "loss_nats"},
    ... })
    >>> list(study.space.paths), [goal.name for goal in study.goals]
    (['data.tokens'], ['loss_nats'])
    """

    name: str
    """Under which a storage keeps it."""
    run: RunConfig
    """The run that the search starts from, and that gives whatever doesn't vary."""
    space: Space
    """What may vary."""
    goals: tuple[MeasuredGoal, ...]
    """What is minimised or maximised; of several, a Pareto front is looked for."""
    limits: tuple[BoundLimit, ...]
    """What every feasible plan must keep."""
    predictor: Predictor
    """What forecasts losses: of the text that the run names, where the predictor follows plans."""
    step_times: StepTimeModel
    """What forecasts the time of a step."""
    serving: ServingConfig
    """How the trained model will be served, for lifetime costs."""
    options: SearchOptions
    """How to search."""
    digest: str
    """Of everything that decides what a trial means: run, space, goals, limits, predictor."""

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], overrides: Sequence[str] = (), predictor: Predictor | None = None
    ) -> Study:
        """Read a study file.

        Args:
            path: The file, YAML or JSON; "-" is standard input. Paths in it are relative to its folder.
            overrides: Changes of the run, each `key=value`.
            predictor: Instead of the one that the file names.

        Raises:
            ConfigError: Something is wrong with the study.
        """
        document = load_document(path)
        origins = Origins(document.where, document.lines)
        refuse_other_files(document.mapping, document.where, "study")
        piped_in = os.fspath(path) == "-"
        name = "study" if piped_in else Path(path).stem
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
        """Read what YAML would give.

        Args:
            mapping: The study.
            predictor: Instead of the one that it names.
            step_times: Instead of the calibration that it names.
            overrides: Changes of the run, each `key=value`.
            where: What messages call the study.
            folder: What paths in it are relative to.

        Raises:
            ConfigError: Something is wrong with the study.
        """
        origins = Origins(where)
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
        config = validated(StudyConfig, mapping, origins)
        written_run, run = _read_run(config, folder, [*overrides, *_asked_of_layouts(config)], origins)
        if predictor is None:
            predictor = _reading(origins, "predictor", lambda: _load_predictor(config.predictor, folder))
        if step_times is None:
            step_times = _reading(origins, "calibration", lambda: _load_step_times(config.calibration, folder))
        domains: list[str] = []
        for model in predictor.models.values():
            domains += [domain for domain in model.fit.law.domains if domain not in domains]
        space = build_space(config.space, written_run, run, domains, origins)
        asked = predictor
        predictor = _reading(origins, "run", lambda: for_study(run, space, asked))
        reader = GoalReader(config, run, space, predictor, origins)
        goals = reader.goals()
        limits = reader.limits()
        reader.check_mix(goals, limits)
        return cls(
            name=config.name or name,
            run=run,
            space=space,
            goals=goals,
            limits=limits,
            predictor=predictor,
            step_times=step_times,
            serving=config.serving,
            options=config.search,
            digest=_digest(config, run, predictor, step_times),
        )

    @property
    def loss_columns(self) -> tuple[str, ...]:
        """The losses that goals and limits read, each once."""
        columns: list[str] = []
        for goal in self.goals:
            columns += goal.loss_columns
        for limit in self.limits:
            columns += limit.measure.loss_columns
        return tuple(dict.fromkeys(columns))

    @property
    def needs_cluster(self) -> bool:
        """Whether plans must fit on machines: where the run and the space state them."""
        return not lacking(self.run, self.space)

    def kept_in(self) -> str:
        """The storage that the study names, else a journal of its own. Raises InputError where that can't be."""
        if self.options.storage:
            return self.options.storage
        how = self.options.model_dump(mode="json", exclude={"trials", "storage", "timeout"})
        return own_journal(self.name, __version__, self.digest, sorted(how.items()))

    @property
    def directions(self) -> list[str]:
        """Optuna's directions of the goals."""
        return [goal.goal.direction for goal in self.goals]


def for_study(run: RunConfig, space: Space, predictor: Predictor) -> Predictor:
    """The predictor of a study's plans: that of its run, unless the names of the text vary, plan by plan.

    Raises ConfigError where they vary and the run names known runs, which are of one text.
    """
    varied = [name for name in _TEXT if space.supplies(name)]
    if varied and run.known_runs is not None:
        raise ConfigError(f"known_runs: are of one text, and space varies {varied[0]}; expected only one of the two")
    return predictor if varied else for_plan(run, predictor)


def _read_run(
    config: StudyConfig, folder: Path, overrides: Sequence[str], origins: Origins
) -> tuple[Mapping[str, Any], RunConfig]:
    """The run as it is written, overrides included, and as it is read."""
    from ..config.run_config import apply_overrides

    if isinstance(config.run, str):
        path = folder / config.run
        raw = _reading(origins, "run", lambda: load_document(path)).mapping
        run = RunConfig.load(path, overrides)
    else:
        raw = config.run
        run = RunConfig.from_mapping(raw, f"{origins.of(('run',))}: run", overrides, folder)
    written = apply_overrides(raw, overrides)
    if "model.params" in config.space and run.model.architecture is not None:
        # counts beside the shape would contradict the shapes of other sizes
        written = {**written, "model": {"architecture": written["model"]["architecture"]}}
    return written, run


def _asked_of_layouts(config: StudyConfig) -> list[str]:
    """A limit on the chance to fit is what layouts are chosen by too, and what the best plan states."""
    limit = config.constraints.get("p_fit")
    return [] if limit is None or limit.at_least is None else [f"hardware.fit_chance={limit.at_least!r}"]


def _reading(origins: Origins, key: str, read: Callable[[], _Read]) -> _Read:
    """What a file that the study names holds; what is wrong with it begins with the study's line that names it."""
    try:
        return read()
    except ForetrainError as error:
        raise type(error)(f"{origins.of((key,))}: {key}: {error}") from None


def _load_predictor(name: str, folder: Path) -> Predictor:
    """A predictor in a folder beside the study, else a shipped one of that name."""
    from ..predictor.storage.folder import load

    beside = folder / name
    return load(str(beside)) if beside.is_dir() else load(name)


def _load_step_times(name: str | None, folder: Path) -> StepTimeModel:
    """A calibration beside the study, else the shipped one."""
    if name is None:
        return StepTimeModel.shipped()
    return StepTimeModel.load(folder / name)


def _parameters(model: LossModel) -> Mapping[str, float]:
    """The parameters of a law; of a posterior, which each process solves for, to six digits."""
    if model.misfit is None:
        return model.parameters
    return {name: float(f"{value:.6g}") for name, value in model.parameters.items()}


def _digest(config: StudyConfig, run: RunConfig, predictor: Predictor, times: StepTimeModel) -> str:
    """A digest of everything that decides what a trial means; how to search isn't part of it."""
    read_otherwise = {"search", "name", "run", "predictor", "calibration"}
    plain = config.model_dump(mode="json", by_alias=True, exclude=read_otherwise)
    plain["run"] = run.to_digest()
    plain["predictor"] = [predictor.name.split("/")[-1], predictor.about.get("digest")]
    plain["targets"] = {name: sorted(_parameters(model).items()) for name, model in predictor.models.items()}
    main = predictor.main_loss_on(run.data.evaluated_on, run.data.corpus_text)
    if main == AVERAGE:  # before, loss_nats was then that of the first loss column
        plain["loss_nats"] = main
    plain["step_times"] = [times.calibrated_on, times.offset]
    try:
        text = json.dumps(plain, sort_keys=True)
    except TypeError as error:
        raise ConfigError(f"study: {shown(error)}; expected plain values of YAML") from None
    return hashlib.sha256(text.encode()).hexdigest()
