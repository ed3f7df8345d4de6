import math

import numpy as np
import pytest
from foretrain.core.errors import FitError
from foretrain.proxies.design.family import ModelFamily
from foretrain.proxies.design.learning_rate import LearningRateChoice, LearningRateTrial, lr_trials, pick_lr
from foretrain.proxies.results import DomainLoss, RunResult, Validation
from foretrain.proxies.runs import ProxyRun, Recipe
from hypothesis import given
from hypothesis import strategies as st

LRS = np.geomspace(0.002, 0.05, 5)


def bowl(best, width=32, lrs=LRS, curvature=0.1):
    return [LearningRateTrial(width * 1000, width, float(lr), 2 + curvature * math.log(lr / best) ** 2) for lr in lrs]


@given(st.floats(0.0031, 0.032), st.floats(1e-3, 10))
def test_the_bottom_of_a_bowl_is_found(best, curvature):
    choice = pick_lr(bowl(best, curvature=curvature))
    assert choice.common == pytest.approx(best, rel=1e-3)
    assert not choice.at_edge
    assert choice.at(999) == choice.common


@given(st.lists(st.floats(0.5, 5), min_size=3, max_size=8), st.permutations(range(8)))
def test_the_choice_lies_in_the_range_and_not_beyond_the_best_trials_neighbours(losses, order):
    lrs = np.geomspace(1e-3, 1e-1, len(losses))
    trials = [LearningRateTrial(1, 8, float(lr), loss) for lr, loss in zip(lrs, losses, strict=True)]
    choice = pick_lr(trials)
    assert choice.common is not None
    assert lrs[0] * 0.999 <= choice.common <= lrs[-1] * 1.001
    best = int(np.argmin(losses))
    assert lrs[max(0, best - 1)] * 0.999 <= choice.common <= lrs[min(best + 1, len(lrs) - 1)] * 1.001
    shuffled = [trials[k] for k in order if k < len(trials)]
    assert pick_lr(shuffled) == choice


@pytest.mark.parametrize(("best", "edge"), [(1e-4, "low"), (1.0, "high")])
def test_an_optimum_at_the_edge_is_flagged(best, edge):
    choice = pick_lr(bowl(best))
    assert choice.at_edge
    assert choice.optima[0].edge == edge
    assert choice.common == pytest.approx({"low": 0.002, "high": 0.05}[edge])
    assert f"at width 32 the {edge}est one tried was best: widen the range" in choice.reason


def test_optima_within_two_steps_count_as_one():
    choice = pick_lr(bowl(0.01, 16) + bowl(0.015, 64))
    assert choice.common == pytest.approx(math.sqrt(0.01 * 0.015), rel=1e-3)
    assert "within two steps of each other, so 0.01225 for all widths" in choice.reason


def test_optima_far_apart_are_interpolated_and_held_beyond():
    choice = pick_lr(bowl(0.03, 16) + bowl(0.003, 64))
    assert choice.common is None
    assert choice.at(8) == choice.at(16) == pytest.approx(0.03, rel=1e-3)
    assert choice.at(32) == pytest.approx(math.sqrt(0.03 * 0.003), rel=1e-3)
    assert choice.at(64) == choice.at(512) == pytest.approx(0.003, rel=1e-3)
    assert "apart by more than two steps" in choice.reason


@pytest.mark.parametrize("lost", [math.nan, math.inf])
def test_diverged_trials_bound_the_range(lost):
    trials = bowl(0.05)
    trials[-1] = trials[-1]._replace(loss_nats=lost)
    choice = pick_lr(trials)
    assert choice.common == pytest.approx(LRS[-2], rel=1e-3)
    assert not choice.at_edge


def test_repeated_trials_are_averaged():
    noisy = [t._replace(loss_nats=t.loss_nats + e) for e in (-0.3, 0.3) for t in bowl(0.01)]
    assert pick_lr(noisy).common == pytest.approx(0.01, rel=1e-3)


def test_nothing_to_choose_from():
    with pytest.raises(FitError, match="there are no trials"):
        pick_lr([])
    with pytest.raises(FitError, match=r"every trial at width 32 diverged, down to 0\.002; lower lr\.low"):
        pick_lr([trial._replace(loss_nats=math.nan) for trial in bowl(0.01)])


def test_a_choice_is_plain_data():
    choice = pick_lr(bowl(0.03, 16) + bowl(0.003, 64))
    assert LearningRateChoice.model_validate(choice.model_dump(mode="json")) == choice


@pytest.mark.parametrize(("status", "loss"), [("ok", 2.5), ("diverged", math.inf)])
def test_results_become_trials(status, loss):
    shape = ModelFamily(256, 128, 4, 32, 2.5, 4, False).of_width(32)
    run = ProxyRun(run_id="r", shape=shape, tokens=2048, mix={"a": 1.0}, recipe=Recipe(lr=0.02))
    evaluations = [
        Validation(step, step * 1024, {"a": DomainLoss(5.0 - 2 * step, 0.1), "b": DomainLoss(4.0, 0.1)}, {}, {})
        for step in (1, 2)
    ]
    result = RunResult("r", status, tuple(evaluations), (), None, {})
    assert lr_trials([(run, result)]) == [LearningRateTrial(shape.params_total, 32, 0.02, loss)]
    assert lr_trials([(run, RunResult("r", status, (), (), None, {}))])[0].loss_nats == math.inf
