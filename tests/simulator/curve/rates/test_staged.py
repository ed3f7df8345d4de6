"""Rates of runs in stages: the same as those of schedules where they mean the same, and what batches do to the law."""

import numpy as np
import pytest
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.curve.rates.branches import branch_plans
from foretrain.simulator.curve.rates.path import RatePath
from foretrain.simulator.curve.rates.planned_changes import changed_share
from foretrain.simulator.curve.rates.planned_rates import path_of


def plan(optim, data=None):
    """A plan of 10B tokens in 10,000 steps."""
    stated = {"batch_tokens": "1M", "lr": 3e-4, "warmup_steps": 200} | optim
    model = {"params": "1B", "context_length": 4096}
    return RunConfig.from_mapping({"model": model, "data": {"tokens": "10B"} | (data or {}), "optim": stated})


@pytest.mark.parametrize(
    ("schedule", "stages"),
    [
        ({"schedule": "cosine", "lr_final": 3e-5}, [{"lr_final": 3e-5, "form": "cosine"}]),
        ({"schedule": "linear", "lr_final": 0}, [{"lr_final": 0}]),
        ({"schedule": "constant"}, [{"lr": 3e-4}]),
        ({"schedule": "wsd", "lr_final": 0}, [{}, {"share": 0.2, "lr_final": 0}]),
        ({"schedule": "wsd", "lr_final": 3e-5, "decay_form": "exponential"},
         [{}, {"share": 0.2, "lr_final": 3e-5, "form": "exponential"}]),
        ({"schedule": "wsd", "lr_final": 0, "decay_form": "sqrt"}, [{}, {"share": 0.2, "lr_final": 0, "form": "sqrt"}]),
    ],
)  # fmt: skip
def test_stages_that_mean_a_schedule_are_that_schedule_to_the_last_bit(schedule, stages):
    stated, staged = path_of(plan(schedule)), path_of(plan({"stages": stages}))
    assert np.array_equal(stated.rate, staged.rate)
    assert stated.warmup == staged.warmup
    assert staged.batch is None
    alone = path_of(plan(schedule | {"stages": [{}]}))
    assert np.array_equal(stated.rate, alone.rate)
    assert alone.changes == ()


def test_a_stage_warms_up_from_where_the_one_before_it_ended_or_from_where_it_says():
    stages = [{"share": 0.5, "lr_final": 3e-5}, {"lr": 2.4e-4, "warmup_steps": 100}]
    again = path_of(plan({"stages": stages}))
    assert again.rate[4999] < again.rate[5000] < again.rate[5050] < again.rate[5099] == pytest.approx(0.8)
    assert again.rate[-1] == pytest.approx(0.8)
    assert again.changes[0].what == "stage 2: the rate rises"
    afresh = path_of(plan({"stages": [stages[0], stages[1] | {"lr_initial": 0}]}))
    assert afresh.rate[5000] == pytest.approx(0.008)


def test_the_law_reads_a_grown_batch_as_adams_square_root_rule_says():
    """Four times the batch at twice the rate makes as much progress per token, at the same noise."""
    small = RatePath(np.ones(4000))
    rate, batch = np.concatenate([np.full(2000, 0.5), np.ones(500)]), np.concatenate([np.ones(2000), np.full(500, 4.0)])
    grown = RatePath(rate, 0, batch)
    assert grown.gaps == pytest.approx(np.zeros(2500))
    assert grown.behind(2500) / 0.5 == pytest.approx(small.behind(4000))
    assert grown.batches(2500) == 4000
    assert grown.step_after(grown.batches(2100.0)) == pytest.approx(2100.0)


def test_a_schedule_under_growing_batches_goes_by_tokens():
    ramp = [{"share": 0.2, "batch_tokens": "250k"}, {"batch_tokens": "1M"}]
    path = path_of(plan({"schedule": "cosine", "lr_final": 3e-5, "warmup_steps": 400, "stages": ramp}))
    plain = path_of(plan({"schedule": "cosine", "lr_final": 3e-5, "warmup_steps": 100}))
    assert path.steps == 16_000
    assert path.warmup == pytest.approx(400, abs=4)
    assert path.rate[8000:] == pytest.approx(plain.rate[2000:], abs=2e-3)
    assert path.batches(16_000) == pytest.approx(10_000)
    assert [round(change.step) for change in path.changes] == [8000]


def test_planned_changes_of_the_text_count_by_the_share_that_changes():
    mixes = [{"mix": {"web": 1}}, {"share": 0.2, "mix": {"web": 0.5, "math": 0.5}}]
    path = path_of(plan({"schedule": "constant"}, {"stages": mixes}))
    (change,) = path.changes
    assert change.step == 8000
    assert change.log_sd == pytest.approx(0.2)
    assert "50% of its text" in change.what
    longer = path_of(plan({"schedule": "constant"}, {"stages": [{}, {"share": 0.1, "context_length": 16384}]}))
    assert longer.changes[0].log_sd == pytest.approx(0.03)
    assert changed_share("c4", {"c4": 0.5, "code": 0.5}) == 0.5
    assert changed_share(None, None) == 0


def test_branches_are_runs_of_their_own_that_end_earlier():
    stages = [
        {"tokens": "4B"},
        {"name": "early", "tokens": "1B", "lr_final": 0, "branch": True},
        {},
        {"share": 0.2, "lr_final": 0},
    ]
    config = plan({"stages": stages}, {"stages": [{"mix": {"web": 1}}, {"share": 0.5, "mix": {"math": 1}}]})
    (branch,) = branch_plans(config)
    early, main = path_of(branch.config), path_of(config)
    assert (branch.name, branch.left_tokens, early.steps) == ("early", 4e9, 5000)
    assert np.array_equal(early.rate[:4000], main.rate[:4000])
    assert early.rate[-1] < 2e-3 < main.rate[4999]
    assert len(branch.config.data.stages) == 1
    assert RunConfig.from_mapping(branch.config.to_mapping()) == branch.config
