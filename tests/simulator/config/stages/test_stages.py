"""Stages of a plan: what they inherit, where they lie, what is wrong with them, and that they are read back alike."""

import math

import pytest
from foretrain.core.errors import ConfigError
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.config.stages.batches import BatchPlan
from foretrain.simulator.config.stages.spans import spans
from foretrain.simulator.config.stages.stage import OptimStage

OPTIM = {"batch_tokens": "1M", "lr": 3e-4}


def plan(data=None, optim=None, overrides=()):
    """A plan of 100B tokens with some data and optimisation of its own."""
    mapping = {"model": {"params": "1B"}, "data": {"tokens": "100B"} | (data or {}), "optim": OPTIM | (optim or {})}
    return RunConfig.from_mapping(mapping, overrides=overrides)


@pytest.mark.parametrize(
    ("section", "stages", "said"),
    [
        ("data", [{"tokens": "90B"}, {"tokens": "20B"}],
         "data.stages: take 110B tokens together (90.0B + 20.0B), but data.tokens is 100B; expected stages"),
        ("data", [{"tokens": "60B"}, {"tokens": "20B"}], "take 80.0B tokens together"),
        ("data", [{"share": 0.9}, {"share": "30%"}], "data.stages: have shares of 120 % (90 % + 30 %); expected"),
        ("data", [{"share": 0.9}, {"start": "80%"}], "the stage before it ends at 90.0B: the two overlap"),
        ("data", [{"share": 0.7}, {"start": "80%"}], "ends at 70.0B: nothing lies between"),
        ("data", [{"tokens": 0}, {}], "data.stages.0.tokens: got 0; expected a number above 0"),
        ("data", [{"share": 0}, {}], "data.stages.0.share: got 0; expected a number above 0"),
        ("data", [{"tokens": "100B"}, {}], "data.stages.1: no tokens are left to it"),
        ("data", [{}, {}], "data.stages.1: has no length, nor has stage 0"),
        ("data", [{"share": 0.5, "tokens": "50B"}, {}], "is given beside tokens; expected only one"),
        ("data", [{"toks": 3}], "data.stages.0.toks: unknown key; did you mean data.stages.0.tokens?"),
        ("data", [{"mix": {"web": 0.5}}], "sums to 0.5; expected shares that sum to 1"),
        ("data", [{"share": 0.9}, {"mix": {"web": 1}}], "data.stages.0.mix: is missing, but stages.1 states its own"),
        ("optim", [{}, {"share": 0.2, "lr_final": 1e-3}], "lr_final: got 0.001; expected at most optim.lr 0.0003"),
        ("optim", [{"lr": 1e-4}], "optim.lr: got 0.0003, but no stage has it; expected 0.0001"),
        ("optim", [{"tokens": "100k", "lr_final": 0}, {}], "one step of 1.00M tokens is more than the stage's 100k"),
        ("optim", [{"batch_tokens": "256k"}, {"share": 0.5}], "optim.batch_tokens: got 1.00M, which no stage has"),
        ("optim", [{"share": 0.1, "warmup_steps": "20k"}, {}], "optim.stages.0.warmup_steps: got 20000; expected"),
        ("optim", [{"share": 0.1, "batch_tokens": "100k", "batch_tokens_final": "1M", "warmup_steps": "50k"}, {}],
         "optim.stages.0.warmup_steps: got 50000; expected at most the stage's 25584 steps"),
        ("data", [{"share": 0.9}, {"context_length": "2M"}], "1.context_length: got 2000000; expected at most"),
        ("optim", [{"lr_initial": 0}], "lr_initial: goes with warmup_steps or warmup_tokens"),
        ("optim", [{"form": "cosine"}], "form: goes with lr_final, which is missing"),
        ("optim", [{"form": "exponential", "lr_final": 0}], "which an exponential decay never reaches"),
        ("optim", [{"branch": True, "tokens": "1B"}, {}], "stages.0.branch: the first stage has none before it"),
        ("optim", [{}, {"branch": True, "lr_final": 0}], "a branch is no part of the run: expected its tokens"),
    ],
)  # fmt: skip
def test_stages_that_can_not_be_are_refused_in_words_that_help(section, stages, said):
    with pytest.raises(ConfigError) as caught:
        plan(**{section: {"stages": stages}})
    assert said in str(caught.value)


