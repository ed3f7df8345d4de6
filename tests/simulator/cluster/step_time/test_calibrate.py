"""What a few measured steps of the user's own cluster change, and what they can't be."""

from pathlib import Path

import foretrain
import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import ConfigError, InfeasibleError, InputError
from foretrain.simulator.cluster.estimate import estimate
from foretrain.simulator.cluster.layout_choice import search_layouts
from foretrain.simulator.cluster.step_time.calibrate import calibrate_on_plan, calibrate_on_rows
from foretrain.simulator.cluster.step_time.measurements.table import read_measurements
from foretrain.simulator.cluster.step_time.step_model import StepTimeModel
from foretrain.simulator.config.run_config import RunConfig
from hypothesis import given, settings
from hypothesis import strategies as st

SHIPPED = StepTimeModel.shipped()
SEVEN_B = Path(__file__).parents[4] / "examples/llama-7b.yaml"
SHAPE = {"n_layers": 32, "d_model": 4096, "n_heads": 32, "d_ff": 11008, "vocab": 32000, "seq_len": 4096}
ROW = {**SHAPE, "gpu": "A100", "n_gpus": 8, "dp": 8, "global_batch": 64, "micro_batch": 1}


def plan(*overrides: str) -> RunConfig:
    return RunConfig.load(SEVEN_B, overrides)


def rows(*changes: dict):
    return read_measurements(pd.DataFrame([{**ROW, **change} for change in changes]))


def width(quantity) -> float:
    low, high = quantity.intervals[0.8]
    return np.log(high / low)


def test_the_estimate_moves_to_the_measured_step_and_becomes_surer():
    before = estimate(plan())
    for factor in (0.75, 1.3):
        measured = factor * before.step_time_s.median
        model, facts = calibrate_on_plan(plan(), [measured], SHIPPED)
        after = estimate(plan(), model)
        # the measurement wins, in the layout in which it was made, with the interval of another measurement
        assert after.step_time_s.median == pytest.approx(measured, rel=2e-3)
        assert after.layout == before.layout
        assert width(after.step_time_s) < 0.9 * width(before.step_time_s)
        assert after.calibrated_on == facts["calibrated_on"] == 1
        (step,) = facts["steps"]
        assert step["name"] == "llama-7b"
        assert step["measured_s"] == measured
        assert step["before_s"] == pytest.approx(before.step_time_s.median, rel=0.01)
        assert step["after_s"] == pytest.approx(after.step_time_s.median, rel=0.01)
        assert step["half_width_after"] < step["half_width_before"]


def test_the_public_door_does_the_same():
    model, facts = foretrain.calibrate_step_times(plan(), [2.0])
    assert isinstance(model, foretrain.StepTimeModel)
    assert facts == calibrate_on_plan(plan(), [2.0], SHIPPED)[1]
    found = foretrain.estimate_cluster(plan(), model, draws=100)
    assert isinstance(found, foretrain.ClusterEstimate)
    assert foretrain.search_layouts(plan(), top=1)[0][0].layout == found.layout  # the one that was measured
    assert foretrain.accelerator(found.accelerator) == plan().hardware.accelerator
    assert foretrain.forecast(plan(), foretrain.load_predictor("web-text"), model).cluster == estimate(plan(), model)


def test_more_steps_say_more():
    before = estimate(plan()).step_time_s
    measured = 1.3 * before.median
    errors, widths = [], [width(before)]
    for count in (1, 2, 3):
        model, facts = calibrate_on_plan(plan(), [measured] * count, SHIPPED)
        after = estimate(plan(), model).step_time_s
        errors.append(abs(np.log(after.median / measured)))
        widths.append(width(after))
        assert [step["name"] for step in facts["steps"]] == (
            ["llama-7b"] if count == 1 else [f"llama-7b {i + 1}" for i in range(count)]
        )
    assert max(errors) < 2e-3
    assert widths == sorted(widths, reverse=True)


def test_one_by_one_is_as_good_as_together():
    together, _ = calibrate_on_plan(plan(), [2.0, 2.2], SHIPPED)
    first, _ = calibrate_on_plan(plan(), [2.0], SHIPPED)
    second, facts = calibrate_on_plan(plan(), [2.2], first)
    assert facts["calibrated_on"] == together.calibrated_on == 2
    said = [estimate(plan(), model).step_time_s.median for model in (together, second)]
    assert said[0] == pytest.approx(said[1], rel=0.01)


