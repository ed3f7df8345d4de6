import datetime
import math

import numpy as np
import pytest
from foretrain.core.errors import InfeasibleError
from foretrain.simulator.cluster.operations.goodput import (
    best_interval_s,
    expected_run_time,
    pieces,
    planned_interval_s,
    require_progress,
    young_interval_s,
)
from foretrain.simulator.cluster.operations.run_time import LONGEST_S, finishing_day
from foretrain.simulator.config.operations import ReliabilityConfig
from hypothesis import example, given, settings
from hypothesis import strategies as st

DAY = 86_400.0
QUICK = settings(deadline=None, max_examples=60)


def reliability(**keys) -> ReliabilityConfig:
    return ReliabilityConfig.model_validate(keys)


rates = st.floats(-7, -2).map(lambda x: 10.0**x)  # per second
costs = st.floats(0.1, 1000.0)


@QUICK
@given(rates, costs)
def test_the_best_interval_solves_its_equation_and_no_neighbour_is_better(rate, cost):
    best = float(best_interval_s(rate, cost))
    y, c = rate * best, rate * cost
    assert math.log1p(-y) + y + c == pytest.approx(0, abs=1e-12 * (1 + c) / max(1 - y, 1e-12))

    def overhead(interval):
        return math.expm1(rate * (interval + cost)) / interval

    assert overhead(best) <= min(overhead(best * 0.99), overhead(best * 1.01))


@QUICK
@given(st.floats(1e-7, 1e-4), st.floats(1.0, 100.0))
def test_the_best_interval_against_dalys_series_and_young(rate, cost):
    """Daly 2006, equation 37: √(2CM) (1 + √(C/2M)/3 + (C/2M)/9) − C."""
    ratio = cost * rate / 2
    series = math.sqrt(2 * cost / rate) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - cost
    assert float(best_interval_s(rate, cost)) == pytest.approx(series, rel=2e-3 * max(1, ratio / 1e-3))
    assert float(best_interval_s(rate, cost)) < float(young_interval_s(rate, cost))


def test_no_interruptions_no_checkpoints_but_the_last():
    plain = expected_run_time(10 * DAY, 1000, reliability(failures_per_device_hour=0, checkpoint="60s"))
    assert np.isinf(best_interval_s(0.0, 60.0))
    assert plain.checkpoints == 1
    assert plain.interruptions == 0
    assert plain.wall_clock_s == 10 * DAY + 60


@QUICK
@given(st.floats(1.0, 1e7), rates, costs)
def test_the_planned_pieces_are_the_best_whole_number(work, rate, cost):
    settings_ = reliability(failures_per_device_hour=min(rate * 3600, 1.0), checkpoint=f"{cost!r}s")
    rate = settings_.failures_per_device_hour / 3600
    number = int(pieces(work, planned_interval_s(work, rate, settings_)))

    def total(n):
        return n * math.expm1(min(rate * (work / n + cost), 700))

    assert all(total(number) <= total(n) * (1 + 1e-12) for n in (number - 1, number + 1) if n >= 1)


def test_dalys_equation_13():
    """His model without the rounding to whole pieces: 1/λ e^(λR) (e^(λ(τ+C)) − 1) · work/τ."""
    rate, interval, cost, restart = 1e-4, 3600.0, 60.0, 300.0
    work = 240 * interval
    keys = {"failures_per_device_hour": rate * 3600, "checkpoint": "60s", "restart": "300s"}
    ours = expected_run_time(work, 1, reliability(checkpoint_interval="1h", **keys))
    daly = 1 / rate * math.exp(rate * restart) * math.expm1(rate * (interval + cost)) * work / interval
    assert ours.wall_clock_s == pytest.approx(daly, rel=1e-12)
    assert ours.checkpoints == 240


plans = st.fixed_dictionaries(
    {
        "failures_per_device_hour": st.floats(0, 1e-4),
        "checkpoint": st.floats(0.1, 300).map("{!r}s".format),
        "restart": st.floats(1, 3600).map("{!r}s".format),
        "straggler_slowdown": st.floats(0, 0.3),
        "planned_downtime": st.floats(0, 0.3),
        "preemptions_per_device_hour": st.floats(0, 1e-4),
        "preemption_wait": st.floats(1, 7200).map("{!r}s".format),
    },
    optional={"checkpoint_interval": st.floats(60, 36_000).map("{!r}s".format)},
)


