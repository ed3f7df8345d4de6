"""Time of one layer's operators on one device, forward and backward: a roofline of each, with fitted efficiencies.

A matrix product costs its arithmetic plus a share of its memory traffic; everything else in a transformer's layer moves
memory. Kernels are launched one by one, so that a layer takes some time at least, however small it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .efficiency import Efficiencies
from .steps import FRAMEWORKS, GENERATIONS, Steps

__all__ = ["MIXER_FACTOR", "MIXER_PASSES", "LayerTimes", "Pass", "layer_times", "output_head_s"]

_LAUNCH_SHARPNESS = 4.0  # how sharply the larger of arithmetic and launches wins: their p-norm
_BACKWARD_LAUNCHES = 1.6  # kernels of a backward pass over those of a forward pass
# Fused attention backward does five products for the forward's two, and keeps its inputs in fast memory less well
# (Dao 2023, arXiv:2307.08691, section 4.1: 2.5 times the FLOPs at 0.9 of the rate).
_FLASH_BACKWARD = 2.5 / 0.9
_NARROW_HEADS = 1.25  # fused attention on heads narrower than 128: the same source, figure 5
MIXER_PASSES = 11.0
"""Streams of the model's width that the operators of a mixer without attention move forward, within MIXER_FACTOR.

Fused into one, a gated convolution reads three streams and writes one; from PyTorch's operators it takes up to 7.93
times as long (Fu et al. 2023, arXiv:2311.05908, abstract): between 4 and 32, whose geometric middle this is. With the
fused one, models of 2k tokens are about as fast as with FlashAttention-2, at up to 62 % utilisation (same source)."""
MIXER_FACTOR = 2.8
"""How far the time of such operators may be off, either way, at 90 %."""
_HEAD_PASSES = 12.0  # bytes moved per logit for the loss in fp32, forward and backward


@dataclass(frozen=True)
class Pass:
    """Seconds of one layer's pass on one device, by kind of work. Arrays (n,)."""

    matmul: np.ndarray
    attention: np.ndarray
    elementwise: np.ndarray
    launch: np.ndarray
    """What waiting for launches adds."""

    @property
    def total(self) -> np.ndarray:
        """All of it."""
        return self.matmul + self.attention + self.elementwise + self.launch


@dataclass(frozen=True)
class LayerTimes:
    """A mean layer's passes for one micro-batch. Mixtures of experts average dense and expert layers."""

    forward: Pass
    backward: Pass


class _Rates:
    """Rates of one set of steps, worked out once."""

    def __init__(self, steps: Steps, fitted: Efficiencies) -> None:
        machines, format_ = steps.machines, steps.machines.format
        wide = fitted.by("matmul", GENERATIONS, machines.generation)
        fp8 = fitted["matmul.fp8"]
        narrow = np.choose(format_.astype(int), [1.0, fp8, fp8 * fitted["matmul.mxfp8"], fitted["matmul.fp4"]])
        self.matmul = machines.matmul_flops * wide * narrow
        self.wide = machines.wide_flops * wide
        flash = fitted.by("flash", GENERATIONS, machines.generation, direct=True)
        self.flash = machines.wide_flops * flash * fitted.by("flash", FRAMEWORKS, steps.layouts.framework)
        self.hbm = machines.hbm_bytes_per_s
        self.traffic = fitted["matmul_traffic"] / machines.hbm_bytes_per_s

    def product(self, rows, inputs, outputs, operand_bytes, result_bytes, flops=None) -> np.ndarray:
        """Seconds of a (rows × inputs) by (inputs × outputs) product."""
        arithmetic = 2.0 * rows * inputs * outputs / (self.matmul if flops is None else flops)
        moved = operand_bytes * (rows * inputs + inputs * outputs) + result_bytes * rows * outputs
        return arithmetic + self.traffic * moved