@settings(deadline=None, max_examples=6)
@given(st.floats(0.5, 2))
def test_what_is_as_predicted_changes_nothing_and_slower_steps_slow_down(factor):
    predicted = search_layouts(plan(), top=1)[0][0].step_time_s
    model, facts = calibrate_on_plan(plan(), [factor * predicted], SHIPPED)
    (step,) = facts["steps"]
    assert step["before_s"] == pytest.approx(predicted)
    low, high = sorted((predicted, factor * predicted))
    assert low * 0.999 <= step["after_s"] <= high * 1.001
    assert model.offset * (factor - 1) >= -1e-9


def test_a_calibration_carries_over_to_other_layouts():
    """A cluster that is slow in one layout is taken to be slow in others, though by less.

    One that is surprisingly slow makes others no surer: it may be so for a reason that they don't share.
    """
    other = "layout={tp: 8, pp: 2, cp: 1}"
    before, here = estimate(plan(other)).step_time_s, estimate(plan()).step_time_s.median
    for factor in (1.15, 1.4):
        model, _ = calibrate_on_plan(plan(), [factor * here], SHIPPED)
        after = estimate(plan(other), model).step_time_s
        assert 1.03 < after.median / before.median < factor
        assert width(after) < 1.15 * width(before)


def test_rows_with_a_time_calibrate():
    data = rows({"step_time_s": 12.0}, {"peak_mem_gib": 60.0}, {"tp": 2, "dp": 4, "step_time_s": 13.0})
    model, facts = calibrate_on_rows(data, SHIPPED)
    assert model.calibrated_on == facts["calibrated_on"] == 2
    assert [(step["name"], step["measured_s"]) for step in facts["steps"]] == [("row 1", 12.0), ("row 3", 13.0)]
    with pytest.raises(InputError, match="step_time_s: no row"):
        calibrate_on_rows(rows({"peak_mem_gib": 60.0}), SHIPPED)


def test_a_calibration_survives_its_file(tmp_path):
    model, _ = calibrate_on_plan(plan(), [2.0], SHIPPED)
    model.save(tmp_path / "mine.json")
    again = StepTimeModel.load(tmp_path / "mine.json")
    assert estimate(plan(), again).step_time_s.median == pytest.approx(
        estimate(plan(), model).step_time_s.median, rel=1e-3
    )
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "mine.json").read_bytes()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e6, 1e-6])
def test_a_time_that_cannot_be(seconds):
    with pytest.raises(InputError, match="step_time_s: "):
        calibrate_on_plan(plan(), [seconds], SHIPPED)


def test_what_was_measured_did_fit():
    """The estimate of memory may be wrong; a layout that was stated and ran is taken as it is."""
    big = plan("hardware.count=8", "layout={tp: 1, pp: 1, micro_batch: 32, recompute: none}")
    with pytest.raises(InfeasibleError):
        estimate(big)
    _, facts = calibrate_on_plan(big, [120.0], SHIPPED)
    assert facts["steps"][0]["measured_s"] == 120.0
    with pytest.raises(InfeasibleError, match=r"layout\.tp: got 3"):
        calibrate_on_plan(plan("layout.tp=3"), [2.0], SHIPPED)
    with pytest.raises(InfeasibleError, match="memory: no layout fits"):
        calibrate_on_plan(plan("hardware.count=1"), [2.0], SHIPPED)


def test_no_time_at_all():
    with pytest.raises(InputError, match="step_time_s: got none"):
        calibrate_on_plan(plan(), [], SHIPPED)


def test_a_plan_that_says_too_little():
    with pytest.raises(ConfigError, match=r"hardware\.accelerator, hardware\.count: missing"):
        calibrate_on_plan(plan("hardware=null"), [2.0], SHIPPED)


def test_a_release_that_nobody_measured_is_spoken_of():
    known = rows({"step_time_s": 9.0, "framework": "megatron-bridge 26.04"}, {"step_time_s": 9.0, "micro_batch": 2})
    assert "notes" not in calibrate_on_rows(known, SHIPPED)[1]
    unknown = rows({"step_time_s": 9.0, "release": "27.12"}, {"step_time_s": 9.0, "micro_batch": 2})
    (note,) = calibrate_on_rows(unknown, SHIPPED)[1]["notes"]
    assert note.startswith("release '27.12': no step time was measured with it (those of megatron are 25.09, ")