@QUICK
@given(plans, st.floats(1, 100), st.integers(1, 20_000))
@example(
    {
        "failures_per_device_hour": 7.5e-5, "checkpoint": "1.0s", "restart": "1.0s", "straggler_slowdown": 0.0,
        "planned_downtime": 0.0, "preemptions_per_device_hour": 9.1e-5, "preemption_wait": "1.0s",
        "checkpoint_interval": "14400.0s",
    },
    1.0, 9119,
)  # fmt: skip
def test_parts_add_up_and_more_trouble_never_helps(keys, days, devices):
    plan = reliability(**keys)
    time = expected_run_time(days * DAY, devices, plan)
    assert np.isfinite(time.wall_clock_s)
    assert time.wall_clock_s <= LONGEST_S / (1 - plan.planned_downtime) * (1 + 1e-9)
    assert 0 < time.goodput <= 1
    assert sum(time.shares().values()) == pytest.approx(1)
    assert min(time.shares().values()) >= -1e-12

    def made(**changed):
        """With a stated interval as many pieces as before: longer steps could divide into luckier ones."""
        given = reliability(**{**keys, **changed})
        if "checkpoint_interval" not in keys:
            return given
        number = pieces(days * DAY * (1 + plan.straggler_slowdown), plan.checkpoint_interval_s)
        length_s = float(days * DAY * (1 + given.straggler_slowdown) / number)
        return given.model_copy(update={"checkpoint_interval_s": length_s})

    for key, worse in (
        ("restart", "3700s"),
        ("straggler_slowdown", 0.4),
        ("planned_downtime", 0.4),
        ("failures_per_device_hour", 2e-4),
    ):
        before = expected_run_time(days * DAY, devices, made())
        after = expected_run_time(days * DAY, devices, made(**{key: worse}))
        # where the interval is free, it is chosen anew, in whole pieces
        assert after.goodput <= before.goodput * (1 + 1e-3), key


@QUICK
@given(plans, st.floats(1, 100), st.integers(1, 20_000))
def test_an_interval_of_the_users_is_never_better_than_the_chosen_one(keys, days, devices):
    free = reliability(**{key: value for key, value in keys.items() if key != "checkpoint_interval"})
    stated = reliability(**{"checkpoint_interval": "1800s", **keys})
    best = expected_run_time(days * DAY, devices, free).goodput
    assert expected_run_time(days * DAY, devices, stated).goodput <= best * (1 + 1e-9)


def test_arrays_give_what_their_elements_give():
    days, devices = np.array([[1.0], [54.0]]) * DAY, np.array([8, 512, 16_384])
    plan = reliability(preemptions_per_device_hour=1e-5, preemption_wait="20min")
    both = expected_run_time(days, devices, plan)
    assert both.wall_clock_s.shape == (2, 3)
    one = expected_run_time(54 * DAY, 512, plan)
    assert both.wall_clock_s[1, 1] == one.wall_clock_s
    assert both.waiting_s[1, 1] == one.waiting_s
    assert both.held_s[1, 1] == one.wall_clock_s - one.waiting_s


def test_llama_3_was_interrupted_as_often_as_it_says():
    """419 interruptions in 54 days of 16,384 H100 (arXiv:2407.21783): the default rate is made of them."""
    plan = reliability(restart="5min")
    time = expected_run_time(54 * DAY * 0.9, 16_384, plan)
    assert time.wall_clock_s == pytest.approx(54 * DAY, rel=0.01)
    assert time.interruptions == pytest.approx(419, rel=0.01)
    assert time.goodput == pytest.approx(0.90, abs=0.03)


def test_a_run_that_never_finishes_stays_finite_and_is_refused():
    plan = reliability(failures_per_device_hour=1e-3, checkpoint_interval="10h")
    time = expected_run_time(54 * DAY, 16_384, plan)
    assert time.wall_clock_s == pytest.approx(LONGEST_S)
    with pytest.raises(InfeasibleError) as caught:
        require_progress(time, 54 * DAY, 16_384, plan)
    message = str(caught.value)
    assert "16,384 devices are interrupted every 3min40s on average" in message
    assert "reliability.checkpoint_interval needs 10h" in message
    assert "checkpoint every 1min" in message
    most = int(message.split("at most ")[1].split(" ")[0].replace(",", ""))
    work = 54 * DAY * 16_384
    assert expected_run_time(work / most, most, plan).goodput >= 0.01
    assert expected_run_time(work / (most + 1), most + 1, plan).goodput < 0.01


@pytest.mark.parametrize(
    ("keys", "binding"),
    [({"restart": "3d"}, "reliability.restart"), ({"checkpoint": "3d"}, "reliability.checkpoint")],
)
def test_the_binding_setting_is_named(keys, binding):
    plan = reliability(**keys)
    time = expected_run_time(54 * DAY, 16_384, plan)
    with pytest.raises(InfeasibleError, match=f"while {binding} needs 3d"):
        require_progress(time, 54 * DAY, 16_384, plan)


def test_a_run_that_makes_progress_is_let_through():
    require_progress(expected_run_time(DAY, 8, reliability()), DAY, 8, reliability())


def test_chance_and_finishing_day():
    time = expected_run_time(np.array([1.0, 2.0, 3.0]) * DAY, 8, reliability(failures_per_device_hour=0))
    assert time.chance_by(2.5 * DAY) == pytest.approx(2 / 3)
    start = datetime.date(2026, 12, 1)
    assert finishing_day(start, 30.5 * DAY) == datetime.date(2026, 12, 31)
    assert finishing_day(start, 0.5 * DAY) == start
    assert finishing_day(start, 1e15) == datetime.date.max
