"""The networks of a text VAE: a recurrent encoder, a recurrent decoder, and the bound between them. Imports torch.

A window x has a latent vector z. The bound on its log probability is

    ELBO(x) = E_q(z|x)[log p(x | z)] - KL(q(z|x) || p(z)),   p(z) = N(0, 1),   q(z|x) = N(μ(x), σ(x)²).

Sources: Kingma and Welling 2014, "Auto-encoding variational Bayes" (arXiv 1312.6114), equation 10; Bowman et al. 2016,
"Generating sentences from a continuous space" (arXiv 1511.06349): recurrent networks on both sides, word dropout, and
posterior collapse; Zhu et al. 2020, "A batch normalized inference network keeps the KL vanishing away" (2004.12585):
means of the posterior that differ among windows by construction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["TextVAE", "divergence", "kept_free"]


class TextVAE(nn.Module):
    """An encoder and a decoder of one layer each; both are LSTMs, which torch computes twice as fast as GRUs on a
    processor.

    Args:
        symbols: Size of the alphabet.
        width: Units of the decoder; the encoder has half as many.
        latent: Units of z.
        embedding: Units that stand for a byte.
        spread: Standard deviation of the posterior's mean among the windows of a batch, in each latent unit, by batch
            normalization; 0 leaves the mean as it is.
    """

    def __init__(self, symbols: int, width: int, latent: int, embedding: int, spread: float = 0.0) -> None:
        super().__init__()
        self.symbols, self.latent, self.spread = symbols, latent, spread
        self.read = nn.Embedding(symbols, embedding)
        self.encoder = nn.LSTM(embedding, width // 2, batch_first=True)
        self.posterior = nn.Linear(width // 2, 2 * latent)
        # The last embedding stands for a byte that isn't shown: the one before the first, and those dropped.
        self.shown = nn.Embedding(symbols + 1, embedding)
        self.start = nn.Linear(latent, 2 * width)
        self.decoder = nn.LSTM(embedding + latent, width, batch_first=True)
        self.output = nn.Linear(width, symbols)

    def encode(self, windows_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior of each window `(B, latent)`; with a spread, B is 2 at least."""
        _, (last, _) = self.encoder(self.read(windows_BT))
        mean, log_variance = self.posterior(last[0]).chunk(2, -1)
        if self.spread:
            mean = functional.batch_norm(mean, None, None, training=True) * self.spread
        return mean, log_variance

    def decode(self, latents_BL: Tensor, before_BT: Tensor, state: tuple[Tensor, Tensor] | None = None):
        """Logits of each byte given those before it `(B, T, symbols)`, and the state after the last.

        `before_BT` has the byte before each; `symbols` stands for one that isn't shown. Without a state, it begins.
        """
        if state is None:
            hidden, cell = self.start(latents_BL).tanh()[None].chunk(2, -1)
            state = (hidden.contiguous(), cell.contiguous())
        latents_BTL = latents_BL[:, None].expand(-1, before_BT.shape[1], -1)
        outputs, state = self.decoder(torch.cat([self.shown(before_BT), latents_BTL], -1), state)
        return self.output(outputs), state

    def reconstruction(self, latents_BL: Tensor, windows_BT: Tensor, dropped_BT: Tensor | None = None) -> Tensor:
        """-log p(x | z) of each window `(B,)`, in nats. Bytes where `dropped_BT` holds are hidden from the decoder."""
        before_BT = functional.pad(windows_BT[:, :-1], (1, 0), value=self.symbols)
        if dropped_BT is not None:
            before_BT = before_BT.masked_fill(dropped_BT, self.symbols)
        logits_BTS, _ = self.decode(latents_BL, before_BT)
        lost_N = functional.cross_entropy(logits_BTS.flatten(0, 1), windows_BT.flatten(), reduction="none")
        return lost_N.unflatten(0, windows_BT.shape).sum(1)


def divergence(mean_BL: Tensor, log_variance_BL: Tensor) -> Tensor:
    """KL(N(μ, σ²) || N(0, 1)) of each unit `(B, L)`, in nats: (μ² + σ² - 1 - log σ²) / 2."""
    return 0.5 * (mean_BL.square() + log_variance_BL.exp() - 1 - log_variance_BL)


def kept_free(divergence_BL: Tensor, free_nats: float) -> Tensor:
    """The divergence that is paid for, summed over units `()`: what a unit has below its part of `free_nats` is free.

    Source: Kingma et al. 2016, "Improved variational inference with inverse autoregressive flow" (arXiv 1606.04934),
    section 2.3 and appendix C.8: the mean over a batch, one group for each unit.
    """
    return divergence_BL.mean(0).clamp(min=free_nats / divergence_BL.shape[1]).sum()
