"""Energy and carbon of a run: thermal design power × time at work × PUE, with the host and the idle draw.

An accelerator draws its idle share while it waits and its full thermal design power while kernels compute; in
between, the draw follows the share of the step in which they do. Published figures mostly assume the full power for
every hour that is paid; what was measured lies below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...config.operations import EnergyConfig
from .run_time import RunTime

__all__ = ["TYPICAL_BUSY_SHARE", "Energy", "energy_of_hours", "energy_used", "power_w"]

TYPICAL_BUSY_SHARE = 0.83
"""Share of a step in which kernels compute, where nothing is known of the step.

With the default idle share it gives the "over 600 W" of 700 W that H100 drew in training OLMo 2 (arXiv:2503.05804,
figure 2): 0.15 + 0.85 · 0.83 = 0.86.
"""

_J_PER_KWH = 3.6e6

Array = np.ndarray


@dataclass(frozen=True)
class Energy:
    """Electricity of a run in kWh, by part; arrays of the shape of its times."""

    accelerators_kwh: Array
    host_kwh: Array
    """Processors, memory, network and fans beside the accelerators."""
    site_kwh: Array
    """What cooling and conversion add: (PUE − 1) times the rest."""
    co2e_t: Array | None
    """Tonnes of CO2 equivalent of the electricity; None if the grid's intensity isn't stated."""

    @property
    def total_kwh(self) -> Array:
        """All of it, as the site's meter shows it."""
        return self.accelerators_kwh + self.host_kwh + self.site_kwh

    @property
    def total_mwh(self) -> Array:
        """The same in MWh."""
        return self.total_kwh / 1000.0

    def plus(self, other: Energy) -> Energy:
        """This and the electricity of other hours at the same site."""
        return Energy(
            self.accelerators_kwh + other.accelerators_kwh,
            self.host_kwh + other.host_kwh,
            self.site_kwh + other.site_kwh,
            None if self.co2e_t is None or other.co2e_t is None else self.co2e_t + other.co2e_t,
        )


def power_w(tdp_w: Any, busy_share: Any, idle_share: float) -> Array:
    """Mean draw of an accelerator in watts while it trains; `busy_share` of its time kernels compute."""
    busy = np.clip(np.asarray(busy_share, float), 0.0, 1.0)
    return np.asarray(tdp_w, float) * (idle_share + (1.0 - idle_share) * busy)


def energy_used(
    run_time: RunTime, devices: int, tdp_w: float, settings: EnergyConfig, busy_share: Any = TYPICAL_BUSY_SHARE
) -> Energy:
    """Electricity of a run on `devices` accelerators of `tdp_w` watts, over the time that they are held.

    `busy_share` may be an array of the shape of the times. Work that is done again draws like any other; checkpoints,
    restarts and maintenance draw the idle share.
    """
    idle_w = tdp_w * settings.idle_share_of_tdp
    training = power_w(tdp_w, busy_share, settings.idle_share_of_tdp) * run_time.training_s
    idle = idle_w * (run_time.held_s - run_time.training_s)
    accelerators = devices * (training + idle) / _J_PER_KWH
    host = devices * settings.host_w_per_accelerator * run_time.held_s / _J_PER_KWH
    return _at_site(accelerators, host, settings)


def energy_of_hours(device_hours: Array, tdp_w: float, settings: EnergyConfig) -> Energy:
    """Electricity of accelerator hours in which kernels compute as much as they usually do."""
    busy_w = power_w(tdp_w, TYPICAL_BUSY_SHARE, settings.idle_share_of_tdp)
    kilo = 1000.0
    return _at_site(busy_w * device_hours / kilo, settings.host_w_per_accelerator * device_hours / kilo, settings)


def _at_site(accelerators: Array, host: Array, settings: EnergyConfig) -> Energy:
    """The electricity of accelerators and hosts, kWh, with what the site adds."""
    site = (settings.pue - 1.0) * (accelerators + host)
    intensity = settings.grid_g_co2e_per_kwh
    co2e = None if intensity is None else (accelerators + host + site) * intensity / 1e6
    return Energy(accelerators, host, site, co2e)
