"""Where a log contradicts its plan: rates, gaps, the first loss, what it states of itself."""

import dataclasses

import numpy as np
import pytest
from foretrain.datasets.run_logs.columns import RawLog
from foretrain.simulator.curve.rates.planned_rates import path_of
from foretrain.simulator.tracking.contradictions import compare_rates, gaps, initial_loss, other_config

STEP = np.arange(50.0, 6001, 50)


def rates_of(config) -> np.ndarray:
    return 1e-3 * path_of(config).rate[STEP.astype(int)]


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_rates_of_the_plan_agree_however_steps_are_counted(plan, shift):
    config = plan()
    rate = 1e-3 * path_of(config).rate[STEP.astype(int) + shift]
    found = compare_rates("log", STEP, rate, config, path_of(config))
    assert found.notices == ()
    assert found.path.rate.tolist() == path_of(config).rate.tolist()


def test_rates_that_are_absent_say_nothing(plan):
    config = plan()
    assert compare_rates("log", STEP, np.full(len(STEP), np.nan), config, path_of(config)).notices == ()


def test_another_peak_is_said_and_changes_no_shape(plan):
    config = plan()
    found = compare_rates("log", STEP, 2 * rates_of(config), config, path_of(config))
    assert "the learning rate is 2 times the plan's all along (peak 0.001)" in found.notices[0].text
    assert found.path.rate.tolist() == path_of(config).rate.tolist()


def test_a_schedule_that_contradicts_the_plan_is_said_with_place_and_size(plan):
    config = plan()
    rate = rates_of(config)
    rate[STEP >= 3000] = 4e-4
    found = compare_rates("log", STEP, rate, config, path_of(config))
    notice = found.notices[0]
    assert (notice.kind, notice.step, notice.serious) == ("learning_rate", 3000, True)
    assert "from step 3000 on: 0.0004 there, planned 0.000831" in notice.text
    # what was logged counts so far, and the plan from now on
    planned = path_of(config).rate
    assert found.path.rate[4000] == pytest.approx(0.4)
    assert found.path.rate[6001:].tolist() == planned[6001:].tolist()
    assert found.path.rate[2000] == pytest.approx(planned[2000], abs=1e-3)


def test_gaps_and_a_missing_beginning(plan):
    path = path_of(plan())
    assert gaps("log", STEP, path) == []
    found = gaps("log", STEP[(STEP >= 2000) & ~((STEP > 3000) & (STEP < 4000))], path)
    assert [notice.text for notice in found] == [
        "log: begins at step 2000; what came before isn't in it",
        "log: no points from step 3000 to 4000: the forecast spans the gap",
    ]


@pytest.mark.parametrize(("first", "odd"), [(6.95, False), (7.3, False), (10.4, True), (3.0, True)])
def test_the_first_loss_tells_the_vocabulary(plan, first, odd):
    found = initial_loss("log", np.array([0.0, 10.0]), np.array([first, 3.0]), plan())
    assert [notice.kind for notice in found] == ["other_config"] * odd
    assert initial_loss("log", np.array([100.0]), np.array([first]), plan()) == []


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"max_steps": 10_000, "vocab_size": 1024, "lr": 0.001}, None),
        ({"max_steps": 20_000}, "max_steps 20000 (the planned steps: 10000)"),
        ({"vocab_size": 50257, "learning_rate": 3e-4}, "vocab_size 50257 (model.vocab_size: 1024), learning_rate"),
        ({"max_steps": -1, "vocab_size": "many", "lr": None}, None),
    ],
)
def test_what_a_log_states_of_its_run(plan, stated, said):
    nothing = np.zeros(0)
    log = RawLog("log", *[nothing] * 6, "steps", "step", "loss", "nats", stated=stated)
    found = other_config(dataclasses.replace(log), plan(), 1.0)
    assert len(found) == (said is not None)
    assert said is None or said in found[0].text
