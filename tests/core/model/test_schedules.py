import math
from typing import get_args

import numpy as np
import pytest
from foretrain.core.model.schedules import Schedule, ScheduleName
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

NAMES = get_args(ScheduleName)
FALLING = ("cosine", "linear", "wsd")  # to `final`, continuously


@st.composite
def schedules(draw, names=NAMES):
    steps = draw(st.integers(1, 500))
    return Schedule(
        name=draw(st.sampled_from(names)),
        steps=steps,
        warmup_steps=draw(st.integers(0, steps)),
        final=draw(st.floats(0, 1)),
        decay_share=draw(st.floats(1e-3, 1)),
    )


def whole(schedule: Schedule) -> np.ndarray:
    return schedule.at(np.arange(schedule.steps))


@given(schedules())
def test_a_factor_is_between_0_and_1_and_no_step_of_a_fall_is_lost_at_0(schedule):
    factor = whole(schedule)
    assert (factor >= 0).all()
    assert (factor <= 1).all()
    if schedule.name != "multistep" or schedule.final > 0:
        assert (factor > 0).all()


@given(schedules())
def test_after_warm_up_the_rate_never_rises(schedule):
    after = whole(schedule)[max(0, schedule.warmup_steps - 1) :]
    assert (np.diff(after) <= 1e-12).all()


@given(schedules(("cosine", "linear", "constant", "inverse_sqrt")))
def test_warm_up_is_a_straight_line_from_one_step_to_the_peak(schedule):
    warmup = schedule.warmup_steps
    line = np.arange(1, warmup + 1) / max(1, warmup)
    np.testing.assert_allclose(whole(schedule)[:warmup], line, rtol=1e-12)


@given(schedules())
def test_warm_up_multiplies_the_shape(schedule):
    bare = schedule.model_copy(update={"name": "constant"})
    warm = whole(bare)
    assert (whole(schedule) <= warm + 1e-12).all()
    assert warm[max(0, schedule.warmup_steps - 1)] == 1.0


@given(schedules(FALLING))
def test_a_fall_arrives_at_final_when_the_run_is_over(schedule):
    """The last step itself is one step short of `final`, or with a final of 0 it would be wasted."""
    assume(schedule.warmup_steps < schedule.steps)
    assert schedule.at(schedule.steps) == pytest.approx(schedule.final, abs=1e-9)
    assert schedule.at(schedule.steps - 1) >= schedule.final - 1e-9


@given(schedules(), st.data())
def test_scalars_lists_and_arrays_of_any_shape_agree(schedule, data):
    every = whole(schedule)
    step = data.draw(st.integers(0, schedule.steps - 1))
    one = schedule.at(step)
    assert isinstance(one, np.ndarray | np.float64)
    assert np.shape(one) == ()
    assert float(one) == every[step]
    assert schedule.at([step]).tolist() == [every[step]]
    grid = np.full((2, 1, 3), step)
    assert schedule.at(grid).shape == grid.shape
    assert (schedule.at(grid) == every[step]).all()
    assert (grid == step).all()
    assert schedule.at([]).shape == (0,)


@given(schedules(("wsd",)))
def test_wsd_is_at_its_peak_until_the_decay(schedule):
    start = schedule.steps * (1 - schedule.decay_share)
    steady = np.arange(schedule.warmup_steps, max(schedule.warmup_steps, math.floor(start)))
    assert (schedule.at(steady) == 1).all()


@given(schedules(("constant", "inverse_sqrt")), st.floats(0, 1))
def test_shapes_without_an_end_ignore_final(schedule, final):
    assert (whole(schedule) == whole(schedule.model_copy(update={"final": final}))).all()


def sampled(name: str, at: list[int], **more) -> list[float]:
    return Schedule(name=name, steps=100, **more).at(at).tolist()


def test_linear_by_hand():
    # 20 steps of warm-up, then (100 - step) / 80 of the way down to 0.1 left.
    values = sampled("linear", [0, 9, 19, 20, 60, 99, 100], warmup_steps=20, final=0.1)
    assert values == pytest.approx([0.05, 0.5, 1.0, 1.0, 0.55, 0.1 + 0.9 / 80, 0.1])


def test_cosine_by_hand():
    # Loshchilov and Hutter 2017 (arXiv:1608.03983), equation 5: min + (max - min) / 2 · (1 + cos(π · progress)).
    root = math.sqrt(0.5)
    values = sampled("cosine", [20, 40, 60, 80, 100], warmup_steps=20, final=0.1)
    assert values == pytest.approx([1.0, 0.1 + 0.45 * (1 + root), 0.55, 0.1 + 0.45 * (1 - root), 0.1])


