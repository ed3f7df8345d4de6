"""What papers found of token mixers held against attention at sizes beyond proxies.

A comparison is kept in tokens: a model that needs a share of the compute for the same loss at the same size needs that
share of the tokens. Beyond the sizes that were compared the doubt grows, as architectures change rank with size (Tay et
al. 2022, arXiv:2207.10551).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["COMPARED", "Comparison"]

_SD_PER_DECADE = 0.25
"""Of log tokens, beyond the largest model compared: a judgement."""


class Comparison(NamedTuple):
    """A mixer held against transformers in papers."""

    log_tokens: float
    """Log of the factor by which its tokens count more."""
    sd: float
    """One standard deviation of it."""
    params: float
    """The largest model compared."""
    sources: tuple[str, ...]
    """The papers."""

    def tokens_saved(self, params: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return the log of the factor by which tokens count more in models of so many parameters, and one sd of it.

        >>> [round(float(value[0]), 2) for value in COMPARED["hyena"].tokens_saved([3.55e9])]
        [0.0, 0.47]
        """
        sizes = np.asarray(params, dtype=float)
        beyond = np.maximum(np.log10(sizes / self.params), 0.0)
        return np.full(sizes.shape, self.log_tokens), np.hypot(self.sd, _SD_PER_DECADE * beyond)


_BEHIND = "arXiv:2312.04927"
"""Of 17 models on The Pile, gated convolutions ended up to 2.1 points of perplexity behind attention (abstract)."""
COMPARED = {
    # its authors: equal loss at 20 % less compute, a context of 2k, up to 355M parameters on The Pile (abstract), .22
    # in log tokens; others: behind. The middle of the two is about nothing
    "hyena": Comparison(0.0, 0.4, 355e6, ("arXiv:2302.10866", _BEHIND)),
    # its authors: at 125M within .4 of a perplexity of about 20 on OpenWebText (abstract): .02 nats, for which a law of
    # such models asks a fifth more tokens (Hoffmann et al. 2022, arXiv:2203.15556, equation 10); others: further behind
    "h3": Comparison(-0.3, 0.4, 125e6, ("arXiv:2212.14052", _BEHIND)),
}
"""Comparisons by mixer: papers disagree, and the sd is as wide as they do."""
