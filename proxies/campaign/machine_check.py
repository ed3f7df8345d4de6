"""Whether this machine can go on with a campaign: on its device, in its number format, at no absurd price.

Results in two number formats, or on two devices, are no longer one campaign's, so another machine is refused rather
than taken as it is.
"""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

from ...core.errors import CampaignError, ForetrainWarning
from ..compute_plan import Device, Precision, Program, wants_kernels
from ..kernels import find_compiler
from .campaign_files import CampaignFile

__all__ = ["check_machine", "warn_without_compiler"]


def check_machine(file: CampaignFile, folder: Path) -> None:
    """Raise CampaignError if this machine lacks what the campaign was begun with. A tenth of a second, once a process.

    A number format that the settings ask for by name is what its author wants, whatever it costs here.
    """
    plan = file.plan
    if plan is None or (plan.device == "cpu" and (plan.precision == "fp32" or file.settings.precision != "auto")):
        return
    largest = max(file.runs, key=lambda run: run.shape.params_total)
    missing = _missing(plan.device, plan.precision, Program.of(largest.shared))
    if missing is None:
        return
    instead = "{precision: fp32}" if plan.device == "cpu" else "{device: cpu}"
    raise CampaignError(
        f"{folder}: was begun in {plan.precision} on {plan.processor}, but here {missing}; finish it on a machine like "
        f"that one, or start a new campaign in another folder with engine: {instead}"
    )


def warn_without_compiler(file: CampaignFile) -> None:
    """Issue a ForetrainWarning where kernels would train the campaign's runs if there were a C++ compiler."""
    device = "cpu" if file.plan is None else file.plan.device
    programs = {Program.of(run.shared) for run in file.runs}
    wanted = any(wants_kernels(program, file.settings, device) for program in programs)
    if wanted and find_compiler() is None:
        warnings.warn(
            "no C++ compiler (g++, clang++ or $CXX): proxies are trained without compiled kernels, and slower",
            ForetrainWarning,
            stacklevel=2,
        )


@functools.cache
def _missing(device: Device, precision: Precision, program: Program) -> str | None:
    from ..engine import what_is_missing  # torch takes seconds

    return what_is_missing(device, precision, program)
