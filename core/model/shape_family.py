"""A family of shapes around one: depth, width and heads that grow together as published models' do.

Only size is free; style (gating, norms, experts, vocabulary, context) and the size of a head stay the base's. Heads
come in multiples that tensor parallelism divides, layers in multiples that pipelines divide, and the ratio of width to
layers stays near the base's: at equal size it hardly moves the loss between 0.7 and 1.4 times the usual one (Kaplan et
al. 2020, arXiv:2001.08361, figure 5), but it does move the speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeVar, cast

from ..errors import InputError
from .architecture import Architecture

__all__ = ["USUAL", "family_shape", "params_range", "rung", "sized_shape"]

# Llama 2 7B (arXiv:2307.09288): gated, 128 times as wide as deep, heads of 128.
USUAL = Architecture(layers=32, width=4096, heads=32, ffn_width=11008, vocab_size=32000, context_length=4096)
"""The usual family's base, where only a size is known."""

_RUNG = 1.05  # ratio of neighbouring sizes
_SAME = 0.005  # parameters this close to the base's are the base itself
_REACH = 1.3  # heads are tried from the steady aspect's number over this to that times this
_ASPECTS = 1.45  # largest ratio of a shape's width/layers to the base's
_OFF_ASPECT = 0.05  # price of straying from the base's aspect, in log parameters per log unit
_WIDE = 2048  # widths from which feed-forward networks come in multiples of 256
_STEP_OF_WIDTH = 64  # of mixers that have no heads
_MOST = 1e5  # times larger or smaller than the base; beyond, its proportions say nothing

_Function = TypeVar("_Function", bound=Callable)


def _remembered(most: int) -> Callable[[_Function], _Function]:
    """`lru_cache` with the function's own signature; type checkers don't see that frozen models can be hashed."""
    return cast("Callable[[_Function], _Function]", lru_cache(maxsize=most))


@_remembered(4096)
def family_shape(base: Architecture, params: float, least: float = 0.0, most: float = math.inf) -> Architecture:
    """The shape of the base's family whose total parameters are nearest to `params`; the base itself near its own.

    Shapes from `least` to `most` parameters are preferred to all others. Raises InputError where `params` is out of
    `params_range`.

    >>> base = Architecture(layers=32, width=4096, heads=32, ffn_width=11008, vocab_size=32000, context_length=4096)
    >>> family_shape(base, 13e9).layers, family_shape(base, 13e9).width
    (40, 5120)
    """
    low, high = params_range(base)
    if not low <= params <= high:
        raise InputError(f"params: got {params:.3g}; expected from {low:.3g} to {high:.3g} for shapes of this family")
    if abs(math.log(params / base.params_total)) <= _SAME and least <= base.params_total <= most:
        return base

    def distance(shape: Architecture) -> float:
        aspect = math.log(shape.width / shape.layers * base.layers / base.width)
        return abs(math.log(shape.params_total / params)) + _OFF_ASPECT * abs(aspect)

    shapes = list(_near(base, params))
    return min([one for one in shapes if least <= one.params_total <= most] or shapes, key=distance)


def sized_shape(base: Architecture, params: float) -> Architecture:
    """The shape of the base's family whose feed-forward networks are widened or narrowed until the size is met.

    Layers and heads come in steps, and so do sizes, by up to a tenth; the inner width closes the gap: within 2 % from
    a hundred million parameters on, at 1.9 to 3.3 times the width of `USUAL`'s family, whose base has 2.7. Raises
    InputError as `family_shape` does.

    >>> round(sized_shape(USUAL, 1.5e9).params_total / 1e9, 3)
    1.496
    """
    shape = family_shape(base, params)
    unit = 256 if shape.width >= _WIDE else 64
    wider = shape.model_copy(update={"ffn_width": shape.ffn_width + unit})
    per_unit = wider.params_total - shape.params_total
    units = round((params - shape.params_total) / per_unit)
    return shape.model_copy(update={"ffn_width": max(unit, shape.ffn_width + units * unit)})


def rung(base: Architecture, params: float) -> float:
    """The nearest of sizes 5 % apart, of which the base's own is one.

    Half a step off the best size costs less than 0.001 % of the loss, and trials that share a shape share its layouts.
    """
    return base.params_total * _RUNG ** round(math.log(params / base.params_total) / math.log(_RUNG))


