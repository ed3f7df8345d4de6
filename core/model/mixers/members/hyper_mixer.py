"""Causal HyperMixer: a token-mixing network that the tokens themselves write (Mai et al. 2022, arXiv:2203.03691).

Each token, with its place, writes a row of both matrices of the network (equation 3 and section 3). Causal: the inner
layer at a place sums rows and values up to there, and its own row of the second matrix reads it,

    y_t = w_t · gelu(Σ_{s ≤ t} u_s ⊗ v_s / √(t + 1)),

in each head by itself: as much state as linear attention keeps.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import override

from ....reading.fields import FieldError, Whole, whole_schema
from ..mixer import Kept, Mixer, MixerFlops, Weights
from ..registry import register_mixer

__all__ = ["HyperMixer"]


@register_mixer("hyper_mixer")
class HyperMixer(Mixer):
    """Rows of both matrices and values from projections of the token; a norm of what is read, and a last projection."""

    head_width: Annotated[Whole, Field(ge=1, le=1024), whole_schema(1, 1024)] = Field(
        default=8, description="Size of one head's rows and values; a divisor of the width."
    )

    @override
    def check(self, shape):
        if shape.width % self.head_width:
            raise FieldError("head_width", f"got {self.head_width}; expected a divisor of width {shape.width}")

    @override
    def parts(self, shape):
        return shape.width // self.head_width

    @override
    def weights(self, shape):
        return Weights(4 * shape.width**2, shape.width)

    @override
    def flops(self, shape):
        # outer products, their sum, and the reading of it: 4 a number of the state
        return MixerFlops(products=8 * shape.width**2, other=4 * shape.width * self.head_width)

    @override
    def kept(self, shape):
        return Kept(fixed=shape.width * self.head_width)
