import numpy as np
import pytest
from foretrain.simulator.cluster.operations.goodput import expected_run_time
from foretrain.simulator.cluster.operations.goodput_simulation import _moments, _sum_cut_off, simulate_run_time
from foretrain.simulator.cluster.operations.run_time import LONGEST_S
from foretrain.simulator.config.operations import ReliabilityConfig
from hypothesis import given, settings
from hypothesis import strategies as st

DAY = 86_400.0
PARTS = ("productive_s", "straggling_s", "checkpoint_s", "redone_s", "restart_s", "waiting_s", "planned_s")


def reliability(**keys) -> ReliabilityConfig:
    return ReliabilityConfig.model_validate(keys)


# The same examples every time: a test of random numbers that may fail by chance, however rarely, is no test.
@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.floats(1e-5, 1e-3),
    st.floats(1, 300),
    st.floats(60, 3600),
    st.just(0.0) | st.floats(1e-5, 1e-4),
    st.floats(0.5, 60),
    st.none() | st.floats(600, 20_000),
)
def test_the_mean_is_the_closed_form(failures, checkpoint, restart, preemptions, days, interval):
    plan = reliability(
        failures_per_device_hour=failures,
        checkpoint=f"{checkpoint!r}s",
        restart=f"{restart!r}s",
        preemptions_per_device_hour=preemptions,
        preemption_wait="30min",
        planned_downtime=0.02,
        straggler_slowdown=0.03,
        **({} if interval is None else {"checkpoint_interval": f"{interval!r}s"}),
    )
    expected = expected_run_time(days * DAY, 256, plan)
    drawn = simulate_run_time(np.full(4000, days * DAY), 256, plan, np.random.default_rng(0))
    for part in (*PARTS, "wall_clock_s", "interruptions", "checkpoints"):
        values = getattr(drawn, part)
        # Five standard errors of the mean: the draws are random, the tolerance isn't guessed.
        allowed = 5 * np.std(values) / np.sqrt(len(values)) + 1e-9 * abs(float(np.mean(values))) + 1e-6
        assert abs(np.mean(values) - float(getattr(expected, part))) <= allowed, part


def one_by_one(work, pieces, plan, rate, preempted, rng) -> tuple[float, int]:
    """The same run, failure by failure: wall clock in seconds and interruptions."""
    clock, interruptions = 0.0, 0
    for _ in range(pieces):
        todo = [work / pieces + plan.checkpoint_s]
        while todo:
            until = rng.exponential(1 / rate)
            if until >= todo[-1]:
                clock += todo.pop()
                continue
            interruptions += 1
            clock += until + (plan.preemption_wait_s if rng.random() < preempted else 0.0)
            if len(todo) == 1:
                todo.append(plan.restart_s)
    return clock, interruptions


def test_the_distribution_is_that_of_a_run_played_failure_by_failure():
    plan = reliability(
        failures_per_device_hour=1.5e-3,
        preemptions_per_device_hour=0.5e-3,
        preemption_wait="40min",
        checkpoint="120s",
        restart="15min",
    )
    rng = np.random.default_rng(7)
    drawn = simulate_run_time(np.full(4000, 2 * DAY), 256, plan, rng)
    number, rate = int(drawn.checkpoints[0]), 256 * 2e-3 / 3600
    played = np.array([one_by_one(2 * DAY, number, plan, rate, 0.25, rng) for _ in range(2000)])
    for ours, theirs in ((drawn.wall_clock_s, played[:, 0]), (drawn.interruptions, played[:, 1])):
        assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.02)
        assert np.std(ours) == pytest.approx(np.std(theirs), rel=0.06)
        for level in (0.05, 0.5, 0.95):
            assert np.quantile(ours, level) == pytest.approx(np.quantile(theirs, level), rel=0.04, abs=1)


def test_cut_off_times_have_the_moments_that_theory_gives():
    x = np.array([1e-9, 5e-4, 1e-3, 0.5, 3.0, 30.0])
    mean, variance = _moments(x)
    grid = (np.arange(200_000) + 0.5) / 200_000
    for i, rate in enumerate(x):
        values = -np.log1p(grid * np.expm1(-rate)) / rate
        assert mean[i] == pytest.approx(values.mean(), rel=1e-4)
        assert variance[i] == pytest.approx(values.var(), rel=1e-3)


def test_exact_and_normal_sums_agree_where_they_meet():
    rng, size = np.random.default_rng(1), 20_000
    few, many = (
        _sum_cut_off(np.full(size, count), np.full(size, 0.5), np.full(size, 2.0), rng) / count for count in (256, 257)
    )
    assert few.mean() == pytest.approx(many.mean(), rel=2e-3)
    assert few.std() == pytest.approx(many.std(), rel=0.03)
    assert np.quantile(few, 0.95) == pytest.approx(np.quantile(many, 0.95), rel=5e-3)


def test_step_times_failure_rates_and_luck_add_to_the_spread():
    rng = np.random.default_rng(3)
    steps = 40 * DAY * np.exp(0.1 * rng.standard_normal(4000))
    known = {"failures_per_device_hour": 2e-5}
    luck = simulate_run_time(np.full(4000, 40 * DAY), 16_384, reliability(**known), rng)
    rates = simulate_run_time(np.full(4000, 40 * DAY), 16_384, reliability(), rng)
    both = simulate_run_time(steps, 16_384, reliability(), rng)
    spread = [np.std(np.log(run.wall_clock_s)) for run in (luck, rates, both)]
    assert 0 < spread[0] < spread[1] / 5 < spread[2]
    assert spread[2] > 0.1
    assert both.productive_s is not None
    np.testing.assert_array_equal(both.productive_s, steps)


def test_same_seed_same_bits():
    work = np.full(10_000, 54 * DAY)
    plan = reliability(failures_per_device_hour=2e-4, failure_rate_spread=2)
    first = simulate_run_time(work, 16_384, plan, np.random.default_rng(5))
    assert np.median(first.interruptions) > 3000
    again = simulate_run_time(work, 16_384, plan, np.random.default_rng(5))
    np.testing.assert_array_equal(first.wall_clock_s, again.wall_clock_s)


def test_draws_that_never_finish_are_cut_at_the_longest_time():
    plan = reliability(failures_per_device_hour=1e-3, failure_rate_spread=10, checkpoint_interval="2h")
    drawn = simulate_run_time(np.full(2000, 54 * DAY), 16_384, plan, np.random.default_rng(0))
    assert np.all(np.isfinite(drawn.wall_clock_s))
    assert np.max(drawn.wall_clock_s) == pytest.approx(LONGEST_S)
    assert np.min(drawn.wall_clock_s) < LONGEST_S / 100


def test_nothing_interrupts_where_nothing_fails():
    plan = reliability(failures_per_device_hour=0)
    drawn = simulate_run_time(np.array([DAY, 2 * DAY]), 8, plan, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn.wall_clock_s, np.array([DAY, 2 * DAY]) + 30.0 * drawn.checkpoints)
    np.testing.assert_array_equal(drawn.interruptions, [0, 0])
