"""Hyena: a long convolution, its filter written by a small network, between gates (Poli et al. 2023, arXiv:2302.10866).

Order 2 as in the authors' models: queries x, keys and values come from one projection and a convolution of three taps;
y = x · (h * (k · v) + s · (k · v)), where the filter h of each channel is a network of the place times a decaying
window (sections 3.2 and 3.3).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import override

from ....reading.fields import Whole, whole_schema
from ..mixer import Kept, Mixer, MixerFlops, Weights, fits_context, fourier_flops
from ..registry import register_mixer

__all__ = ["Hyena"]


@register_mixer("hyena")
class Hyena(Mixer):
    """Order 2: one long convolution a layer, by Fourier transforms (`fourier_flops`)."""

    filter_width: Annotated[Whole, Field(ge=1, le=4096), whole_schema(1, 4096)] = Field(
        default=32, description="Inner size of the network that writes the filters."
    )
    filter_bands: Annotated[Whole, Field(ge=1, le=256), whole_schema(1, 256)] = Field(
        default=8, description="Frequencies by which the network sees a place, a sine and a cosine each."
    )
    taps: Annotated[Whole, Field(ge=1, le=64), whole_schema(1, 64)] = Field(
        default=3, description="Taps of the short convolution of queries, keys and values."
    )

    @property
    def features(self) -> int:
        """Numbers by which the network sees a place: where it is, and sines and cosines of it."""
        return 1 + 2 * self.filter_bands

    @override
    def check(self, shape):
        fits_context("taps", self.taps, shape)

    @override
    def parts(self, shape):
        return shape.width

    @override
    def weights(self, shape):
        network = self.filter_width * (self.features + self.filter_width + shape.width)
        matrices = 4 * shape.width**2 + network
        # taps; biases of the network's two inner layers; how fast each channel's window decays, and s
        return Weights(matrices, 3 * self.taps * shape.width + 2 * self.filter_width + 2 * shape.width)

    @override
    def flops(self, shape):
        taps, gates, skip = 6 * self.taps, 2, 2
        return MixerFlops(
            products=8 * shape.width**2,
            other=shape.width * (fourier_flops(shape.context_length) + taps + gates + skip),
            shared=2 * self.filter_width * (self.features + self.filter_width + shape.width),
        )

    @override
    def kept(self, shape):
        # the convolution's inputs; the short one's last inputs
        return Kept(per_token=shape.width, fixed=3 * (self.taps - 1) * shape.width)
