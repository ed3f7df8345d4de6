"""One-at-a-time sensitivities: the effect of each number of a plan on its outcomes, and numbers without effect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ....core.errors import InfeasibleError, InputError
from ....core.progress import Progress
from ....core.quantity import Difference
from ....core.version import __version__
from ...cluster.estimate import DRAWS
from ...cluster.layout_choice import missing
from ...cluster.step_time.step_model import StepTimeModel
from ...config.run_config import RunConfig
from ...forecast.cluster_differences import OnMachines, cluster_differences
from ...forecast.for_plan import for_plan
from ...forecast.together import LossDraws, predict_together
from ...predictor.predictor import Predictor
from ..compute_optimal.surface import LossSurface
from ..under_limits.affordable import AffordableSteps
from .knobs import Knob, knobs

__all__ = ["OUTCOMES", "Sensitivity", "Turned", "sensitivity"]

OUTCOMES = ("loss_nats", "perplexity", "cost_usd", "wall_clock_days")
"""The outcomes that are compared; medians."""
_NOTHING = 1e-12  # a relative change that is rounding


@dataclass(frozen=True)
class Turned:
    """One number of the plan turned down and up, all others held.

    `down` and `up` hold the change of each outcome (None: the plan says too little for it, or can't go there),
    `elasticity` how many per cent an outcome rises for one per cent of the number; for a share of the mix, for one
    point.
    """

    key: str
    value: float
    value_down: float | None
    value_up: float | None
    down: Mapping[str, float | None]
    up: Mapping[str, float | None]
    elasticity: Mapping[str, float | None]
    note: str | None
    difference_down: Mapping[str, Difference] = field(default_factory=dict)
    """The same changes with their intervals: what is unknown before and after alike is no part of them."""
    difference_up: Mapping[str, Difference] = field(default_factory=dict)

    @property
    def read(self) -> bool:
        """Whether any outcome moved."""
        return any(change for change in (*self.down.values(), *self.up.values()))

    @property
    def effect(self) -> tuple[float, ...]:
        """What rows are sorted by: the largest change of the loss, then of the other outcomes."""
        return tuple(max(abs(self.down[name] or 0.0), abs(self.up[name] or 0.0)) for name in OUTCOMES)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        mappings = {name: dict(getattr(self, name)) for name in ("down", "up", "elasticity")}
        differences = {}
        for name in ("difference_down", "difference_up"):
            differences[name] = {key: value.to_dict() for key, value in getattr(self, name).items()}
        return {**vars(self), **mappings, **differences, "read": self.read}


@dataclass(frozen=True)
class Sensitivity:
    """The outcomes of a plan, and what each of its numbers does to them, the largest effect on the loss first."""

    name: str | None
    predictor: str
    step: float
    outcomes: Mapping[str, float | None]
    rows: tuple[Turned, ...]
    cannot: Mapping[str, str]
    """Numbers that can't be turned either way, and why."""

    @property
    def not_read(self) -> list[str]:
        """Numbers that move none of the outcomes here."""
        return [row.key for row in self.rows if not row.read]

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys and units in the names, for JSON."""
        return {
            "name": self.name,
            "predictor": self.predictor,
            "step": self.step,
            "outcomes": dict(self.outcomes),
            "knobs": [row.to_dict() for row in self.rows],
            "not_read": self.not_read,
            "cannot": dict(self.cannot),
            "version": __version__,
        }


def sensitivity(
    config: RunConfig,
    predictor: Predictor,
    *,
    step: float = 0.1,
    step_times: StepTimeModel | None = None,
    progress: Progress | None = None,
) -> Sensitivity:
    """Change every number of a plan down and up, one at a time, and report what that does to loss, cost and time.

    Where the plan leaves its layout open, it is chosen anew each time.

    Args:
        config: The plan.
        predictor: Predicts the loss.
        step: Relative change, such as 0.1 for 10 %; shares of the data mix change by one percentage point.
        step_times: Predicts the time of a step; by default the shipped model.
        progress: Called with the number that is being changed and the share done, 0 to 1.

    Returns:
        The outcomes of the plan, and for each number the changes of the outcomes, largest effect on the loss first.

    Raises:
        InputError: `step` is not above 0 and at most 0.5.
        InfeasibleError: The plan itself can't run.

    >>> import foretrain
    >>> config = foretrain.RunConfig.from_mapping({"model": {"params": "7B"}, "data": {"tokens": "140B"}})
    >>> found = foretrain.sensitivity(config, foretrain.load_predictor("web-text"))
    >>> sorted(row.key for row in found.rows[:2]), "reliability.restart" in found.not_read
    (['data.tokens', 'model.params'], True)
    >>> found.rows[0].up["loss_nats"] < 0 < found.rows[0].down["loss_nats"]
    True
    """
    if not 0 < step <= 0.5:
        raise InputError(f"step: got {step:g}; expected a share above 0 and at most 0.5, such as 0.1")
    steps = AffordableSteps(step_times)
    predictor = for_plan(config, predictor)  # the text stays the plan's, whatever is turned
    judge = _Judge(predictor, LossSurface.target_of(predictor, config), steps, config)
    base = judge.outcomes(config)[0]
    rows, cannot = [], {}
    every = list(knobs(config, steps))
    for number, knob in enumerate(every):
        if progress is not None:
            progress(knob.key, number / len(every))
        try:
            rows.append(_turned(knob, step, base, judge))
        except InfeasibleError as error:
            cannot[knob.key] = str(error).splitlines()[0]
    rows.sort(key=lambda row: row.effect, reverse=True)
    return Sensitivity(config.name, predictor.name, step, base, tuple(rows), cannot)


_Side = tuple[float, dict[str, float | None], dict[str, Difference]]
"""A number's value, the outcomes there, and how they differ from the plan's."""


class _Judge:
    """The outcomes of plans, and their differences to those of the plan itself."""

    def __init__(self, predictor: Predictor, target: str, steps: AffordableSteps, config: RunConfig) -> None:
        self.predictor, self.target, self.steps, self.config = predictor, target, steps, config
        self.machines = self._machines(config)

    def _machines(self, plan: RunConfig) -> OnMachines | None:
        if missing(plan):
            return None
        return OnMachines(plan, self.steps.of(plan), self.steps.estimate(plan, DRAWS))

    def outcomes(self, plan: RunConfig) -> tuple[dict[str, float | None], dict[str, Difference]]:
        """Medians by OUTCOMES, and their differences to the plan's."""
        prediction = predict_together([self.config, plan], self.predictor, self.target)
        loss, cost, days = float(prediction.loss_nats[1]), None, None
        drawn = LossDraws.of(prediction, self.config.seed)
        found = {"loss_nats": prediction.difference(1).summary(), "perplexity": drawn.perplexity(1)}
        machines = self.machines if plan is self.config else self._machines(plan)
        if machines is not None:
            days, priced = machines.estimate.wall_clock_days.median, machines.estimate.cost_usd
            cost = None if priced is None else priced.median
        if machines is not None and self.machines is not None:
            found |= cluster_differences(self.machines, machines)
        medians = {"loss_nats": loss, "perplexity": math.exp(loss), "cost_usd": cost, "wall_clock_days": days}
        return medians, {name: value for name, value in found.items() if name in OUTCOMES}


def _turned(knob: Knob, step: float, base: Mapping[str, float | None], judge: _Judge) -> Turned:
    """One number turned both ways. InfeasibleError where it can be turned neither way."""
    sides: list[_Side | None] = []
    notes, first = [], None
    for factor in (1.0 - step, 1.0 + step):
        try:
            plan, value, note = knob.moved(factor)
            sides.append((value, *judge.outcomes(plan)))
        except InfeasibleError as error:
            sides.append(None)
            first = first or error
            note = f"{'down' if factor < 1 else 'up'}: {str(error).splitlines()[0]}"
        notes += [note] if note else []
    if first is not None and not any(sides):
        raise first
    down, up = sides
    return Turned(
        key=knob.key,
        value=knob.value,
        value_down=None if down is None else down[0],
        value_up=None if up is None else up[0],
        down=_changes(base, down),
        up=_changes(base, up),
        elasticity={name: _elasticity(name, knob, base, down, up) for name in OUTCOMES},
        note="; ".join(dict.fromkeys(notes)) or None,
        difference_down={} if down is None else down[2],
        difference_up={} if up is None else up[2],
    )


def _changes(base: Mapping[str, float | None], side: _Side | None) -> dict[str, float | None]:
    found: dict[str, float | None] = dict.fromkeys(OUTCOMES)
    for name in OUTCOMES if side is not None else ():
        before, after = base[name], side[1][name] if side is not None else None
        if before is not None and after is not None:
            found[name] = 0.0 if abs(after - before) <= _NOTHING * abs(before) else after - before
    return found


def _elasticity(
    name: str,
    knob: Knob,
    base: Mapping[str, float | None],
    down: _Side | None,
    up: _Side | None,
) -> float | None:
    """Per cent of an outcome for one per cent of the knob, or for one point of a share, between the ends there are."""
    start, end = down or (knob.value, dict(base), {}), up or (knob.value, dict(base), {})
    low, high = start[1][name], end[1][name]
    if low is None or high is None or low <= 0 or high <= 0:
        return None
    moved = (end[0] - start[0]) * 100.0 if knob.share else math.log(end[0] / start[0])
    rise = math.log(high / low)
    return 0.0 if abs(rise) <= _NOTHING else rise * (100.0 if knob.share else 1.0) / moved
