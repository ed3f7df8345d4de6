"""What a token mixer is to counts: its own settings, the weights of one layer, their FLOPs, what generating keeps.

How it computes is in the file of `proxies/models` with the same name; conformance holds the two against each other.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, NamedTuple, Protocol

from ...reading.fields import FieldError, Frozen

__all__ = ["Kept", "Mixer", "MixerFlops", "Shape", "Weights", "fits_context", "fourier_flops", "norm_size"]


class Shape(Protocol):
    """What mixers read of the shape that they are in (`Architecture`)."""

    @property
    def layers(self) -> int:
        """Blocks."""
        ...

    @property
    def width(self) -> int:
        """Size of the residual stream."""
        ...

    @property
    def heads(self) -> int:
        """Heads; 1 for mixers that have none."""
        ...

    @property
    def kv_heads(self) -> int | None:
        """Key-value heads; None for as many as heads."""
        ...

    @property
    def head_width(self) -> int | None:
        """Size of one head; None for width / heads."""
        ...

    @property
    def context_length(self) -> int:
        """Tokens of a training sequence."""
        ...

    @property
    def norm(self) -> str:
        """Kind of norm: rms, layer or none."""
        ...

    @property
    def biases(self) -> bool:
        """Whether linear layers have biases."""
        ...

    @property
    def qkv_biases(self) -> bool | None:
        """Whether those of queries, keys and values do; None for as others."""
        ...

    @property
    def q_lora_rank(self) -> int | None:
        """Latent attention: rank of queries."""
        ...

    @property
    def kv_lora_rank(self) -> int | None:
        """Latent attention: rank of keys and values."""
        ...

    @property
    def qk_rope_width(self) -> int | None:
        """Latent attention: rotary part of a head."""
        ...

    @property
    def qk_nope_width(self) -> int | None:
        """Latent attention: part of a head without rotation."""
        ...

    @property
    def v_head_width(self) -> int | None:
        """Latent attention: value part of a head."""
        ...


class Weights(NamedTuple):
    """Parameters in matrices and in vectors: biases, norms, and what else weight decay leaves alone."""

    matrices: int
    vectors: int


class MixerFlops(NamedTuple):
    """FLOPs of one layer's mixer for one token of a forward pass, averaged over a sequence of the context's length.

    `products` are of matrix products, less what a causal mask leaves out; `other` of the rest that counts, such as
    Fourier transforms and convolutions by taps; `masked` is what an implementation that computes whole squares does
    beyond `products`, and isn't part of the total; nor is `shared`, matrix products for each place of a sequence that
    a whole batch shares, such as those that make the filters of long convolutions: of a batch, next to nothing.
    """

    products: float
    other: float = 0.0
    masked: float = 0.0
    shared: float = 0.0

    @property
    def total(self) -> float:
        """What the mixer costs."""
        return self.products + self.other


class Kept(NamedTuple):
    """Numbers that one layer keeps of a sequence to generate its next token: for each token so far, and in any case."""

    per_token: float = 0.0
    fixed: float = 0.0

    def of(self, tokens: float) -> float:
        """Numbers that are kept of this many tokens."""
        return self.fixed + self.per_token * tokens


class Mixer(Frozen):
    """A token mixer with its settings. A member of the registry is a subclass in a file of its own.

    A configuration states it as `mixer: hyena`, or with settings as `mixer: {hyena: {filter_width: 32}}`.
    """

    name: ClassVar[str] = ""
    has_heads: ClassVar[bool] = False
    """Whether the shape's `heads` say something of it; else they are 1."""
    any_context: ClassVar[bool] = True
    """Whether a model takes sequences longer than those that it was trained on."""

    def check(self, shape: Shape) -> None:
        """Raise FieldError, with a key of its own or of the shape, if it can't be in this shape. Default: any."""

    def reach(self, shape: Shape) -> int | None:
        """How many places a layer sees, its own included; None (the default) where it sees all that came before."""
        return None

    def parts(self, shape: Shape) -> int:
        """In how many equal parts the mixer can be split over devices (tensor parallelism); default: 1, not at all."""
        return 1

    @abstractmethod
    def weights(self, shape: Shape) -> Weights:
        """Parameters of one layer's mixer."""

    @abstractmethod
    def flops(self, shape: Shape) -> MixerFlops:
        """FLOPs of one layer's mixer for one token, forward."""

    @abstractmethod
    def kept(self, shape: Shape) -> Kept:
        """What one layer keeps of a sequence to generate with."""


def fits_context(key: str, taps: int, shape: Shape) -> None:
    """Raise FieldError for a kernel, stated as the mixer's field `key`, that is longer than the context."""
    if taps > shape.context_length:
        raise FieldError(key, f"got {taps}; expected at most context_length {shape.context_length}")


def fourier_flops(context_length: int) -> float:
    """FLOPs for one token and channel of a convolution over the whole context by Fourier transforms.

    A real transform of n numbers costs 2.5·n·log2(n), half of Cooley and Tukey's 5·n·log2(n); a channel of T tokens
    takes two of 2·T numbers, and 6 for each complex product of the spectra.

    >>> fourier_flops(1024)
    116.0
    """
    transforms = 2 * 2.5 * 2 * math.log2(2 * context_length)
    return transforms + 6.0


def norm_size(norm: str, width: int) -> int:
    """Parameters of one norm over `width` numbers."""
    return width * {"rms": 1, "layer": 2, "none": 0}[norm]