def test_a_schedule_beside_stages_with_rates_is_a_contradiction_but_beside_batches_it_is_not():
    cosine = {"schedule": "cosine", "lr_final": 3e-5}
    with pytest.raises(ConfigError, match=r"optim\.schedule: got cosine, but optim\.stages\.1\.lr_final states rates"):
        plan(optim=cosine | {"stages": [{}, {"share": 0.2, "lr_final": 0}]})
    with pytest.raises(ConfigError, match=r"optim\.lr_final: got 3e-05, but the last of stages ends at 0"):
        plan(optim={"lr_final": 3e-5, "stages": [{}, {"share": 0.2, "lr_final": 0}]})
    assert (
        plan(optim=cosine | {"stages": [{"share": 0.1, "batch_tokens": "500k"}, {"batch_tokens": "1M"}]}).steps
        == 110_000
    )
    with pytest.raises(ConfigError, match=r"optim\.lr: is missing; stages that state rates need the peak"):
        plan(optim={"lr": None, "stages": [{"lr_final": 0}]})


def test_the_line_of_a_stage_is_named(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("model: {params: 1B}\ndata:\n  tokens: 1B\n  stages:\n    - share: 50%\n    - tokens: 0\n")
    with pytest.raises(ConfigError, match=r"run\.yaml:6: data\.stages\.1\.tokens: got 0"):
        RunConfig.load(file)


STAGED = {
    "data": {"mix": {"web": 1}, "stages": [
        {"name": "web"}, {"share": 0.2, "mix": {"web": 0.5, "math": 0.5}, "context_length": 8192}]},
    "optim": {"warmup_steps": 100, "stages": [
        {"tokens": "10B", "batch_tokens": "256k", "batch_tokens_final": "1M"},
        {"tokens": "50B"}, {"tokens": "5B", "lr_final": 0, "branch": True}, {},
        {"start": "80%", "share": "20%", "lr_final": 3e-5, "form": "sqrt"}]},
}  # fmt: skip


def test_a_staged_plan_is_read_back_as_itself():
    config = plan(**STAGED)
    assert RunConfig.from_mapping(config.to_mapping()) == config
    assert "stages" not in plan().to_mapping()["data"]  # digests of studies stay what they were
    stage = RunConfig.json_schema()["$defs"]["OptimStage"]
    assert stage["additionalProperties"] is False
    assert "lr_final" in stage["properties"]


def test_overrides_reach_into_stages():
    changed = plan(
        **STAGED, overrides=["data.stages.1.share=10%", "data.stages.1.mix.math=0.5", "optim.stages.4.form=cosine"]
    )
    assert changed.data.stages[1].share == 0.1
    assert changed.optim.stages[4].form == "cosine"
    assert plan(overrides=["data.stages=[{share: 0.5}, {}]"]).data.stages[0].share == 0.5
    for override, said in (
        ("data.stages.2.share=0.1", "data.stages has 2 entries, counted from 0"),
        ("data.stages.web.share=0.1", "is a list; expected the number of an entry"),
        ("data.stages.1.shard=0.1", "did you mean data.stages.1.share?"),
    ):
        with pytest.raises(ConfigError) as caught:
            plan(**STAGED, overrides=[override])
        assert said in str(caught.value)


def test_stages_lie_one_after_the_other_and_branches_beside_them():
    stages = plan(**STAGED).optim.stages
    found = [(one.start / 1e9, one.end / 1e9) for one in spans(stages, 100e9)]
    assert found == [(0, 10), (10, 60), (60, 65), (60, 80), (80, 100)]
    # a plan that is tried with fewer tokens than its stages take keeps their proportions
    scaled = spans([OptimStage(tokens=75e9), OptimStage(tokens=25e9)], 8e9)
    assert [one.end for one in scaled] == [6e9, 8e9]


def test_steps_follow_the_batch():
    ramp = BatchPlan.of([OptimStage(share=0.1, batch_tokens=1e6, batch_tokens_final=4e6), OptimStage()], 4e6, 100e9)
    assert ramp.step_at(10e9) == pytest.approx(10e9 * math.log(4) / 3e6)
    assert ramp.steps == math.ceil(10e9 * math.log(4) / 3e6 + 90e9 / 4e6)
    assert sum(batch * steps for batch, steps in ramp.parts) == pytest.approx(100e9)
    one = BatchPlan.of([OptimStage(share=0.3), OptimStage()], 3e6, 100e9)
    assert one.even
    assert one.steps == math.ceil(100e9 / 3e6)


def test_stocks_are_of_the_mixes_of_all_stages():
    data = {
        "stages": [{"share": 0.9, "mix": {"web": 1}}, {"mix": {"math": 1}}],
        "unique_tokens_by_domain": {"math": "5B"},
    }
    config = plan(data)
    assert config.data.mix_of_tokens == pytest.approx({"web": 0.9, "math": 0.1})
    assert config.data.distinct_tokens() == pytest.approx(95e9)
    with pytest.raises(ConfigError, match=r"which data\.mix doesn't name; expected web, math"):
        plan(data | {"unique_tokens_by_domain": {"code": "5B"}})
