"""What the checks of architectures are made on: models in many shapes, with weights, tokens and scores of theirs.

Letters in shapes: K copies, B sequences, T tokens, V vocabulary, P numbers in the weights of one copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..core.model.architecture import Architecture
from ..proxies.engine._buffers import WeightLayout
from ..proxies.models import ProxyModel, build_model

__all__ = [
    "SHAPES",
    "away_from_start",
    "build",
    "expecting",
    "random_tokens",
    "scores",
    "shape_of",
    "with_another_token",
]

_PLAIN = {"layers": 2, "width": 32, "heads": 2, "ffn_width": 48, "vocab_size": 61, "context_length": 12}
"""The shape that every architecture must be able to have."""

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "convolution": {"short_conv": 4},
    "tied": {"tied_embeddings": True, "short_conv": 4},
    "shared keys": {"heads": 4, "kv_heads": 2, "short_conv": 1},
    "one key head": {"heads": 4, "kv_heads": 1},
    "not gated": {"ffn_gated": False, "short_conv": 2},
    "wide heads": {"heads": 3, "head_width": 14, "short_conv": 4},
    "one layer": {"layers": 1},
    "odd depth": {"layers": 3, "width": 24, "ffn_width": 25, "vocab_size": 17, "short_conv": 4},
    "more taps than tokens": {"short_conv": 15},
    "experts": {"num_experts": 4, "experts_per_token": 2},
    "layer norm": {"norm": "layer"},
    "biases": {"biases": True},
    "learned positions": {"learned_positions": True},
}
"""What is different from the plain shape, by name. An architecture refuses those that it can't have."""


def shape_of(name: str, **more: Any) -> Architecture:
    """The shape of this name in `SHAPES`, with `more` in place of what it says."""
    return Architecture(**{**_PLAIN, **SHAPES[name], **more})


def build(name: str, shape: str) -> ProxyModel:
    """An architecture in a shape of `SHAPES`. Raises ConfigError if it can't have it."""
    return build_model(name, shape_of(shape))


def away_from_start(model: ProxyModel, seeds: list[int]) -> Tensor:
    """Weights away from where training starts, where parts such as a zero head hide the rest: (K, P) for K seeds."""
    layout = WeightLayout(model)
    flat = layout.initial(seeds)
    for copy, seed in enumerate(seeds):
        flat[copy] += 0.2 * torch.randn(layout.size, generator=torch.Generator().manual_seed(seed + 1000))
    return flat


def random_tokens(model: ProxyModel, copies: int, sequences: int = 3) -> Tensor:
    """Tokens drawn at random, (K, B, context_length + 1)."""
    size = (copies, sequences, model.shape.context_length + 1)
    return torch.randint(model.shape.vocab_size, size, generator=torch.Generator().manual_seed(0))


def with_another_token(model: ProxyModel, tokens: Tensor, at: int) -> Tensor:
    """Tokens (K, B, T), all the same but those at one position."""
    changed = tokens.clone()
    changed[..., at] = (changed[..., at] + 1) % model.shape.vocab_size
    return changed


def scores(model: ProxyModel, flat: Tensor, tokens: Tensor) -> Tensor:
    """Scores of the next token, (K, B, T, V), from weights (K, P) and tokens (K, B, T)."""
    with torch.no_grad():
        return model.logits(WeightLayout(model).split(flat), tokens)


@contextmanager
def expecting(what: str) -> Iterator[None]:
    """Say what was expected before torch says how far numbers are apart."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"expected {what}: {error}") from None
