"""The study that the page asks for when somebody wants better plans: around the plan, within its limits."""

from __future__ import annotations

import json
from typing import Any

from ....core.errors import InputError
from ...report.documents.contents.judged import Judged
from .stated import SIZE, Stated

__all__ = ["TRIALS", "better_study"]

TRIALS = 80
"""Plans that the search tries: about half a minute."""

_REACH = {SIZE: 5.0, "data.tokens": 8.0, "optim.batch_tokens": 2.0, "hardware.count": 4.0}
"""How many times less or more than the plan's value a plan may have."""
_MORE = 1.5  # times the plan's own cost or time, where it states no budget or deadline


def better_study(stated: Stated, judged: Judged) -> dict[str, Any]:
    """A study around a plan: size, tokens, batch and machines vary; its budget and deadline are the limits.

    Where it states neither, plans may cost, or without prices take, half as much again. Batches that stages state stay.

    Raises:
        InputError: The plan says too little of its machines, or states a layout, which other sizes couldn't keep.
    """
    plan = judged.plan
    cluster, targets = plan.cluster, plan.config.targets
    if cluster is None:
        raise InputError(f"a search needs machines: state {', '.join(plan.cluster_missing)}")
    run = json.loads(json.dumps(stated.mapping(), default=str))
    run.pop("layout", None)  # each size has a layout of its own
    constraints: dict[str, Any] = {}
    if targets.budget_usd is None and targets.deadline is None:
        if cluster.cost_usd is not None:
            constraints["cost_usd"] = {"at_most": _MORE * cluster.cost_usd.median}
        else:
            constraints["wall_clock_days"] = {"at_most": _MORE * cluster.wall_clock_days.median}
    space = {
        SIZE: _around(plan.config.model.params_total, SIZE),
        "data.tokens": _around(plan.config.data.tokens, "data.tokens"),
    }
    batch, count = plan.config.optim.batch_tokens, plan.config.hardware.count
    if batch is not None and not plan.config.optim.staged_batches:
        space["optim.batch_tokens"] = _around(batch, "optim.batch_tokens")
    if count is not None and count >= 16:
        reach = _REACH["hardware.count"]
        space["hardware.count"] = {"low": _eights(count / reach), "high": _eights(count * reach), "step": 8}
    return {
        "run": run,
        "space": space,
        "objective": {"minimise": "loss_nats"},
        **({"constraints": constraints} if constraints else {}),
        "search": {"trials": TRIALS, "seed": plan.config.seed},
    }


def _around(value: float, key: str) -> dict[str, Any]:
    return {"low": value / _REACH[key], "high": value * _REACH[key], "log": True}


def _eights(count: float) -> int:
    return max(8, 8 * round(count / 8))
