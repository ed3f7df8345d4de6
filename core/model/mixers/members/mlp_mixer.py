"""Causal MLP-Mixer: a network along the sequence, one for all channels (Tolstikhin et al. 2021, arXiv:2105.01601).

Both matrices of the token-mixing network (equation 1) are square and lower triangular, so that no token sees a later
one. They have a row for each place: a model has no place beyond the context that it was trained at.
"""

from __future__ import annotations

from typing_extensions import override

from ..mixer import Kept, Mixer, MixerFlops, Weights
from ..registry import register_mixer

__all__ = ["MlpMixer"]


@register_mixer("mlp_mixer")
class MlpMixer(Mixer):
    """Two triangles over the context, a network for all channels of a layer, and a matrix over the width.

    Parameters T·(T + 1) + D², whatever is above the diagonal left out; FLOPs 2·D·(T + 1) + 2·D², as a token of a
    sequence of T meets (T + 1) / 2 places on average in each triangle.

    >>> from foretrain.core.model.architecture import Architecture
    >>> sizes = {"layers": 1, "width": 32, "ffn_width": 64, "vocab_size": 256, "context_length": 128}
    >>> shape = Architecture(mixer="mlp_mixer", **sizes)
    >>> shape.mixer.weights(shape).matrices
    17536
    """

    any_context = False

    @override
    def weights(self, shape):
        triangle = shape.context_length * (shape.context_length + 1) // 2
        return Weights(2 * triangle + shape.width**2, 0)

    @override
    def flops(self, shape):
        places = 2 * shape.width  # of both triangles, for each place that a token meets
        return MixerFlops(
            products=places * (shape.context_length + 1) + 2 * shape.width**2,
            masked=places * (shape.context_length - 1),
        )

    @override
    def kept(self, shape):
        # the inputs of both triangles
        return Kept(per_token=2 * shape.width)
