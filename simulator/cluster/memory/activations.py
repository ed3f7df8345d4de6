"""Bytes of activations that a layer keeps for its backward pass, for one micro-batch on one device.

The itemisation is Korthikanti et al. 2022 (arXiv:2205.05198), section 4.1, extended to gated networks, grouped queries,
latent attention, experts and 8-bit operands. With fused attention its matrix of scores is never kept (Dao et al. 2022,
arXiv:2205.14135).

What PyTorch's trainers keep with selective recomputation is the policy of torchtitan's `op` option, as its source has
it: the outputs of attention and of every second matrix product, in the order in which they're computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..step_time.steps import FRAMEWORKS, Steps
from .kernels import compiled_shares, dropout_share

__all__ = ["LayerActivations", "layer_activations"]

_XLA = FRAMEWORKS.index("xla")
_FSDP = FRAMEWORKS.index("fsdp")
_ROUTER_BYTES = 12.0  # fp32 logits, probabilities and their gradient, per token and expert
_STATISTIC_BYTES = 4.0  # fp32 logarithm of the softmax's sum that fused attention keeps per token and head
_MASK_BYTES = 1.0
_MIXER_STREAMS = 4.0
"""Streams of the model's width that a mixer without attention keeps for its backward pass beside its projections and
its result; of the proxies, Hyena keeps five and H3 three."""
_KEPT_PRODUCTS = 0.5  # of a layer with experts: policies differ in which of their products are kept


@dataclass(frozen=True)
class LayerActivations:
    """Bytes of a layer. Arrays (n,)."""

    dense: np.ndarray
    """Everything that the backward pass of a dense layer needs."""
    experts: np.ndarray
    """The same of a layer with experts; as `dense` for models without."""
    dense_selective: np.ndarray
    """What is kept of a dense layer with selective recomputation."""
    experts_selective: np.ndarray
    """The same of a layer with experts."""
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
    # and two masks of dropout, after attention's projection and after the feed-forward network
    masks = 2.0 * _MASK_BYTES * values * dropout_share(steps) / split
    common = 2.0 * values * (wide + _operand(steps)) / split + _attention(steps) + masks
    scores, inside = _scores(steps), _ffn(steps, models.ffn_width)
    dense = common + scores + inside
    with_experts = bool(np.any(models.moe_layers > 0))
    routed = _experts(steps) if with_experts else inside
    experts = common + scores + routed
    layer_input = values * wide / split

    def selective(everything: np.ndarray, feed_forward: np.ndarray, products: np.ndarray) -> np.ndarray:
        """Megatron's sense: attention's core is computed anew. Compilers that choose what to keep by policy drop the
        inside of the feed-forward network first. PyTorch's trainers keep attention's output and some `products`."""
        by_policy = (layouts.framework == _XLA) & (layouts.flash_attention > 0)
        left = everything - np.where(by_policy, feed_forward + scores, scores)
        left = np.where(layouts.framework == _FSDP, layer_input + _result(steps) + products, left)
        return np.minimum(np.maximum(left, layer_input), everything)

    some = _KEPT_PRODUCTS * (_projections(steps) + _expert_products(steps)) if with_experts else np.zeros(())
    return LayerActivations(
        dense=dense,
        experts=experts,
        dense_selective=selective(dense, inside, _every_second_product(steps)),
        experts_selective=selective(experts, routed, some),
        layer_input=layer_input,
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
    """What attention's core keeps beside its operands and its result.

    Fused, a statistic per token and head. Else the softmax, and with dropout its mask and what that leaves: 5 bytes per
    pair in 16 bits. PyTorch's own operators keep as much without dropout, since they take softmax in 32 bits.
    """
    models, layouts, wide = steps.models, steps.layouts, steps.machines.value_bytes
    tokens = steps.micro_tokens * models.heads / layouts.tp
    more = np.where(layouts.framework == _FSDP, 1.0, dropout_share(steps))
    pairs = tokens * models.context_length * (wide + more * (wide + _MASK_BYTES))
    kept = np.where(layouts.flash_attention > 0, _STATISTIC_BYTES * tokens, pairs)
    # another mixer keeps what its gates and sums multiply, as many streams again as go into it
    streams = steps.micro_tokens * wide * _MIXER_STREAMS * models.width / layouts.tp
    return np.where(models.unattended > 0, streams, kept)


def _result(steps: Steps) -> np.ndarray:
    """Attention's output with its statistic."""
    models, tp = steps.models, steps.layouts.tp
    values = models.heads * models.value_width / tp
    return steps.micro_tokens * (steps.machines.value_bytes * values + _STATISTIC_BYTES * models.heads / tp)


def _projections(steps: Steps) -> np.ndarray:
    """Outputs of attention's matrix products; those that tensor parallelism sums up are split with the stream."""
    models, layouts = steps.models, steps.layouts
    split = np.where(layouts.sequence_parallel > 0, layouts.tp, 1.0)
    by = np.where(models.matrix_split == 1, layouts.tp, np.where(models.matrix_split == 2, split, 1.0))
    return steps.micro_tokens * steps.machines.value_bytes * (models.matrix_outputs / by).sum(axis=0)


def _every_second_product(steps: Steps) -> np.ndarray:
    """Outputs of the first, third, fifth and so on of a dense layer's matrix products, in the order of computation.

    Queries, keys and values are products of their own there. A compiler sees that the backward pass doesn't need the
    last product's output, which is only added to the stream; eager execution keeps it too.
    """
    models, layouts = steps.models, steps.layouts
    split = np.where(layouts.sequence_parallel > 0, layouts.tp, 1.0)
    stream, inside = models.width / split, models.ffn_width / layouts.tp
    queries = models.heads * models.key_width / layouts.tp
    values = models.kv_heads * models.value_width / layouts.tp
    last = (1.0 - compiled_shares(steps)[0]) * stream
    # q, (k,) v, (o,) then up, (gate,) down where gated, and up, (down) where not
    plain = queries + values + inside + np.where(models.projections > 1, last, 0.0)
    plain = steps.micro_tokens * steps.machines.value_bytes * plain
    if not np.any(models.latent > 0):
        return plain
    # latent attention's products follow its matrices: half of all outputs, on the average
    some = _KEPT_PRODUCTS * (_projections(steps) + _ffn_products(steps, models.ffn_width))
    return np.where(models.latent > 0, some, plain)


def _ffn_products(steps: Steps, width: np.ndarray) -> np.ndarray:
    """Outputs of a feed-forward network's matrix products."""
    models, layouts = steps.models, steps.layouts
    split = np.where(layouts.sequence_parallel > 0, layouts.tp, 1.0)
    values = models.projections * width / layouts.tp + models.width / split
    return steps.micro_tokens * steps.machines.value_bytes * values


def _expert_products(steps: Steps) -> np.ndarray:
    """Outputs of the matrix products of a layer with experts, routed ones and those that every token visits."""
    models = steps.models
    copies = steps.micro_tokens / steps.layouts.tp * models.experts_per_token
    routed = copies * (models.projections * models.expert_ffn_width + models.width) * steps.machines.value_bytes
    return routed + models.shared_experts * _ffn_products(steps, models.expert_ffn_width)


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
