"""What every network here goes through: weights by seed, a finite loss, a digest. Imports torch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ....core.errors import FitError
from ..generator import Generator

__all__ = ["checked", "digest_of", "parameters_of", "seeded", "torch_generator"]

N = TypeVar("N", bound=nn.Module)


def torch_generator(rng: np.random.Generator) -> torch.Generator:
    """A generator of torch whose seed is drawn from one of numpy."""
    return torch.Generator().manual_seed(int(rng.integers(2**63 - 1)))


def seeded(make: Callable[[], N], generator: torch.Generator) -> N:
    """Make a network with weights drawn from a generator; torch's own random numbers stay as they are.

    Matrices and kernels are uniform within ±1/√fan-in, as torch's linear and convolutional layers begin; embeddings
    have a fan-in of 1; vectors are 0.
    """
    with torch.device("meta"):
        network = make()
    network.to_empty(device="cpu")
    with torch.no_grad():
        for module in network.modules():
            for weight in module.parameters(recurse=False):
                if weight.ndim == 1:
                    weight.zero_()
                else:
                    fan_in = 1 if isinstance(module, nn.Embedding) else math.prod(weight.shape[1:])
                    weight.uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)
    return network


def checked(loss: Tensor, what: str, step: int, lr: float) -> Tensor:
    """Return a loss, if it is finite.

    Raises:
        FitError: It isn't; the message says at which step, and what may help.
    """
    if not bool(torch.isfinite(loss)):
        raise FitError(
            f"{what}: its loss is {loss.item()} at step {step} with lr {lr:g}; expected a finite one: lower lr"
        )
    return loss


def digest_of(settings: Generator, alphabet: np.ndarray, network: nn.Module) -> str:
    """SHA-256 (hex) of a generator's name and settings, its alphabet, and its weights."""
    digest = hashlib.sha256(f"{settings.name} {settings.model_dump_json()}".encode())
    digest.update(alphabet.tobytes())
    for name, weight in network.state_dict().items():
        digest.update(f"{name} {list(weight.shape)}".encode())
        digest.update(weight.detach().numpy().tobytes())
    return digest.hexdigest()


def parameters_of(network: nn.Module) -> int:
    """How many weights a network has."""
    return sum(weight.numel() for weight in network.parameters())
