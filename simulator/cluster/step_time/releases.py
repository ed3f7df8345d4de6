"""Releases of training software: how much longer a step takes with an older one than with the newest.

Identical layouts of mixtures of experts ran 1.2 to 1.5 times faster between two releases of one framework. What is
known of releases is a random walk for each kind of software, of accelerator and of model (dense, or with experts),
fitted with the efficiencies (`fitting.py`). Releases are numbers (`config/software_release.py`); 0 stands for none
stated, which is taken as the newest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.units import shown
from ...config.software_release import release_name, release_number
from .steps import FRAMEWORKS, GENERATIONS, Steps

__all__ = ["KINDS", "RELEASE_STEP_SD", "Releases", "any_generation", "release_kinds"]

KINDS = ("dense", "experts")
"""Kinds of models whose releases are told apart."""
RELEASE_STEP_SD = (0.03, 0.12)
"""Sd of log step time from a release to the next, by KINDS: that of layouts which the shared runs measured in both
(dense 0.03 over 30 pairs, experts 0.12 over 36)."""

_SAME = 1e-3  # numbers of releases that differ by less are one
_LARGEST_LOG = 3.0  # log units between two releases in a file


def release_kinds(steps: Steps) -> np.ndarray:
    """Kinds of software, accelerator and model by which releases are told apart: whole numbers, (n,)."""
    experts = steps.models.num_experts > 0
    cell = steps.layouts.framework * (len(GENERATIONS) + 1) + steps.machines.generation
    return np.broadcast_to(np.atleast_1d(cell * len(KINDS) + experts).astype(int), (len(steps),))


def any_generation(kinds: np.ndarray) -> np.ndarray:
    """The kinds that stand for the same software and model on any accelerator."""
    per_software = (len(GENERATIONS) + 1) * len(KINDS)
    return kinds // per_software * per_software + len(GENERATIONS) * len(KINDS) + kinds % len(KINDS)


@dataclass(frozen=True)
class Releases:
    """What is known of releases: by kind (`release_kinds`) the releases, oldest first, and how much slower they are.

    A kind that isn't there has what any accelerator's has.
    """

    known: Mapping[int, tuple[np.ndarray, np.ndarray]]
    """By kind: numbers of releases (k,), and log units by which steps take longer than with the last, (k,)."""
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
            found[own] = slower[np.maximum(np.searchsorted(numbers, release[own] + _SAME, side="right") - 1, 0)]
        return found

    def log_sd(self, steps: Steps) -> np.ndarray:
        """Sd of log step time between releases where a step's own isn't known, else 0. (n,)"""
        release = np.broadcast_to(steps.layouts.release, (len(steps),))
        kinds, unknown = self._kinds(steps), np.ones(len(steps), dtype=bool)
        for kind, (numbers, _) in self.known.items():
            own = kinds == kind
            unknown[own] = np.min(np.abs(release[own][:, None] - numbers), axis=1) >= _SAME
        return np.where(unknown, np.take(self.spread, kinds % len(KINDS)), 0.0)

    def _kinds(self, steps: Steps) -> np.ndarray:
        """The kinds of steps, where nothing is known of one that of any accelerator. (n,)"""
        kinds = release_kinds(steps)
        return np.where(np.isin(kinds, list(self.known)), kinds, any_generation(kinds))

    def note(self, framework: int, release: float, said: str) -> str | None:
        """What to tell someone who states a release that nobody measured; None where it was measured."""
        found = {float(n) for kind, (ns, _) in self.known.items() if _software(kind) == framework for n in ns}
        numbers = sorted(found)
        if any(abs(number - release) < _SAME for number in numbers):
            return None
        software = FRAMEWORKS[framework]
        if numbers:
            known = f"those of {software} are {', '.join(map(release_name, numbers))}"
        else:
            known = f"no release of {software} is told apart"
        earlier = [number for number in numbers if number < release] or numbers[:1]
        newest = not numbers or release == 0 or release > numbers[-1]
        return (
            f"release {shown(said)}: no step time was measured with it ({known}); "
            f"{'the newest' if newest else release_name(earlier[-1])} is taken, and the interval is wider for it"
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
