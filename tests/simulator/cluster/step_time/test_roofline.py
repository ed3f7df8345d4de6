"""The least time of a step: nothing that was measured or is answered goes below it."""

import os
from pathlib import Path

import numpy as np
import pytest
from foretrain.core.model.architecture import Architecture
from foretrain.simulator.cluster.step_time.measurements.table import load_measurements
from foretrain.simulator.cluster.step_time.roofline import least_step_s
from foretrain.simulator.cluster.step_time.step_model import StepTimeModel

RUNS = Path(os.environ.get("FORETRAIN_SHARED", "../shared")) / "data" / "measured_runs" / "runs.csv"
LONG = Architecture(layers=32, width=4096, heads=32, ffn_width=11008, vocab_size=32000, context_length=32768)


@pytest.mark.skipif(not RUNS.exists(), reason="the shared table of measured runs is not beside this checkout")
def test_no_measured_step_beats_it():
    data = load_measurements(str(RUNS))
    share = least_step_s(data.steps) / data.step_time_s
    assert np.nanmax(share) < 0.95  # MaxText on TPU v5e, all of it recomputed


def test_it_is_model_flops_at_the_peak(make_steps):
    steps = make_steps(LONG, dp=np.full(2, 8.0), recompute_full=np.array([0.0, 1.0]))
    plain, again = least_step_s(steps)
    flops = LONG.training_flops_per_token() * 8 * LONG.context_length
    assert plain == pytest.approx(flops / (8 * 989e12), rel=0.01)
    assert 1.3 < again / plain < 4 / 3
    every_pair = least_step_s(make_steps(LONG, dp=np.full(1, 8.0), flash_attention=0.0))[0]
    assert 1.2 < every_pair / plain < 2


def test_intervals_are_cut_at_it(make_steps):
    steps = make_steps(LONG, dp=np.full(1, 8.0))
    model = StepTimeModel.shipped()
    fast = model.calibrated(steps, 1.05 * least_step_s(steps))
    near = make_steps(LONG, dp=np.full(1, 16.0))
    for level in (0.5, 0.8, 0.95):
        for one in (model, fast):
            low, high = one.interval_s(near, level)
            assert np.all(low >= np.minimum(least_step_s(near), one.predict(near).total_s))
            assert np.all(high > low)
