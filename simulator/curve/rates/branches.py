"""The runs that leave a planned one on its way, such as earlier cooldowns, each as a plan of its own."""

from __future__ import annotations

from typing import NamedTuple

from ....core.units import format_count
from ...config.run_config import DataConfig, RunConfig
from ...config.stages.spans import spans

__all__ = ["Branch", "branch_plans"]


class Branch(NamedTuple):
    """A run that shares its first `left_tokens` with the main one and then goes its own way to its end."""

    name: str
    left_tokens: float
    config: RunConfig
    """The plan of the whole branch, from the beginning of the main run."""


def branch_plans(config: RunConfig) -> list[Branch]:
    """The branches of a plan, in order; none for a plan without any.

    >>> stages = [{"tokens": "60B"}, {"tokens": "10B", "lr_final": 0, "branch": True}, {"tokens": "40B", "lr_final": 0}]
    >>> plan = RunConfig.from_mapping({
    ...     "model": {"params": "1B"}, "data": {"tokens": "100B"}, "optim": {"lr": 3e-4, "stages": stages}
    ... })
    >>> [(one.name, one.left_tokens, one.config.data.tokens) for one in branch_plans(plan)]
    [('branch at 60.0B', 60000000000.0, 70000000000.0)]
    """
    found, main = list[Branch](), []
    optim = config.optim
    for stage, span in zip(optim.stages, spans(optim.stages, config.data.tokens), strict=True):
        alone = stage.model_copy(update={"tokens": span.tokens, "share": None, "start": None, "branch": False})
        if not stage.branch:
            main.append(alone)
            continue
        name = stage.name or f"branch at {format_count(span.start)}"
        own = optim.model_copy(update={"stages": (*main, alone), "lr_final": None})
        data = _until(config.data, span.start, span.end)
        plan = config.model_copy(update={"optim": own, "data": data, "name": f"{config.name or 'run'}, {name}"})
        found.append(Branch(name, span.start, plan))
    return found


def _until(data: DataConfig, left: float, end: float) -> DataConfig:
    """What is trained on until a branch ends: where it left the main run, it goes on with the text of then."""
    kept, begin = [], 0.0
    for stage, span in zip(data.stages, spans(data.stages, data.tokens), strict=True):
        if span.start < left:
            kept.append(stage.model_copy(update={"tokens": span.tokens, "share": None, "start": None}))
            begin = span.start
    if kept:
        kept[-1] = kept[-1].model_copy(update={"tokens": end - begin})
    return data.model_copy(update={"tokens": end, "stages": tuple(kept)})
