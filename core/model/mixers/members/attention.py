"""Causal softmax attention: multi-head, grouped or multi-query, or latent (MLA). Its fields are the shape's own."""

from __future__ import annotations

from typing_extensions import override

from ..mixer import Kept, Mixer, MixerFlops, Shape, Weights, norm_size
from ..registry import register_mixer

__all__ = ["ATTENTION", "Attention", "attention_matrices", "attention_widths"]


@register_mixer("attention")
class Attention(Mixer):
    """Scores of every earlier token.

    FLOPs: 2 per weight, and 2·heads·(key width + value width) per key for scores and weighted values; under a causal
    mask a token of a sequence of T meets (T + 1) / 2 keys on average.
    """

    has_heads = True

    @override
    def parts(self, shape):
        return shape.heads

    @override
    def weights(self, shape):
        if shape.kv_lora_rank is not None:
            return _latent_weights(shape, shape.kv_lora_rank, shape.qk_rope_width or 0)
        head_width, _ = attention_widths(shape)
        queries, keys = shape.heads * head_width, (shape.kv_heads or shape.heads) * head_width
        qkv_biases = shape.biases if shape.qkv_biases is None else shape.qkv_biases
        vectors = (queries + 2 * keys) * qkv_biases + shape.width * shape.biases
        return Weights(shape.width * (2 * queries + 2 * keys), vectors)

    @override
    def flops(self, shape):
        per_key = 2 * shape.heads * sum(attention_widths(shape))
        scores = per_key * (shape.context_length + 1) / 2
        return MixerFlops(
            products=2 * self.weights(shape).matrices + scores, masked=per_key * (shape.context_length - 1) / 2
        )

    @override
    def kept(self, shape):
        if shape.kv_lora_rank is not None:
            return Kept(per_token=shape.kv_lora_rank + (shape.qk_rope_width or 0))
        return Kept(per_token=(shape.kv_heads or shape.heads) * sum(attention_widths(shape)))


ATTENTION = Attention()
"""It has no settings of its own, so there is one."""


def attention_widths(shape: Shape) -> tuple[int, int]:
    """Width of a key and of a value in one head, as attention scores see them."""
    if shape.kv_lora_rank is not None:
        return (shape.qk_nope_width or 0) + (shape.qk_rope_width or 0), shape.v_head_width or 0
    width = shape.head_width or shape.width // shape.heads
    return width, width


def attention_matrices(shape: Shape) -> tuple[tuple[int, int, int], ...]:
    """Matrices of one attention layer: inputs, outputs, and what tensor parallelism splits.

    That is 1 for the outputs, 2 for the inputs, 0 for neither. Queries, keys and values count as one matrix, as
    frameworks fuse them.
    """
    key, value = attention_widths(shape)
    if shape.kv_lora_rank is None:
        fused = (shape.heads + 2 * (shape.kv_heads or shape.heads)) * key
        return ((shape.width, fused, 1), (shape.heads * value, shape.width, 2))
    rank, rope = shape.kv_lora_rank, shape.qk_rope_width or 0
    queries: tuple[tuple[int, int, int], ...] = ((shape.width, shape.heads * key, 1),)
    if shape.q_lora_rank is not None:
        queries = ((shape.width, shape.q_lora_rank, 0), (shape.q_lora_rank, shape.heads * key, 1))
    keys = ((shape.width, rank + rope, 0), (rank, shape.heads * (key - rope + value), 1))
    return (*queries, *keys, (shape.heads * value, shape.width, 2))


def _latent_weights(shape: Shape, kv_rank: int, rope_width: int) -> Weights:
    """Weights of multi-head latent attention: DeepSeek-V2 (arXiv:2405.04434), section 2.1 and appendix C."""
    key_width, value_width = attention_widths(shape)
    queries = shape.width * shape.heads * key_width
    if shape.q_lora_rank is not None:
        queries = shape.q_lora_rank * (shape.width + shape.heads * key_width)
    down = shape.width * (kv_rank + rope_width)
    up = kv_rank * shape.heads * (key_width - rope_width + value_width)
    output = shape.heads * value_width * shape.width
    return Weights(queries + down + up + output, norm_size(shape.norm, (shape.q_lora_rank or 0) + kv_rank))