def layer_times(steps: Steps, fitted: Efficiencies) -> LayerTimes:
    """Forward and backward of a mean layer for one micro-batch on one device, communication aside."""
    models, layouts = steps.models, steps.layouts
    rates = _Rates(steps, fitted)
    attention_forward, attention_backward = _attention_core(steps, rates, fitted)
    shared = _projections(steps, rates)
    stream = _stream(steps, rates, fitted)
    dense = (shared + _ffn(steps, rates), stream + _ffn_elementwise(steps, rates, fitted))
    launch = fitted["launch_s"] * fitted.by("launch", FRAMEWORKS, layouts.framework)
    kinds = [(dense, launch, 1.0 - models.moe_layers / models.layers)]
    if np.any(models.moe_layers > 0):
        experts = (shared + _experts(steps, rates, fitted), stream + _experts_elementwise(steps, rates, fitted))
        extra = fitted["launch_experts_s"] * fitted.by("launch", FRAMEWORKS, layouts.framework)
        kinds.append((experts, launch + extra, models.moe_layers / models.layers))
    passes = []
    for factor, launches, core in ((1.0, 1.0, attention_forward), (2.0, _BACKWARD_LAUNCHES, attention_backward)):
        parts = [(_pass(factor * m, core, factor * e, launches * least), share) for (m, e), least, share in kinds]
        passes.append(_mean(parts))
    return LayerTimes(*passes)


def _pass(matmul: np.ndarray, attention: np.ndarray, elementwise: np.ndarray, least: np.ndarray) -> Pass:
    """A pass whose kernels take as long as launching them at least."""
    work = matmul + attention + elementwise
    p = _LAUNCH_SHARPNESS
    return Pass(matmul, attention, elementwise, (work**p + least**p) ** (1 / p) - work)


def _mean(parts: list[tuple[Pass, np.ndarray]]) -> Pass:
    names = ("matmul", "attention", "elementwise", "launch")
    return Pass(**{name: sum(getattr(one, name) * share for one, share in parts) for name in names})  # pyright: ignore[reportArgumentType]


def output_head_s(steps: Steps, fitted: Efficiencies) -> np.ndarray:
    """Seconds of the output head and the loss, forward and backward, for one micro-batch. (n,)"""
    models, layouts, machines = steps.models, steps.layouts, steps.machines
    rates, wide = _Rates(steps, fitted), machines.value_bytes
    outputs = models.vocab_size / layouts.tp
    product = rates.product(steps.micro_tokens, models.width, outputs, wide, wide, rates.wide)
    return 3.0 * product + _HEAD_PASSES * steps.micro_tokens * outputs / rates.hbm


def _projections(steps: Steps, rates: _Rates) -> np.ndarray:
    """The matrices of attention: tensor parallelism splits outputs of some and inputs of others."""
    models, tp = steps.models, steps.layouts.tp
    inputs = models.matrix_inputs / np.where(models.matrix_split == 2, tp, 1.0)
    outputs = models.matrix_outputs / np.where(models.matrix_split == 1, tp, 1.0)
    rows = np.where(inputs > 0, steps.micro_tokens, 0.0)
    wide, narrow = steps.machines.value_bytes, steps.machines.narrow_bytes
    # one by one: the axis of the matrices must not meet that of many efficiencies side by side
    each = (rates.product(*sizes, narrow, wide) for sizes in zip(rows, inputs, outputs, strict=True))
    return np.asarray(sum(each))


def _ffn(steps: Steps, rates: _Rates, width: np.ndarray | None = None) -> np.ndarray:
    """Both products of a dense feed-forward network of inner `width`."""
    models, rows = steps.models, steps.micro_tokens
    inside = (models.ffn_width if width is None else width) / steps.layouts.tp
    wide, narrow = steps.machines.value_bytes, steps.machines.narrow_bytes
    into = rates.product(rows, models.width, models.projections * inside, narrow, wide)
    return into + rates.product(rows, inside, models.width, narrow, wide)


def routed_tokens(steps: Steps) -> np.ndarray:
    """Copies of tokens that a device's experts work on for one micro-batch, balanced. (n,)"""
    return steps.micro_tokens / steps.layouts.tp * steps.models.experts_per_token


