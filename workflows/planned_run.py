"""The run that a next stage of proxies is planned for, and what the stage may cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..core.errors import UsageError
from ..core.units import shown

__all__ = ["SIZES", "StageBudget", "with_mix"]

SIZES = ("params", "tokens")
"""What every planned run states, beside its mix."""
_SUM_TOLERANCE = 0.01


@dataclass(frozen=True)
class StageBudget:
    """What the next stage of a project may cost; None means no limit.

    >>> import foretrain
    >>> foretrain.StageBudget(wall_clock_s=1800)
    StageBudget(wall_clock_s=1800, training_flops=None)
    """

    wall_clock_s: float | None = None
    """Wall clock, seconds."""
    training_flops: float | None = None
    """Training compute, FLOPs."""


def with_mix(planned: Mapping[str, float], domains: Collection[str], ladder: Mapping[str, float]) -> dict[str, float]:
    """The planned run with a share for every domain: the ladder's mix where it states none. Raises UsageError."""
    stated = {name.removeprefix("mix."): share for name, share in planned.items() if name.startswith("mix.")}
    for name in stated:
        if name not in domains:
            raise UsageError(f"mix.{name}: there is no domain {shown(name)}; expected one of {', '.join(domains)}")
    total = sum(stated.values())
    if stated and abs(total - 1) > _SUM_TOLERANCE:
        raise UsageError(f"the planned run's shares sum to {total:.4g}; expected 1 within 0.01")
    shares = {name: share / total for name, share in stated.items()} if stated else dict(ladder)
    sizes = {name: planned[name] for name in SIZES}
    return {**sizes, **{f"mix.{name}": float(shares.get(name, 0.0)) for name in sorted(domains)}}
