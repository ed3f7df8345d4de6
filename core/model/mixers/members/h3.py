"""H3: two state-space models between gates (Fu et al. 2023, arXiv:2212.14052).

Of queries, keys and values from one projection, y = q · (diagonal(shift(k) · v)): a shift state-space model remembers
the last `taps` keys, each weighed by a number of its own, and a diagonal one (S4D: Gu et al. 2022, arXiv:2206.11893)
sums its inputs with decays and rotations (section 3.1, algorithm 1). Both also pass their input on, weighed (D of their
equations).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import override

from ....reading.fields import Whole, whole_schema
from ..mixer import Kept, Mixer, MixerFlops, Weights, fits_context, fourier_flops
from ..registry import register_mixer

__all__ = ["H3"]


@register_mixer("h3")
class H3(Mixer):
    """A shift of `taps` and a diagonal state of `states` complex numbers for each channel.

    The diagonal model is a long convolution in training, by Fourier transforms (`fourier_flops`).
    """

    taps: Annotated[Whole, Field(ge=1, le=1024), whole_schema(1, 1024)] = Field(
        default=8, description="Keys that the shift remembers."
    )
    states: Annotated[Whole, Field(ge=1, le=1024), whole_schema(1, 1024)] = Field(
        default=8, description="Complex numbers in the diagonal model's state of a channel, a conjugate pair each."
    )

    @override
    def check(self, shape):
        fits_context("taps", self.taps, shape)

    @override
    def parts(self, shape):
        return shape.width

    @override
    def weights(self, shape):
        # taps, and the shift's passing on; a step, and for each state decay, rotation and a complex output; passing on
        vectors = shape.width * (self.taps + 1 + 4 * self.states + 2)
        return Weights(4 * shape.width**2, vectors)

    @override
    def flops(self, shape):
        taps, gates, passed = 2 * self.taps, 2, 4
        further = fourier_flops(shape.context_length) + taps + gates + passed
        return MixerFlops(products=8 * shape.width**2, other=shape.width * further)

    @override
    def kept(self, shape):
        # the last keys; real and imaginary parts of the states
        return Kept(fixed=shape.width * (self.taps - 1 + 2 * self.states))
