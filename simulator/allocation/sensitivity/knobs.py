"""The numeric settings of a plan that are varied one at a time, and the plan with each of them changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ....core.errors import InfeasibleError
from ....core.model.architecture import Architecture
from ....core.model.shape_family import family_shape
from ...config.run_config import RunConfig
from ...config.text.selection import NOT_SELECTED
from ..under_limits.affordable import AffordableSteps, with_shape, with_tokens
from ..under_limits.devices import with_devices

__all__ = ["POINT", "Knob", "knobs"]

POINT = 0.01
"""By how much a share of the mix is moved; the others give it up in proportion."""
_MOST_STEPS = 2.5  # how many steps a batch may move instead of one, to be shared evenly
_WIDER = (1.0, 2.0, 3.5)  # steps of size that are tried until the family has another shape


@dataclass(frozen=True)
class Knob:
    """One number of a plan: its key, its value, and the plan with it moved.

    `moved(factor)` gives the plan with about `factor` times the value, the value it then has, and what else had to
    change; shares of a mix move by one point instead, down for a factor below 1. InfeasibleError where it can't move.
    """

    key: str
    value: float
    moved: Callable[[float], tuple[RunConfig, float, str | None]]
    share: bool = False


def knobs(config: RunConfig, steps: AffordableSteps) -> Iterator[Knob]:
    """The numeric knobs that a plan states, or that have a default which is no choice of the user's."""
    tokens = config.data.tokens
    yield Knob("data.tokens", tokens, lambda by: _plain(with_tokens(config, tokens * by), tokens * by))
    yield _size(config)
    for section, field, key in _FIELDS:
        value = getattr(getattr(config, section), field)
        if value:
            yield _field(config, section, field, key or f"{section}.{field}", float(value))
    if config.optim.batch_tokens:
        yield _batch(config, steps)
    if config.hardware.count and config.hardware.accelerator:
        yield _count(config, steps)
    yield from _price(config)
    yield _failures(config)
    yield from _keep(config)
    yield from _synthetic(config)
    for domain, stock in (config.data.unique_tokens_by_domain or {}).items():
        yield _stock(config, domain, stock)
    for domain in config.data.mix or {}:
        yield _share(config, domain)


_FIELDS = (
    ("optim", "lr", None),
    ("data", "unique_tokens", None),
    ("hardware", "inter_node_gbit_per_s", "hardware.inter_node_gbps"),
    ("reliability", "checkpoint_s", "reliability.checkpoint"),
    ("reliability", "restart_s", "reliability.restart"),
    ("energy", "usd_per_kwh", None),
    ("prices", "storage_usd_per_gib_month", None),
)
"""Section, field, and the key as a plan writes it where that differs."""


def _plain(config: RunConfig, value: float) -> tuple[RunConfig, float, str | None]:
    return config, value, None


def _with(config: RunConfig, section: str, **update: Any) -> RunConfig:
    inner: BaseModel = getattr(config, section)
    return config.model_copy(update={section: inner.model_copy(update=update)})


def _field(config: RunConfig, section: str, field: str, key: str, value: float) -> Knob:
    return Knob(key, value, lambda by: _plain(_with(config, section, **{field: value * by}), value * by))


def _size(config: RunConfig) -> Knob:
    own, shape = config.model.params_total, config.model.architecture

    def other_shape(base: Any, by: float) -> Architecture:
        for wider in _WIDER:
            found = family_shape(base, own * by**wider)
            if found != base:
                return found
        raise InfeasibleError(f"no shape of the family is near {own * by:.3g} parameters")

    def moved(by: float) -> tuple[RunConfig, float, str | None]:
        if shape is None:
            stated = {key: getattr(config.model, f"stated_{key}") for key in ("params", "params_active")}
            update = {f"stated_{key}": value * by for key, value in stated.items() if value is not None}
            return _plain(_with(config, "model", **update), own * by)
        found = other_shape(shape, by)
        told = f"{found.layers} layers of width {found.width}"
        return with_shape(config, found), float(found.params_total), told

    return Knob("model.params", own, moved)