def params_range(base: Architecture) -> tuple[float, float]:
    """Smallest and largest total parameters for which `family_shape` answers."""
    smallest = _scaled(base, 1, max(1, round(base.layers / _heads(base))))
    return max(float(smallest.params_total), base.params_total / _MOST), base.params_total * _MOST


def _near(base: Architecture, params: float) -> Iterator[Architecture]:
    """Shapes about as large as `params`, whose aspect is near the base's."""
    low, high = 0.5, max(2.0, 4.0 * _heads(base))
    while params > _of_heads(base, high).params_total:
        high *= 2.0
    for _ in range(30):  # size grows with heads at a steady aspect
        middle = math.sqrt(low * high)
        low, high = (low, middle) if _of_heads(base, middle).params_total > params else (middle, high)
    for heads in _head_counts(high / _REACH, high * _REACH):
        one, two = (_scaled(base, heads, layers).params_total for layers in (base.layers, 2 * base.layers))
        wanted = base.layers * (1.0 + (params - one) / (two - one))
        steady = base.layers * heads / _heads(base)
        within = min(max(wanted, steady / _ASPECTS), steady * _ASPECTS)
        by = _layer_step(within)
        for layers in {by * math.floor(within / by), by * math.ceil(within / by)}:
            if layers >= 1 and 1 / _ASPECTS <= steady / layers <= _ASPECTS:
                yield _scaled(base, heads, layers)
    yield _of_heads(base, high)


def _head_counts(low: float, high: float) -> Iterator[int]:
    """Numbers of heads from about `low` to about `high`, at least one."""
    first, last = _head_step(low), _head_step(high)
    for heads in range(max(1, first * math.floor(low / first)), last * math.ceil(high / last) + 1):
        if heads % _head_step(heads) == 0:
            yield heads


def _of_heads(base: Architecture, heads: float) -> Architecture:
    """The shape with this many heads and as many layers as the base's aspect wants."""
    whole = max(1, _head_step(heads) * round(heads / _head_step(heads)))
    layers = base.layers * whole / _heads(base)
    return _scaled(base, whole, max(1, _layer_step(layers) * round(layers / _layer_step(layers))))


@_remembered(65536)
def _scaled(base: Architecture, heads: int, layers: int) -> Architecture:
    """The base with other numbers of heads and layers, and all that follows from them."""
    growth = heads / _heads(base)
    width = round(base.width * growth)
    if base.head_width is None and base.kv_lora_rank is None:
        width = heads * (base.width // _heads(base))
    unit = 256 if width >= _WIDE else 64
    of_mixer = heads if base.mixer.has_heads else 1
    changed = {**base.model_dump(), "heads": of_mixer, "layers": layers, "width": width}
    for key in ("ffn_width", "expert_ffn_width"):
        if changed[key] is not None:
            changed[key] = max(unit, unit * round(changed[key] / base.width * width / unit))
    if base.kv_heads is not None:
        most = heads if base.kv_heads == base.heads else min(base.kv_heads, heads)
        rounded = base.kv_heads & (base.kv_heads - 1) == 0  # a power of two stays one
        kv_heads = (
            range(most, 0, -1) if most == heads or not rounded else (2**k for k in range(20, -1, -1) if 2**k <= most)
        )
        changed["kv_heads"] = next(kv for kv in kv_heads if heads % kv == 0)
    if base.num_experts is not None:
        changed["dense_layers"] = min(base.dense_layers, layers - base.moe_every)
    return Architecture.model_validate(changed)


def _heads(base: Architecture) -> int:
    """Its heads; of a mixer without any, the steps that its width comes in."""
    return base.heads if base.mixer.has_heads else base.width // math.gcd(base.width, _STEP_OF_WIDTH)


def _head_step(heads: float) -> int:
    """What the number of heads must be a multiple of."""
    return 8 if heads >= 30 else 4 if heads > 16 else 2 if heads >= 7 else 1


def _layer_step(layers: float) -> int:
    """What the number of layers must be a multiple of."""
    return 4 if layers >= 40 else 2 if layers >= 12 else 1
