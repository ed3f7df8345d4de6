"""Releases of training software: how much longer a step takes with an older one than with the newest.

Identical layouts of mixtures of experts ran 1.2 to 1.5 times faster between two releases of one framework. A release is
named by year and month, as NVIDIA's containers are (26.04, or 26.04.01 for its first patch), and held as the number
2604.01; 0 stands for none stated, which is taken as the newest. What is known of releases is a random walk for each kind
of software, of accelerator and of model (dense, or with experts), fitted with the efficiencies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.errors import InputError
from ....core.units import shown
from .steps import FRAMEWORKS, GENERATIONS, Steps

__all__ = [
    "KINDS",
    "RELEASE_STEP_SD",
    "Releases",
    "any_generation",
    "release_inside",
    "release_kinds",
    "release_name",
    "release_number",
]

KINDS = ("dense", "experts")
"""Kinds of models whose releases are told apart."""
RELEASE_STEP_SD = (0.03, 0.12)
"""Sd of log step time from a release to the next, by KINDS: that of layouts which the shared runs measured in both
(dense 0.03 over 30 pairs, experts 0.12 over 36)."""

_DATED = re.compile(r"(?:20)?(\d{2})[.-](\d{1,2})(?:[.-](\d{1,2}))?")
_INSIDE = re.compile(r"(?<![\d.])(\d{2}\.\d{2}(?:\.\d{1,2})?)(?![\d.])")
_NUMBERED = re.compile(r"v?\d+(?:[.-]\d+)*")
_EXPECTED = "expected year and month as 26.04, with a patch as 26.04.01, or a date as 2026-04-15"
_LARGEST_LOG = 3.0  # log units between two releases in a file


def release_number(said: str | float) -> float:
    """A release as a number that orders releases: 26.04.01 is 2604.01.

    Args:
        said: Year and month, a patch after them; a date; or the number that a table's reader makes of it (26.1 is 26.10).

    Returns:
        The number; 0 for a version that doesn't tell its date, such as 0.15.0: of those nothing is known.

    Raises:
        InputError: It is no version at all.
    """
    words = f"{said:.2f}" if isinstance(said, float) else said.strip().casefold()
    found = _DATED.fullmatch(words)
    if found is not None and 1 <= int(found[2]) <= 12:
        # of a date the day says nothing of a release
        patch = 0 if found[3] is None or words.startswith("20") else int(found[3])
        return 100.0 * int(found[1]) + int(found[2]) + patch / 100.0
    if _NUMBERED.fullmatch(words):
        return 0.0
    raise InputError(f"got {shown(said)}; {_EXPECTED}")


def release_inside(words: str) -> float:
    """The release that a framework's name ends with (`megatron-bridge 26.04`), 0 where it has none."""
    found = _INSIDE.search(words)
    return 0.0 if found is None else release_number(found[1])


def release_name(number: float) -> str:
    """A release as people write it: 26.04, 26.04.01."""
    month, patch = divmod(round(100.0 * number), 100)
    return f"{month // 100:02d}.{month % 100:02d}" + (f".{patch:02d}" if patch else "")


def release_kinds(steps: Steps) -> np.ndarray:
    """Of each step the kind of software, accelerator and model by which releases are told apart: a whole number, (n,)."""
    experts = steps.models.num_experts > 0
    cell = steps.layouts.framework * (len(GENERATIONS) + 1) + steps.machines.generation
    return np.broadcast_to(np.atleast_1d(cell * len(KINDS) + experts).astype(int), (len(steps),))


def any_generation(kinds: np.ndarray) -> np.ndarray:
    """The kinds that stand for the same software and model on any accelerator."""
    per_software = (len(GENERATIONS) + 1) * len(KINDS)
    return kinds // per_software * per_software + len(GENERATIONS) * len(KINDS) + kinds % len(KINDS)


