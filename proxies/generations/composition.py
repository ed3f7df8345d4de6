"""What the corpus of a generation is made of, by regime: shares of training tokens and how much text is distinct."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...datasets.provenance.regimes import Regime

__all__ = ["Composition", "composition"]


@dataclass(frozen=True)
class Composition:
    """What a generation's corpus is made of. Text n is what the models of generation n - 1 wrote.

    Args:
        real: Share of the training tokens that is real text.
        texts: Shares of texts, by number; with `real` they sum to 1.
        distinct_real: Distinct tokens of real text, in units of those that generation 0 has.
        distinct: Distinct tokens of texts, by number, in the same unit.
        tokens: Training tokens, in units of those of generation 0.
    """

    real: float
    texts: Mapping[int, float]
    distinct_real: float
    distinct: Mapping[int, float]
    tokens: int = 1


def composition(regime: Regime, real_share: float, generation: int) -> Composition:
    """The corpus of a generation from 1 on; generation 0 is real text under every regime.

    `replace` and `accumulate` as in Gerstgrasser et al. 2024 (arXiv:2404.01413), section 2; `accumulate_fixed` and
    `subsample` as "accumulate-subsample" of Kazdan et al. 2024 (arXiv:2410.16713), once with all of the accumulated
    text to draw from and once with as much as there was real text. Under `fresh`, text n is real too.

    Args:
        regime: The regime.
        real_share: Share of real text in every generation's corpus, 0 to below 1; of `replace` alone.
        generation: 1 or more.

    >>> composition("replace", 0.1, 3).texts, composition("accumulate_fixed", 0, 2).texts
    ({3: 0.9}, {1: 0.3333333333333333, 2: 0.3333333333333333})
    """
    if regime == "fresh":
        return Composition(0.0, {generation: 1.0}, 0.0, {generation: 1.0})
    if regime == "replace":
        written = {generation: 1 - real_share}
        return Composition(real_share, written, real_share, written)
    share = 1 / (generation + 1)
    shares = dict.fromkeys(range(1, generation + 1), share)
    if regime == "subsample":
        return Composition(share, shares, share, shares)
    tokens = generation + 1 if regime == "accumulate" else 1
    return Composition(share, shares, 1.0, dict.fromkeys(shares, 1.0), tokens)
