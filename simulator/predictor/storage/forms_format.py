"""Further forms of a fitted law as plain values, and back; checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...fitting import Fit, Forms
from ...laws import Reference, get_law

_MOST_FORMS = 50
_TINY, _HUGE = 1e-300, 1e40


def forms_to_list(forms: Forms) -> list[dict[str, Any]]:
    """What `predictor.json` holds of further forms: their laws, optima and weights."""
    found = []
    for fit, weight in zip(forms.fits, forms.weights, strict=True):
        found.append(
            {
                "law": fit.law.name,
                "weight": _digits(weight),
                "reference": {name: _digits(value) for name, value in fit.reference.values.items()},
                "theta": {name: _digits(value) for name, value in zip(fit.law.names, fit.theta, strict=True)},
            }
        )
    return found


def forms_from(entries: Any, own: Fit) -> Forms:
    """The inverse, beside the fit of the law itself. ValueError, KeyError or TypeError for what isn't ours."""
    if not isinstance(entries, Sequence) or not 1 <= len(entries) <= _MOST_FORMS:
        raise ValueError(f"forms: expected a list of 1 to {_MOST_FORMS}")
    fits, weights = [], []
    for entry in entries:
        law = get_law(entry["law"], own.law.domains, own.law.levels)
        theta = np.array([float(entry["theta"][name]) for name in law.names])
        lower, upper = law.box()
        inside = (theta >= lower - 1.0) & (theta <= upper + 1.0)
        if not np.all(inside[law.free]):  # also for NaN
            raise ValueError(f"form {law.name!r}: a parameter is not finite or out of its range")
        values = {name: float(value) for name, value in entry["reference"].items()}
        if not all(_TINY < value < _HUGE for value in values.values()):
            raise ValueError(f"form {law.name!r}: a reference value is out of range")
        reference = Reference(values)
        for name in ("params", "tokens"):
            reference.log(name)
        fits.append(Fit(law, reference, law.complete(theta)[0], theta[None], own.noise, own.objective))
        weights.append(float(entry["weight"]))
    shares = np.array(weights)
    if not np.all(shares > 0) or not shares.sum() < 1.0:
        raise ValueError("forms: expected weights above 0 that leave some to the law itself")
    return Forms(tuple(fits), shares)


def _digits(value: float) -> float:
    """Rounded to ten significant digits, so that files agree between machines whose last bits differ."""
    return float(f"{float(value):.10g}")
