"""Dynamic convolution: each token writes the kernel it is convolved with (Wu et al. 2019, arXiv:1901.10430).

A gated projection, then in each head a softmax over a few taps, whose scores the token gives, weighs the tokens before
(section 4; figure 2c).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import override

from ....reading.fields import FieldError, Whole, whole_schema
from ..mixer import Kept, Mixer, MixerFlops, Weights, fits_context
from ..registry import register_mixer

__all__ = ["DynamicConvolution"]


@register_mixer("dynamic_conv")
class DynamicConvolution(Mixer):
    """Kernels of `taps` in each of the shape's heads; the channels of a head share theirs."""

    has_heads = True

    taps: Annotated[Whole, Field(ge=2, le=1024), whole_schema(2, 1024)] = Field(
        default=15, description="Places that a kernel reaches, its own included."
    )

    @override
    def check(self, shape):
        fits_context("taps", self.taps, shape)
        if shape.width % shape.heads:
            raise FieldError("heads", f"got {shape.heads}; expected a divisor of width {shape.width}")

    @override
    def reach(self, shape):
        return self.taps

    @override
    def weights(self, shape):
        return Weights(3 * shape.width**2 + shape.width * shape.heads * self.taps, 0)

    @override
    def flops(self, shape):
        convolution = 2 * shape.width * self.taps
        return MixerFlops(
            products=2 * self.weights(shape).matrices + convolution,
            masked=2 * shape.width * (shape.context_length - self.taps),
        )

    @override
    def kept(self, shape):
        return Kept(fixed=(self.taps - 1) * shape.width)
