"""Plans that differ in a strategy: whether that decides which is the better one."""

from __future__ import annotations

from collections.abc import Sequence

from ....core.quantity import Difference
from ....core.units import shown
from .strategy import Strategy

__all__ = ["undecided_notes"]


def undecided_notes(
    names: Sequence[str], of_plans: Sequence[Sequence[Strategy]], differences: Sequence[Difference | None]
) -> list[str]:
    """A sentence on each plan whose strategies are others than the first plan's, where that decides nothing.

    Args:
        names: Names of the plans.
        of_plans: What each forecast says of its strategies.
        differences: The loss of each plan minus that of the first; None for the first.

    >>> undecided_notes(["a", "b"], [[], []], [None, None])
    []
    """
    found = []
    first = {one.category: one.what for one in of_plans[0]}
    for name, own, difference in zip(names[1:], of_plans[1:], differences[1:], strict=True):
        levels = {one.category: one.what for one in own}
        if levels == first or difference is None or difference.verdict != "undecided":
            continue
        baselines = {one.category: shown(one.baseline) for one in [*own, *of_plans[0]]}
        differ = [
            f"{category} ({levels.get(category, baseline)} here, {first.get(category, baseline)} there)"
            for category, baseline in baselines.items()
            if levels.get(category) != first.get(category)
        ]
        found.append(
            f"{name}: whether it is better or worse than {names[0]}, which differs in {', '.join(differ)}, is "
            "undecided: the 90 % interval of the difference contains 0"
        )
    return found
