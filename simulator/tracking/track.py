"""`track`: compares a running job with its plan and forecasts its final loss and its end."""

from __future__ import annotations

import math
import os

import numpy as np

from ...core.errors import InfeasibleError
from ...core.progress import Progress
from ...core.quantity import LEVELS, Difference, Quantity
from ...datasets.run_logs.records import Notice
from ..cluster.cluster_estimate import ClusterEstimate
from ..cluster.estimate import estimate
from ..cluster.layout_choice import missing
from ..cluster.step_time.step_model import StepTimeModel
from ..config.run_config import HardwareConfig, RunConfig
from ..curve.law.public import PUBLIC, far_from_public, far_note
from ..curve.prefix import CurvePosterior, Z, condition
from ..curve.rates.path import RatePath
from ..curve.rates.planned_changes import last_text_sd
from ..curve.tracking import first_shift, standing
from ..forecast.forecast import forecast
from ..forecast.stages.levels import end_nats, expected_path
from ..predictor.predictor import Predictor
from ..predictor.storage.folder import load
from .pace import RunPace, pace_of
from .reading import RunLog, read_log
from .relatives import public_curves
from .result import LEAST_CHANCE, PlannedLoss, Tracking, Verdict
from .step_axis import PriorOf, impossible_steps

__all__ = ["PriorOf", "impossible_axis", "planned_loss", "predictor_for", "track"]

_POOLED = "web-text"
_LEAST_POINTS = 6
_WARMED = 0.6  # of the steps until the law holds (two warm-ups): before, points of the warm-up itself mislead it
_ASIDE = 0.05  # log sd of a target, where it stands in for a forecast in the chart's planned band
_BITS = 1 / math.log(2)
_SAME_RATIO = 0.02


def predictor_for(config: RunConfig, name: str | None) -> Predictor | None:
    """The named predictor; without a name, None if the plan has a target, else the pooled predictor."""
    if name is None:
        return load(_POOLED) if config.targets.loss_nats_wanted is None else None
    return load(name)


def planned_loss(config: RunConfig, predictor: Predictor | None) -> PlannedLoss:
    """The planned final loss: a predictor's forecast, or without one the plan's stated target."""
    if predictor is None:
        target = config.targets.loss_nats_wanted
        assert target is not None  # the caller gives a predictor where the plan has no target
        return PlannedLoss(target, 0.0, "target")
    # the loss doesn't depend on the machines, and a plan that is already running needn't be checked for feasibility
    bare = config.model_copy(update={"hardware": HardwareConfig(), "layout": None})
    loss = forecast(bare, predictor).headline.loss_nats
    low, high = loss.intervals[0.9]
    return PlannedLoss(end_nats(bare, predictor, loss.median), math.log(high / low) / (2 * Z[0.9]), "predictor")


def track(
    config: RunConfig,
    log: str | os.PathLike[str] | bytes,
    predictor: Predictor | None = None,
    curves: PriorOf | None = None,
    *,
    metric: str | None = None,
    unit: str = "auto",
    step_times: StepTimeModel | None = None,
    progress: Progress | None = None,
) -> Tracking:
    r"""Compare the log of a running job with its plan.

    Args:
        config: The plan, which states the batch size and the learning rates.
        log: The log of the job so far: CSV, JSON lines, or what else `read_log` reads; as bytes, what it holds.
        predictor: Predicts the planned loss; by default the target that `config.targets` states counts as the plan, or
            without one the forecast of "web-text".
        curves: What loss curves look like: from the learning rates and the loss so far (nats per token) to a prior; by
            default that of the public curves.
        metric: Name of the loss in the log; by default it is found.
        unit: What the log counts: "auto", "steps", "tokens", "samples", or "steps/K" for K micro-batches per step.
        step_times: Predicts the time of a step; by default the shipped model.
        progress: Called with what is being done and the share done, 0 to 1.

    Returns:
        The verdict, the final loss that is expected now, the pace, and whatever was noticed.

    Raises:
        ConfigError: The plan leaves out something that is needed.
        LogError: The log can't be read.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import foretrain
    >>> config = foretrain.RunConfig.from_mapping({
    ...     "model": {"params": "1B"},
    ...     "data": {"tokens": "4B"},
    ...     "optim": {"batch_tokens": "1M", "lr": 3e-4, "lr_final": 3e-5, "schedule": "cosine", "warmup_steps": 100},
    ...     "targets": {"loss_nats": 2.5},
    ... })
    >>> log = "".join(f"{step},{2.35 + 8 / step**0.5}\n" for step in range(200, 2001, 50))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "log.csv").write_text("step,loss\n" + log)
    ...     found = foretrain.track(config, f"{folder}/log.csv")
    >>> found.verdict in ("on track", "ahead"), 2.2 < found.loss_nats.median < 2.7
    (True, True)
    """
    say = progress or (lambda _text, _share: None)
    say("reading", 0.0)
    used = predictor or predictor_for(config, None)
    rates = expected_path(config, used)
    plan = planned_loss(config, used)
    points = read_log(log, config, rates, plan.loss_nats, metric, unit)
    say("forecasting", 0.6)
    prior = curves or public_curves(config)
    axis = impossible_axis(points, rates, plan, prior) if unit == "auto" else []
    cluster, said = _cluster(config, points, step_times)
    pace = pace_of(config, points.clock, points.now, cluster)
    return _Answer(config, points, plan, prior, say).result(pace, [*axis, *said])


def impossible_axis(log: RunLog, rates: RatePath, plan: PlannedLoss, curves: PriorOf) -> list[Notice]:
    """A notice where a log's steps, taken for optimizer steps, can't be that; see `impossible_steps`."""
    if log.unit != "steps":
        return []
    planned = (plan.loss_nats, plan.log_sd)
    found = impossible_steps(log.where, log.step_key, log.step, log.loss, rates, planned, curves)
    return [] if found is None else [found]


