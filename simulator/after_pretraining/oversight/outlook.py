"""`oversight_outlook`: the chance that a plan's oversight succeeds, and what debates save in labels, as published."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ....core.quantity import Quantity, spread_normal
from ....datasets.facts.after_pretraining.oversight import oversight_facts
from ...config.run_config import RunConfig
from .nested import best_levels, favour_of, success

__all__ = ["PUBLISHED", "OversightOutlook", "oversight_outlook"]

PUBLISHED = "published, not measured"
"""What stands wherever such a figure is shown."""
_DRAWS = 1_000
_BEYOND_SD = 1.0  # of a logit, per doubling of the gap beyond what is published
_DEBATE = "debate"


@dataclass(frozen=True)
class OversightOutlook:
    """Chances of success by published laws; nothing of it is measured here."""

    kind: str
    elo_gap: float
    levels: int
    levels_stated: bool
    """Whether the plan states the levels; else as many as suit the slope."""
    success: Quantity
    """The chance that all levels succeed."""
    best_levels: int
    """The number of levels at which success is most likely: the middle of what different slopes give."""
    best_success: Quantity
    """The chance with as many levels as suit the slope, which who does it can find out."""
    labels_ratio: float | None
    """How many labels without a debate say as much as one with it, (2p − 1)²/(2q − 1)²; None but for debates."""
    label_hours_saved: Quantity | None
    """Hours of labelling that debates save the plan's comparisons; None without them."""
    sources: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """All of it in one sentence, marked as published."""
        low, high = self.success.intervals[0.9]
        levels = ("" if self.levels_stated else "about ") + f"{self.levels} level{'' if self.levels == 1 else 's'}"
        best = f"; about {self.best_levels} would be best ({_percent(self.best_success)})" if self.levels_stated else ""
        return (
            f"{self.kind}, Elo gap {self.elo_gap:g}, {levels}: succeeds with {100 * self.success.median:.0f} % "
            f"(90 %: {100 * low:.0f} to {100 * high:.0f}){best}; {PUBLISHED}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        saved = self.label_hours_saved
        return {
            "kind": self.kind,
            "elo_gap": self.elo_gap,
            "levels": self.levels,
            "levels_stated": self.levels_stated,
            "success": self.success.to_dict(),
            "best_levels": self.best_levels,
            "best_success": self.best_success.to_dict(),
            "labels_ratio": self.labels_ratio,
            "label_hours_saved": None if saved is None else saved.to_dict(),
            "evidence": PUBLISHED,
            "sources": list(self.sources),
            "notes": list(self.notes),
        }


def oversight_outlook(config: RunConfig, label_hours: Quantity | None) -> OversightOutlook | None:
    """The chance that a plan's oversight succeeds; None for a plan without any.

    Args:
        config: The plan.
        label_hours: Hours of labelling of its feedback stage with debates; None without one.

    >>> plan = {"model": {"params": "7B"}, "data": {"tokens": "2T"}, "oversight": {"kind": "debate", "elo_gap": 400}}
    >>> round(oversight_outlook(RunConfig.from_mapping(plan), None).success.median, 2)
    0.52
    """
    stated = config.oversight
    if stated is None:
        return None
    facts = oversight_facts()
    slope, favour, beyond_published = _believed(stated.kind, config.seed)
    best = best_levels(stated.elo_gap, slope, favour)
    at_best = success(stated.elo_gap, best, slope, favour)
    found = at_best if stated.levels is None else success(stated.elo_gap, stated.levels, slope, favour)
    most_likely = int(np.median(best))
    beyond = max(0.0, float(np.log2(max(stated.elo_gap, 1e-9) / facts.most_elo_gap)))
    off = _BEYOND_SD * beyond * beyond_published
    debate = stated.kind == _DEBATE
    with_debate, naive = facts.accuracy("human")
    ratio = ((2 * with_debate - 1) / (2 * naive - 1)) ** 2
    sources = [facts.source("engels2025")] + ([facts.source("khan2024")] if debate else [])
    return OversightOutlook(
        kind=stated.kind,
        elo_gap=stated.elo_gap,
        levels=most_likely if stated.levels is None else stated.levels,
        levels_stated=stated.levels is not None,
        success=_chance(found, off),
        best_levels=most_likely,
        best_success=_chance(at_best, off),
        labels_ratio=ratio if debate else None,
        label_hours_saved=label_hours.mapped(lambda hours: (ratio - 1.0) * hours)
        if debate and label_hours is not None
        else None,
        sources=tuple(sources),
        notes=tuple(_notes(stated.kind, beyond, facts.most_elo_gap)),
    )


@lru_cache(maxsize=64)  # a study asks for the same ones in every trial
def _believed(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws of a game's slope and favour, and of how far off a gap beyond the published is, in sds."""
    facts, rng = oversight_facts(), np.random.default_rng([seed, 26])
    middle, log_sd = facts.slope
    slope = middle * np.exp(log_sd * spread_normal(_DRAWS, rng))
    favour = favour_of(_around(facts.success(kind), facts.logit_sd, rng), facts.most_elo_gap, slope)
    return slope, favour, rng.standard_normal(_DRAWS)


def _around(chance: float, logit_sd: float, rng: np.random.Generator) -> np.ndarray:
    """Draws of a chance whose logit is normal around it."""
    from scipy.special import expit, logit

    return expit(logit(chance) + logit_sd * spread_normal(_DRAWS, rng))


def _chance(draws: np.ndarray, off: np.ndarray) -> Quantity:
    """A chance with the doubt of a gap beyond what is published, in its logit."""
    from scipy.special import expit, logit

    inside = np.clip(draws, 1e-12, 1 - 1e-12)
    return Quantity.of_draws(expit(logit(inside) + off))


def _percent(quantity: Quantity) -> str:
    return f"{100 * quantity.median:.0f} %"


def _notes(kind: str, beyond: float, most: float) -> list[str]:
    said = [
        f"oversight is {PUBLISHED}: one rate of success a game, at an Elo gap of {most:g}; its slope in strength isn't "
        "known for other models, and is drawn"
    ]
    if beyond > 0:
        said.append(
            f"the gap lies beyond the published {most:g} Elo points: the interval is widened, not the middle moved"
        )
    if kind == _DEBATE:
        said.append(
            "labels saved: those that people without a debate would need for as much information, by the published "
            "accuracies (88 % with, 60 % without)"
        )
    return said