def _experts(steps: Steps, rates: _Rates, fitted: Efficiencies) -> np.ndarray:
    """The products of a device's experts, one group each, and of those that every token visits."""
    models, layouts, machines = steps.models, steps.layouts, steps.machines
    local = np.maximum(models.num_experts / layouts.ep, 1.0)
    rows, inside = routed_tokens(steps) / local, models.expert_ffn_width
    wide, narrow, flops = machines.value_bytes, machines.narrow_bytes, rates.matmul * fitted["matmul.experts"]
    into = rates.product(rows, models.width, models.projections * inside, narrow, wide, flops)
    routed = local * (into + rates.product(rows, inside, models.width, narrow, wide, flops))
    return routed + models.shared_experts * _ffn(steps, rates, models.expert_ffn_width)


def _attention_core(steps: Steps, rates: _Rates, fitted: Efficiencies) -> tuple[np.ndarray, np.ndarray]:
    """Scores and weighted sums, forward and backward: fused, or with a matrix of scores in memory.

    What another mixer computes beyond its matrix products is taken to be as fast as fused attention, and to move
    MIXER_PASSES streams of the model's width besides.
    """
    models, layouts, machines = steps.models, steps.layouts, steps.machines
    pairs = steps.micro_tokens * models.context_length * models.heads / layouts.tp
    flops = 2.0 * pairs * (models.key_width + models.value_width)
    fused = flops / 2 / rates.flash * np.where(models.key_width < 128, _NARROW_HEADS, 1.0)  # half, for causal
    misaligned = np.where(models.key_width % 8 != 0, fitted["misaligned"], 1.0)
    plain = flops / rates.wide * misaligned + fitted["score_passes"] * pairs * machines.value_bytes / rates.hbm
    flash = layouts.flash_attention > 0
    forward, backward = np.where(flash, fused, plain), np.where(flash, _FLASH_BACKWARD * fused, 2.0 * plain)
    if not np.any(models.unattended > 0):
        return forward, backward
    moved = MIXER_PASSES * models.width * machines.value_bytes
    own = steps.micro_tokens / layouts.tp * (models.mixer_flops / rates.flash + moved / rates.hbm)
    other = models.unattended > 0
    return np.where(other, own, forward), np.where(other, 2.0 * own, backward)


def _stream(steps: Steps, rates: _Rates, fitted: Efficiencies) -> np.ndarray:
    """Norms, residuals, dropout: what moves the residual stream, and what makes narrow operands of it."""
    models, layouts, machines = steps.models, steps.layouts, steps.machines
    split = np.where(layouts.sequence_parallel > 0, layouts.tp, 1.0)
    residual = steps.micro_tokens / split * models.width * machines.value_bytes
    moved = fitted.by("elementwise", FRAMEWORKS, layouts.framework) * residual
    dense = np.where(models.num_experts > 0, 0.0, models.ffn_width)
    operands = residual + steps.micro_tokens * dense / layouts.tp
    return (moved + np.where(machines.format > 0, fitted["quantise"], 0.0) * operands) / rates.hbm


def _inside(steps: Steps, fitted: Efficiencies) -> np.ndarray:
    """Bytes moved per value inside a feed-forward network."""
    fused = fitted.by("elementwise", FRAMEWORKS, steps.layouts.framework) / fitted["elementwise"]
    return fitted["elementwise_ffn"] * fused * steps.machines.value_bytes * steps.models.projections / 2


def _ffn_elementwise(steps: Steps, rates: _Rates, fitted: Efficiencies) -> np.ndarray:
    """Activation functions inside a dense feed-forward network."""
    models, layouts = steps.models, steps.layouts
    return _inside(steps, fitted) * steps.micro_tokens * models.ffn_width / layouts.tp / rates.hbm


def _experts_elementwise(steps: Steps, rates: _Rates, fitted: Efficiencies) -> np.ndarray:
    """Sorting tokens by expert and back, and activation functions inside the experts."""
    models, machines = steps.models, steps.machines
    tokens = routed_tokens(steps)
    sorting = fitted["permute"] * tokens * models.width * machines.value_bytes
    return (sorting + _inside(steps, fitted) * tokens * models.expert_ffn_width) / rates.hbm
