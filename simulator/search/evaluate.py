"""From values of a study's space to what they are worth: goals, limits, and what makes a plan impossible.

Everything comes from the same functions as `forecast`. What stays the same from trial to trial is kept: the step of a
plan in its layout, whose search takes most of a forecast's time, and the machines' estimate where only the mix or the
learning rate moves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from ...core.errors import ConfigError, InfeasibleError, InputError
from ..cluster.cluster_estimate import ClusterEstimate
from ..cluster.estimate import PlannedStep, estimate, plan_step
from ..cluster.layout_choice import missing
from ..cluster.layouts.layout import batch_sequences
from ..cluster.memory.memory import MemoryCap
from ..config.run_config import RunConfig
from ..forecast.forecast import Forecast, forecast
from ..forecast.law_inputs import planned, run_columns
from ..predictor.prediction import LossPrediction
from .goals.measures import PlanOutcome
from .space.dimensions import Values
from .study import Study

__all__ = ["MACHINES", "Evaluator", "PlanEvaluation"]

MACHINES = "machines"
"""The limit that a plan must be readable, and fit on its machines."""
_KEPT = 0.0
_IMPOSSIBLE = 1.0  # log units of excess where there is nothing to measure
_MOST_STEPS, _MOST_ESTIMATES = 20_000, 2_000

_Known = TypeVar("_Known")


@dataclass(frozen=True)
class PlanEvaluation:
    """What one plan is worth."""

    values: Mapping[str, Any]
    config: RunConfig | None
    goals: tuple[float, ...]
    """In the study's order and sign. Of an impossible plan: those of the run itself, since there are no others."""
    excess: Mapping[str, float]
    """How far each limit is exceeded, log units; the plan is feasible where none is above 0."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """What counts against each limit, in the limit's own unit."""
    why: str | None = None
    """Why the plan is impossible."""

    @property
    def feasible(self) -> bool:
        """Whether every limit is kept."""
        return all(value <= 0 for value in self.excess.values())

    @property
    def worst(self) -> float:
        """The largest excess, log units."""
        return max(self.excess.values(), default=_KEPT)


