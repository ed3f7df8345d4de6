"""Causal convolution along a whole sequence, each channel with a filter of its own, by Fourier transforms."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["long_convolution", "long_convolution_step"]


def long_convolution(inputs: Tensor, filters: Tensor) -> Tensor:
    """Return Σ_s filters[t - s] · inputs[s]: inputs (K, B, T, D), filters (K, T, D), tap 0 is now; (K, B, T, D).

    In fp32 at least. Transforms have twice the sequence's length, so that what wraps around falls on zeros.

    >>> taps = torch.tensor([1.0, 10.0, 100.0]).view(1, 3, 1)
    >>> long_convolution(torch.ones(1, 1, 3, 1), taps).round().flatten().tolist()
    [1.0, 11.0, 111.0]
    """
    length = inputs.shape[2]
    kind = torch.promote_types(inputs.dtype, torch.float32)
    # Transforms along the last axis run through memory in order.
    spectra = torch.fft.rfft(inputs.to(kind).transpose(2, 3), 2 * length)
    spectrum = torch.fft.rfft(filters.to(kind).transpose(1, 2), 2 * length)
    found = torch.fft.irfft(spectra * spectrum.unsqueeze(1), 2 * length)[..., :length]
    return found.transpose(2, 3).to(inputs.dtype)


def long_convolution_step(earlier: Tensor, filters: Tensor, at: int) -> Tensor:
    """`long_convolution` at place `at`: (K, B, 1, D), from inputs (K, B, T, D) that are known up to there."""
    reversed_taps = filters[:, : at + 1].flip(1)
    return (earlier[:, :, : at + 1] * reversed_taps.unsqueeze(1)).sum(2, keepdim=True)
