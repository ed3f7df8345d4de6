"""What a run of a language model can be: where its numbers lie, and which slip a number beyond that looks like.

Run tables, plans and forecasts read it alike, so that a number which is doubted in one is doubted in all of them.
"""

from __future__ import annotations

import math

__all__ = [
    "LEAST_BATCH_TOKENS",
    "LEAST_COUNT",
    "MOST_DECADES_BEYOND",
    "MOST_LR",
    "USUAL_TOKENS_PER_PARAM",
    "count_slip",
    "ratio_slip",
]

LEAST_COUNT = 1_000.0
"""Parameters, or training tokens, below which there is no run."""

LEAST_BATCH_TOKENS = 1_000.0
"""Tokens of an optimizer step below which sequences were counted instead."""

MOST_LR = 1.0
"""A peak learning rate from here on is no rate of any optimizer that trains language models."""

MOST_DECADES_BEYOND = 8.0
"""Powers of ten in compute, size or data beyond the fitted runs past which no forecast is made. Published laws were
checked up to about four."""

USUAL_TOKENS_PER_PARAM = (0.1, 1e5)
"""Training tokens per parameter outside of which a table's counts are doubted."""

_PLAUSIBLE = {"params": (1e5, 1e14), "tokens": (1e6, 1e15)}
_SUFFIXES = {"B": 1e9, "M": 1e6, "T": 1e12}
_LOGARITHMS = (3.0, 16.0)
_OPTIMAL_TOKENS_PER_PARAM = 20.0


def count_slip(name: str, value: float) -> str:
    """What a count that no run has may have been meant as, such as `7B? 10^7 is 1e+07?`; nothing where nothing fits.

    Args:
        name: `params` or `tokens`.
        value: The count, below `LEAST_COUNT`.

    >>> count_slip("params", 7), count_slip("tokens", 2), count_slip("params", 1e-6)
    ('7B? 10^7 is 1e+07?', '2T?', '')
    """
    low, high = _PLAUSIBLE[name]
    order = "TBM" if name == "tokens" else "BM"
    found = []
    for suffix in order:
        if low * 100 <= value * _SUFFIXES[suffix] <= high:
            found.append(f"{value:g}{suffix}?")
            break
    if _LOGARITHMS[0] <= value <= _LOGARITHMS[1]:
        found.append(f"10^{value:g} is {10**value:.2g}?")
    return " ".join(found)


def ratio_slip(tokens_per_param: float) -> str:
    """Which slip would explain tokens per parameter that no table of runs has; nothing where the ratio is usual.

    >>> ratio_slip(0.02), ratio_slip(20.0)
    ('are params and tokens swapped?', '')
    """
    low, high = USUAL_TOKENS_PER_PARAM
    if low <= tokens_per_param <= high:
        return ""
    slips = {
        "are params and tokens swapped?": 1.0 / tokens_per_param,
        "are tokens counted in millions?": tokens_per_param * 1e6,
        "are tokens counted in billions?": tokens_per_param * 1e9,
        "are parameters counted in millions?": tokens_per_param / 1e6,
        "are parameters counted in billions?": tokens_per_param / 1e9,
    }
    return min(slips, key=lambda slip: abs(math.log(slips[slip] / _OPTIMAL_TOKENS_PER_PARAM)))
