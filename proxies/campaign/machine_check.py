"""Whether this machine can go on with a campaign: on its device, in its number format, at no absurd price.

Results in two number formats, or on two devices, are no longer one campaign's, so another machine is refused rather
than taken as it is.
"""

from __future__ import annotations

import functools
from pathlib import Path

from ...core.errors import CampaignError
from ..compute_plan import Device, Precision, Program
from .campaign_files import CampaignFile

__all__ = ["check_machine"]


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


@functools.cache
def _missing(device: Device, precision: Precision, program: Program) -> str | None:
    from ..engine import what_is_missing  # torch takes seconds

    return what_is_missing(device, precision, program)
