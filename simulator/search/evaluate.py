"""Evaluation of a study's plans: goals, excess over limits, and the reasons why a plan is impossible.

The values come from the same functions as `forecast`. Results that are the same for many trials are cached: the step of
a plan in its layout, whose search takes most of a forecast's time, and the estimate of the cluster where only the mix
or the learning rate differs.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from ...core.errors import ConfigError, InfeasibleError, InputError
from ...core.summary import percent
from ..cluster.cluster_estimate import ClusterEstimate
from ..cluster.estimate import PlannedStep, estimate, plan_step
from ..cluster.layout_choice import missing
from ..cluster.layouts.layout import batch_sequences
from ..cluster.memory.memory import VERDICTS, MemoryCap
from ..cluster.operations.before_run import before_run
from ..cluster.planned_shape import planned_shape
from ..config.run_config import RunConfig
from ..forecast.for_plan import for_plan
from ..forecast.forecast import Forecast, forecast
from ..forecast.law_inputs import planned, run_columns
from ..predictor.prediction import LossPrediction
from ..predictor.predictor import Predictor
from .goals.measures import PlanOutcome
from .space.dimensions import Values
from .study import Study

__all__ = ["MACHINES", "Evaluator", "PlanEvaluation"]

MACHINES = "machines"
"""The limit that a plan must be readable, and fit on its machines."""
_KEPT = 0.0
_IMPOSSIBLE = 1.0  # excess in log units where a plan can't be evaluated
_MOST_STEPS = 20_000  # steps that are cached
_MOST_ESTIMATES = 2_000  # estimates that are cached

_Known = TypeVar("_Known")


@dataclass(frozen=True)
class PlanEvaluation:
    """One evaluated plan."""

    values: Mapping[str, Any]
    """The values of the space, by path."""
    config: RunConfig | None
    """The run with these values; None if they are invalid."""
    goals: tuple[float, ...]
    """In the study's order and sign. Of an impossible plan: those of the run itself, since there are no others."""
    excess: Mapping[str, float]
    """Excess over each limit, log units; the plan is feasible if none is above 0."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """The value that is compared with each limit, in the limit's own unit."""
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
    """Evaluates plans of one study, with caches. Not thread-safe."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.predictor = study.predictor.only(study.loss_columns)
        self._steps: dict[Any, PlannedStep | str] = {}
        self._estimates: dict[Any, tuple[PlannedStep, ClusterEstimate] | str] = {}
        self._cap: MemoryCap | None = None
        for limit in study.limits:
            if limit.measure.name == "peak_memory_gib" and limit.side == "at_most":
                self._cap = MemoryCap(limit.bound, limit.chance)
                break
        # What an impossible plan gets for its goals: those of the run itself, or zeros where it is impossible too.
        self.neutral = (0.0,) * len(study.goals)
        self.neutral = self(study.space.current()).goals

    def __call__(self, values: Values) -> PlanEvaluation:
        """Evaluate one plan, given by the values of the space."""
        return self.many([values])[0]

    def judging(self, study: Study) -> Evaluator:
        """An evaluator of the same plans by a study's other goals and limits, which shares what is cached."""
        other = Evaluator(study)
        other._steps, other._estimates = self._steps, self._estimates
        return other

    def many(self, plans: Sequence[Values], like: PlannedStep | None = None) -> list[PlanEvaluation]:
        """Evaluate plans, their losses in one batch. With `like`, all are taken to have that step."""
        configs: list[RunConfig] = []
        unreadable: dict[int, str] = {}  # why, by the plan's place
        for place, values in enumerate(plans):
            try:
                configs.append(self.study.space.config(values))
            except (ConfigError, InputError) as error:
                unreadable[place] = str(error)
        readable = iter(zip(configs, self._losses(configs), strict=True))
        found = []
        for place, values in enumerate(plans):
            if place in unreadable:
                found.append(self._impossible(values, None, unreadable[place]))
                continue
            config, losses = next(readable)
            if isinstance(losses, str):
                found.append(self._impossible(values, config, losses))
            else:
                found.append(self._judge(values, config, losses, like))
        return found

    def step(self, config: RunConfig) -> PlannedStep | None:
        """The step of a plan; None where its machines don't matter, or can't run it."""
        if not self.study.needs_cluster:
            return None
        step = self._planned_step(config)
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

    def _judge(
        self, values: Values, config: RunConfig, losses: Mapping[str, LossPrediction], like: PlannedStep | None
    ) -> PlanEvaluation:
        """Goals and limits of a plan whose losses are known."""
        study = self.study
        cluster = self._estimate(config, like) if study.needs_cluster else None
        if isinstance(cluster, str):
            return self._impossible(values, config, cluster, losses)
        unlimited = all(limit.measure.name != "p_fit" for limit in study.limits)
        if unlimited and cluster is not None and cluster.fits != VERDICTS[0]:
            asked = f"{percent(cluster.p_fit)} where hardware.fit_chance asks for {config.hardware.fit_chance:.0%}"
            return self._impossible(values, config, f"memory: the chance to fit is {asked}", losses)
        outcome = PlanOutcome(config, losses, study.predictor, cluster, study.serving)
        try:
            goals = tuple(goal.value(outcome) for goal in study.goals)
            measured = {limit.name: limit.value(outcome) for limit in study.limits}
        except (ConfigError, InputError) as error:  # the price of serving is left out, a stage lies beyond its law, say
            return self._impossible(values, config, str(error))
        for goal, value in zip(study.goals, goals, strict=True):
            if not math.isfinite(value):
                return self._impossible(values, config, f"{goal.name}: can't be told of this plan", losses)
        excess = {MACHINES: -_IMPOSSIBLE}
        for limit in study.limits:
            value = measured[limit.name]
            if not math.isfinite(value):
                return self._impossible(values, config, f"{limit.name}: can't be told of this plan", losses)
            excess[limit.name] = limit.excess(value)
        return PlanEvaluation(values, config, goals, excess, measured)

    def _impossible(
        self,
        values: Values,
        config: RunConfig | None,
        why: str,
        losses: Mapping[str, LossPrediction] | None = None,
    ) -> PlanEvaluation:
        """A plan that can't be run: every limit counts as exceeded; losses, if known, are still evaluated."""
        goals = list(self.neutral)
        if losses is not None and config is not None:
            outcome = PlanOutcome(config, losses, self.study.predictor, None, self.study.serving)
            for number, goal in enumerate(self.study.goals):
                if not goal.measure.needs_cluster:
                    with contextlib.suppress(ConfigError, InputError):  # its own is as impossible as the plan
                        goals[number] = goal.value(outcome)
        excess = {MACHINES: _IMPOSSIBLE}
        for limit in self.study.limits:
            excess[limit.name] = _IMPOSSIBLE
        return PlanEvaluation(values, config, tuple(goals), excess, why=why)

    def _losses(self, configs: Sequence[RunConfig]) -> list[Mapping[str, LossPrediction] | str]:
        """Losses of each plan by target, or why there are none. Those with the same columns are predicted together."""
        found: list[Mapping[str, LossPrediction] | str] = [{} for _ in configs]
        if not self.study.loss_columns:
            return found
        columns: dict[int, Mapping[str, np.ndarray]] = {}
        groups: dict[tuple[int, tuple[str, ...]], tuple[Predictor, list[int]]] = {}
        for place, config in enumerate(configs):
            try:
                predictor = for_plan(config, self.predictor)
                columns[place] = run_columns(config, predictor, [])
            except InputError as error:
                found[place] = str(error)
                continue
            key = id(predictor), tuple(columns[place])
            groups.setdefault(key, (predictor, []))[1].append(place)
        for predictor, places in groups.values():
            self._predict(predictor, configs, columns, places, found)
        return found

    def _predict(
        self,
        predictor: Predictor,
        configs: Sequence[RunConfig],
        columns: Mapping[int, Mapping[str, np.ndarray]],
        places: list[int],
        found: list[Mapping[str, LossPrediction] | str],
    ) -> None:
        """Predict the losses of the plans at `places`, which share their predictor and columns, into `found`."""
        first = places[0]
        together = {}
        for name in columns[first]:
            together[name] = np.concatenate([columns[place][name] for place in places])
        predicted: dict[str, LossPrediction] = {}
        try:
            for target, model in predictor.models.items():
                predicted[target], *_ = planned(configs[first], model, together)
        except InputError as error:
            if len(places) == 1:
                found[first] = str(error)
            else:  # one of them causes the error
                for place in places:
                    self._predict(predictor, configs, columns, [place], found)
            return
        for row, place in enumerate(places):
            found[place] = {target: prediction.row(row) for target, prediction in predicted.items()}

    def _planned_step(self, config: RunConfig) -> PlannedStep | str:
        """The step of a plan in its layout, or why there is none."""
        shape = planned_shape(config)
        batch_tokens = config.optim.batch_tokens
        if shape is None or batch_tokens is None:  # a choice of the space that leaves them out
            return f"{', '.join(missing(config))}: missing; expected in the plan, for times, memory and cost"
        try:
            sequences = batch_sequences(batch_tokens, shape.context_length)
        except ConfigError as error:
            return str(error)
        layout = None if config.layout is None else config.layout.model_dump_json()
        machines = config.hardware.model_copy(update={"price_usd_per_hour": None})  # the price changes no step
        states = config.optim.optimizer, config.optim.master_weights
        key = (shape, sequences, machines.model_dump_json(), layout, states)
        return _remember(self._steps, key, _MOST_STEPS, lambda: plan_step(config, self.study.step_times, self._cap))

    def _estimate(self, config: RunConfig, like: PlannedStep | None) -> ClusterEstimate | str:
        """What a plan takes on its machines, or why it can't run there."""
        step = self._planned_step(config) if like is None else like
        if isinstance(step, str):
            return step
        key = (
            id(step),
            config.data.tokens,
            config.data.distinct_tokens(),
            tuple(before_run(config).values()),
            config.usd_per_hour,
            config.seed,
            config.start,
            config.reliability.model_dump_json(),
            config.prices.model_dump_json(),
            config.energy.model_dump_json(),
            config.targets.model_dump_json(),
        )
        # beside the estimate stands its step, so that no other takes on the identity that is in the key
        found = _remember(self._estimates, key, _MOST_ESTIMATES, lambda: (step, estimate(config, step=step)))
        return found if isinstance(found, str) else found[1]


def _remember(known: dict[Any, _Known | str], key: Any, most: int, make: Callable[[], _Known]) -> _Known | str:
    """The cached value of a key, computed if missing; an error is cached as its reason. The oldest entry is dropped."""
    if key not in known:
        try:
            known[key] = make()
        except (InfeasibleError, ConfigError) as error:
            known[key] = str(error)
        while len(known) > most:
            del known[next(iter(known))]
    return known[key]
