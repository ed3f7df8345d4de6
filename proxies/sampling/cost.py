"""What sampling costs: FLOPs of writing tokens one by one, with what was computed of earlier ones kept or not."""

from __future__ import annotations

from ...core.model.architecture import Architecture

__all__ = ["sampling_flops"]


def sampling_flops(shape: Architecture, tokens: float, length: float | None = None, cached: bool = True) -> float:
    """Return the FLOPs of sampling.

    With cached keys and values each token is one forward pass of itself: 2 · active parameters (Kaplan et al. 2020,
    arXiv:2001.08361, table 1, without the part that grows with the context). Without, each computes the whole sequence
    before it again, (length + 1) / 2 tokens on average.

    Args:
        shape: The model.
        tokens: Tokens sampled, of all sequences.
        length: Tokens of a sequence; by default the context.
        cached: Whether the model keeps what it computed (`ProxyModel.cached`).

    >>> shape = Architecture(layers=2, width=32, heads=2, ffn_width=80, vocab_size=256, context_length=127)
    >>> sampling_flops(shape, 1e6) == 2 * shape.params_active * 1e6
    True
    >>> sampling_flops(shape, 1e6, cached=False) / sampling_flops(shape, 1e6)
    64.0
    """
    again = 1.0 if cached else ((shape.context_length if length is None else length) + 1) / 2
    return 2.0 * shape.params_active * tokens * again
