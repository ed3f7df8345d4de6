"""The law of continued pretraining with a share r of one domain (D-CPT, Que et al. 2024, arXiv:2406.01375, equation 6).

    L(N, D, r) / L₀(N) = E + A / N^α + B · r^η / D^β + C / (r + ε)^γ

for the loss of the domain; for the general loss r is the share of everything else. N are parameters, D tokens of
continued pretraining. The published form is of L itself; here it is of the ratio to the loss before, L₀(N), which who
continues a model knows: most of what size does is in it, so that one size tells of another, and the term of N is small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["NAMES", "ContinuedLaw", "dcpt_ratio"]

NAMES = ("E", "A", "alpha", "B", "eta", "beta", "C", "epsilon", "gamma")
"""Parameters, in the order of their logs; all are positive."""


def dcpt_ratio(logs: np.ndarray, n: np.ndarray, d: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The loss over that before continuing.

    Args:
        logs: Logs of the parameters in the order of NAMES, `(…, 9)`.
        n: Parameters over a reference size, which broadcast against the leading axes of `logs`.
        d: Tokens over a reference budget.
        share: Share of the text that the loss is of, 0 to 1.

    >>> logs = np.log([1.0, 0.5, 0.3, 0.5, 0.2, 0.3, 0.1, 0.1, 0.5])
    >>> dcpt_ratio(logs, np.array(1.0), np.array(1.0), np.array([0.1, 0.9])).round(2).tolist()
    [2.04, 2.09]
    """
    e, a, alpha, b, eta, beta, c, epsilon, gamma = np.moveaxis(np.exp(logs), -1, 0)
    with np.errstate(divide="ignore"):  # a share of 0
        of_share = eta * np.log(share)
    # powers as exponentials of logs: three times as fast, and a fit evaluates this some 10 million times
    by_tokens = np.exp(of_share - beta * np.log(d))
    by_share = np.exp(-gamma * np.log(share + epsilon))
    return e + a * np.exp(-alpha * np.log(n)) + b * by_tokens + c * by_share


@dataclass(frozen=True)
class ContinuedLaw:
    """The law of one loss relative to that before, as equally likely draws.

    >>> logs = np.log([[1.0, 0.5, 0.3, 0.5, 0.2, 0.3, 0.1, 0.1, 0.5]])
    >>> law = ContinuedLaw("domain", 1e6, 1e6, logs, np.array([0.0]), {})
    >>> law.ratio(1e6, 1e6, 0.5).round(3).tolist()
    [2.064]
    """

    of: str
    """`domain` or `general`: which share of the text it reads."""
    params: float
    """Reference size."""
    tokens: float
    """Reference budget."""
    logs: np.ndarray
    """`(draws, 9)`: logs of the parameters."""
    noise: np.ndarray
    """`(draws,)`: one sd of the log loss of one run around the law."""
    measured: Mapping[str, tuple[float, float]]
    """Least and most of params, tokens and share among the runs."""

    def ratio(self, params: float, tokens: float, share: np.ndarray | float) -> np.ndarray:
        """The loss over that before at a share of the domain `(draws,)`, or `(shares, draws)` for several shares."""
        share = np.asarray(share, dtype=float)
        own = share if self.of == "domain" else 1.0 - share
        n, d = np.asarray(params / self.params), np.asarray(tokens / self.tokens)
        return dcpt_ratio(self.logs, n, d, own[..., None] if own.ndim else own)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, from which an equal law is read back, to seven digits."""
        return {
            "of": self.of,
            "params": self.params,
            "tokens": self.tokens,
            "logs": [[float(f"{one:.7g}") for one in row] for row in self.logs],
            "noise": [float(f"{one:.7g}") for one in self.noise],
            "measured": {name: list(ends) for name, ends in self.measured.items()},
        }
