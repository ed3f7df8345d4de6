"""The result of tracking a running job: its verdict, the expected final loss, its pace, and notices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from typing_extensions import override

from ...core.quantity import Difference, Quantity
from ...core.summary import Summarised
from ...core.version import __version__
from ...datasets.run_logs.records import Notice
from ..config.run_config import RunConfig
from ..curve.law.prior import CurvePrior
from ..curve.prefix import CurvePosterior, LossBand
from ..curve.rates.branches import branch_plans
from ..curve.rates.planned_rates import path_of
from ..curve.tracking import Shift
from .pace import RunPace
from .reading import RunLog

__all__ = ["LEAST_CHANCE", "PlannedLoss", "Tracking", "Verdict"]

LEAST_CHANCE = 0.1
"""Chance of a stated target below which a run is behind, even where the 90 % interval still holds it. Of runs that will
just reach their target, one in ten falls below it at any one look; at a chance of 20 %, one in five would."""

Verdict = Literal["on track", "ahead", "behind", "diverged", "too early"]


@dataclass(frozen=True)
class PlannedLoss:
    """The final loss that was planned, nats, and the standard deviation of its logarithm."""

    loss_nats: float
    log_sd: float
    source: str
    """`target` or `predictor`."""


@dataclass(frozen=True, repr=False)
class Tracking(Summarised):
    r"""A running job compared with its plan, as `track` gives it.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import foretrain
    >>> config = foretrain.RunConfig.from_mapping({
    ...     "model": {"params": "1B"},
    ...     "data": {"tokens": "4B"},
    ...     "optim": {"batch_tokens": "1M", "lr": 3e-4, "lr_final": 3e-5, "schedule": "cosine", "warmup_steps": 100},
    ...     "targets": {"loss_nats": 2.5},
    ... })
    >>> log = "".join(f"{step},{2.9 + 8 / step**0.5}\n" for step in range(200, 2001, 50))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "log.csv").write_text("step,loss\n" + log)
    ...     found = foretrain.track(config, f"{folder}/log.csv")
    >>> found.verdict, found.ok, found.steps, found.log.now
    ('behind', False, 4000, 2000.0)
    """

    config: RunConfig
    """The plan."""
    log: RunLog
    """The points of the log, checked."""
    plan: PlannedLoss
    """The final loss that was planned."""
    belief: CurvePosterior
    """The distribution of the loss curve; that of the plan alone as long as the log has too few points."""
    plan_prior: CurvePrior
    """The curves of the planned run, before its first step: what the planned band comes from."""
    verdict: Verdict
    """"on track", "ahead", "behind", "diverged" or "too early".

    Behind is a run whose expected final loss lies above the plan by more than its 90 % interval, or whose chance of the
    stated target is below 10 %; ahead is one that lies below by more than the interval.
    """
    z: float | None
    """Log of forecast over plan in standard deviations, above 0 worse than planned; None where nothing can be said."""
    shift: Shift | None
    """A lasting rise of the loss above its own past; None if there is none."""
    loss_nats: Quantity | None
    """The final loss that is expected now; None where nothing can be said."""
    difference_nats: Difference | None
    """The expected final loss minus the planned one; None where nothing can be said."""
    p_target: float | None
    """Chance of reaching the target; None without a target, or where nothing can be said."""
    pace: RunPace | None
    """Speed, and when the run will end; None without times in the log."""
    notices: tuple[Notice, ...]
    """What was noticed in the log."""

    @property
    def steps(self) -> int:
        """Optimizer steps of the plan."""
        return self.log.path.steps

    @property
    def tokens(self) -> float:
        """Tokens behind, by the batches of the plan."""
        path = self.log.path
        return float(path.batches(self.log.now) / path.batches(self.steps)) * self.config.data.tokens

    @property
    def branch_ends(self) -> dict[str, tuple[int, LossBand]]:
        """By name of a branch of the plan, such as an earlier cooldown: its last step, and the loss expected there."""
        paths = {one.name: path_of(one.config) for one in branch_plans(self.config)}
        return {name: (path.steps, self.belief.end_of(path)) for name, path in paths.items()}

    @property
    def ok(self) -> bool:
        """Whether nothing speaks for stopping: neither behind nor diverged, and no regression was noticed."""
        return self.verdict not in ("behind", "diverged") and self.shift is None

    @property
    def headline(self) -> str:
        """The verdict in a few words; a loss that has risen above its own past is part of it."""
        return self.verdict if self.shift is None else f"{self.verdict}, but its loss has risen"

    @property
    def perplexity(self) -> Quantity | None:
        """The exponential of `loss_nats`."""
        if self.loss_nats is None:
            return None
        ends = {level: (math.exp(low), math.exp(high)) for level, (low, high) in self.loss_nats.intervals.items()}
        return Quantity(math.exp(self.loss_nats.median), ends)

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        text = _verdict(self)
        if self.shift is not None:
            size, since = self.shift.size, self.shift.since
            text += f"; the loss stands {size:.1%} above its own past since about step {since:.0f}"
        return text

    @override
    def summary(self) -> dict[str, str]:
        facts = {"run": self.config.name or "run", "verdict": self.sentence}
        facts |= {} if self.p_target is None else {"chance of the target": f"{self.p_target:.0%}"}
        return facts | ({"notices": str(len(self.notices))} if self.notices else {})

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
            "loss_nats": None if self.loss_nats is None else self.loss_nats.to_dict(),
            "perplexity": None if self.perplexity is None else self.perplexity.to_dict(),
            "difference_nats": None if self.difference_nats is None else self.difference_nats.to_dict(),
            "p_target": self.p_target,
            "branches": [_branch(name, *end) for name, end in self.branch_ends.items()],
            "step": log.now,
            "steps": self.steps,
            "progress": log.now / self.steps,
            "tokens": self.tokens,
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


def _shift(shift: Shift) -> Mapping[str, float]:
    return {
        "since_step": shift.since,
        "noticed_step": shift.noticed,
        "size_share": shift.size,
        "sd_share": shift.sd,
        "z": shift.z,
    }


def _branch(name: str, steps: int, end: LossBand) -> Mapping[str, Any]:
    low, high = end.interval(0.9)
    ends = [float(low[0]), float(high[0])]
    return {"name": name, "steps": steps, "loss_nats": float(end.loss[0]), "loss_nats_90": ends}


def _verdict(result: Tracking) -> str:
    log, loss, plan = result.log, result.loss_nats, f"planned {result.plan.loss_nats:.4g}"
    if result.verdict == "diverged":
        return f"diverged: no finite loss since step {log.diverged_at:.0f}"
    early = "too early to tell" if result.verdict == "too early" else result.verdict
    early += "" if result.shift is None else ", but its loss has risen,"
    at = f"{early} at step {log.now:.0f} of {result.steps} ({log.now / result.steps:.0%})"
    if loss is None:
        return f"{at}, {plan}"
    low, high = loss.intervals[0.9]
    text = f"{at}: final loss {loss.median:.4g} nats ({low:.4g} to {high:.4g}), {plan}"
    if result.verdict == "behind" and result.p_target is not None and result.p_target < LEAST_CHANCE:
        chance = "less than 1%" if result.p_target < 0.01 else f"{result.p_target:.0%}"
        text += f"; {chance} chance of the target"
    return text
