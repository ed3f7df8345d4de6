"""`Study`: one search, complete: the run it starts from, what may vary, goals, limits, and what forecasts them."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from ...config_errors import Origins, explain
from ...errors import ConfigError
from ...units import shown
from ...yaml_io import load_document
from ..cluster.plan import missing
from ..cluster.step_model import StepTimeModel
from ..config import RunConfig
from ..predictor import Predictor
from .measures import Measure, Outcome, get_measure
from .space_reading import build_space
from .spaces import Space
from .study_config import Goal, Limit, SearchOptions, StudyConfig

if TYPE_CHECKING:
    from .serving import ServingConfig

__all__ = ["BoundLimit", "MeasuredGoal", "Study"]

_LARGEST_EXCESS = 10.0  # log units: what is said of a limit that is missed by any distance
_LOSSES = ("loss_nats", "perplexity")


@dataclass(frozen=True)
class MeasuredGoal:
    """A goal with the measure that it names."""

    goal: Goal
    measure: Measure
    weights: Mapping[str, float] | None = None
    """By target, for a weighted loss."""

    @property
    def name(self) -> str:
        """The measure's name."""
        return self.goal.name

    def value(self, outcome: Outcome, quantile: float | None = None) -> float:
        """Its value in an outcome, at the goal's own quantile unless another is asked for."""
        q = self.goal.quantile if quantile is None else quantile
        if self.weights is None:
            return self.measure.of(outcome, q)
        nats = outcome.weighted(self.weights, q)
        return math.exp(nats) if self.goal.name == "perplexity" else nats

    @property
    def targets(self) -> tuple[str, ...]:
        """The loss targets that it reads."""
        return self.measure.targets if self.weights is None else tuple(self.weights)


@dataclass(frozen=True)
class BoundLimit:
    """One side of a limit with the measure that it names."""

    measure: Measure
    side: Literal["at_most", "at_least"]
    bound: float
    chance: float
    source: str
    """Who asks for it: `constraints`, or a path of the run."""

    @property
    def name(self) -> str:
        """The measure's name, and the side where it isn't the usual one."""
        return self.measure.name + ("" if self.side == "at_most" else " at least")

    def value(self, outcome: Outcome) -> float:
        """What counts against the bound: the quantile at which the chance is just kept."""
        quantile = self.chance if self.side == "at_most" else 1.0 - self.chance
        return self.measure.of(outcome, quantile if self.measure.uncertain else 0.5)

    def excess(self, value: float) -> float:
        """How far a value is beyond the bound, log units; at most 0 where the limit is kept."""
        if not value > 0:
            return -_LARGEST_EXCESS if self.side == "at_most" else _LARGEST_EXCESS
        ratio = math.log(value / self.bound) if self.side == "at_most" else math.log(self.bound / value)
        return min(max(ratio, -_LARGEST_EXCESS), _LARGEST_EXCESS)


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
        found = predictor or _predictor(config.predictor, folder)
        times = step_times or _step_times(config.calibration, folder)
        domains = list(dict.fromkeys(d for model in found.targets.values() for d in model.fit.law.domains))
        space = build_space(config.space, base, run, domains, origins)
        builder = _Builder(config, run, space, found, origins)
        goals, limits = builder.goals(), builder.limits()
        digest = _digest(config, run, found, times)
        return cls(config.name or name, run, space, goals, limits, found, times, config.serving, config.search, digest)

    @property
    def targets(self) -> tuple[str, ...]:
        """The loss targets that goals and limits read."""
        of_limits = (target for limit in self.limits for target in limit.measure.targets)
        return tuple(dict.fromkeys([*(t for goal in self.goals for t in goal.targets), *of_limits]))

    @property
    def needs_cluster(self) -> bool:
        """Whether machines matter: to a goal or a limit, or because the run says all about them, and must fit."""
        return not missing(self.run)

    @property
    def directions(self) -> list[str]:
        """Optuna's directions of the goals."""
        return [goal.goal.direction for goal in self.goals]


