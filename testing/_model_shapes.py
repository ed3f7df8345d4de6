"""What the checks of architectures are made on: models in many shapes, with weights, tokens and scores of theirs.

Letters in shapes: K copies, B sequences, T tokens, V vocabulary, P numbers in the weights of one copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from ..core.errors import ConfigError
from ..core.model.architecture import Architecture
from ..core.model.mixers.registry import mixers
from ..proxies.engine._buffers import WeightLayout
from ..proxies.models import ProxyModel, build_model, models

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

_PLAIN = {"layers": 2, "width": 32, "heads": 2, "ffn_width": 48, "vocab_size": 61, "context_length": 16}
"""The shape that every architecture must be able to have, with its own mixer; that has one head if it has none."""

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
    "more taps than tokens": {"short_conv": 19},
    "experts": {"num_experts": 4, "experts_per_token": 2},
    "one expert a token": {"num_experts": 3, "experts_per_token": 1, "ffn_gated": False, "tied_embeddings": True},
    "shared experts": {"num_experts": 4, "experts_per_token": 2, "shared_experts": 2, "expert_ffn_width": 24},
    "some layers of experts": {
        "layers": 4,
        "num_experts": 2,
        "experts_per_token": 1,
        "dense_layers": 1,
        "moe_every": 2,
    },
    "layer norm": {"norm": "layer"},
    "biases": {"biases": True},
    "learned positions": {"learned_positions": True},
    "no positions": {"rotary_positions": False, "short_conv": 2},
}
"""What is different from the plain shape, by name. An architecture refuses those that it can't have."""


def shape_of(name: str, **more: Any) -> Architecture:
    """The shape of this name in `SHAPES`, with `more` in place of what it says. Raises ConfigError if there is none."""
    stated = {**_PLAIN, **SHAPES[name], **more}
    if not mixers()[stated.get("mixer", "attention")].has_heads and stated["heads"] == _PLAIN["heads"]:
        del stated["heads"]
    try:
        return Architecture(**stated)
    except ValidationError as error:
        raise ConfigError(f"shape {name}: {error}") from None


def build(name: str, shape: str, **more: Any) -> ProxyModel:
    """An architecture in a shape of `SHAPES`, with `more` in place of what it says, and its own mixer.

    Raises ConfigError if it can't have it.
    """
    known = models()
    return build_model(name, shape_of(shape, mixer=known[name].mixer, **more))


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
