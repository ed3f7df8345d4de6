"""Times in a log: step time, days left, dates, interruptions, against estimate and deadline."""

import datetime

import numpy as np
import pytest
from foretrain.simulator.cluster.estimate import estimate
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.tracking.pace import pace_of

STEP = np.arange(50.0, 5001, 50)
DAY = 86_400


def clock(wall_s, step=STEP) -> np.ndarray:
    return np.stack([step, np.broadcast_to(wall_s, step.shape)])


def test_a_steady_run(plan):
    config = plan(targets__deadline="2d").model_copy(update={"start": None})
    pace = pace_of(config, clock(1.7e9 + 10 * STEP), 5000, None)
    assert (pace.step_time_s, pace.lost_share) == (10, 0)
    assert pace.tokens_per_s == pytest.approx(409.6)
    assert pace.days_left * DAY == pytest.approx(50_000)
    assert pace.total_days * DAY == pytest.approx(100_000)
    assert pace.margin_days == pytest.approx(2 - 100_000 / DAY)
    assert pace.finish == datetime.datetime.fromtimestamp(1.7e9 + 100_000, datetime.UTC).date()
    assert pace.mfu is None


def test_a_deadline_that_is_a_date_is_held_against_the_logs_dates(plan):
    """The run may have started later than planned."""
    config = plan(start="2023-11-01", targets__deadline="2023-11-20")
    pace = pace_of(config, clock(1.7e9 + 10 * STEP), 5000, None)  # from 2023-11-14T22:13:20 on
    end = datetime.datetime(2023, 11, 14, 22, 13, 20) + datetime.timedelta(seconds=100_000)
    assert pace.margin_days == pytest.approx((datetime.datetime(2023, 11, 20) - end) / datetime.timedelta(days=1))
    assert pace.deadline_days == 19


def test_time_that_was_lost_is_lost_again(plan):
    wall = 1.7e9 + 10 * STEP + np.where(STEP > 2000, 10_000, 0)
    pace = pace_of(plan(), clock(wall), 5000, None)
    assert pace.step_time_s == 10
    assert pace.lost_share == pytest.approx(10_000 / 60_000)
    assert pace.total_days * DAY == pytest.approx(120_000)


def test_steps_that_were_done_again_are_lost_time(plan):
    step = np.concatenate([STEP[:60], STEP[40:]])
    wall = 1.7e9 + 500 + 500 * np.arange(len(step))
    pace = pace_of(plan(), clock(wall, step), 5000, None)
    assert pace.step_time_s == 10
    assert pace.lost_share == pytest.approx(20 / 120)


def test_a_clock_that_starts_anew_with_the_job(plan):
    wall = np.where(STEP > 2000, 10 * (STEP - 2000), 10 * STEP)
    pace = pace_of(plan(), clock(wall), 5000, None)
    assert pace.step_time_s == 10
    assert pace.finish is None
    assert pace.lost_share == 0
    started = plan().model_copy(update={"start": datetime.date(2026, 1, 1)})
    assert pace_of(started, clock(wall), 5000, None).finish == datetime.date(2026, 1, 2)


@pytest.mark.parametrize("wall", [5.0, np.nan])
def test_no_times_no_pace(plan, wall):
    times = clock(wall)
    assert pace_of(plan(), times[:, np.isfinite(times[1])], 5000, None) is None


def test_against_the_estimate():
    config = RunConfig.from_mapping(
        {
            "model": {
                "architecture": {
                    "layers": 12, "width": 768, "heads": 12, "ffn_width": 2048, "vocab_size": 32000,
                    "context_length": 2048,
                }
            },
            "data": {"tokens": "10B"},
            "optim": {"batch_tokens": "0.5M"},
            "hardware": {"accelerator": "H100", "count": 8},
        }
    )  # fmt: skip
    cluster = estimate(config)
    pace = pace_of(config, clock(1.7e9 + 2 * cluster.step_time_s.median * STEP), 5000, cluster)
    # twice the time, half the utilisation
    assert pace.mfu == pytest.approx(cluster.mfu.median / 2)
    facts = pace.to_dict()
    assert facts["planned_wall_clock_days"] == cluster.wall_clock_days.to_dict()
    assert facts["planned_step_time_s"] == cluster.step_time_s.to_dict()
