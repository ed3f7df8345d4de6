"""What text that models wrote does to a loss, what writing it costs, how much of public text it is: known figures.

The figures are in `facts/synthetic.json`, whose head says what they mean and where they are from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .catalogue import folded, read_facts

__all__ = ["UNKNOWN_KIND", "PublicSyntheticText", "SyntheticFacts", "synthetic_facts"]

UNKNOWN_KIND = "unknown"
"""What stands for a generator of which nothing is known."""

_REPLACE, _FRESH = "replace", "fresh"
_MOST_SUMMED = 1_000


@dataclass(frozen=True)
class PublicSyntheticText:
    """A scenario: the share of new public text that models wrote rises evenly from 0 to `share`, and stays.

    >>> scenario = synthetic_facts().public_text
    >>> [round(share, 2) for share in scenario.of_new_text(2024.15)]
    [0.17, 0.07, 0.28]
    """

    from_year: float
    level_year: float
    share: float
    interval: tuple[float, float]
    level: float
    """Of the interval, such as 0.8."""
    why: str
    sources: tuple[str, ...]

    def of_new_text(self, year: float) -> tuple[float, float, float]:
        """The share of the text that is new in a year, and its interval."""
        risen = min(max((year - self.from_year) / (self.level_year - self.from_year), 0.0), 1.0)
        return risen * self.share, risen * self.interval[0], risen * self.interval[1]


@dataclass(frozen=True)
class SyntheticFacts:
    """The figures, as they are in the file, and what follows from them."""

    facts: Mapping[str, Any]

    @property
    def known(self) -> tuple[str, ...]:
        """Kinds of generators of which something is known."""
        return tuple(self.facts["kinds"])

    def kind_of(self, generator: str) -> str | None:
        """The kind that a generator's name is of: one of `known`; None for a name that nothing is known of.

        >>> synthetic_facts().kind_of("WRAP"), synthetic_facts().kind_of("llama")
        ('rephrase', None)
        """
        plain = folded(generator)
        for kind, about in self.facts["kinds"].items():
            if plain in map(folded, (kind, *about["names"])):
                return kind
        return None

    def collapses(self, kind: str) -> bool:
        """Whether the loss rises with such text as the regimes say."""
        return bool(self._of(kind)["collapses"])

    def rise(self, regime: str, kind: str, share: np.ndarray, generation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rise of the log of the loss `(n,)` at a size like the measured ones, and one sd of the log of it.

        Args:
            regime: How generations are made, as plans name it.
            kind: One of `known`, or `UNKNOWN_KIND`.
            share: Share of the tokens that models wrote, `(n,)`.
            generation: Generations between real text and the run, `(n,)`.

        >>> ones = np.ones(3)
        >>> rise, log_sd = synthetic_facts().rise("replace", "self", ones, np.array([1.0, 3.0, 9.0]))
        >>> rise.round(2).tolist(), log_sd.round(2).tolist()
        ([0.12, 0.25, 0.45], [0.77, 0.81, 0.94])
        >>> synthetic_facts().rise("fresh", "self", ones, ones)[0].tolist()
        [0.0, 0.0, 0.0]
        """
        share, generation = np.asarray(share, dtype=float), np.asarray(generation, dtype=float)
        none = (share <= 0.0) | (generation <= 0.0)
        if regime == _FRESH:
            return np.zeros(share.shape), np.zeros(share.shape)
        share, generation = np.where(none, 1.0, share), np.where(none, 1.0, generation)
        of_set_ups = np.log(list(self.set_ups(regime).values()))
        log_rise = float(of_set_ups.mean()) + self._of(kind).get("log_factor", 0.0)
        between = max(self.facts["least_log_sd"], float(of_set_ups.std(ddof=1)) if len(of_set_ups) > 1 else 0.0)
        (power, power_sd), (growth, growth_sd), memory, decay = (
            self.facts["powers"][name] for name in ("share", "growth", "memory", "decay")
        )
        if regime == _REPLACE:
            log_share = np.log(share)
            log_rounds, open_rounds = _with_sd(lambda m: np.log(_rounds(share**m, generation)), *memory)
            log_rise = log_rise + power * log_share + growth * log_rounds
            open_form = np.hypot(growth_sd * log_rounds, growth * open_rounds)
        else:
            log_share = np.log(share * (generation + 1.0) / generation)
            log_rounds, open_form = _with_sd(lambda k: np.log(_accumulated(k, generation)), *decay)
            log_rise = log_rise + power * log_share + log_rounds
        most = self.facts["most_log_loss"]["value"]
        rise = -most * np.expm1(-np.exp(log_rise) / most)
        log_sd = np.sqrt(between**2 + (power_sd * log_share) ** 2 + open_form**2)
        return np.where(none, 0.0, rise), np.where(none, 0.0, log_sd)

    def gain(self, kind: str, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The log of the factor by which tokens count more `(n,)` where a share of them is such text, and one sd of it.

        >>> gain, sd = synthetic_facts().gain("rephrase", np.array([0.0, 0.3, 1.0]))
        >>> np.exp(gain).round(1).tolist(), sd.round(2).tolist()
        ([1.0, 3.0, 1.0], [0.0, 0.7, 0.7])
        """
        share, about = np.asarray(share, dtype=float), self._of(kind)
        if "log_gain" not in about:
            return np.zeros(share.shape), np.zeros(share.shape)
        best = about["best_share"]
        shape = (share / best) ** (best / (1.0 - best)) * (1.0 - share) / (1.0 - best)
        return about["log_gain"] * shape, about["sd"] * np.maximum(shape, share)

    def tail(self, lost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the loss rises by, as a share of it, where a share of real text is `lost` to sampling, and one sd."""
        about = self.facts["tail"]
        rise = math.exp(about["log_worth"]) * np.asarray(lost, dtype=float)
        return np.minimum(rise, self.facts["most_log_loss"]["value"]), about["sd"] * rise

    def set_ups(self, regime: str) -> Mapping[str, float]:
        """The rise of the log of the loss that the first generation had under a regime, by set-up."""
        return self.facts["regimes"][regime]["log_loss"]

    @property
    def reducible_share(self) -> float:
        """Of the loss, where a rise was measured on small models."""
        return float(self.facts["reducible_share"])

    @property
    def measured_generations(self) -> int:
        """The most generations that a chain was followed over."""
        return int(self.facts["measured"]["generations"])

    @property
    def least_measured_share(self) -> float:
        """The least share of synthetic text that a chain had."""
        return float(self.facts["measured"]["least_share"])

    def sources(self, regimes: Sequence[str], kinds: Sequence[str]) -> tuple[str, ...]:
        """Where the figures on some regimes and kinds are from, and whether they were read, recalled or measured."""
        of_regimes = self.facts["regimes"]
        found = [name for one in regimes if one in of_regimes for name in of_regimes[one]["sources"]]
        return self._told([*found, *(name for kind in kinds for name in self._of(kind)["sources"])])

    def writer_params(self, generator: str, own: float) -> float | None:
        """Parameters of what writes such text, for a plan of `own`; None where it costs nothing, or nobody knows.

        >>> facts = synthetic_facts()
        >>> [facts.writer_params(name, 7e9) for name in ("self", "wrap", "web", "llama")]
        [7000000000.0, 8000000000.0, None, None]
        """
        writer = self._of(self.kind_of(generator) or UNKNOWN_KIND)["writer"]
        return float(own) if writer == "self" else writer if writer is None else float(writer)

    def writer_in_words(self, generator: str) -> str:
        """Why such a writer has the size of `writer_params`."""
        writer = self._of(self.kind_of(generator) or UNKNOWN_KIND)["writer"]
        return "the plan's own size, as the generation before it had" if writer == "self" else "as published"

    @property
    def efficiency(self) -> float:
        """Share of an accelerator's peak that writing text reaches."""
        return float(self.facts["efficiency"]["value"])

    @property
    def efficiency_log_sd(self) -> float:
        """One sd of its log between models and programs."""
        return float(self.facts["efficiency"]["log_sd"])

    @property
    def public_text(self) -> PublicSyntheticText:
        """The scenario of how much of public text models wrote."""
        about = self.facts["public_text"]
        own = {key: about[key] for key in ("from_year", "level_year", "share", "level", "why")}
        return PublicSyntheticText(**own, interval=tuple(about["interval"]), sources=self._told(about["sources"]))

    def _told(self, names: Sequence[str]) -> tuple[str, ...]:
        sources, evidence = self.facts["sources"], self.facts["evidence"]
        return tuple(f"{sources[name]} ({evidence[name]})" for name in dict.fromkeys(names))

    def _of(self, kind: str) -> Mapping[str, Any]:
        return self.facts[UNKNOWN_KIND] if kind == UNKNOWN_KIND else self.facts["kinds"][kind]


def _with_sd(of: Callable[[float], np.ndarray], middle: float, sd: float) -> tuple[np.ndarray, np.ndarray]:
    """A function of an exponent at its middle, and what one sd of it leaves open."""
    return of(middle), 0.5 * np.abs(of(middle + sd) - of(middle - sd))


def _rounds(left: np.ndarray, generation: np.ndarray) -> np.ndarray:
    """Σ left^j over j from 0 to generation - 1, also between whole generations, `(n,)`."""
    whole = left >= 1.0
    below = np.where(whole, 0.5, left)
    return np.where(whole, generation, (1.0 - below**generation) / (1.0 - below))


def _accumulated(decay: float, generation: np.ndarray) -> np.ndarray:
    """Σ 1/j^decay over j from 1 to the nearest whole generation, `(n,)`."""
    terms = np.cumsum(np.arange(1.0, _MOST_SUMMED + 1.0) ** -decay)
    return terms[np.clip(np.rint(generation).astype(int), 1, _MOST_SUMMED) - 1]


@cache
def synthetic_facts() -> SyntheticFacts:
    """The figures that ship."""
    return SyntheticFacts(read_facts("synthetic.json"))
