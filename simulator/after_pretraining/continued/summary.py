"""`ContinuedSummary`: what fitted laws of continued pretraining say at the sizes that they were fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ....core.quantity import Quantity
from .outlook import largest_shares
from .storage import ContinuedLaws

__all__ = ["ContinuedSummary", "ShareRow"]

_SHOWN = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
_RISES = (0.01, 0.02, 0.05)
_GRID = np.linspace(0.0, 1.0, 101)


class ShareRow(NamedTuple):
    """Both losses of one run at one share, nats per token."""

    share: float
    domain: Quantity
    general: Quantity

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"share": self.share, "domain_nats": self.domain.to_dict(), "general_nats": self.general.to_dict()}


@dataclass(frozen=True)
class ContinuedSummary:
    """Losses by share at the largest budget, and the largest share for several rises of the general loss, by size."""

    domain: str
    tokens: float
    """Of continued pretraining."""
    by_size: Mapping[float, tuple[ShareRow, ...]]
    before: Mapping[float, tuple[float, float]]
    """Loss of the domain, and in general."""
    largest: Mapping[float, Mapping[float, Quantity]]
    """By size, then by how far the general loss may rise over that of going on without the domain."""
    source: str

    @classmethod
    def of(cls, laws: ContinuedLaws, seed: int = 0) -> ContinuedSummary:
        """The summary of laws, of one run: its luck is part of the intervals."""
        rng = np.random.default_rng(seed)
        tokens = laws.domain.measured["tokens"][1]
        by_size, largest, before = {}, {}, {}
        for size, own, general in laws.before.tolist():
            before[size] = (own, general)
            rows = []
            for share in _SHOWN:
                losses = [general * law.one_run(size, tokens, share, rng) for law in (laws.domain, laws.general)]
                rows.append(ShareRow(share, *(Quantity.of_draws(one) for one in losses)))
            by_size[size] = tuple(rows)
            change = np.log(laws.general.ratio(size, tokens, _GRID))
            largest[size] = {rise: Quantity.of_draws(largest_shares(change, rise)) for rise in _RISES}
        return cls(laws.domain_name, tokens, by_size, before, largest, laws.source)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "domain": self.domain,
            "tokens": self.tokens,
            "sizes": [
                {
                    "params": size,
                    "domain_before_nats": self.before[size][0],
                    "general_before_nats": self.before[size][1],
                    "by_share": [row.to_dict() for row in rows],
                    "largest_share": {f"{rise:g}": one.to_dict() for rise, one in self.largest[size].items()},
                }
                for size, rows in self.by_size.items()
            ],
            "source": self.source,
        }