class _Answer:
    """Builds the result of one call of `track`."""

    def __init__(self, config: RunConfig, log: RunLog, plan: PlannedLoss, curves: PriorOf, say: Progress) -> None:
        self.config, self.log, self.plan, self.say = config, log, plan, say
        # what is planned is a loss on one text, and the log ends with that on the last stage's
        self.plan_log_sd = math.hypot(plan.log_sd, last_text_sd(config))
        anchor = (plan.loss_nats, self.plan_log_sd or _ASIDE)
        planned = curves(log.path, plan.loss_nats).open_level(plan.loss_nats)  # the plan says where it ends
        ahead = condition(log.path, planned, anchor=anchor)
        self.plan_prior = ahead.prior
        self.blind = log.now <= _WARMED * ahead.settled
        self.early = log.now <= ahead.settled or len(log.step) < _LEAST_POINTS
        self.prior = ahead.prior if self.blind else curves(log.path, float(log.loss[-1]))
        self.alone = ahead if self.blind else condition(log.path, self.prior, log.step, log.loss)
        self.belief = self.alone
        if plan.log_sd > 0 and not self.blind:
            self.belief = condition(log.path, self.prior, log.step, log.loss, anchor=anchor)

    def result(self, pace: RunPace | None, said: list[Notice]) -> Tracking:
        log, plan = self.log, self.plan
        # the plan must not be compared with a forecast that depends on the plan
        stands = None if self.blind else standing(self.alone, plan.loss_nats, self.plan_log_sd)
        unknown = log.diverged_at is not None or (self.blind and plan.source == "target")
        p_target = None if unknown else _p_target(self.belief, self.config)
        verdict: Verdict = "too early" if self.early or stands is None else stands.verdict
        if verdict != "too early" and p_target is not None and p_target < LEAST_CHANCE:
            verdict = "behind"
        self.say("looking for shifts", 0.7)
        return Tracking(
            config=self.config,
            log=log,
            plan=plan,
            belief=self.belief,
            plan_prior=self.plan_prior,
            verdict=verdict if log.diverged_at is None else "diverged",
            z=None if stands is None else stands.z,
            shift=None if self.blind else first_shift(log.path, self.prior, log.step, log.loss),
            loss_nats=None if unknown else _final(self.belief),
            difference_nats=None if unknown else _difference(self.belief, plan, self.config),
            p_target=p_target,
            pace=pace,
            notices=(*log.notices, *said, *self._warnings()),
        )

    def _warnings(self) -> list[Notice]:
        found = []
        if self.belief.prior.name == PUBLIC:
            size = self.config.model.params_total
            found += [Notice("curves", far_note(what)) for what in far_from_public(size, self.log.path)]
        spikes = self.belief.points.spikes
        if spikes:
            text = f"{self.log.where}: {spikes} spikes of the loss, far above their neighbours, don't count"
            found.append(Notice("spikes", text))
        return found + self._units()

    def _units(self) -> list[Notice]:
        ratio = float(self.alone.final().loss[0]) / self.plan.loss_nats
        if abs(ratio / _BITS - 1) > _SAME_RATIO or self.plan.log_sd > _SAME_RATIO:
            return []
        text = f"the forecast is {ratio:.3g} times the plan, about 1/ln 2: is the loss in bits?"
        return [Notice("loss_unit", text, serious=True)]


def _final(belief: CurvePosterior) -> Quantity:
    end = belief.final()
    intervals = {level: end.interval(level) for level in LEVELS}
    return Quantity(float(end.loss[0]), {k: (float(low[0]), float(high[0])) for k, (low, high) in intervals.items()})


def _difference(belief: CurvePosterior, plan: PlannedLoss, config: RunConfig) -> Difference:
    """The final loss minus the planned one, which is a number: all that is open is where the run ends.

    A target is one on the text of the whole run, so that the last stage's text is open, too.
    """
    final, planned = _final(belief), plan.loss_nats
    text_sd = last_text_sd(config) if plan.source == "target" else 0.0
    wider = math.hypot(1.0, text_sd / float(belief.final().log_sd[0]))
    intervals = {
        level: tuple(final.median * (end / final.median) ** wider - planned for end in ends)
        for level, ends in final.intervals.items()
    }
    return Difference(final.median - planned, intervals, _chance_at_most(belief, planned, text_sd))


def _p_target(belief: CurvePosterior, config: RunConfig) -> float | None:
    target = config.targets.loss_nats_wanted
    return None if target is None else _chance_at_most(belief, target, last_text_sd(config))


def _chance_at_most(belief: CurvePosterior, loss_nats: float, log_sd: float = 0.0) -> float:
    """Chance of a final loss of at most this, which itself has a standard deviation of its logarithm."""
    end = belief.final()
    sd = math.hypot(float(end.log_sd[0]), log_sd)
    return 0.5 * math.erfc(math.log(float(end.loss[0]) / loss_nats) / sd / math.sqrt(2))


def _cluster(
    config: RunConfig, log: RunLog, step_times: StepTimeModel | None
) -> tuple[ClusterEstimate | None, list[Notice]]:
    """The estimate with which measured times are compared; None if the log or the plan lacks the facts."""
    if missing(config) or not np.diff(log.clock[1]).any():
        return None, []
    try:
        return estimate(config, step_times), []
    except InfeasibleError as error:
        text = f"no times to compare with: by the estimate this plan can't run at all ({str(error).splitlines()[0]})"
        return None, [Notice("estimate", text)]
