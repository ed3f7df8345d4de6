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
from .prior import CurvePrior, ScheduleBias, generic_prior, known_prior, sizes_prior
from .public import PublicLaw, public_laws, public_prior
from .size_trend import SizeLaw, misfit

_log = logging.getLogger(__name__)

_SAME_RATE = 0.03  # paths whose rates after their warm-ups differ by less, share by share of the run, are one schedule
_SAME_LENGTH = 2.0  # and whose lengths differ by less than this factor: the law's bias depends on length
_SHARES = (np.arange(200) + 0.5) / 200


class Library:
    """Whole loss curves to learn from. Fits are made when they are first needed, and kept.

    Args:
        curves: Curves of finished runs, as `read_curves` gives them.
        fits: Fits that are known already, by the `run_id`s of their curves.
        laws: Fitted laws of recipes whose curves aren't there, such as those that ship: see `public`.

    >>> Library([]).prior("new/recipe", 1e9, RatePath(np.ones(100)), loss=3.0).name
    'generic'
    """

    def __init__(
        self,
        curves: list[Curve],
        fits: Mapping[tuple[str, ...], CurveFit] | None = None,
        laws: Iterable[PublicLaw] = (),
    ) -> None:
        self.curves = list(curves)
        self.laws = tuple(laws)
        self._fits = dict(fits or {})

    @classmethod
    def public(cls) -> Library:
        """The library that ships: the laws of the public curves, which serve where nobody has curves of related runs.

        >>> Library.public().families[:3]
        ['mpl', 'nanogpt-adam', 'nanogpt-shampoo']
        >>> Library.public().prior("new/recipe", 1e9, RatePath(np.ones(100)), loss=3.0).name
        'public curves'
        """
        return cls([], laws=public_laws())

    @property
    def families(self) -> list[str]:
        """The families of its curves, and those that it has laws of."""
        return list(dict.fromkeys([*self.sizes, *(law.family for law in self.laws)]))

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

        Runs of its own size give shape and level; without any, those of the other sizes of its family are extrapolated.
        For a family that isn't known the library's laws say what families have in common; without laws, the prior is
        generic. The bias is that of the law under the same schedule at other sizes.

        Args:
            family: The run's family (maker, corpus, recipe).
            size: Its parameters.
            path: Its learning rates.
            loss: Its current loss, nats, which only sets scales.
        """
        relatives = [curve for curve in self.curves if curve.family == family]
        own = [curve for curve in relatives if curve.size == size]
        others = _by_size(curve for curve in relatives if curve.size != size)
        if own and annealed(own) >= MIN_ANNEALED:
            beyond = _beyond(path, [curve.path.steps for curve in own])
            return known_prior(self._fit(own), own[0].group, self._bias(path, others, own), beyond)
        if own:
            fit = self._fit(relatives)
            siblings = [near for curves in others.values() if (near := nearest(path, curves)) is not None]
            beyond = _beyond(path, [curve.path.steps for curve in relatives])
            return known_prior(fit, own[0].group, ScheduleBias.of(fit, siblings), beyond)
        if others:
            beyond = _beyond(path, [curve.path.steps for curve in relatives])
            return sizes_prior(self._laws(others), size, self._bias(path, others), beyond)
        fitted = [law for law in self.laws if law.family == family]
        if fitted:
            beyond = _beyond(path, [steps for law in fitted for steps in law.steps])
            return sizes_prior([law.law for law in fitted], size, beyond=beyond)
        return public_prior(size, path, loss, self.laws) if self.laws else generic_prior(loss)

    def _laws(self, sizes: Mapping[float, list[Curve]]) -> list[SizeLaw]:
        """The law of each size, fitted on its own; where no size has a decay, on all together."""
        telling = {size: curves for size, curves in sizes.items() if annealed(curves) >= MIN_ANNEALED}
        if telling:
            fits = {size: self._fit(curves) for size, curves in telling.items()}
            return [
                SizeLaw.of(fit, telling[size][0].group, size, misfit(fit, telling[size])) for size, fit in fits.items()
            ]
        fit = self._fit([curve for curves in sizes.values() for curve in curves])
        return [SizeLaw.of(fit, curves[0].group, size) for size, curves in sizes.items()]

    def _bias(
        self, path: RatePath, sizes: Mapping[float, list[Curve]], own: list[Curve] | None = None
    ) -> ScheduleBias | None:
        """The law's bias under a run's schedule at other sizes.

        It is fitted there on all schedules, or on those that were fitted of the run's `own` size.
        """
        parts = []
        for curves in sizes.values():
            sibling = nearest(path, curves)
            if sibling is None:
                continue
            if own is not None:
                same = [nearest(curve.path, curves) for curve in own]
                curves = list({curve.run_id: curve for curve in same if curve is not None}.values())
            if curves and annealed(curves) >= MIN_ANNEALED:
                parts.append(ScheduleBias.of(self._fit(curves), [sibling]))
        return ScheduleBias.mean([part for part in parts if part is not None])

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
    """Whether two paths are one schedule, whatever their warm-ups, of lengths that differ by a factor of 2 at most."""
    if max(a.steps, b.steps) > _SAME_LENGTH * min(a.steps, b.steps):
        return False
    after = max(a.warmup / a.steps, b.warmup / b.steps) < _SHARES
    rates = [path.rate[(_SHARES[after] * path.steps).astype(int)] for path in (a, b)]
    return bool(np.max(np.abs(rates[0] - rates[1]), initial=0.0) < _SAME_RATE)


def nearest(path: RatePath, curves: Iterable[Curve]) -> Curve | None:
    """The curve of the same schedule whose length is nearest; None where none is alike."""
    same = [curve for curve in curves if alike(curve.path, path)]
    return min(same, key=lambda curve: abs(np.log(curve.path.steps / path.steps)), default=None)


def _by_size(curves: Iterable[Curve]) -> dict[float, list[Curve]]:
    """Curves by size, rising."""
    found: dict[float, list[Curve]] = {}
    for curve in sorted(curves, key=lambda curve: curve.size):
        found.setdefault(curve.size, []).append(curve)
    return found


def _beyond(path: RatePath, lengths: list[int]) -> float:
    """Log of the ratio of a run's length to the steps of others, 0 within their range."""
    return float(np.log(max(1.0, path.steps / max(lengths), min(lengths) / path.steps)))
