"""The forecast errors of a library of curves on other curves: of whole curves, or of the rest given a prefix."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...core.errors import FitError
from ...core.progress import Progress
from ...core.units import format_count
from .law.transfer import Library
from .library import END_POINTS, Curve
from .prefix import condition

_MEASURES = ("r2", "mae_nats", "max_relative_error", "final_relative_error")


def score(
    library: Library, curves: Iterable[Curve], prefix: float = 0.0, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Errors of a curve library on other curves.

    Args:
        library: The fitted library.
        curves: The curves to score on, which the library should not have been fitted on.
        prefix: Share of each run, 0 to 1, whose points are seen, and the later points scored. At 0 the whole curve is
            scored, and curves whose size the library lacks are skipped and counted.
        progress: Called with each curve's `run_id` and the share done, 0 to 1.

    Returns:
        Errors by curve and their means, under the stable keys of `simulate curve score --json`.

    Raises:
        FitError: There is no curve to score.

    >>> import numpy as np
    >>> import foretrain
    >>> from foretrain.simulator.curve.library import Curve
    >>> from foretrain.simulator.curve.rates.path import named_path
    >>> path, step = named_path("cosine", 2000, 100, 0.1), np.arange(150, 2001, 50)
    >>> curve = Curve("new", "toy", 25e6, path, step, 3.0 + 8 * path.behind(step) ** -0.5)
    >>> found = foretrain.score_curves(foretrain.CurveLibrary([]), [curve], prefix=0.5)
    >>> list(found["curves"]), found["mean"]["final_relative_error"] < 0.02
    (['new'], True)
    """
    curves = list(curves)
    kept = [curve for curve in curves if prefix or curve.size in library.sizes.get(curve.family, [])]
    if not curves:
        raise FitError("no curves to score; expected some that the library wasn't fitted on")
    if not kept:
        have = ", ".join(f"{f} {format_count(s)}" for f, sizes in library.sizes.items() for s in sizes)
        names = ", ".join(dict.fromkeys(f"{curve.family} {format_count(curve.size)}" for curve in curves))
        raise FitError(
            f"the curves are of {names}, of which none was fitted ({have} were), so their level isn't known; expected "
            "--prefix 0.2 to take it from each curve's own first part"
        )
    results = {}
    for number, curve in enumerate(kept):
        if progress is not None:
            progress(curve.run_id, number / len(kept))
        results[curve.run_id] = score_curve(library, curve, prefix)
    mean = {name: float(np.mean([r[name] for r in results.values()])) for name in _MEASURES}
    covered = float(np.mean([r["final_covered_90"] for r in results.values()]))
    skipped = {"size not fitted": len(curves) - len(kept)} if len(kept) < len(curves) else {}
    return {"curves": results, "mean": {**mean, "final_covered_90": covered}, "prefix": prefix, "skipped": skipped}


def score_curve(library: Library, curve: Curve, prefix: float = 0.0) -> dict[str, Any]:
    """Errors on one curve; relative ones are fractions of the observed loss."""
    step, loss, mean, (low, high) = predicted(library, curve, prefix)
    miss = mean - loss
    final = float(loss[-END_POINTS:].mean())
    spread = float(np.sum((loss - loss.mean()) ** 2))
    return {
        "r2": 1.0 - float(miss @ miss) / spread if spread > 0 else 0.0,
        "mae_nats": float(np.abs(miss).mean()),
        "max_relative_error": float(np.abs(miss / loss).max()),
        "final_relative_error": abs(float(mean[-END_POINTS:].mean()) / final - 1.0),
        "final_loss_nats": final,
        "final_interval_90_nats": [low, high],
        "final_covered_90": bool(low <= final <= high),
        "points": len(step),
    }


def predicted(
    library: Library, curve: Curve, prefix: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float]]:
    """Steps, observed and predicted losses `(n,)` after the prefix, and the 90 % interval of the final loss."""
    seen = curve.until(prefix * curve.path.steps) if prefix else curve.until(-1.0)
    rest = curve.step > (seen.step[-1] if len(seen.step) else -1.0)
    if rest.sum() < END_POINTS or (prefix and not len(seen.step)):
        raise FitError(
            f"{curve.run_id}: has {len(seen.step)} points up to {prefix:.0%} of the run and {rest.sum()} after"
        )
    scale = float(seen.loss[-1]) if len(seen.loss) else curve.final_loss
    belief = condition(curve.path, library.prior(curve.family, curve.size, curve.path, scale), seen.step, seen.loss)
    step, loss = curve.step[rest], curve.loss[rest]
    end = belief.final(step[-END_POINTS:])
    low, high = end.interval(0.9)
    return step, loss, belief.band(step).loss, (float(low[0]), float(high[0]))