class _Builder:
    """Goals and limits in the making; problems are named with their place in the file."""

    def __init__(
        self, config: StudyConfig, run: RunConfig, space: Space, predictor: Predictor, origins: Origins
    ) -> None:
        self.config, self.run, self.space, self.predictor, self.origins = config, run, space, predictor, origins
        named = f"loss.{run.data.val_domain}"
        self.main = named if run.data.val_domain and named in predictor.targets else predictor.main_target

    def goals(self) -> tuple[MeasuredGoal, ...]:
        found = tuple(self._goal(goal) for goal in self.config.objectives)
        names = [goal.name for goal in found if goal.weights is None]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"{self.origins.of(('objective',))}: objective: names {twice} twice; expected it once")
        return found

    def _goal(self, goal: Goal) -> MeasuredGoal:
        where = f"{self.origins.of(('objective',))}: objective"
        measure = self._measure(goal.name, where)
        if goal.weights is None:
            return MeasuredGoal(goal, measure)
        weights = {f"loss.{domain}": weight for domain, weight in goal.weights.items()}
        for target in weights:
            self._measure(f"loss_nats.{target.removeprefix('loss.')}", f"{where}.weights")
        return MeasuredGoal(goal, measure, weights)

    def limits(self) -> tuple[BoundLimit, ...]:
        found = []
        for name, limit in self.config.constraints.items():
            measure = self._measure(name, f"{self.origins.of(('constraints', name))}: constraints")
            found += _sides(measure, limit, "constraints")
        found += self._targets({limit.measure.name for limit in found})
        mix = self.space.mix
        if mix is not None and mix.max_epochs is not None:
            for domain, stock in zip(mix.domains, mix.stocks, strict=True):
                if math.isfinite(stock):
                    measure = self._measure(f"epochs.{domain}", "space")
                    found.append(BoundLimit(measure, "at_most", mix.max_epochs, 0.5, "space.data.mix.max_epochs"))
        return tuple(found)

    def _targets(self, stated: set[str]) -> list[BoundLimit]:
        """The run's own targets are limits, unless the study says otherwise or makes them goals."""
        targets, run = self.run.targets, self.run
        goals = {goal.name for goal in self.config.objectives}
        wanted = [("targets.budget_usd", "cost_usd", targets.budget_usd)]
        days = None if run.deadline_s is None else run.deadline_s / 86_400.0
        wanted.append(("targets.deadline", "wall_clock_days", days))
        if not any(goal.partition(".")[0] in _LOSSES for goal in goals):
            wanted += [("targets.perplexity", "perplexity", targets.perplexity)]
            wanted += [("targets.loss_nats", "loss_nats", targets.loss_nats)]
        found = []
        for source, name, bound in wanted:
            if bound is not None and name not in stated and not (name == "cost_usd" and run.usd_per_hour is None):
                needs = name not in _LOSSES
                if not (needs and missing(run)):
                    found += _sides(self._measure(name, source), Limit(at_most=bound), source)
        return found

    def _measure(self, name: str, where: str) -> Measure:
        measure = get_measure(name, self.predictor, self.main, where)
        if measure.needs_cluster and missing(self.run):
            lacking = ", ".join(missing(self.run))
            raise ConfigError(f"{where}: {name} needs {lacking}, which the run doesn't state; expected them in the run")
        if name.endswith("cost_usd") and self.run.usd_per_hour is None:
            price = "hardware.price_usd_per_hour"
            if price not in self.space.paths:
                raise ConfigError(f"{where}: {name} needs a price, which the run doesn't state; expected {price} in it")
        if name == "epochs" and self.run.data.distinct_tokens() is None and self.space.mix is None:
            raise ConfigError(f"{where}: epochs needs data.unique_tokens, which the run doesn't state")
        if name in ("lifetime_cost_usd", "lifetime_flops") and self.config.serving.tokens is None:
            raise ConfigError(
                f"{where}: {name} needs serving.tokens: how many tokens the model will serve, such as 10T"
            )
        return measure


def _sides(measure: Measure, limit: Limit, source: str) -> list[BoundLimit]:
    bounds: list[tuple[Literal["at_most", "at_least"], float | None]] = [
        ("at_most", limit.at_most),
        ("at_least", limit.at_least),
    ]
    return [BoundLimit(measure, side, bound, limit.chance, source) for side, bound in bounds if bound is not None]


def _run(
    config: StudyConfig, folder: Path, overrides: Sequence[str], origins: Origins
) -> tuple[Mapping[str, Any], RunConfig]:
    """The run as it is written, and as it is read."""
    from ..config import apply_overrides

    if isinstance(config.run, str):
        path = folder / config.run
        document = load_document(path)
        raw = document.mapping
        run = RunConfig.load(path, overrides)
    else:
        raw = config.run
        run = RunConfig.from_mapping(raw, f"{origins.of(('run',))}: run", overrides)
    mapping = apply_overrides(raw, overrides)
    if any(path == "model.params" for path in config.space) and run.model.architecture is not None:
        # counts beside the shape would contradict the shapes of other sizes
        mapping = {**mapping, "model": {"architecture": mapping["model"]["architecture"]}}
    return mapping, run


def _predictor(name: str, folder: Path) -> Predictor:
    from ..predictor_io import load

    return load(str(folder / name) if (folder / name).is_dir() else name)


def _step_times(name: str | None, folder: Path) -> StepTimeModel:
    return StepTimeModel.shipped() if name is None else StepTimeModel.load(folder / name)


def _digest(config: StudyConfig, run: RunConfig, predictor: Predictor, times: StepTimeModel) -> str:
    """A digest of everything that decides what a trial means; how to search isn't part of it."""
    plain = config.model_dump(mode="json", by_alias=True, exclude={"search", "name", "run", "predictor", "calibration"})
    plain |= {"run": run.to_mapping(), "predictor": [predictor.name.split("/")[-1], predictor.about.get("digest")]}
    plain["targets"] = {name: sorted(model.parameters.items()) for name, model in predictor.targets.items()}
    plain["step_times"] = [times.calibrated_on, times.offset]
    try:
        text = json.dumps(plain, sort_keys=True)
    except TypeError as error:
        raise ConfigError(f"study: {shown(error)}; expected plain values of YAML") from None
    return hashlib.sha256(text.encode()).hexdigest()
