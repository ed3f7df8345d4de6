"""`ModelFamily`: the models of a ladder by width or size; width alone grows, heads and feed-forward in proportion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from ...core.errors import ConfigError
from ...core.model.architecture import Architecture
from ...core.model.mixers.members.attention import ATTENTION
from ...core.model.mixers.mixer import Mixer
from ...core.reading.config_messages import first_problem
from ...core.reading.fields import FieldError
from ...core.units import format_count

__all__ = ["ModelFamily"]

_STEP = 8
"""Widths are multiples of this at least: what vector units and tensor cores work on."""

_WIDEST = 65_536
_SMALLEST_EXCESS = 1.25
"""A size is refused where even the narrowest model has this many times the parameters asked for."""

_IN_SPACES = {
    "heads": "head_width",
    "learned_positions": "positions",
    "rotary_positions": "positions",
    "ffn_width": "ffn_ratio",
    "expert_ffn_width": "expert_ffn_ratio",
    "layers": "depth",
    "width": "widths",
}
"""Keys of an architecture, and of a space what they are made of; others have the same name."""


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """What the models of a ladder have in common; the fields are those of `ProxySpace` with the same names."""

    vocab_size: int
    context_length: int
    depth: int
    head_width: int
    ffn_ratio: float
    short_conv: int
    tied_embeddings: bool
    mixer: Mixer = ATTENTION
    num_experts: int | None = None
    experts_per_token: int | None = None
    expert_ffn_ratio: float | None = None
    positions: Literal["rotary", "learned", "none"] | None = None

    def of_width(self, width: int) -> Architecture:
        """Return the model of a width, which is a multiple of 8.

        The number of heads is the divisor of the width whose heads come nearest to `head_width`, in ratio; heads
        have an even width, as rotary positions need.

        Raises FieldError, with the key of a space, where there is no such model.

        >>> ModelFamily(256, 128, 4, 32, 2.5, 0, False).of_width(96).heads
        3
        """
        try:
            return self._of_width(width)
        except ValidationError as error:
            problem = first_problem(error, Architecture, "")
            key, *inner = problem.key.removeprefix(".").split(".")
            raise FieldError(".".join((_IN_SPACES.get(key, key), *inner)), problem.message) from None

    def check(self, widths: Sequence[int] | None) -> None:
        """Raise FieldError, with the key of a space, where there are no such models of these widths, or of any."""
        for width in widths or (self._step(),):
            self.of_width(width)

    def _step(self) -> int:
        """What the widths of sizes are multiples of: 8, or with a number among the mixer's settings their multiple.

        The first of which there is a model; where there is none, what all those numbers divide, if one may be so wide.
        """
        counts = [value for value in self.mixer.model_dump().values() if isinstance(value, int) and value > 0]
        roomy = min(math.lcm(_STEP, *counts), _WIDEST)
        for step in sorted({_STEP, *(math.lcm(_STEP, count) for count in counts)}):
            if step < roomy:
                try:
                    self.of_width(step)
                except FieldError:
                    continue
                return step
        return roomy

    def _of_width(self, width: int) -> Architecture:
        rotary = self.mixer == ATTENTION and self.positions not in (None, "learned")
        return Architecture(
            layers=self.depth,
            width=width,
            mixer=self.mixer,
            heads=self._heads(width) if self.mixer.has_heads else 1,
            ffn_width=_inner(self.ffn_ratio * width),
            vocab_size=self.vocab_size,
            context_length=self.context_length,
            short_conv=self.short_conv,
            tied_embeddings=self.tied_embeddings,
            num_experts=self.num_experts,
            experts_per_token=self.experts_per_token,
            expert_ffn_width=self._expert_width(width),
            learned_positions=self.positions == "learned",
            rotary_positions=self.positions == "rotary" if rotary else None,
        )

    def _expert_width(self, width: int) -> int | None:
        """Inner size of one expert; None in a dense model."""
        ratio = self.expert_ffn_ratio
        if ratio is None and self.num_experts is not None:
            ratio = self.ffn_ratio / (self.experts_per_token or 1)
        return None if ratio is None else _inner(ratio * width)

    def of_size(self, params: float) -> Architecture:
        """Return the model whose parameters come nearest to `params`; of two, the smaller.

        Those that a token meets count, embeddings included: a mixture of experts is as large as a dense model of equal
        cost.

        Raises ConfigError where the narrowest model is larger by more than a quarter, and where the widest one is
        smaller.
        """
        step = self._step()
        narrowest = self.of_width(step)
        if narrowest.params_active > _SMALLEST_EXCESS * params:
            raise ConfigError(
                f"got {format_count(params)}; the smallest model of depth {self.depth} over {self.vocab_size} tokens "
                f"has {format_count(narrowest.params_active)} parameters: ask for more, or for a lower depth"
            )
        low, high = 1, _WIDEST // step
        if self.of_width(high * step).params_active < params:
            raise ConfigError(f"got {format_count(params)}; expected what a model of width {high * step} has, at most")
        # Parameters grow with the width: find the first width that reaches the target.
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.of_width(middle * step).params_active >= params else (middle + 1, high)
        nearby = [self.of_width(times * step) for times in (max(1, low - 1), low)]
        return min(nearby, key=lambda shape: abs(shape.params_active - params))

    def _heads(self, width: int) -> int:
        divisors = [heads for heads in range(1, width // 2 + 1) if width % heads == 0 and width // heads % 2 == 0]
        return min(divisors, key=lambda heads: abs(math.log(width / heads / self.head_width)))


def _inner(size: float) -> int:
    """The multiple of 8 nearest to an inner size, 8 at least."""
    return _STEP * max(1, math.floor(size / _STEP + 0.5))
