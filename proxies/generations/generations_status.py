"""`GenerationsStatus`: how far chains are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..campaign.campaign_status import CampaignStatus

__all__ = ["GenerationsStatus"]


@dataclass(frozen=True)
class GenerationsStatus:
    """How far chains are: the status of each generation's campaign that has begun, of `count` after generation 0."""

    folder: Path
    count: int
    generations: tuple[CampaignStatus, ...]

    @property
    def complete(self) -> bool:
        """Whether every run of every generation is done."""
        return len(self.generations) == self.count + 1 and all(status.complete for status in self.generations)

    @property
    def next_step(self) -> str:
        """What is left to do, and the command that does it."""
        if self.complete:
            return f"all {self.count} generations are done"
        done = sum(status.complete for status in self.generations)
        begun = len(self.generations) > done
        state = f"generation {done} is {'begun' if begun else 'next'}" if done else "generation 0 is next"
        return f"{state}, of {self.count}; `simulate proxies generations {self.folder}` goes on from there"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        generations = [status.to_dict() for status in self.generations]
        facts = {"folder": str(self.folder), "count": self.count, "complete": self.complete}
        return {**facts, "next_step": self.next_step, "generations": generations}