class Evaluator:
    """Judges plans of one study, remembering what it can. One thread at a time."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.predictor = study.predictor.only(study.loss_columns)
        self._steps: dict[Any, PlannedStep | str] = {}
        self._estimates: dict[Any, tuple[PlannedStep, ClusterEstimate] | str] = {}
        self._cap = _memory_cap(study)
        self.neutral = (0.0,) * len(study.goals)
        self.neutral = self._neutral()

    def __call__(self, values: Values) -> PlanEvaluation:
        """Judge one plan."""
        return self.many([values])[0]

    def many(self, plans: Sequence[Values], like: PlannedStep | None = None) -> list[PlanEvaluation]:
        """Judge plans, their losses in one go. With `like`, each is taken to have that step, whatever its machines."""
        configs = [self._config(values) for values in plans]
        whole = [config for config in configs if isinstance(config, RunConfig)]
        losses = iter(self._losses(whole))
        found = []
        for values, config in zip(plans, configs, strict=True):
            if isinstance(config, str):
                found.append(self._impossible(values, None, config))
                continue
            loss = next(losses)
            found.append(
                self._impossible(values, config, loss)
                if isinstance(loss, str)
                else self._judge(values, config, loss, like)
            )
        return found

    def step(self, config: RunConfig) -> PlannedStep | None:
        """The step of a plan; None where its machines don't matter, or can't run it."""
        if not self.study.needs_cluster:
            return None
        step = self._planned(config)
        return None if isinstance(step, str) else step

    def forecast(self, values: Values) -> Forecast:
        """The complete forecast of a plan, with all targets of the predictor.

        Where memory is limited the plan states its layout, which is not the one that is searched for without a limit.
        """
        config = self.study.space.config(values)
        step = self.step(config)
        if self._cap is not None and step is not None:
            config = config.model_copy(update={"layout": step.layout.stated()})
        return forecast(config, self.study.predictor, self.study.step_times, step=step)

    def _config(self, values: Values) -> RunConfig | str:
        try:
            return self.study.space.config(values)
        except (ConfigError, InputError) as error:
            return str(error)

    def _judge(
        self, values: Values, config: RunConfig, losses: Mapping[str, LossPrediction], like: PlannedStep | None
    ) -> PlanEvaluation:
        study = self.study
        cluster = self._estimate(config, like) if study.needs_cluster else None
        if isinstance(cluster, str):
            return self._impossible(values, config, cluster, losses)
        outcome = PlanOutcome(config, losses, study.predictor, cluster, study.serving)
        try:
            goals = tuple(goal.value(outcome) for goal in study.goals)
            measured = {limit.name: limit.value(outcome) for limit in study.limits}
        except ConfigError as error:  # a choice that leaves out the price of serving, say
            return self._impossible(values, config, str(error))
        excess = {limit.name: limit.excess(measured[limit.name]) for limit in study.limits}
        named = [*zip((goal.name for goal in study.goals), goals, strict=True), *measured.items()]
        unknown = [name for name, value in named if not math.isfinite(value)]
        if unknown:
            return self._impossible(values, config, f"{unknown[0]}: can't be told of this plan", losses)
        return PlanEvaluation(values, config, goals, {MACHINES: -_IMPOSSIBLE, **excess}, measured)

    def _impossible(
        self,
        values: Values,
        config: RunConfig | None,
        why: str,
        losses: Mapping[str, LossPrediction] | None = None,
    ) -> PlanEvaluation:
        """A plan that can't be run: every limit counts as exceeded; losses, which need no machines, are still told."""
        goals = list(self.neutral)
        if losses is not None and config is not None:
            outcome = PlanOutcome(config, losses, self.study.predictor, None, self.study.serving)
            for number, goal in enumerate(self.study.goals):
                if not goal.measure.needs_cluster:
                    goals[number] = goal.value(outcome)
        excess = {MACHINES: _IMPOSSIBLE, **{limit.name: _IMPOSSIBLE for limit in self.study.limits}}
        return PlanEvaluation(values, config, tuple(goals), excess, why=why)

    def _neutral(self) -> tuple[float, ...]:
        """The goals of the run itself, or zeros where it is impossible too."""
        return self(self.study.space.current()).goals

    def _losses(self, configs: Sequence[RunConfig]) -> list[Mapping[str, LossPrediction] | str]:
        """Losses of many plans by target, or why there are none."""
        if not self.study.loss_columns:
            return [{} for _ in configs]
        columns = []
        for config in configs:
            try:
                columns.append(run_columns(config, self.predictor, []))
            except InputError as error:
                columns.append(str(error))
        found: list[Mapping[str, LossPrediction] | str] = [c if isinstance(c, str) else {} for c in columns]
        for rows in _alike(columns):
            self._predict(configs, columns, rows, found)
        return found

    def _predict(self, configs: Sequence[RunConfig], columns: Sequence[Any], rows: list[int], found: list[Any]) -> None:
        together = {name: np.concatenate([columns[row][name] for row in rows]) for name in columns[rows[0]]}
        try:
            predicted = {
                target: planned(configs[rows[0]], model, together)[0] for target, model in self.predictor.models.items()
            }
        except InputError as error:
            if len(rows) == 1:
                found[rows[0]] = str(error)
            else:  # one of them is to blame
                for row in rows:
                    self._predict(configs, columns, [row], found)
            return
        for place, row in enumerate(rows):
            found[row] = {target: prediction.row(place) for target, prediction in predicted.items()}

    def _planned(self, config: RunConfig) -> PlannedStep | str:
        hardware, batch = config.hardware, config.optim.batch_tokens
        shape = config.model.architecture
        if shape is None or batch is None:  # a choice of the space that leaves them out
            return f"{', '.join(missing(config))}: missing; expected in the plan, for times, memory and cost"
        try:
            sequences = batch_sequences(batch, shape.context_length)
        except ConfigError as error:
            return str(error)
        layout = None if config.layout is None else config.layout.model_dump_json()
        machines = hardware.model_copy(update={"price_usd_per_hour": None}).model_dump_json()
        return _remember(
            self._steps,
            (shape, sequences, machines, layout),
            _MOST_STEPS,
            lambda: plan_step(config, self.study.step_times, self._cap),
        )

    def _estimate(self, config: RunConfig, like: PlannedStep | None) -> ClusterEstimate | str:
        step = self._planned(config) if like is None else like
        if isinstance(step, str):
            return step
        sections = (config.reliability, config.prices, config.energy, config.targets)
        key = (
            id(step), config.data.tokens, config.data.distinct_tokens(), config.usd_per_hour, config.seed,
            config.start, *(section.model_dump_json() for section in sections),
        )  # fmt: skip
        # beside the estimate stands its step, so that no other takes on the identity that is in the key
        found = _remember(self._estimates, key, _MOST_ESTIMATES, lambda: (step, estimate(config, step=step)))
        return found if isinstance(found, str) else found[1]


def _memory_cap(study: Study) -> MemoryCap | None:
    """What the study's limit on memory means for the search for layouts."""
    found = next((one for one in study.limits if one.measure.name == "peak_memory_gib" and one.side == "at_most"), None)
    return None if found is None else MemoryCap(found.bound, found.chance)


def _remember(known: dict[Any, _Known | str], key: Any, most: int, make: Any) -> _Known | str:
    """What is known under a key, made if need be; what can't be made is remembered as why. The oldest is dropped."""
    if key not in known:
        try:
            known[key] = make()
        except (InfeasibleError, ConfigError) as error:
            known[key] = str(error)
        while len(known) > most:
            del known[next(iter(known))]
    return known[key]


def _alike(columns: Sequence[Any]) -> list[list[int]]:
    """Rows with the same columns, which can be predicted together."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, found in enumerate(columns):
        if not isinstance(found, str):
            groups.setdefault(tuple(found), []).append(row)
    return list(groups.values())
