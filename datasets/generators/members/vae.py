"""The generator `vae`: a recurrent variational autoencoder of windows of bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import override

from ....core.progress import Progress
from ....core.reading.fields import FieldError, Real, Share, Whole, whole_schema
from ..guards import LEAST_KL_NATS_PER_BYTE
from ..neural.training import FittedNetwork, LearningRate, NetworkGenerator, Steps
from ..neural.windows import Windows
from ..registry import register_generator

if TYPE_CHECKING:
    import torch

    from ..neural.text_vae import TextVAE

__all__ = ["FittedVAE", "VAEGenerator"]

_WARM_UP = 0.05  # share of the steps over which the learning rate rises; it then falls to 0 as a cosine
_LARGEST_NORM = 1.0  # of the gradient of the loss in nats per byte; longer ones are shortened
_MEASURED = 1024  # windows that the facts are measured on
_MEASURED_AT_ONCE = 256


class FittedVAE(FittedNetwork):
    """A decoder that writes: a latent vector from the prior N(0, 1), then byte after byte."""

    def __init__(self, network: TextVAE, windows: Windows, digest: str, facts: Mapping[str, Any]) -> None:
        super().__init__(windows.alphabet, windows.length, digest, facts)
        self.network = network

    @override
    def _symbols(self, documents: int, length: int, generator: torch.Generator) -> np.ndarray:
        import torch

        latents = torch.randn(documents, self.network.latent, generator=generator)
        before, state, symbols = torch.full((documents, 1), self.network.symbols), None, []
        for _ in range(length):
            logits, state = self.network.decode(latents, before, state)
            before = torch.multinomial(logits[:, 0].softmax(-1), 1, generator=generator)
            symbols.append(before)
        return torch.cat(symbols, 1).numpy()


@register_generator("vae")
class VAEGenerator(NetworkGenerator):
    """A text VAE: an LSTM reads a window into a latent vector, another writes the window from it, byte after byte.

    A decoder that writes byte after byte may do without the latent vector: the posterior collapses, and what is left is
    a plain language model. Three things work against it: the divergence is paid for only gradually (annealing, once or
    in cycles), a part of it is free for good, and the posterior's mean differs among windows by construction. Free bits
    alone may be spent on a smaller variance that is the same for all windows, which says nothing of any (205 kB of
    abstracts, 250 steps: a divergence of .044 nats per byte that was worth nothing). Nor does a small spread last: one
    of .6 was worth nothing after 2,000 steps, one of 1.5 .012 nats per byte.
    Whether it worked is among the facts:

    - `kl_nats_per_byte`, `kl_nats_per_document` (a window): what the latent vector costs;
    - `reconstruction_nats_per_byte`: -log p(x | z). The sum of both is `-ELBO`, at most which -log p(x) is;
    - `latent_gain_nats_per_byte`: how much worse a window is written from the latent vector of another one;
    - `collapsed`: that, or the divergence, is next to nothing.

    Documents longer than the window are refused: nothing was learned about how text goes on after it.

    Sources: Bowman et al. 2016 (arXiv 1511.06349) for the networks, annealing and dropping bytes; Kingma et al. 2016
    (1606.04934) for free bits; Zhu et al. 2020 (2004.12585) for the spread of means; Fu et al. 2019 (1903.10145) for
    cycles.
    """

    steps: Steps = Field(default=2000, description="Steps of training.")
    lr: LearningRate = Field(default=0.02, description="Learning rate of Adam, at its highest.")
    width: Annotated[Whole, Field(ge=2, le=4096), whole_schema(2, 4096)] = Field(
        default=128, description="Units of the decoder; the encoder has half as many."
    )
    latent: Annotated[Whole, Field(ge=1, le=1024), whole_schema(1, 1024)] = Field(
        default=16, description="Units of the latent vector."
    )
    embedding: Annotated[Whole, Field(ge=1, le=1024), whole_schema(1, 1024)] = Field(
        default=24, description="Units that stand for a byte."
    )
    free_bits_nats: Annotated[Real, Field(ge=0, le=1e4)] = Field(
        default=3.0, description="Divergence of a window that isn't paid for, in nats, in equal parts for each unit."
    )
    mean_spread: Annotated[Real, Field(ge=0, le=10)] = Field(
        default=1.5,
        description="Standard deviation of the posterior's mean among windows, in each latent unit s: a divergence of "
        "s²/2 at least; 0 leaves the mean free.",
    )
    kl_anneal_share: Share = Field(
        default=0.5, description="Share of each cycle over which the weight of the divergence rises from 0 to 1."
    )
    kl_cycles: Annotated[Whole, Field(ge=1, le=1000), whole_schema(1, 1000)] = Field(
        default=1, description="How often the weight of the divergence begins at 0 again, in equal parts of training."
    )
    dropped_bytes: Annotated[Share, Field(lt=1)] = Field(
        default=0.0, description="Share of the bytes before it that the decoder isn't shown in training."
    )

    @model_validator(mode="after")
    def _enough_to_spread(self) -> Self:
        if self.mean_spread and self.batch < 2:
            raise FieldError("batch", "got 1; expected 2 windows at least, whose means can differ, or mean_spread 0")
        return self

    @override
    def _trained(self, windows: Windows, rng: np.random.Generator, progress: Progress) -> FittedVAE:
        import torch

        from ..neural.networks import checked, digest_of, parameters_of, seeded, torch_generator
        from ..neural.text_vae import TextVAE, divergence, kept_free

        generator = torch_generator(rng)
        shape = (len(windows.alphabet), self.width, self.latent, self.embedding, self.mean_spread)
        network = seeded(lambda: TextVAE(*shape), generator)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.lr, fused=True)
        for step in range(self.steps):
            optimizer.param_groups[0]["lr"] = self.lr * self._rate(step)
            batch = torch.from_numpy(windows.draw(self.batch, rng))
            mean, log_variance = network.encode(batch)
            latents = mean + torch.randn(mean.shape, generator=generator) * (log_variance / 2).exp()
            dropped = torch.rand(batch.shape, generator=generator) < self.dropped_bytes if self.dropped_bytes else None
            reconstruction = network.reconstruction(latents, batch, dropped).mean()
            kl = divergence(mean, log_variance)
            loss = (reconstruction + self._weight(step) * kept_free(kl, self.free_bits_nats)) / windows.length
            optimizer.zero_grad()
            checked(loss, self.name, step, self.lr).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_NORM)
            optimizer.step()
            said = f"{reconstruction.item() / windows.length:.3f} + {kl.sum(1).mean().item() / windows.length:.3f}"
            progress(
                f"step {step + 1} of {self.steps}, reconstruction + KL {said} nats per byte", (step + 1) / self.steps
            )
        facts = {"parameters": parameters_of(network), **_measured(network, windows, rng)}
        return FittedVAE(network, windows, digest_of(self, windows.alphabet, network), facts)

    def _weight(self, step: int) -> float:
        """The weight of the divergence at a step, 0 to 1."""
        through = step * self.kl_cycles / self.steps % 1  # how far it is through its cycle
        return min(1.0, through / self.kl_anneal_share) if self.kl_anneal_share else 1.0

    def _rate(self, step: int) -> float:
        """What the learning rate is multiplied with at a step."""
        return min(1.0, (step + 1) / (_WARM_UP * self.steps)) * 0.5 * (1 + math.cos(math.pi * step / self.steps))


def _measured(network: TextVAE, windows: Windows, rng: np.random.Generator) -> dict[str, Any]:
    """What the bound consists of, on windows of the training text, and what the latent vector is worth."""
    import torch

    from ..neural.networks import torch_generator
    from ..neural.text_vae import divergence

    generator = torch_generator(rng)
    found = []
    with torch.inference_mode():
        for batch in torch.from_numpy(windows.draw(_MEASURED, rng)).split(_MEASURED_AT_ONCE):
            mean, log_variance = network.encode(batch)
            latents = mean + torch.randn(mean.shape, generator=generator) * (log_variance / 2).exp()
            own, other = (network.reconstruction(z, batch) for z in (latents, latents.roll(1, 0)))
            found.append(torch.stack([divergence(mean, log_variance).sum(1), own, other - own]).mean(1))
    kl, reconstruction, gain = torch.stack(found).double().mean(0).div(windows.length).tolist()
    return {
        "kl_nats_per_byte": kl,
        "kl_nats_per_document": kl * windows.length,
        "reconstruction_nats_per_byte": reconstruction,
        "latent_gain_nats_per_byte": gain,
        "collapsed": min(kl, gain) < LEAST_KL_NATS_PER_BYTE,
    }
