"""What papers found of token mixers held against attention at sizes beyond proxies.

A comparison is kept in tokens: a model that needs a share of the compute for the same loss at the same size needs that
share of the tokens. Beyond the sizes that were compared the doubt grows, as architectures change rank with size (Tay et
al. 2022, arXiv:2207.10551).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["COMPARED", "Comparison"]

_SD_PER_DECADE = 0.25
"""Of log tokens, beyond the largest model compared: a judgement."""


class Comparison(NamedTuple):
    """A mixer held against transformers in a paper."""

    log_tokens: float
    """Log of the factor by which its tokens count more."""
    sd: float
    """One standard deviation of it. Each is one paper, by the authors of the mixer: whether it gains is left open."""
    params: float
    """The largest model compared."""
    source: str
    """The paper."""

    def tokens_saved(self, params: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return the log of the factor by which tokens count more in models of so many parameters, and one sd of it.

        >>> [round(float(value[0]), 2) for value in COMPARED["hyena"].tokens_saved([3.55e9])]
        [0.22, 0.35]
        """
        sizes = np.asarray(params, dtype=float)
        beyond = np.maximum(np.log10(sizes / self.params), 0.0)
        return np.full(sizes.shape, self.log_tokens), np.hypot(self.sd, _SD_PER_DECADE * beyond)


COMPARED = {
    # equal loss at 20 % less compute at a context of 2k, up to 355M parameters on The Pile (abstract)
    "hyena": Comparison(-math.log(0.8), 0.25, 355e6, "arXiv:2302.10866"),
    # at 125M within .4 of the transformer's perplexity on OpenWebText (abstract), which is about 20: .02 nats, for
    # which a law of such models asks a fifth more tokens (Hoffmann et al. 2022, arXiv:2203.15556, equation 10)
    "h3": Comparison(-0.18, 0.25, 125e6, "arXiv:2212.14052"),
}
"""Comparisons by mixer."""
