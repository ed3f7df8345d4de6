"""What an architecture is to the engine: a list of weights, and losses computed from them, for several copies at once;
to whoever samples: steps that take one token of each sequence more.

A model holds no weights. The engine keeps those of all copies in one flat buffer and hands them in by name, each with
a leading axis of copies. Letters in shapes: K copies, B sequences, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from ...core.errors import ConfigError
from ...core.model.architecture import Architecture
from ...core.units import shown

__all__ = ["BASE_WIDTH", "ProxyModel", "Role", "Weight"]

BASE_WIDTH = 64
"""Width at which a recipe's learning rate is meant; other widths scale from here."""

Role = Literal["embedding", "hidden", "head", "vector"]
"""What a weight is, which decides how its learning rate scales with width and whether it decays."""


class Weight(NamedTuple):
    """One weight of a model: its shape in one copy, its role, and the deviation of its normal initial values.

    `start` is their mean: 1 for gains, else 0 or, where every number has a start of its own, a tensor of `shape`.
    `fan_in` says how many inputs a hidden matrix sums over where that isn't the model's width, as in one that mixes
    the tokens of a context: its learning rate then doesn't follow the width.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    deviation: float
    start: float | Tensor = 0.0
    fan_in: int | None = None

    @property
    def size(self) -> int:
        """Numbers in it, per copy."""
        return math.prod(self.shape)


class ProxyModel(ABC):
    """An architecture in one shape. A member of the registry is a subclass in a file of its own.

    Learning rates follow maximal-update parametrisation for Adam (Yang et al. 2022, arXiv:2203.03466, table 3):
    hidden matrices and the output head scale as 1 / width (or their own `fan_in`), embeddings and vectors don't, so
    that one base learning rate serves a ladder of widths.
    """

    name: ClassVar[str] = ""
    mixer: ClassVar[str] = "attention"
    """The token mixer of the shapes that it has, by its name in `core.model.mixers`."""
    cached: ClassVar[bool] = False
    """Whether `step` keeps what it needs of earlier tokens. Without, it computes every one of them again, so that a
    sequence of T tokens costs T / 2 times as much (`proxies.sampling.cost`)."""

    def __init__(self, shape: Architecture) -> None:
        """Raise ConfigError if this architecture can't have the shape."""
        if shape.mixer.name != self.mixer:
            raise ConfigError(f"shape.mixer: got {shown(shape.mixer.name)}; a proxy {self.name} has {self.mixer}")
        self.shape = shape

    @property
    @abstractmethod
    def weights(self) -> Sequence[Weight]:
        """Every weight of one copy; their sizes add up to `shape.params_total`."""

    @abstractmethod
    def logits(self, weights: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
        """Return scores of the next token, (K, B, T, V), from weights (K, …) and tokens (K, B, T); causal in T."""

    def losses(self, weights: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
        """Return the mean cross-entropy of each sequence, nats per token, (K, B) fp32; tokens are (K, B, T + 1)."""
        return cross_entropy(self.logits(weights, tokens[..., :-1]), tokens[..., 1:])

    def training_losses(self, weights: Mapping[str, Tensor], tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return `losses`, (K, B), and what training adds to each copy's mean of them, (K,), or None.

        Validation and curves never see the second, such as what keeps the load of experts even.
        """
        return self.losses(weights, tokens), None

    def diagnostics(self, weights: Mapping[str, Tensor], tokens: Tensor) -> dict[str, Tensor]:
        """Return what else a validation notes of each copy, by name, (K,) each. Default: nothing.

        Tokens are (K, B, T + 1), as for `losses`; a batch of every validated domain is looked at.
        """
        return {}

    def start(self, weights: Mapping[str, Tensor], copies: int, batch: int, length: int) -> Any:
        """Return the state of B = `batch` sequences of each of K = `copies` before their first token.

        It has room for `length` tokens each, at most the context, and belongs to these weights, (K, …).
        """
        device = next(iter(weights.values())).device
        return _Prefix(torch.empty((copies, batch, length), dtype=torch.int64, device=device))

    def step(self, weights: Mapping[str, Tensor], state: Any, tokens: Tensor) -> Tensor:
        """Take the next token of every sequence, (K, B); return scores of the one after it, (K, B, V).

        They are those of `logits` at that place. `state` is changed. With `cached` a member overrides this and `start`.
        """
        state.tokens[..., state.count] = tokens
        state.count += 1
        return self.logits(weights, state.tokens[..., : state.count])[:, :, -1]

    def compile(self) -> None:
        """Compile what repeats. By default all of `logits`; override to compile a block once for all layers."""
        self.logits = torch.compile(self.logits, dynamic=False)

    def learning_rate_scale(self, weight: Weight) -> float:
        """Return what a weight multiplies the recipe's learning rate by."""
        if weight.role not in ("hidden", "head"):
            return 1.0
        return BASE_WIDTH / (weight.fan_in or self.shape.width)


@dataclass
class _Prefix:
    """The state of a model without a cache: its tokens, (K, B, T), and how many there are so far."""

    tokens: Tensor
    count: int = 0


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over T of the cross-entropy in nats, (K, B) fp32, of logits (K, B, T, V), targets (K, B, T)."""
    scores = logits.float()
    right = scores.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return (scores.logsumexp(-1) - right).mean(-1)
