import numpy as np
import pytest
from foretrain.simulator.cluster.operations.energy import energy_used
from foretrain.simulator.cluster.operations.goodput import expected_run_time
from foretrain.simulator.cluster.operations.goodput_simulation import simulate_run_time
from foretrain.simulator.cluster.operations.money import cost_of, device_hours, productive_device_hours, stored_gib
from foretrain.simulator.cluster.operations.run_time import RunTime
from foretrain.simulator.config.operations import EnergyConfig, PricesConfig, ReliabilityConfig
from hypothesis import given, settings
from hypothesis import strategies as st

DAY = 86_400.0
SPOT = ReliabilityConfig.model_validate({"preemptions_per_device_hour": 1e-4, "preemption_wait": "1h"})


def prices(**keys) -> PricesConfig:
    return PricesConfig.model_validate(keys)


def plain(days: float) -> RunTime:
    """A run in which nothing at all is lost."""
    zero = np.zeros(1)
    return RunTime(np.full(1, days * DAY), zero, zero, zero, zero, zero, zero, zero, zero)


def test_a_bill_by_hand():
    """10 days on 100 devices at 2 dollars; 1000 GiB for 10 days at 3 cents a month."""
    bill = cost_of(plain(10), 100, prices(storage_usd_per_gib_month=0.03), 2.0, stored=1000)
    assert bill is not None
    assert bill.compute_usd == pytest.approx([48_000])
    assert bill.storage_usd == pytest.approx([0.03 * 1000 * 240 / 730.5])
    assert bill.idle_usd == bill.electricity_usd == 0
    assert bill.total_usd == bill.compute_usd + bill.storage_usd


def test_without_a_price_there_is_no_cost():
    assert cost_of(plain(1), 8, prices(storage_usd_per_gib_month=1), None, stored=10) is None
    assert cost_of(plain(1), 8, prices(reserved_usd_per_hour=1), None) is None
    assert cost_of(plain(1), 8, prices(on_demand_usd_per_hour=0), None) is not None


def test_electricity_alone_is_a_cost():
    """Of machines of one's own, whose hours have no price."""
    energy = energy_used(plain(10), 100, 700.0, EnergyConfig())
    assert cost_of(plain(10), 100, prices(), None, energy=energy) is None
    found = cost_of(plain(10), 100, prices(), None, energy=energy, usd_per_kwh=0.1)
    assert found is not None
    assert (found.compute_usd, found.idle_usd) == (0, 0)
    assert found.total_usd == found.electricity_usd == pytest.approx(0.1 * energy.total_kwh)


def test_what_a_reservation_leaves_is_paid_and_what_it_lacks_is_bought():
    held = {"purchase": "reserved", "reserved_usd_per_hour": 1.5, "reserved": "20d"}
    short = cost_of(plain(10), 10, prices(**held), 2.0)
    assert (short.compute_usd, short.idle_usd) == (10 * 240 * 1.5, 10 * 240 * 1.5)
    for extra, beyond in (({}, 1.5), ({"on_demand_usd_per_hour": 4.0}, 4.0)):
        long = cost_of(plain(30), 10, prices(**held, **extra), 2.0)
        assert (long.compute_usd, long.idle_usd) == (10 * (480 * 1.5 + 240 * beyond), 0)


def test_waiting_for_spot_capacity_is_not_paid_but_a_reservation_is():
    run = expected_run_time(10 * DAY, 512, SPOT)
    assert run.waiting_s > 0
    spot = cost_of(run, 512, prices(purchase="spot"), 1.0)
    reserved = cost_of(run, 512, prices(purchase="reserved"), 1.0)
    assert spot.total_usd == pytest.approx(512 * run.held_s / 3600)
    assert reserved.total_usd == pytest.approx(512 * run.wall_clock_s / 3600)


def test_electricity_is_added_where_it_is_extra():
    energy = energy_used(plain(10), 100, 400, EnergyConfig())
    without = cost_of(plain(10), 100, prices(), 2.0, energy=energy)
    extra = cost_of(plain(10), 100, prices(), 2.0, energy=energy, usd_per_kwh=0.1)
    assert without.electricity_usd == 0
    assert extra.electricity_usd == pytest.approx(0.1 * energy.total_kwh)


def test_storage_holds_checkpoints_and_data():
    assert stored_gib(prices(), 0, 1e12) == pytest.approx(4e12 / 2**30)
    assert stored_gib(prices(dataset_gib=100, checkpoints_kept=2), 1e9, 1e12) == pytest.approx(100 + 28e9 / 2**30)


@settings(deadline=None, max_examples=50)
@given(
    st.floats(0.01, 100), st.integers(1, 4000), st.floats(0.1, 60), st.sampled_from(["spot", "on_demand", "reserved"])
)
def test_twice_the_price_is_twice_the_cost_and_hours_add_up(price, devices, days, purchase):
    run = simulate_run_time(np.full(20, days * DAY), devices, SPOT, np.random.default_rng(0))
    once, twice = (
        cost_of(run, devices, prices(purchase=purchase, storage_usd_per_gib_month=f), price * f, stored=50.0)
        for f in (1.0, 2.0)
    )
    np.testing.assert_allclose(twice.total_usd, 2 * once.total_usd)
    assert np.all(productive_device_hours(run, devices) < device_hours(run, devices))
    assert np.all(device_hours(run, devices) <= devices * run.wall_clock_s / 3600 * (1 + 1e-12))
