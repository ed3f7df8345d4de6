"""The networks of a text WGAN-GP: residual convolutions on both sides, and the gradient penalty. Imports torch.

Source: Gulrajani et al. 2017, "Improved training of Wasserstein GANs" (arXiv 1704.00028), on character-level language
modelling in section 5, and the code published with it (`gan_language.py`): a generator of one window from noise and a
critic of one window, each of five residual blocks of two convolutions of five places, scaled by 0.3; the generator's
softmax goes into the critic as it is, where real text is one-hot.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Critic", "Writer", "gradient_penalty"]

_KERNEL = 5
_SCALE = 0.3  # of what a residual block adds


class _Block(nn.Module):
    """Adds two convolutions, each after a ReLU, to its input `(B, width, T)`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        convolutions = (nn.Conv1d(width, width, _KERNEL, padding=_KERNEL // 2) for _ in range(2))
        self.added = nn.Sequential(*(layer for convolution in convolutions for layer in (nn.ReLU(), convolution)))

    def forward(self, inputs_BWT: Tensor) -> Tensor:
        """The input, and what the block adds to it."""
        return inputs_BWT + _SCALE * self.added(inputs_BWT)


class Writer(nn.Module):
    """The generator: noise `(B, noise)` to a distribution over symbols at each place `(B, symbols, window)`."""

    def __init__(self, symbols: int, window: int, width: int, blocks: int, noise: int) -> None:
        super().__init__()
        self.noise = noise
        self.spread = nn.Linear(noise, width * window)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(blocks)))
        self.output = nn.Conv1d(width, symbols, 1)
        self._size = (width, window)

    def forward(self, noise_BN: Tensor) -> Tensor:
        """Probabilities `(B, symbols, window)`; they sum to 1 over symbols."""
        return self.output(self.blocks(self.spread(noise_BN).unflatten(1, self._size))).softmax(1)


class Critic(nn.Module):
    """The critic: windows `(B, symbols, window)`, one-hot or probabilities, to a score each `(B,)`."""

    def __init__(self, symbols: int, window: int, width: int, blocks: int) -> None:
        super().__init__()
        self.input = nn.Conv1d(symbols, width, 1)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(blocks)))
        self.output = nn.Linear(width * window, 1)

    def forward(self, windows_BST: Tensor) -> Tensor:
        """A score for each window, higher for what looks real."""
        return self.output(self.blocks(self.input(windows_BST)).flatten(1))[:, 0]


def gradient_penalty(
    critic: nn.Module, real_BST: Tensor, written_BST: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """E[(‖∇ critic(x̂)‖ - 1)²], where x̂ lies at random between a real and a written window (equation 3) `()`.

    >>> rows = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 1, bias=False))
    >>> _ = torch.nn.init.constant_(rows[1].weight, 1.5)  # a linear critic: the gradient has the norm 3 everywhere
    >>> gradient_penalty(rows, torch.zeros(1, 2, 2), torch.ones(1, 2, 2)).item()
    4.0
    """
    places_B = torch.rand(len(real_BST), 1, 1, generator=generator)
    between_BST = (real_BST + places_B * (written_BST - real_BST)).detach().requires_grad_()
    (gradients_BST,) = torch.autograd.grad(critic(between_BST).sum(), between_BST, create_graph=True)
    return (gradients_BST.flatten(1).norm(dim=1) - 1).square().mean()
