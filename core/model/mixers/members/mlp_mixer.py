"""Causal MLP-Mixer: a network along the sequence, one for all channels (Tolstikhin et al. 2021, arXiv:2105.01601).

Both matrices of the token-mixing network (equation 1) are lower triangular, so that no token sees a later one; they
have a row for each place, so that a model has no place beyond the context that it was trained at.
"""

from __future__ import annotations

from typing_extensions import override

from ..mixer import Kept, Mixer, MixerFlops, Weights
from ..registry import register_mixer

__all__ = ["MlpMixer"]


@register_mixer("mlp_mixer")
class MlpMixer(Mixer):
    """Two matrices over the context, stored whole, of which half is used, and one over the width."""

    any_context = False

    @override
    def parts(self, shape):
        return shape.width

    @override
    def weights(self, shape):
        return Weights(2 * shape.context_length**2 + shape.width**2, 0)

    @override
    def flops(self, shape):
        # each matrix: a token meets (T + 1) / 2 places on average
        half = 2 * 2 * shape.width / 2
        return MixerFlops(
            products=half * (shape.context_length + 1) + 2 * shape.width**2, masked=half * (shape.context_length - 1)
        )

    @override
    def kept(self, shape):
        # the inputs of both matrices
        return Kept(per_token=2 * shape.width)
