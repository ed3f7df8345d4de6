"""Bytes of activations that a layer keeps for its backward pass, for one micro-batch on one device.

The itemisation is Korthikanti et al. 2022 (arXiv:2205.05198), section 4.1, without dropout, extended to gated networks,
grouped queries, latent attention, experts and 8-bit operands. With fused attention its matrix of scores is never kept
(Dao et al. 2022, arXiv:2205.14135).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..step_time.steps import FRAMEWORKS, Steps

__all__ = ["LayerActivations", "layer_activations"]

_XLA = FRAMEWORKS.index("xla")
_ROUTER_BYTES = 12.0  # fp32 logits, probabilities and their gradient, per token and expert


@dataclass(frozen=True)
class LayerActivations:
    """Bytes of a layer. Arrays (n,)."""

    dense: np.ndarray
    """Everything that the backward pass of a dense layer needs."""
    experts: np.ndarray
    """The same of a layer with experts; as `dense` for models without."""
    recomputable: np.ndarray
    """What selective recomputation leaves out of either."""
    layer_input: np.ndarray
    """What is kept of a layer that is recomputed in full."""
    stream: np.ndarray
    """The residual stream, whole even where sequence parallelism splits it."""


def layer_activations(steps: Steps) -> LayerActivations:
    """Activations of a dense layer and of one with experts."""
    models, layouts, wide = steps.models, steps.layouts, steps.machines.value_bytes
    split = np.where(layouts.sequence_parallel > 0, layouts.tp, 1.0)
    values = steps.micro_tokens * models.width
    # two norms: their inputs, and their outputs, which are operands of matrix products
    common = 2.0 * values * (wide + _operand(steps)) / split + _attention(steps)
    scores, inside = _scores(steps), _ffn(steps, models.ffn_width)
    routed = _experts(steps) if np.any(models.moe_layers > 0) else inside
    # Compilers that choose what to keep by policy drop the inside of the feed-forward network first.
    compiled = (layouts.framework == _XLA) & (layouts.flash_attention > 0)
    share = models.moe_layers / models.layers
    return LayerActivations(
        dense=common + scores + inside,
        experts=common + scores + routed,
        recomputable=np.where(compiled, (1.0 - share) * inside + share * routed, scores),
        layer_input=values * wide / split,
        stream=values * wide,
    )


def _operand(steps: Steps) -> np.ndarray:
    """Bytes of a value that is kept as an operand of a matrix product."""
    return np.minimum(steps.machines.narrow_bytes, steps.machines.value_bytes)


def _attention(steps: Steps) -> np.ndarray:
    """Queries, keys, values and the result; of latent attention also what lies between its matrices.

    Rotated queries take the place of those that were projected; values stay where they were projected.
    """
    models, layouts, wide = steps.models, steps.layouts, steps.machines.value_bytes
    outputs = models.matrix_outputs / np.where(models.matrix_split == 1, layouts.tp, 1.0)
    projected = np.where(models.matrix_split == 2, 0.0, outputs).sum(axis=0)
    latents = np.where(models.matrix_split == 0, outputs, 0.0).sum(axis=0)  # kept again once they are normalised
    assembled = models.heads * models.key_width / layouts.tp + latents  # keys: rotated parts joined to the others
    result = models.heads * models.value_width / layouts.tp
    narrow = np.where(steps.machines.narrow_bytes < wide, _operand(steps), 0.0)  # a copy for the next product
    values = projected + np.where(models.latent > 0, assembled, 0.0)
    return steps.micro_tokens * (wide * (values + result) + narrow * result)


def _scores(steps: Steps) -> np.ndarray:
    """The matrix of scores, its softmax and mask where attention isn't fused: 5 bytes per pair in 16 bits."""
    models, layouts = steps.models, steps.layouts
    pairs = steps.micro_tokens * models.context_length * models.heads / layouts.tp
    return np.where(layouts.flash_attention > 0, 0.0, pairs * (2.0 * steps.machines.value_bytes + 1.0))


def _ffn(steps: Steps, width: np.ndarray) -> np.ndarray:
    """Inside of a feed-forward network of inner `width`: before its activation function, and after."""
    inside = steps.machines.value_bytes * steps.models.projections + _operand(steps)
    return steps.micro_tokens * width / steps.layouts.tp * inside


def _experts(steps: Steps) -> np.ndarray:
    """Copies of tokens sent to a device's experts, the inside of those, and the router's table.

    Results are weighted inside the experts, so that they aren't kept.
    """
    models, layouts, wide = steps.models, steps.layouts, steps.machines.value_bytes
    copies = steps.micro_tokens / layouts.tp * models.experts_per_token
    inside = models.expert_ffn_width * (wide * models.projections + _operand(steps))
    routed = copies * (inside + models.width * _operand(steps))
    router = _ROUTER_BYTES * steps.micro_tokens * models.num_experts
    split = np.where(layouts.sequence_parallel > 0, layouts.tp, 1.0)
    return routed + router / split + models.shared_experts * _ffn(steps, models.expert_ffn_width)
