"""Sampling of proxies: K copies with weights of their own write B sequences each, all at once.

What a copy writes depends on its weights, its seed and its first tokens alone. Sequences are computed in blocks of
always the same number, the last one filled up, so that the sizes of matrix products, and with them the order of their
sums, are the same however many sequences there are; products of stacked copies are each copy's own, in an order that
on a processor doesn't depend on how many there are (the tests hold it to that). Sequence b draws the b-th row of its
copy's random numbers: more sequences begin with those that fewer would have been.

Letters in shapes: K copies, B sequences, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ...core.errors import UsageError
from ...datasets.watermark.green import Watermark
from ..models import ProxyModel
from .settings import SamplingSettings

__all__ = ["SamplingSettings", "sample"]

_BLOCK_SEQUENCES = 128
_ALMOST_1 = 1 - 2.0**-32  # the largest random number: times a sum in float64 it stays below the sum


@torch.inference_mode()
def sample(
    model: ProxyModel,
    weights: Mapping[str, Tensor],
    first: np.ndarray,
    length: int,
    settings: SamplingSettings,
    seeds: Sequence[int],
) -> np.ndarray:
    """Write sequences that begin with given tokens.

    A model without a cache computes every sequence anew for each token: `sampling_flops` says what that costs.

    Args:
        model: The architecture of all copies.
        weights: Their weights, (K, …) each, by name; `TrainedProxy.weights`, or `stacked` ones.
        first: The first token of each sequence, (K, B).
        length: Tokens of a sequence, the first included: a training window at most, which is the context and one.
        settings: How the next token is drawn.
        seeds: One for each copy, (K,).

    Returns:
        Tokens, (K, B, length) int64; `[:, :, 0]` are the first ones.

    Raises:
        UsageError: The length is beyond the context, first tokens aren't in the vocabulary, their numbers and the
            seeds' don't fit the weights, the watermark is another vocabulary's, or the weights give scores that aren't
            numbers.
    """
    first = np.asarray(first)
    _check(model, weights, first, length, seeds)
    if settings.watermark is not None:
        settings.watermark.check_vocabulary(model.shape.vocab_size)
    copies, sequences = first.shape
    written = np.empty((copies, sequences, length), np.int64)
    sources = [np.random.default_rng(seed) for seed in seeds]
    for start in range(0, sequences, _BLOCK_SEQUENCES):
        here = slice(start, min(start + _BLOCK_SEQUENCES, sequences))
        count = here.stop - here.start
        draws = np.stack([source.random((count, length - 1)) for source in sources])
        written[:, here] = _block(model, weights, first[:, here], draws, settings)[:, :count]
    return written


def _block(
    model: ProxyModel, weights: Mapping[str, Tensor], first: np.ndarray, draws: np.ndarray, settings: SamplingSettings
) -> np.ndarray:
    """One block, filled up to its full size: first tokens (K, n) and random numbers (K, n, T - 1) to (K, block, T)."""
    copies, count, more = draws.shape
    device = next(iter(weights.values())).device
    tokens = torch.zeros((copies, _BLOCK_SEQUENCES, more + 1), dtype=torch.int64)
    tokens[:, :count, 0] = torch.from_numpy(first.astype(np.int64))
    chances = torch.full((copies, _BLOCK_SEQUENCES, more), 0.5, dtype=torch.float64)
    chances[:, :count] = torch.from_numpy(draws).clamp(max=_ALMOST_1)
    tokens, chances = tokens.to(device), chances.to(device)
    state = model.start(weights, copies, _BLOCK_SEQUENCES, more) if more else None
    for at in range(more):
        scores = model.step(weights, state, tokens[..., at])
        if settings.watermark is not None and at + 1 >= settings.watermark.context:
            scores = scores + _bias(settings.watermark, tokens[..., : at + 1], scores)
        tokens[..., at + 1] = _draw(scores, chances[..., at : at + 1], settings)
    return tokens.cpu().numpy()


def _bias(watermark: Watermark, tokens: Tensor, scores: Tensor) -> Tensor:
    """What a watermark adds to scores (K, B, V) after tokens (K, B, T)."""
    contexts = tokens[..., -watermark.context :].flatten(0, 1).cpu().numpy()
    return torch.from_numpy(watermark.bias(contexts, scores.shape[-1])).to(scores).view_as(scores)


def _draw(scores: Tensor, chances: Tensor, settings: SamplingSettings) -> Tensor:
    """The token of each sequence, (K, B), by scores (K, B, V) and a random number from 0 to 1, (K, B, 1) float64."""
    if settings.temperature == 0:
        return scores.argmax(-1)
    shares = (scores.float() / settings.temperature).softmax(-1)
    if settings.top_p < 1:
        shares = _nucleus(shares, settings.top_p)
    # In float64 a token of share 0 adds nothing to the sum, so none is ever drawn.
    reached = shares.cumsum(-1, dtype=torch.float64)
    total = reached[..., -1:]
    if not total.isfinite().all():
        raise UsageError("sample: the weights give scores that aren't numbers; expected a run that didn't diverge")
    return torch.searchsorted(reached, chances * total, right=True).squeeze(-1)


def _nucleus(shares: Tensor, top_p: float) -> Tensor:
    """The most probable tokens that have `top_p` together, as few as do (and their equals); the others get 0."""
    ascending = _sorted(shares)
    left_out = ascending.cumsum(-1, dtype=torch.float64)
    count = (left_out <= (1 - top_p) * left_out[..., -1:]).sum(-1, keepdim=True)
    return shares * (shares >= ascending.gather(-1, count.clamp(max=shares.shape[-1] - 1)))


def _sorted(shares: Tensor) -> Tensor:
    """Ascending. NumPy sorts plain numbers in vectors, 256 of them in .3 µs where torch takes 8."""
    return shares.sort(-1).values if shares.is_cuda else torch.from_numpy(np.sort(shares.numpy(), -1))


def _check(
    model: ProxyModel, weights: Mapping[str, Tensor], first: np.ndarray, length: int, seeds: Sequence[int]
) -> None:
    longest = model.shape.context_length + 1
    if not 1 <= length <= longest:
        raise UsageError(
            f"sample: got a length of {length}; expected 1 to {longest}: the context of {longest - 1} and one more"
        )
    copies = len(next(iter(weights.values())))
    if first.ndim != 2 or len(first) != copies or len(seeds) != copies:
        raise UsageError(
            f"sample: got first tokens {first.shape} and {len(seeds)} seeds for weights of {copies} copies; expected "
            f"({copies}, sequences) and {copies}"
        )
    if first.size and not (first.min() >= 0 and first.max() < model.shape.vocab_size):
        raise UsageError(f"sample: first tokens: got some outside the vocabulary of {model.shape.vocab_size}")