def test_wsd_by_hand():
    # Hu et al. 2024 (arXiv:2404.06395), section 4.2: warm up to step W, hold to step T, then fall; here over the last
    # 10 % of the run, in a straight line.
    values = sampled("wsd", [0, 4, 50, 90, 95, 99, 100], warmup_steps=10, final=0.0, decay_share=0.1)
    assert values == pytest.approx([0.1, 0.5, 1.0, 1.0, 0.5, 0.1, 0.0])


def test_other_decays_of_wsd_by_hand():
    # Hägele et al. 2024 (arXiv:2405.18392), section 3: 1 - √progress; Hu et al. 2024: the same factor every step.
    root = sampled("wsd", [4, 59, 70, 96], warmup_steps=10, decay_share=0.4, decay_form="sqrt")
    assert root == pytest.approx([0.5, 1.0, 0.5, 1 - math.sqrt(0.9)])
    even = sampled("wsd", [59, 80, 100], final=0.01, decay_share=0.4, decay_form="exponential")
    assert even == pytest.approx([1.0, 0.1, 0.01])


@given(schedules(("wsd",)), st.sampled_from(["linear", "exponential", "sqrt"]))
def test_every_decay_falls_from_the_peak_to_final(schedule, form):
    assume(form != "exponential" or schedule.final > 0)
    decaying = schedule.model_copy(update={"decay_form": form, "warmup_steps": 0})
    factor = decaying.at(np.arange(schedule.steps + 1))
    assert (np.diff(factor) <= 1e-12).all()
    assert factor[-1] == pytest.approx(schedule.final, abs=1e-9)


def test_inverse_sqrt_by_hand():
    # Vaswani et al. 2017 (arXiv:1706.03762), equation 3: ∝ min(n^-0.5, n · warmup^-1.5) for step n from 1. The peak is
    # at n = warmup = 4; half of it at n = 16, a fifth at n = 100, and half on the way up at n = 2.
    assert sampled("inverse_sqrt", [1, 3, 15, 99], warmup_steps=4) == pytest.approx([0.5, 1.0, 0.5, 0.2])


def test_multistep_by_hand():
    # DeepSeek 2024 (arXiv:2401.02954), section 2.3: 2000 steps of warm-up, the peak, 31.6 % of it after 80 % of the
    # training tokens, 10 % of it after 90 %.
    values = sampled("multistep", [0, 1, 79, 80, 89, 90, 99], warmup_steps=2, final=0.1)
    assert values == pytest.approx([0.5, 1.0, 1.0, 0.316, 0.316, 0.1, 0.1], rel=1e-3)


@pytest.mark.parametrize("steps", range(5, 200, 5))
def test_multistep_drops_at_exact_shares_whatever_rounding_does(steps):
    values = Schedule(name="multistep", steps=steps, final=0.25).at(np.arange(steps))
    assert (values == 1).sum() == 4 * steps // 5
    assert (values == 0.25).sum() == steps - 9 * steps // 10


def test_a_run_of_one_step():
    for name in NAMES:
        assert 0 <= float(Schedule(name=name, steps=1).at(0)) <= 1
        assert 0 <= float(Schedule(name=name, steps=1, warmup_steps=1).at(0)) <= 1


def test_far_steps_stay_in_range():
    for name in NAMES:
        schedule = Schedule(name=name, steps=10**12, warmup_steps=10**3, final=0.1)
        assert np.isfinite(schedule.at([0, 10**11, 10**12 - 1])).all()


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"warmup_steps": 11}, "warmup_steps: got 11; expected at most steps 10"),
        ({"warmup_steps": -1}, "warmup_steps"),
        ({"steps": 0}, "steps"),
        ({"steps": 2.5}, "expected a whole number"),
        ({"final": 1.1}, "final"),
        ({"final": float("nan")}, "final"),
        ({"decay_share": 0}, "decay_share"),
        ({"decay_form": "cubic"}, "decay_form"),
        ({"decay_form": "exponential"}, "final: got 0, which an exponential decay never reaches"),
        ({"name": "triangle"}, "name"),
        ({"peak": 1}, "not permitted"),
    ],
)
def test_impossible_schedules_are_refused(change, fragment):
    with pytest.raises(ValidationError, match=fragment):
        Schedule.model_validate({"name": "wsd", "steps": 10, **change})
