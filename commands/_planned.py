"""What a user says of the next stage of proxies: the planned run, the budget, the precision; read and checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..core.errors import ConfigError, UsageError
from ..core.units import parse_count, parse_duration_s, parse_share, shown

__all__ = ["Budget", "parse_budget", "parse_precision", "planned_from_config", "planned_from_text", "with_mix"]

_FLOPS = "flops"
_SIZES = ("params", "tokens")
_SUM_TOLERANCE = 0.01


@dataclass(frozen=True)
class Budget:
    """What the next stage may cost: seconds of wall clock or FLOPs of training; None for either means no limit."""

    wall_clock_s: float | None = None
    training_flops: float | None = None


def parse_budget(text: str) -> Budget:
    """`30min` (wall clock, all workers together) or `1e15FLOPs`. Raises UsageError."""
    plain = text.strip()
    try:
        if plain.lower().endswith(_FLOPS):
            return Budget(training_flops=_positive(parse_count(plain[: -len(_FLOPS)].strip())))
        return Budget(wall_clock_s=_positive(parse_duration_s(plain)))
    except ConfigError:
        raise UsageError(f"--budget: got {shown(text)}; expected wall clock such as 30min, or 1e15FLOPs") from None


def parse_precision(text: str) -> float:
    """`2%` or `0.02` as a fraction. Raises UsageError."""
    try:
        value = parse_share(text)
    except ConfigError:
        value = float("nan")
    if not 0 < value < 1:
        raise UsageError(f"--precision: got {shown(text)}; expected a share of the loss, such as 2% or 0.02")
    return value


def planned_from_text(text: str) -> dict[str, float]:
    """`params=7B,tokens=140B,mix.web=0.7,mix.code=0.3` as numbers. Raises UsageError."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name in found or not (name in _SIZES or (name.startswith("mix.") and name != "mix.")):
            raise UsageError(
                f"--target: got {shown(part.strip())}; expected params=7B,tokens=140B and shares mix.<domain>=0.5, "
                "each once"
            )
        try:
            found[name] = parse_count(value)
        except ConfigError as error:
            raise UsageError(f"--target: {name}: {error}") from None
    for name in _SIZES:
        if not found.get(name, 0.0) > 0:
            raise UsageError(f"--target: {name} is missing; expected params=7B,tokens=140B")
    return found


def planned_from_config(path: str) -> dict[str, float]:
    """The same from a run's YAML: all parameters, tokens, and the mix where it is stated. Raises ConfigError."""
    from ..simulator.config.run_config import RunConfig

    config = RunConfig.load(path)
    mix = {f"mix.{domain}": share for domain, share in (config.data.mix or {}).items()}
    return {"params": config.model.params_total, "tokens": config.data.tokens, **mix}


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
    sizes = {name: planned[name] for name in _SIZES}
    return {**sizes, **{f"mix.{name}": float(shares.get(name, 0.0)) for name in sorted(domains)}}


def _positive(value: float) -> float:
    if not value > 0:
        raise ConfigError(f"got {value:g}; expected more than 0")
    return value