@dataclass(frozen=True)
class Releases:
    """What is known of releases: by kind (`release_kinds`) the releases, oldest first, and how much slower each is.

    A kind that isn't there has what any accelerator's has.
    """

    known: Mapping[int, tuple[np.ndarray, np.ndarray]]
    """By kind: numbers of releases (k,), and log units by which a step takes longer than with the last of them, (k,)."""
    spread: tuple[float, float]
    """Sd of log step time between releases, by KINDS: what isn't known where none is stated, or none that is known."""

    def log_factor(self, steps: Steps) -> np.ndarray:
        """Log units by which steps (n,) take longer than with the newest release of their software. (n,)"""
        release = np.broadcast_to(steps.layouts.release, (len(steps),))
        found = np.zeros(len(steps))
        if not np.any(release > 0) or not self.known:
            return found
        kinds = self._kinds(steps)
        for kind, (numbers, slower) in self.known.items():
            own = (kinds == kind) & (release > 0)
            # between two known releases it is the older one; before the first of them, the first
            found[own] = slower[np.maximum(np.searchsorted(numbers, release[own], side="right") - 1, 0)]
        return found

    def log_sd(self, steps: Steps) -> np.ndarray:
        """Sd of log step time between releases where a step's own isn't known, else 0. (n,)"""
        release = np.broadcast_to(steps.layouts.release, (len(steps),))
        kinds, unknown = self._kinds(steps), np.ones(len(steps), dtype=bool)
        for kind, (numbers, _) in self.known.items():
            own = kinds == kind
            unknown[own] = ~np.isin(np.round(release[own], 2), np.round(numbers, 2))
        return np.where(unknown, np.take(self.spread, kinds % len(KINDS)), 0.0)

    def _kinds(self, steps: Steps) -> np.ndarray:
        """The kinds of steps, where nothing is known of one that of any accelerator. (n,)"""
        kinds = release_kinds(steps)
        return np.where(np.isin(kinds, list(self.known)), kinds, any_generation(kinds))

    def note(self, framework: int, release: float, said: str) -> str | None:
        """What to tell someone who states a release that nobody measured; None where it was measured."""
        numbers = sorted(
            {float(n) for kind, (found, _) in self.known.items() if _software(kind) == framework for n in found}
        )
        if any(abs(number - release) < 1e-3 for number in numbers):
            return None
        names = ", ".join(release_name(number) for number in numbers)
        known = f"known of {FRAMEWORKS[framework]}: {names}" if names else f"no release of {FRAMEWORKS[framework]} is"
        earlier = [number for number in numbers if number <= release]
        taken = (
            "the newest"
            if release == 0 or not numbers or release > numbers[-1]
            else release_name((earlier or numbers)[-1 if earlier else 0])
        )
        return (
            f"hardware.release {shown(said)}: no step time was measured with it ({known}); "
            f"{taken} is taken, and the spread between releases is part of the interval"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        known = {
            _kind_name(kind): {release_name(n): round(float(s), 6) for n, s in zip(*columns, strict=True)}
            for kind, columns in self.known.items()
        }
        return {"slower": known, "spread": dict(zip(KINDS, self.spread, strict=True))}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Releases:
        """Read what `to_dict` wrote. Raises ValueError, KeyError or their like for anything else."""
        names = {_kind_name(kind): kind for kind in range(len(FRAMEWORKS) * (len(GENERATIONS) + 1) * len(KINDS))}
        known = {}
        for name, found in plain["slower"].items():
            numbers = np.array([release_number(str(key)) for key in found])
            slower = np.array([float(value) for value in found.values()])
            if not len(numbers) or np.any(np.diff(numbers) <= 0) or not np.max(np.abs(slower)) <= _LARGEST_LOG:
                raise ValueError("its releases aren't in order, or differ too much")
            known[names[name]] = (numbers, slower)
        spread = float(plain["spread"][KINDS[0]]), float(plain["spread"][KINDS[1]])
        if not all(0 <= sd <= _LARGEST_LOG for sd in spread):
            raise ValueError("its spread between releases is out of range")
        return cls(known, spread)

    @classmethod
    def none(cls) -> Releases:
        """Of software whose releases nobody told apart."""
        return cls({}, (0.0, 0.0))


def _software(kind: int) -> int:
    return kind // len(KINDS) // (len(GENERATIONS) + 1)


def _kind_name(kind: int) -> str:
    generation = kind // len(KINDS) % (len(GENERATIONS) + 1)
    return f"{FRAMEWORKS[_software(kind)]}/{(*GENERATIONS, 'other')[generation]}/{KINDS[kind % len(KINDS)]}"
