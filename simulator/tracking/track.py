"""`track`: a running job against its plan. Where its loss will end, whether that is what was planned, and when."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ... import __version__
from ...errors import InfeasibleError
from ..calibration import LEVELS
from ..cluster.estimate import ClusterEstimate, estimate, missing
from ..cluster.step_model import StepTimeModel
from ..config import HardwareConfig, RunConfig
from ..curve.path import RatePath
from ..curve.plan import path_of
from ..curve.prefix import Belief, Z, believe
from ..curve.prior import Prior, generic_prior
from ..curve.tracking import Shift, first_shift, standing
from ..forecast import forecast
from ..predictor import Predictor
from ..predictor_io import load
from ..quantity import Quantity
from .pace import Pace, pace_of
from .reading import RunLog, read_log
from .records import Notice

__all__ = ["PlannedLoss", "PriorOf", "Tracking", "Verdict", "planned_loss", "predictor_for", "track"]

Verdict = Literal["on track", "ahead", "behind", "diverged", "too early"]
PriorOf = Callable[[RatePath, float], Prior]
"""What curves at hand say of this run: from its rates and the loss where it stands, nats, to a prior."""

_LEAST_POINTS = 6
_POOLED = "web-text"
_BITS = 1 / math.log(2)
_SAME_RATIO = 0.02


@dataclass(frozen=True)
class PlannedLoss:
    """The final loss that was planned, nats, and the standard deviation of its logarithm."""

    loss_nats: float
    log_sd: float
    source: str


@dataclass(frozen=True)
class Tracking:
    """A running job against its plan."""

    config: RunConfig
    log: RunLog
    plan: PlannedLoss
    belief: Belief
    verdict: Verdict
    z: float
    """Log of forecast over plan in standard deviations; above 0 is worse than planned."""
    shift: Shift | None
    loss_nats: Quantity
    """The final loss that is expected now."""
    p_target: float | None
    pace: Pace | None
    notices: tuple[Notice, ...]

    @property
    def steps(self) -> int:
        """Optimizer steps of the plan."""
        return self.log.path.steps

    @property
    def ok(self) -> bool:
        """Whether nothing speaks for stopping: neither behind nor diverged, and no regression was noticed."""
        return self.verdict not in ("behind", "diverged") and self.shift is None

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        return _sentence(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys and units in the names, for JSON."""
        log = self.log
        return {
            "name": self.config.name,
            "verdict": self.verdict,
            "ok": self.ok,
            "sentence": self.sentence,
            "z": self.z,
            "shift": None if self.shift is None else _shift(self.shift),
            "plan": {**vars(self.plan), "perplexity": math.exp(self.plan.loss_nats)},
            "loss_nats": self.loss_nats.to_dict(),
            "perplexity": _exp(self.loss_nats).to_dict(),
            "p_target": self.p_target,
            "step": log.now,
            "steps": self.steps,
            "progress": log.now / self.steps,
            "tokens": log.now / self.steps * self.config.data.tokens,
            "points": len(log.step),
            "spikes": self.belief.points.spikes,
            "last_loss_nats": float(log.loss[-1]),
            "diverged_at_step": log.diverged_at,
            "log": log.where,
            "metric": log.metric,
            "step_unit": log.unit,
            "prior": self.belief.prior.name,
            "time": None if self.pace is None else self.pace.to_dict(),
            "notices": [notice.to_dict() for notice in self.notices],
            "config": self.config.to_mapping(),
            "version": __version__,
        }


def predictor_for(config: RunConfig, name: str | None) -> Predictor | None:
    """The predictor that is named; without a name, none where the plan has a target, else the pooled one."""
    if name is None:
        return load(_POOLED) if _target(config) is None else None
    return load(name)


def planned_loss(config: RunConfig, predictor: Predictor | None) -> PlannedLoss:
    """Where the plan says that the loss ends: a predictor's forecast, or without one the target that is stated."""
    if predictor is None:
        target = _target(config)
        assert target is not None  # the caller gives a predictor where the plan has no target
        return PlannedLoss(target, 0.0, "target")
    # what the machines can do is no matter of the loss, and a plan that is being run needn't be proved feasible
    bare = config.model_copy(update={"hardware": HardwareConfig(), "layout": None})
    loss = forecast(bare, predictor).headline.loss_nats
    low, high = loss.intervals[0.9]
    return PlannedLoss(loss.median, math.log(high / low) / (2 * Z[0.9]), "predictor")


