"""The prior of a new run from a library of curves, by the most closely related curves in it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import numpy as np

from ....core.errors import FitError
from ....core.progress import Progress
from ..library import Curve
from ..rates.path import RatePath
from .fitting import MIN_ANNEALED, CurveFit, annealed, fit_curves
from .prior import CurvePrior, ScheduleBias, generic_prior, known_prior, transferred_prior

_log = logging.getLogger(__name__)

_SAME_RATE = 0.02  # paths whose rates differ by less, share by share of the run, are one schedule
_SAME_LENGTH = 1.25  # and whose lengths differ by less than this factor: the law's bias depends on length
_SHARES = (np.arange(200) + 0.5) / 200


class Library:
    """Whole loss curves to learn from. Fits are made when they are first needed, and kept.

    Args:
        curves: Curves of finished runs, as `read_curves` gives them.
        fits: Fits that are known already, by the `run_id`s of their curves.

    >>> Library([]).prior("new/recipe", 1e9, RatePath(np.ones(100)), loss=3.0).name
    'generic'
    """

    def __init__(self, curves: list[Curve], fits: Mapping[tuple[str, ...], CurveFit] | None = None) -> None:
        self.curves = list(curves)
        self._fits = dict(fits or {})

    @property
    def sizes(self) -> dict[str, list[float]]:
        """Sizes by family, rising."""
        found: dict[str, set[float]] = {}
        for curve in self.curves:
            found.setdefault(curve.family, set()).add(curve.size)
        return {family: sorted(sizes) for family, sizes in found.items()}

    def family_fits(self, *, strict: bool = False, progress: Progress | None = None) -> dict[str, CurveFit]:
        """One fit to all curves of each family. With `strict`, FitError where they can't tell what a decay does."""
        fits = {}
        for number, family in enumerate(self.sizes):
            if progress is not None:
                progress(family, number / len(self.sizes))
            fits[family] = self._fit([curve for curve in self.curves if curve.family == family], strict)
        return fits

    def runs_of(self, fit: CurveFit) -> tuple[str, ...]:
        """The runs that a fit of this library was made of."""
        return next(key for key, known in self._fits.items() if known is fit)

    def prior(self, family: str, size: float, path: RatePath, loss: float) -> CurvePrior:
        """The prior of a run.

        Runs of its own size give shape and level; without any, other sizes of its family give the shape; without a
        family, the prior is generic. The bias is that of the law under the same schedule at other sizes.

        Args:
            family: The run's family (maker, corpus, recipe).
            size: Its parameters.
            path: Its learning rates.
            loss: Its current loss, nats, which only sets scales.
        """
        relatives = [curve for curve in self.curves if curve.family == family]
        own = [curve for curve in relatives if curve.size == size]
        others = [curve for curve in relatives if curve.size != size]
        siblings = [curve for curve in others if alike(curve.path, path)]
        if own and annealed(own) >= MIN_ANNEALED:
            return known_prior(self._fit(own), own[0].group, self._bias(siblings, own, others))
        if own:
            fit = self._fit(relatives)
            return known_prior(fit, own[0].group, ScheduleBias.of(fit, siblings))
        if others:
            ratio = min((size / curve.size for curve in others), key=lambda r: abs(np.log(r)))
            fit = self._fit(others)
            return transferred_prior(fit, loss, ratio, ScheduleBias.of(fit, siblings))
        return generic_prior(loss)

    def _bias(self, siblings: list[Curve], own: list[Curve], others: list[Curve]) -> ScheduleBias | None:
        """The law's bias at other sizes, fitted on the same schedules as the run's own size."""
        parts = []
        for sibling in siblings:
            same = [c for c in others if c.size == sibling.size and any(alike(c.path, o.path) for o in own)]
            if same and annealed(same) >= MIN_ANNEALED:
                parts.append(ScheduleBias.of(self._fit(same), [sibling]))
        return ScheduleBias.mean(parts)

    def _fit(self, curves: list[Curve], strict: bool = False) -> CurveFit:
        key = tuple(curve.run_id for curve in curves)
        if key not in self._fits:
            fit = self._fits[key] = fit_curves(curves, strict=strict)
            _log.info("fitted %d curves of %s: residual %.2g", len(curves), curves[0].family, fit.residual_sd)
        return self._fits[key]


def fit_library(curves: Iterable[Curve], *, strict: bool = False, progress: Progress | None = None) -> Library:
    """Fit the law to whole loss curves; runs of one family share its shape, those of one size its level.

    Args:
        curves: Curves of finished runs, such as the values of what `read_curves` returns.
        strict: Raise FitError where the curves of a family can't tell what a decay does, instead of a DataWarning.
        progress: Called with each family before it is fitted, and the share done, 0 to 1.

    Returns:
        The library of these curves, fitted.

    Raises:
        FitError: There are no curves, too few points, or losses that aren't numbers above 0.

    >>> import numpy as np
    >>> import foretrain
    >>> from foretrain.simulator.curve.library import Curve
    >>> from foretrain.simulator.curve.rates.path import named_path
    >>> curves = []
    >>> for name in ("cosine", "linear", "constant"):
    ...     path = named_path(name, 2000, 100, 1.0 if name == "constant" else 0.1)  # 100 of 2000 steps warm up
    ...     step = np.arange(150, 2001, 50)
    ...     loss = 3.0 + 8 * path.behind(step) ** -0.5 + 0.1 * path.rate[step - 1]
    ...     curves.append(Curve(name, "toy", 25e6, path, step, loss))
    >>> foretrain.fit_curves(curves).sizes
    {'toy': [25000000.0]}
    """
    library = Library(list(curves))
    if not library.curves:
        raise FitError("no curves to fit; expected at least one")
    library.family_fits(strict=strict, progress=progress)
    return library


def alike(a: RatePath, b: RatePath) -> bool:
    """Whether two paths are one schedule at about one length."""
    if max(a.steps, b.steps) > _SAME_LENGTH * min(a.steps, b.steps):
        return False
    rates = [path.rate[(_SHARES * path.steps).astype(int)] for path in (a, b)]
    return bool(np.max(np.abs(rates[0] - rates[1])) < _SAME_RATE)
