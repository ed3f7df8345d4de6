"""`FeedbackSummary`: what a fitted law of feedback says, in numbers that people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.quantity import Quantity
from ....core.units import format_count
from .law import FeedbackLaw

__all__ = ["FeedbackSummary"]


@dataclass(frozen=True)
class FeedbackSummary:
    """α and β of the mean reward model at the references, where its gain turns, and how large it is there."""

    method: str
    form: str
    quantities: Mapping[str, Quantity]
    """By what they are, in words."""
    source: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, law: FeedbackLaw) -> FeedbackSummary:
        """The summary of a law."""
        alpha, beta = law.coefficients({}, None)
        peak = law.form.peak(alpha, beta)
        farthest = np.sqrt(law.measured["kl_nats"][1])
        reached = law.form.gain(np.minimum(peak, farthest), alpha, beta)
        quantities = {
            "α": Quantity.of_draws(alpha),
            "β": Quantity.of_draws(beta),
            "KL at which the gain is largest, nats": Quantity.of_draws(peak**2),
            "largest gain, as far as was measured": Quantity.of_draws(reached),
        }
        for place, name in enumerate(law.references, start=1):
            for symbol, values in (("α", law.alpha), ("β", law.beta)):
                quantities[f"{symbol} with ten times the {name}"] = Quantity.of_draws(np.log(10.0) * values[:, place])
        return cls(law.method, law.form.in_words, quantities, law.source, tuple(_notes(law, peak, float(farthest))))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None for a gain that never turns."""
        return {
            "method": self.method,
            "form": self.form,
            "quantities": {name: one.to_dict() for name, one in self.quantities.items()},
            "source": self.source,
            "notes": list(self.notes),
        }


def _notes(law: FeedbackLaw, peak: np.ndarray, farthest: float) -> list[str]:
    said = []
    if law.references:
        at = ", ".join(f"{format_count(value)} {name}" for name, value in law.references.items())
        said.append(f"α and β are those at {at}")
    seen = float(np.mean(peak < farthest))
    said.append(f"{100 * seen:.0f} % of the draws turn within what was measured (KL {farthest**2:.3g} nats)")
    return said
