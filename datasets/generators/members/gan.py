"""The generator `gan`: a WGAN-GP of windows of bytes, as published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field
from typing_extensions import override

from ....core.progress import Progress
from ....core.reading.fields import Real, Whole, whole_schema
from ..neural.training import FittedNetwork, LearningRate, NetworkGenerator, Steps, Window
from ..neural.windows import Windows
from ..registry import register_generator

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..neural.text_gan import Critic, Writer

__all__ = ["FittedGAN", "GANGenerator"]

_BETAS = (0.5, 0.9)  # of Adam, in the published code
_MEASURED = 256  # windows that the facts are measured on


class FittedGAN(FittedNetwork):
    """A generator network that writes: of each place the most likely byte, as in the published code.

    Bytes that are never the most likely are never written. Drawing them instead lowers the reverse loss (5.8 for 7.5
    nats per byte with the defaults on 205 kB of abstracts), which is still more than that of uniform bytes, 5.5.

    A document that is shorter than the window is the beginning of one.
    """

    def __init__(self, network: Writer, windows: Windows, digest: str, facts: Mapping[str, Any]) -> None:
        super().__init__(windows.alphabet, windows.length, digest, facts)
        self.network = network

    @override
    def _symbols(self, documents: int, length: int, generator: torch.Generator) -> np.ndarray:
        import torch

        noise = torch.randn(documents, self.network.noise, generator=generator)
        return self.network(noise).argmax(1)[:, :length].numpy()


@register_generator("gan")
class GANGenerator(NetworkGenerator):
    """A WGAN-GP: a generator of whole windows against a critic, both of residual convolutions.

    It is expected to write the worst text of all generators here, and is there so that this is measured: text GANs
    lose to models of likelihood in quality and diversity alike (Caccia et al. 2020, "Language GANs falling short",
    arXiv 1811.02549). The published runs took 200,000 steps at a learning rate of 1e-4, with networks of 512 channels,
    64 windows at once and ten steps of the critic for each of the generator; the defaults are what a minute of one
    processor core trains, where a rate of 1e-4 gets as far as blanks.

    Facts: `parameters` of both networks; `wasserstein`, the critic's mean score of real windows less that of written
    ones, an estimate of their distance; `gradient_penalty`; `distinct_windows`, the share of written windows that
    differ from those before them; `collapsed`: they are all the same.

    Documents longer than the window are refused: the network has no more places.

    Source: Gulrajani et al. 2017 (arXiv 1704.00028), algorithm 1 and the code published with it.
    """

    window: Window = 32
    steps: Steps = Field(default=250, description="Steps of the generator; the critic takes `critic_steps` for each.")
    lr: LearningRate = Field(default=1e-3, description="Learning rate of Adam, on both sides.")
    width: Annotated[Whole, Field(ge=2, le=4096), whole_schema(2, 4096)] = Field(
        default=32, description="Channels of each convolution."
    )
    blocks: Annotated[Whole, Field(ge=1, le=64), whole_schema(1, 64)] = Field(
        default=5, description="Residual blocks of each network."
    )
    noise: Annotated[Whole, Field(ge=1, le=4096), whole_schema(1, 4096)] = Field(
        default=128, description="Units of the noise that a window is written from."
    )
    critic_steps: Annotated[Whole, Field(ge=1, le=100), whole_schema(1, 100)] = Field(
        default=5, description="Steps of the critic for each of the generator."
    )
    penalty: Annotated[Real, Field(ge=0, le=1e4)] = Field(
        default=10.0, description="Weight of the gradient penalty in the critic's loss."
    )

    @override
    def _trained(self, windows: Windows, rng: np.random.Generator, progress: Progress) -> FittedGAN:
        import torch

        from ..neural.networks import checked, digest_of, parameters_of, seeded, torch_generator
        from ..neural.text_gan import Critic, Writer, gradient_penalty

        generator, symbols = torch_generator(rng), len(windows.alphabet)
        writer = seeded(lambda: Writer(symbols, self.window, self.width, self.blocks, self.noise), generator)
        critic = seeded(lambda: Critic(symbols, self.window, self.width, self.blocks), generator)
        optimizers = [
            torch.optim.Adam(network.parameters(), lr=self.lr, betas=_BETAS, fused=True) for network in (writer, critic)
        ]

        def written() -> Tensor:
            return writer(torch.randn(self.batch, self.noise, generator=generator))

        for step in range(self.steps):
            gap = 0.0
            for _ in range(self.critic_steps):
                real = _one_hot(windows.draw(self.batch, rng), symbols)
                with torch.no_grad():
                    fake = written()
                distance = critic(real).mean() - critic(fake).mean()
                loss = self.penalty * gradient_penalty(critic, real, fake, generator) - distance
                optimizers[1].zero_grad()
                checked(loss, f"{self.name}: the critic", step, self.lr).backward()
                optimizers[1].step()
                gap = distance.item()
            optimizers[0].zero_grad()
            checked(-critic(written()).mean(), f"{self.name}: the generator", step, self.lr).backward()
            optimizers[0].step()
            progress(f"step {step + 1} of {self.steps}, Wasserstein estimate {gap:.2f}", (step + 1) / self.steps)
        parameters = parameters_of(writer) + parameters_of(critic)
        facts = {"parameters": parameters, **_measured(writer, critic, windows, rng)}
        return FittedGAN(writer, windows, digest_of(self, windows.alphabet, writer), facts)


def _one_hot(windows: np.ndarray, symbols: int) -> Tensor:
    """Windows `(B, T)` as the critic reads them `(B, symbols, T)`."""
    import torch

    return torch.nn.functional.one_hot(torch.from_numpy(windows), symbols).transpose(1, 2).float()


def _measured(writer: Writer, critic: Critic, windows: Windows, rng: np.random.Generator) -> dict[str, Any]:
    """How well the critic tells the two apart, and how many different windows are written."""
    import torch

    from ..neural.networks import torch_generator
    from ..neural.text_gan import gradient_penalty

    generator = torch_generator(rng)
    real = _one_hot(windows.draw(_MEASURED, rng), len(windows.alphabet))
    with torch.no_grad():
        fake = writer(torch.randn(_MEASURED, writer.noise, generator=generator))
        gap = float(critic(real).mean() - critic(fake).mean())
    distinct = len(np.unique(fake.argmax(1).numpy(), axis=0))
    return {
        "wasserstein": gap,
        "gradient_penalty": float(gradient_penalty(critic, real, fake, generator).detach()),
        "distinct_windows": distinct / _MEASURED,
        "collapsed": distinct == 1,
    }
