"""Terms whose effects differ between the levels of a category, which share a spread that is learned."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .._term import Parameter, Term

_SPREAD_LOG_SD = 0.8


class OfLevels(Term):
    """A term of a category. Each kind of effect of level v is τ·z_v with z_v ~ N(0, 1): the levels share its spread τ,
    which is learned (`Term.spreads`). So few runs of a level say what they can, and a level that no run had lies where
    levels lie.

    A subclass names category, baseline, kinds of effect with their usual spreads, and what other parameters it has.
    """

    usual_baseline: str
    """The level without an effect of its own, where some run has it; else the first one is."""
    kinds: tuple[str, ...]
    """The kinds of effect, in the order of the parameters."""
    usual_spread: tuple[float, ...]
    """Centre of the prior of each kind's τ."""
    fewest_variants = 1
    """Levels beside the baseline from which on they have effects of their own."""

    def __init__(self, domains: Sequence[str] = (), levels: Sequence[str] = ()) -> None:
        super().__init__(domains, levels)
        self.baseline = self.usual_baseline if self.usual_baseline in self.levels else self.levels[0]
        self.variants = tuple(level for level in self.levels if level != self.baseline)
        if len(self.variants) < self.fewest_variants:
            self.kinds = ()
        shared = [
            Parameter(f"{self.name}_log_spread_{kind}", math.log(usual), _SPREAD_LOG_SD, -12.0, 1.0)
            for kind, usual in zip(self.kinds, self.usual_spread, strict=False)
        ]
        shared += self.further_parameters()
        own = [
            Parameter(f"{self.name}_{kind}.{level}", 0.0, 1.0, -8.0, 8.0)
            for level in self.variants
            for kind in self.kinds
        ]
        self._first = len(shared)
        self.parameters = (*shared, *own)
        self.spreads = tuple((kind, self.places_of(kind)) for kind in range(len(self.kinds)))

    def further_parameters(self) -> Sequence[Parameter]:
        """Parameters that aren't those of a level, which stand between the spreads and the levels'. Default: none."""
        return ()

    def places_of(self, kind: int) -> tuple[int, ...]:
        """Where the z of a kind stand among the parameters, level by level."""
        return tuple(range(self._first + kind, len(self.parameters), len(self.kinds)))

    def effects_of(self, level: str) -> slice:
        """Where the z of a level stand among the parameters, in the order of kinds; ValueError for the baseline."""
        start = self._first + self.variants.index(level) * len(self.kinds)
        return slice(start, start + len(self.kinds))
