"""The same plan on another number of accelerators, with a batch that they can share."""

from __future__ import annotations

from ....core.errors import InfeasibleError
from ...cluster.planned_shape import planned_shape
from ...config.run_config import RunConfig
from .affordable import AffordableSteps

__all__ = ["with_devices"]

_MOST_BATCH_CHANGE = 0.3
_FASTER = 1.05  # what a larger move of the batch must bring


def with_devices(config: RunConfig, count: int, steps: AffordableSteps) -> tuple[RunConfig, str | None]:
    """The plan on `count` accelerators, and what had to change for it beyond the count (None: nothing).

    Data parallelism is left open. Where the batch can't be shared evenly, or only in a slow layout, it moves to one
    that replicas of the full count, half of it, a quarter, … share, by at most 30 %: to the fastest, if it trains 5 %
    more tokens a second than the plan's own. InfeasibleError where none of these runs.
    """
    hardware = config.hardware.model_copy(update={"count": count})
    layout = None if config.layout is None else config.layout.model_copy(update={"dp": None})
    plan = config.model_copy(update={"hardware": hardware, "layout": layout})
    first: InfeasibleError | None = None
    own, best, chosen = 0.0, 0.0, plan
    try:
        own = _tokens_per_s(plan, steps)
    except InfeasibleError as error:
        first = error
    for tokens in _batches(plan, count):
        moved = plan.model_copy(update={"optim": plan.optim.model_copy(update={"batch_tokens": tokens})})
        try:
            speed = _tokens_per_s(moved, steps)
        except InfeasibleError:
            continue
        if speed > best * _FASTER:
            best, chosen = speed, moved
    if best > own * _FASTER:
        change = (chosen.optim.batch_tokens or 0.0) / (config.optim.batch_tokens or 1.0) - 1.0
        return chosen, f"batch {change:+.1%}, for {count} accelerators to share it evenly"
    if first is not None:
        raise first
    return plan, None


def _tokens_per_s(plan: RunConfig, steps: AffordableSteps) -> float:
    step = steps.of(plan)
    return float(step.steps.tokens[0] / step.time.total_s[0])


def _batches(plan: RunConfig, count: int) -> list[float]:
    """Batches in tokens that replicas of count, count/2, count/4, … share evenly, the nearest to the plan's first."""
    shape, batch = planned_shape(plan), plan.optim.batch_tokens
    if shape is None or batch is None:
        return []
    sequences = batch / shape.context_length
    found = set()
    replicas = count
    while replicas:
        found.add(max(1, round(sequences / replicas)) * replicas)
        if replicas % 2:
            break
        replicas //= 2
    near = sorted(found, key=lambda number: abs(number / sequences - 1.0))
    return [float(n * shape.context_length) for n in near if abs(n / sequences - 1.0) <= _MOST_BATCH_CHANGE]