def track(
    config: RunConfig,
    log: str | os.PathLike[str],
    predictor: Predictor | None = None,
    curves: PriorOf | None = None,
    *,
    metric: str | None = None,
    unit: str = "auto",
    step_times: StepTimeModel | None = None,
) -> Tracking:
    """Hold the log so far of a running job against its plan.

    The loss is held against the `predictor`'s forecast, or against `config.targets` where none is given. `curves` tells
    what loss curves look like; by default little is presumed. `metric` and `unit` as in `read_log`.
    Raises `ConfigError` for what the plan leaves out, `LogError` for a log that can't be read.
    """
    rates, plan = path_of(config), planned_loss(config, predictor)
    points = read_log(log, config, rates, plan.loss_nats, metric, unit)
    prior = generic_prior(float(points.loss[-1])) if curves is None else curves(points.path, float(points.loss[-1]))
    alone = believe(points.path, prior, points.step, points.loss)
    belief = alone
    if plan.log_sd > 0:
        belief = believe(points.path, prior, points.step, points.loss, anchor=(plan.loss_nats, plan.log_sd))
    # a forecast that leans on the plan mustn't be what the plan is held against
    stands = standing(alone, plan.loss_nats, plan.log_sd)
    early = points.now <= alone.settled or len(points.step) < _LEAST_POINTS
    verdict: Verdict = "diverged" if points.diverged_at is not None else "too early" if early else stands.verdict
    cluster, said = _cluster(config, points, step_times)
    return Tracking(
        config=config,
        log=points,
        plan=plan,
        belief=belief,
        verdict=verdict,
        z=stands.z,
        shift=first_shift(points.path, prior, points.step, points.loss),
        loss_nats=_final(belief),
        p_target=_p_target(belief, config),
        pace=pace_of(config, points.clock, points.now, cluster),
        notices=(*points.notices, *said, *_doubts(alone, plan)),
    )


def _final(belief: Belief) -> Quantity:
    end = belief.final()
    intervals = {level: end.interval(level) for level in LEVELS}
    return Quantity(float(end.loss[0]), {k: (float(low[0]), float(high[0])) for k, (low, high) in intervals.items()})


def _exp(loss: Quantity) -> Quantity:
    intervals = {level: (math.exp(low), math.exp(high)) for level, (low, high) in loss.intervals.items()}
    return Quantity(math.exp(loss.median), intervals)


def _target(config: RunConfig) -> float | None:
    targets = config.targets
    if targets.loss_nats is None and targets.perplexity is None:
        return None
    return targets.loss_nats if targets.loss_nats is not None else math.log(targets.perplexity or 1.0)


def _p_target(belief: Belief, config: RunConfig) -> float | None:
    target, end = _target(config), belief.final()
    if target is None:
        return None
    return 0.5 * math.erfc(math.log(float(end.loss[0]) / target) / float(end.log_sd[0]) / math.sqrt(2))


def _cluster(
    config: RunConfig, log: RunLog, step_times: StepTimeModel | None
) -> tuple[ClusterEstimate | None, list[Notice]]:
    """The estimate that measured times are held against; None where log or plan say too little."""
    if missing(config) or not np.diff(log.clock[1]).any():
        return None, []
    try:
        return estimate(config, step_times), []
    except InfeasibleError as error:
        text = f"no times to compare with: by the estimate this plan can't run at all ({str(error).splitlines()[0]})"
        return None, [Notice("estimate", text)]


def _doubts(belief: Belief, plan: PlannedLoss) -> list[Notice]:
    ratio = float(belief.final().loss[0]) / plan.loss_nats
    if abs(ratio / _BITS - 1) > _SAME_RATIO or plan.log_sd > _SAME_RATIO:
        return []
    text = f"the forecast is {ratio:.3g} times the plan, about 1/ln 2: is the loss in bits?"
    return [Notice("loss_unit", text, serious=True)]


def _shift(shift: Shift) -> Mapping[str, float]:
    return {
        "since_step": shift.since,
        "noticed_step": shift.noticed,
        "size": shift.size,
        "sd": shift.sd,
        "z": shift.z,
    }


def _sentence(result: Tracking) -> str:
    log, loss = result.log, result.loss_nats
    low, high = loss.intervals[0.9]
    at = f"step {log.now:.0f} of {result.steps} ({log.now / result.steps:.0%})"
    end = f"final loss {loss.median:.4g} nats ({low:.4g} to {high:.4g}), planned {result.plan.loss_nats:.4g}"
    if result.verdict == "diverged":
        text = f"diverged: no finite loss since step {log.diverged_at:.0f}"
    elif result.verdict == "too early":
        text = f"too early to tell at {at}: {end}"
    else:
        text = f"{result.verdict} at {at}: {end}"
    if result.shift is not None:
        shift = result.shift
        text += f"; the loss stands {shift.size:.1%} above its own past since about step {shift.since:.0f}"
    return text
