"""The prior of a tracked run's loss curve from the curves of other runs."""

from __future__ import annotations

import os

from ...core.errors import UsageError
from ..config.run_config import RunConfig
from ..curve.forecasting import choose_size
from ..curve.law.prior import CurvePrior
from ..curve.law.public import PUBLIC
from ..curve.law.transfer import Library
from ..curve.rates.path import RatePath
from ..curve.store import load
from .step_axis import PriorOf

__all__ = ["load_curves", "prior_from", "public_curves"]


def load_curves(folder: str | os.PathLike[str], config: RunConfig, family: str | None = None) -> PriorOf:
    """The prior of a planned run from a folder made by `simulate curve fit`.

    Raises `PredictorError` for a damaged folder, `UsageError` where it isn't clear which family the run is of.
    """
    library = load(folder)
    known = list(library.sizes)
    if family is None and len(known) > 1:
        raise UsageError(
            f"--curves {folder}: holds {len(known)} families; expected --family, one of {', '.join(known)}"
        )
    if family is not None and family not in known:
        raise UsageError(f"--family: got {family!r}; {folder} holds {', '.join(known)}")
    return prior_from(library, config, family or known[0])


def public_curves(config: RunConfig, family: str | None = None) -> PriorOf:
    """The prior of a planned run from the laws of the public curves: of one of their recipes, or of any other job.

    Raises `UsageError` for a family that is none of them.
    """
    library = Library.public()
    if family is not None and family not in library.families:
        known = ", ".join(library.families)
        raise UsageError(f"--family: got {family!r}; the public curves have {known} (--curves DIR brings your own)")
    return prior_from(library, config, family or PUBLIC)


def prior_from(library: Library, config: RunConfig, family: str) -> PriorOf:
    """The prior of a planned run that is one of a `family`; generic where the library knows neither it nor laws."""
    size = choose_size(library, family, config.model.params_total)

    def prior(path: RatePath, loss: float) -> CurvePrior:
        return library.prior(family, size, path, loss)

    return prior
