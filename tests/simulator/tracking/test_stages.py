"""A running job in stages: what its plan changes on the way is no regression, and one beside it is found."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.curve.law.multipower import Shape, basis
from foretrain.simulator.curve.law.prior import generic_prior
from foretrain.simulator.curve.rates.branches import branch_plans
from foretrain.simulator.curve.rates.changes import PlannedChange
from foretrain.simulator.curve.rates.path import RatePath
from foretrain.simulator.curve.rates.planned_rates import path_of
from foretrain.simulator.curve.reading import read_curves
from foretrain.simulator.curve.tracking import first_shift
from foretrain.simulator.tracking.track import track

CURVES = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).parents[3].parent / "shared")) / "data/loss_curves"
ANNEALED = {"mix": {"web": 1}, "stages": [{"share": 0.6}, {"share": 0.4, "mix": {"web": 0.6, "math": 0.4}}]}
COOLDOWN = {"stages": [{"share": 0.8}, {"share": 0.2, "lr_final": 0}]}


def plan(optim, data=None):
    """10,000 steps of 1M tokens whose target is where the law ends."""
    stated = {"batch_tokens": "1M", "lr": 3e-4, "warmup_steps": 200} | optim
    mapping = {
        "model": {"params": "1B", "context_length": 4096},
        "data": {"tokens": "10B"} | (data or {}),
        "optim": stated,
        "targets": {"loss_nats": 2.87},
    }
    return RunConfig.from_mapping(mapping)


def run(path, jumps=(), upto=0.72, every=25):
    """Steps and losses of a run that follows the law under `path`, but for jumps of log loss."""
    step = np.arange(400, upto * path.steps + 1, every)
    loss = basis(Shape().array(), path.decay(step)) @ np.array([2.6, 0.3, 0.13])
    log_loss = np.log(loss) + sum(np.where(step > at, size, 0.0) for at, size in jumps)
    return step, np.exp(log_loss + 0.003 * np.random.default_rng(0).standard_normal(len(step)))


def log_of(step, loss, **more):
    """The lines of a log."""
    rows = [
        dict(zip(("step", "loss", *more), row, strict=True)) for row in zip(step, loss, *more.values(), strict=True)
    ]
    return "".join(json.dumps({key: float(value) for key, value in row.items()}) + "\n" for row in rows).encode()


@pytest.mark.parametrize("size", [0.08, -0.08])
def test_a_planned_change_of_the_text_is_no_regression(size):
    staged = plan(COOLDOWN, ANNEALED)
    step, loss = run(path_of(staged), [(6000, size)])
    found = track(staged, log_of(step, loss))
    assert found.ok
    assert found.verdict == "on track"
    assert found.shift is None
    assert [one.kind for one in found.notices if one.kind == "planned_change"] == ["planned_change"]
    if size > 0:
        unplanned = track(plan(COOLDOWN), log_of(step, loss))
        assert unplanned.verdict == "behind"
        assert unplanned.shift is not None


def test_a_regression_beside_planned_changes_is_still_found():
    staged = plan(COOLDOWN, ANNEALED)
    step, loss = run(path_of(staged), [(6000, 0.05), (6600, 0.02)])
    shift = track(staged, log_of(step, loss)).shift
    assert shift is not None
    assert shift.since == pytest.approx(6600, abs=300)


def test_a_restart_that_warms_up_again_is_no_regression_where_it_is_planned():
    stages = [{"share": 0.5, "lr_final": 3e-5, "form": "cosine"},
              {"lr": 3e-4, "warmup_steps": 100, "lr_final": 3e-5, "form": "cosine"}]  # fmt: skip
    step, loss = run(path_of(plan({"stages": stages})), upto=0.8)
    assert track(plan({"stages": stages}), log_of(step, loss)).shift is None
    assert track(plan({"schedule": "cosine", "lr_final": 3e-5}), log_of(step, loss)).shift is not None


def test_a_cooldown_that_leaves_the_run_has_an_end_of_its_own():
    """As lies between where the run is and where it will end, and as the law says."""
    early = {"name": "early", "share": 0.1, "lr_final": 0, "branch": True}
    staged = plan({"stages": [{"share": 0.5}, early, {}, {"share": 0.2, "lr_final": 0}]})
    step, loss = run(path_of(staged), upto=0.6)
    found = track(staged, log_of(step, loss))
    (steps, end), (low, high) = found.branch_ends["early"], found.branch_ends["early"][1].interval(0.9)
    cooled = path_of(branch_plans(staged)[0].config)
    truth = float((basis(Shape().array(), cooled.decay([steps])) @ np.array([2.6, 0.3, 0.13]))[0])
    assert steps == 6000
    assert low[0] < truth < high[0]
    assert end.loss[0] == pytest.approx(truth, rel=0.01)
    assert found.to_dict()["branches"][0]["name"] == "early"


def test_tokens_of_a_log_are_turned_into_steps_by_the_batches_of_the_plan():
    ramp = plan(
        {"stages": [{"share": 0.1, "batch_tokens": "250k"}, {"batch_tokens": "1M"}, {"share": 0.2, "lr_final": 0}]}
    )
    path = path_of(ramp)
    step, loss = run(path, upto=0.8)
    tokens = path.batches(step) * 1e6
    by_tokens = track(ramp, log_of(tokens, loss).replace(b'"step"', b'"tokens"'))
    assert by_tokens.log.step == pytest.approx(step, abs=1e-3)
    assert by_tokens.log.unit == "tokens"
    assert any("1.00M to an optimizer step, and as the plan's stages have it" in one.text for one in by_tokens.notices)
    beside = track(ramp, log_of(step, loss, tokens=tokens))
    assert beside.log.step == pytest.approx(step)
    assert not any(one.serious for one in beside.notices)
    assert beside.to_dict()["tokens"] == pytest.approx(tokens[-1])
    assert by_tokens.shift is None
    assert beside.shift is None


def test_the_chance_of_a_target_is_one_number():
    """Better than the plan with 11 %, but on target with 18 %, where the target is the plan."""
    staged = plan(COOLDOWN, ANNEALED)
    found = track(staged, log_of(*run(path_of(staged), upto=0.5)))
    assert found.plan.source == "target"
    assert found.difference_nats.chance_lower == found.p_target
    low, high = found.difference_nats.intervals[0.9]
    assert (low < 0) == (found.p_target > 0.05)
    assert (high > 0) == (found.p_target < 0.95)


@pytest.mark.skipif(not CURVES.is_dir(), reason="the shared curves aren't there")
def test_a_planned_change_of_a_real_curve_is_no_regression():
    """Public curves with the level of another text put on them at 60 % of the run: alarms, unless it was planned."""
    for curve in read_curves(CURVES, ["mpl_100m_wsdcon_9", "mpl_100m_wsd_20000_24000"]).values():
        at = 0.6 * curve.path.steps
        loss = curve.loss * np.where(curve.step > at, 1.06, 1.0)
        planned = RatePath(curve.path.rate, curve.path.warmup, changes=(PlannedChange(at, "other text", 0.0, 0.15),))
        seen = curve.step <= 0.75 * curve.path.steps
        prior = generic_prior(float(loss[seen][-1]))
        assert first_shift(planned, prior, curve.step[seen], loss[seen]) is None
        assert first_shift(curve.path, prior, curve.step[seen], loss[seen], since=0.5 * curve.path.steps) is not None