def _batch(config: RunConfig, steps: AffordableSteps) -> Knob:
    """In whole sequences, and where the machines are known in as many as replicas share evenly: at best the plan's."""
    own, sequence, replicas = config.optim.batch_tokens or 0.0, 1.0, 1
    if config.model.architecture is not None:
        sequence = float(config.model.architecture.context_length)
        if config.hardware.count and config.hardware.accelerator:
            replicas = steps.of(config).layout.dp

    def moved(by: float) -> tuple[RunConfig, float, str | None]:
        share = replicas
        while True:
            unit = sequence * share
            value = unit * max(1, round(own * by / unit))
            if (value - own) * (by - 1.0) > 0 and abs(value / own - 1.0) <= _MOST_STEPS * abs(by - 1.0):
                return _plain(_with(config, "optim", batch_tokens=min(value, config.data.tokens)), value)
            if share % 2:
                raise InfeasibleError(f"no batch near {own * by:.3g} tokens is shared evenly")
            share //= 2

    return Knob("optim.batch_tokens", own, moved)


def _count(config: RunConfig, steps: AffordableSteps) -> Knob:
    own = config.hardware.count or 1
    unit = config.hardware.domain if own > config.hardware.domain else 1

    def moved(by: float) -> tuple[RunConfig, float, str | None]:
        count = unit * max(1, round(own * by / unit))
        if count == own:
            count = own + (unit if by > 1 else -unit)
        if count < 1:
            raise InfeasibleError("one accelerator is the least")
        plan, note = with_devices(config, count, steps)
        return plan, float(count), note

    return Knob("hardware.count", float(own), moved)


def _price(config: RunConfig) -> Iterator[Knob]:
    name = f"{config.prices.purchase}_usd_per_hour"
    if getattr(config.prices, name):
        yield _field(config, "prices", name, f"prices.{name}", float(getattr(config.prices, name)))
    elif config.prices.published is not None:
        yield _published_price(config, name, config.prices.published.usd_per_hour)
    elif config.hardware.price_usd_per_hour:
        key = "price_usd_per_hour"
        yield _field(config, "hardware", key, f"hardware.{key}", config.hardware.price_usd_per_hour)


def _published_price(config: RunConfig, name: str, own: float) -> Knob:
    def moved(by: float) -> tuple[RunConfig, float, str | None]:
        return _plain(_with(config, "prices", preset=None, **{name: own * by}), own * by)

    return Knob("prices.preset", own, moved)


def _failures(config: RunConfig) -> Knob:
    own, spread = config.reliability.failures_per_device_hour, config.reliability.failure_rate_spread

    def moved(by: float) -> tuple[RunConfig, float, str | None]:
        update = {"stated_failures_per_device_hour": own * by, "stated_failure_rate_spread": spread}
        return _plain(_with(config, "reliability", **update), own * by)

    return Knob("reliability.failures_per_device_hour", own, moved)


def _stock(config: RunConfig, domain: str, stock: float) -> Knob:
    def moved(by: float) -> tuple[RunConfig, float, str | None]:
        stocks = {**(config.data.unique_tokens_by_domain or {}), domain: stock * by}
        return _plain(_with(config, "data", unique_tokens_by_domain=stocks), stock * by)

    return Knob(f"data.unique_tokens_by_domain.{domain}", stock, moved)


def _keep(config: RunConfig) -> Iterator[Knob]:
    selection = config.data.selection
    if selection is None or selection.kind == NOT_SELECTED:
        return

    def moved(by: float) -> tuple[RunConfig, float, str | None]:
        keep = min(selection.keep * by, 1.0)
        return _plain(_with(config, "data", selection=selection.model_copy(update={"keep": keep})), keep)

    yield Knob("data.selection.keep", selection.keep, moved)


def _synthetic(config: RunConfig) -> Iterator[Knob]:
    """The share of synthetic tokens, which stays below what its regime allows."""
    synthetic = config.data.synthetic
    if synthetic is None or synthetic.share == 0.0:
        return

    def moved(by: float) -> tuple[RunConfig, float, str | None]:
        share = min(synthetic.share * by, synthetic.most_share)
        return _plain(_with(config, "data", synthetic=synthetic.model_copy(update={"share": share})), share)

    yield Knob("data.synthetic.share", synthetic.share, moved)


def _share(config: RunConfig, domain: str) -> Knob:
    mix = config.data.mix or {}
    own = mix[domain]

    def moved(by: float) -> tuple[RunConfig, float, str | None]:
        share = own + (POINT if by > 1 else -POINT)
        if not 0.0 <= share <= 1.0 or own == 1.0:
            raise InfeasibleError(f"a share can't be {share:.3g}" if own < 1.0 else "there is no other domain")
        others = {name: value * (1.0 - share) / (1.0 - own) for name, value in mix.items()}
        return _plain(_with(config, "data", mix={**others, domain: share}), share)

    return Knob(f"data.mix.{domain}", own, moved, share=True)
