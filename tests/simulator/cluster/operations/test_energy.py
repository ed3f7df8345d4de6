import numpy as np
import pytest
from foretrain.simulator.cluster.operations.energy import TYPICAL_BUSY_SHARE, energy_used, power_w
from foretrain.simulator.cluster.operations.goodput import expected_run_time
from foretrain.simulator.config.operations import EnergyConfig, ReliabilityConfig
from hypothesis import given, settings
from hypothesis import strategies as st

DAY = 86_400.0
BARE = EnergyConfig(pue=1.0, host_w_per_accelerator=0.0)
UNDISTURBED = ReliabilityConfig.model_validate({"failures_per_device_hour": 0, "checkpoint": "1e-9s"})


def test_power_runs_from_idle_to_full():
    assert power_w(700, 0.0, 0.15) == pytest.approx(105)
    assert power_w(700, 1.0, 0.15) == 700
    assert power_w(700, 1.7, 0.15) == 700
    np.testing.assert_allclose(power_w(700, np.array([0.0, 0.5]), 0.2), [140, 420])


def test_an_h100_draws_what_olmo_2s_did():
    """ "Over 600 W" of 700 W while training, "just over 100 W" during checkpoints (arXiv:2503.05804, figure 2)."""
    assert power_w(700, TYPICAL_BUSY_SHARE, EnergyConfig().idle_share_of_tdp) == pytest.approx(600, rel=0.01)
    assert power_w(700, 0, EnergyConfig().idle_share_of_tdp) == pytest.approx(105)


@pytest.mark.parametrize(("gpu_hours", "pue", "mwh"), [(1_082_990, 1.0, 433.2), (1_022_362, 1.1, 449)])
def test_published_energies_are_full_power_times_hours(gpu_hours, pue, mwh):
    """BLOOM (arXiv:2211.02001, table 3) and LLaMA-65B (arXiv:2302.13971, table 15)."""
    run = expected_run_time(gpu_hours * 3600 / 384, 384, UNDISTURBED)
    used = energy_used(run, 384, 400, EnergyConfig(pue=pue, host_w_per_accelerator=0), busy_share=1.0)
    assert used.total_mwh == pytest.approx(mwh, rel=5e-3)


def test_hosts_and_site_come_on_top_and_the_grid_makes_carbon():
    run = expected_run_time(DAY, 10, UNDISTURBED)
    used = energy_used(run, 10, 1000, EnergyConfig(pue=1.5, host_w_per_accelerator=500, grid_g_co2e_per_kwh=57), 1.0)
    assert used.accelerators_kwh == pytest.approx(240)
    assert used.host_kwh == pytest.approx(120)
    assert used.site_kwh == pytest.approx(180)
    assert used.co2e_t == pytest.approx(540 * 57 / 1e6)
    assert energy_used(run, 10, 1000, BARE).co2e_t is None


def test_time_that_is_lost_draws_the_idle_share():
    settings_ = ReliabilityConfig.model_validate({"planned_downtime": 0.5, "failures_per_device_hour": 0})
    run = expected_run_time(DAY, 1, settings_)
    used = energy_used(run, 1, 1000, BARE, busy_share=1.0)
    assert used.accelerators_kwh == pytest.approx(24 + 24 * 0.15, rel=1e-3)


@settings(deadline=None, max_examples=50)
@given(st.floats(50, 2000), st.floats(0, 1), st.floats(1, 3), st.integers(1, 10_000))
def test_energy_grows_with_what_it_is_made_of(tdp, busy, pue, devices):
    run = expected_run_time(np.array([1.0, 10.0]) * DAY, devices, ReliabilityConfig())
    settings_ = EnergyConfig(pue=pue)
    used = energy_used(run, devices, tdp, settings_, busy).total_kwh
    assert used[1] > used[0]
    assert np.all(energy_used(run, devices, tdp, settings_, min(1.0, busy + 0.1)).total_kwh >= used)
    np.testing.assert_allclose(energy_used(run, devices, tdp, EnergyConfig(pue=2 * pue), busy).total_kwh, 2 * used)
    most = devices * run.wall_clock_s / 3.6e6 * pue * (tdp + settings_.host_w_per_accelerator)
    assert np.all(used <= most * (1 + 1e-12))
