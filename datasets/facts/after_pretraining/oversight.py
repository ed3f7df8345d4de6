"""What is published of weaker overseers of stronger models: success by game, accuracy of debates.

The figures are in `facts/oversight.json`, whose head says what they mean and where they are from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..catalogue import read_facts

__all__ = ["OversightFacts", "oversight_facts"]


@dataclass(frozen=True)
class OversightFacts:
    """The figures, as they are in the file."""

    facts: Mapping[str, Any]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The games that are published.

        >>> oversight_facts().kinds
        ('debate', 'mafia', 'backdoor_code', 'wargames')
        """
        return tuple(self.facts["nested"])

    def success(self, kind: str) -> float:
        """The published chance of success of a game at `most_elo_gap`."""
        return float(self.facts["nested"][kind])

    @property
    def most_elo_gap(self) -> float:
        """The largest gap at which success is published, Elo points."""
        return float(self.facts["most_elo_gap"])

    @property
    def logit_sd(self) -> float:
        """One sd of the logit of a published success."""
        return float(self.facts["logit_sd"])

    @property
    def slope(self) -> tuple[float, float]:
        """Elo in the game per general Elo: its middle, and one sd of its log."""
        return float(self.facts["slope"]["value"]), float(self.facts["slope"]["log_sd"])

    def accuracy(self, judge: str) -> tuple[float, float]:
        """The accuracy of a judge, `human` or `model`, with a debate and without.

        >>> oversight_facts().accuracy("human")
        (0.88, 0.6)
        """
        found = self.facts["accuracy"][judge]
        return float(found["debate"]), float(found["naive"])

    def source(self, name: str) -> str:
        """Where a figure is from, by the name of its source."""
        return str(self.facts["sources"][name])


@cache
def oversight_facts() -> OversightFacts:
    """The figures that ship."""
    return OversightFacts(read_facts("oversight.json"))
