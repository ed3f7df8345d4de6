"""Rare text that models no longer write, because it was sampled with top-p or at a low temperature.

Tokens (or facts) of rank i occur as p_i ~ i^-β, β > 1. A model that saw T of them lacks those it never met; if its text
was cut at rank k, also all beyond: E ~ T^-(1 - 1/β) + k^-(β - 1) (Dohmatob et al. 2024, "A tale of tails", arXiv
2402.07043). The first part is what any text of that length lacks: laws of size and length have it.
"""

from __future__ import annotations

import numpy as np

__all__ = ["TAIL_EXPONENT", "lost_tail"]

TAIL_EXPONENT = 0.36
"""1 - 1/β, the exponent of tokens in a scaling law: .36 in a refit of Chinchilla's runs (arXiv 2404.10102)."""


def lost_tail(
    tokens: np.ndarray,
    temperature: np.ndarray,
    top_p: np.ndarray,
    generation: np.ndarray,
    real_share: np.ndarray,
    exponent: float = TAIL_EXPONENT,
) -> np.ndarray:
    """Share of real text that a run lacks since sampling left it out, beyond what any run of its length lacks.

    Top-p cuts at the rank k beyond which 1 - p of the mass lies, so k^-(β - 1) is 1 - p. At temperature τ the tail of
    what is written falls as i^-(β/τ): T tokens reach rank T^(τ/β), so T^-(τ·(1 - 1/β)) is lost instead of T^-(1 - 1/β).
    Every generation cuts again, 1 - (1 - lost)^n. Real text in the mix brings the tail back as far as there is of it:
    r·T tokens lack (r·T)^-(1 - 1/β).

    Args:
        tokens: Training tokens T, `(n,)`.
        temperature: τ, `(n,)`; above 1 nothing is lost.
        top_p: p, from 0 to 1, `(n,)`.
        generation: Generations that were sampled, `(n,)`.
        real_share: r, share of real text in what is trained on, `(n,)`.
        exponent: 1 - 1/β.

    Returns:
        The share, `(n,)`.

    >>> one = np.ones(1)
    >>> lost_tail(1e9 * one, one, 0.9 * one, 2 * one, 0 * one).round(2), lost_tail(1e9 * one, one, one, one, 0 * one)
    (array([0.19]), array([0.]))
    """
    usual = tokens**-exponent
    by_temperature = np.maximum(tokens ** (-exponent * np.minimum(temperature, 1.0)) - usual, 0.0)
    kept = (np.clip(top_p, 0.0, 1.0) * (1.0 - by_temperature)) ** generation
    of_real = np.maximum(real_share * tokens, 1.0) ** -exponent - usual
    return np.minimum(1.0 - kept, np.maximum(of_real, 0.0))
