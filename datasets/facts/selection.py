"""What a selection of documents gains in tokens, and what its judge costs, by published figures.

The figures are in `facts/selection.json`, whose head says what they mean and where they are from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .catalogue import folded, read_facts

__all__ = ["UNKNOWN_STEP", "SelectionFacts", "selection_facts", "selection_intensity"]

UNKNOWN_STEP = "unknown"
"""What stands for a step of which nothing is published."""


def selection_intensity(keep: np.ndarray | float) -> np.ndarray:
    """The mean of the best share `keep` of a standard normal score, in its standard deviations: 0 where all is kept.

    >>> selection_intensity(np.array([0.1, 0.5, 1.0])).round(2).tolist()
    [1.75, 0.8, 0.0]
    """
    from scipy.special import ndtri

    keep = np.asarray(keep, dtype=float)
    return np.exp(-0.5 * ndtri(keep) ** 2) / np.sqrt(2.0 * np.pi) / keep


@dataclass(frozen=True)
class SelectionFacts:
    """The figures, as they are in the file, and what follows from them."""

    facts: Mapping[str, Any]

    @property
    def known(self) -> tuple[str, ...]:
        """Steps of which something is published."""
        return tuple(self.facts["steps"])

    def step(self, name: str) -> str:
        """The step that a name is of: one of `known`, else `UNKNOWN_STEP`.

        >>> selection_facts().step("Ask-LLM"), selection_facts().step("tarot")
        ('judge', 'unknown')
        """
        plain = folded(name)
        for step, about in self.facts["steps"].items():
            if plain in map(folded, (step, *about["names"])):
                return step
        return UNKNOWN_STEP

    def keeps(self, steps: Sequence[str], keep: float) -> dict[str, float]:
        """The share that each step is taken to keep, by `known` or `UNKNOWN_STEP`, where together they keep `keep`.

        Those that gain something share the strictness evenly in its logarithm; those of coverage see all of it.

        >>> selection_facts().keeps(["dedup", "judge", "strata"], 0.25)
        {'dedup': 0.5, 'judge': 0.5, 'strata': 0.25}
        """
        found = dict.fromkeys(self.step(name) for name in steps)
        gaining = sum(self._of(step)["log_gain"] > 0 for step in found)
        return {step: keep ** (1.0 / gaining) if self._of(step)["log_gain"] > 0 else keep for step in found}

    def gain(self, keeps: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The log of the factor by which tokens count more `(n,)`, and one sd of it.

        A step that is stricter than what is published gains no more than that, and is more in doubt.

        Args:
            keeps: What each step keeps, as `keeps` gives it, of n selections `(n,)`; NaN where one lacks the step.

        >>> gain, sd = selection_facts().gain({"judge": np.array([0.115, 1.0])})
        >>> np.exp(gain).round(2).tolist(), sd.round(2).tolist()
        ([1.5, 1.0], [0.48, 0.0])
        """
        total, variance = np.zeros(1), np.zeros(1)
        for step, keep in keeps.items():
            about = self._of(step)
            share = selection_intensity(np.where(np.isfinite(keep), keep, 1.0)) / selection_intensity(about["keep"])
            total = total + about["log_gain"] * np.minimum(share, 1.0)
            variance = variance + (about["sd"] * share) ** 2
        return np.minimum(total, self.facts["most_log_gain"]["value"]), np.sqrt(variance)

    def is_lower_bound(self, steps: Sequence[str]) -> bool:
        """Whether the gain of some step is known to be larger for large models than what is published."""
        return any(self._of(step).get("lower_bound", False) for step in steps)

    def sources(self, steps: Sequence[str]) -> tuple[str, ...]:
        """Where the figures on some steps are from."""
        names = dict.fromkeys(name for step in steps for name in self._of(step)["sources"])
        return tuple(self.facts["sources"][name] for name in names)

    def judge_params(self, steps: Sequence[str]) -> float | None:
        """Parameters of the published judges among some steps, by their names; None where none costs anything.

        >>> selection_facts().judge_params(["dedup", "fineweb-edu"]), selection_facts().judge_params(["dedup"])
        (109000000.0, None)
        """
        judges = {folded(name): one["params"] for name, one in self.facts["judges"].items()}
        found = [judges[folded(name)] for name in steps if folded(name) in judges]
        return float(sum(found)) if found else None

    @property
    def efficiency(self) -> float:
        """Share of an accelerator's peak that scoring documents reaches."""
        return float(self.facts["efficiency"]["value"])

    @property
    def efficiency_log_sd(self) -> float:
        """One sd of its log between judges and programs."""
        return float(self.facts["efficiency"]["log_sd"])

    def _of(self, step: str) -> Mapping[str, Any]:
        return self.facts[UNKNOWN_STEP] if step == UNKNOWN_STEP else self.facts["steps"][step]


@cache
def selection_facts() -> SelectionFacts:
    """The figures that ship."""
    return SelectionFacts(read_facts("selection.json"))
