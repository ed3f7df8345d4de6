"""When a table of plain runs is so unlike the public ones that a law of its own runs is better."""

from __future__ import annotations

from ....core.errors import FitError
from ...fitting import LawPrior, Observations, choose, stacked_scores

__all__ = ["own_law"]

_FEWEST_CUTS = 2
_WORTH_A_RIVAL = 0.02
"""Median back-test error of the model over tables below which no other law is asked."""

_HALF = 0.5  # a smaller gain on a few cuts says nothing of further ones


def own_law(observations: Observations, prior: LawPrior | None, error: float, cuts: int, seed: int) -> str | None:
    """Why a law of the table's own runs is to be taken instead of the model over tables; None where it isn't.

    Both were judged by the same rolling cuts of the table itself.

    Args:
        observations: The table's runs.
        prior: Prior of the law's parameters.
        error: Median back-test error of the model over tables, a fraction of the loss.
        cuts: How many cuts that was judged on.
        seed: Seed of the draws.
    """
    if cuts < _FEWEST_CUTS or not error > _WORTH_A_RIVAL:
        return None
    try:
        choice = choose(observations, prior, seed=seed)
    except FitError:
        return None
    if choice.law in ("params_only", "tokens_only"):
        return None  # what never varied is left to the public tables
    if not choice.scores[choice.law].cuts:
        return None
    scores = stacked_scores(choice.scores, choice.weights, choice.law)
    if not scores.median_relative_error <= _HALF * error:
        return None
    return (
        f"{choice.why}; these runs are unlike the public tables, which would have missed by {error:.1%} where this law "
        f"misses by {scores.median_relative_error:.1%}"
    )
