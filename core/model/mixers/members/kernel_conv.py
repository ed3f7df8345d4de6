"""Attention over convolution kernels: a few kernels, mixed anew for each token (Chen et al. 2020, arXiv:1912.03458).

The weights of the mixture come from the mean of all inputs so far, through a narrow layer (section 3.2, with a causal
mean in place of global pooling); each channel is convolved by itself, between projections, and gated.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import override

from ....reading.fields import Whole, whole_schema
from ..mixer import Kept, Mixer, MixerFlops, Shape, Weights, fits_context
from ..registry import register_mixer

__all__ = ["KernelConvolution"]


@register_mixer("kernel_conv")
class KernelConvolution(Mixer):
    """`kernels` of `taps` a channel, from which every token has one mixed: 2 FLOPs for each of their numbers."""

    kernels: Annotated[Whole, Field(ge=2, le=64), whole_schema(2, 64)] = Field(
        default=4, description="Kernels that are mixed."
    )
    taps: Annotated[Whole, Field(ge=2, le=1024), whole_schema(2, 1024)] = Field(
        default=8, description="Places that a kernel reaches, its own included."
    )

    def squeezed(self, shape: Shape) -> int:
        """Width of the narrow layer between the mean and the mixture's weights: a quarter, as in the paper."""
        return max(1, shape.width // 4)

    @override
    def check(self, shape):
        fits_context("taps", self.taps, shape)

    @override
    def weights(self, shape):
        attention = self.squeezed(shape) * (shape.width + self.kernels)
        return Weights(3 * shape.width**2 + attention, self.kernels * self.taps * shape.width)

    @override
    def flops(self, shape):
        mixing = 2 * self.kernels * self.taps * shape.width
        return MixerFlops(products=2 * self.weights(shape).matrices + mixing, other=2 * self.taps * shape.width)

    @override
    def kept(self, shape):
        # the convolution's last inputs, and the sum of all inputs
        return Kept(fixed=self.taps * shape.width)
