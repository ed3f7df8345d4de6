"""The search of a layout is done once for plans that differ in nothing that it reads, and for no others."""

import json

import pytest
from foretrain.simulator.cluster import estimate as estimates
from foretrain.simulator.cluster.estimate import estimate, plan_step
from foretrain.simulator.cluster.layout_choice import plan_space
from foretrain.simulator.cluster.memory.memory import MemoryCap
from foretrain.simulator.cluster.step_question import StepQuestion
from foretrain.simulator.cluster.step_time.step_model import StepTimeModel
from foretrain.simulator.config.run_config import RunConfig

PLAN = {
    "model": {"params": "1.3B"},
    "data": {"tokens": "100B"},
    "optim": {"batch_tokens": "1M"},
    "hardware": {"accelerator": "H100-SXM-80", "count": 16, "price_usd_per_hour": 2.0},
}
ALIKE = [
    "data.tokens=3T", "hardware.price_usd_per_hour=4", "targets.perplexity=9", "seed=7", "start=2027-01-01",
    "reliability.checkpoint=2min", "optim.lr=3e-4", "name=other",
]  # fmt: skip
OTHERS = [
    "model.params=2B", "optim.batch_tokens=2M", "hardware.count=32", "hardware.accelerator=A100-SXM-80",
    "hardware.per_node=4", "hardware.inter_node_gbps=100", "hardware.precision=fp8", "hardware.framework=fsdp",
    "hardware.fit_chance=0.5", "layout={tp: 2}", "layout={offload: [optimizer]}", "optim.optimizer=muon",
    "optim.master_weights=none", "data.tokenizer=llama3", "model.context_length=8192",
    "hardware.accelerator={peak_tflops: {bf16: 989}, hbm_gib: 80, hbm_gb_per_s: 3350, intra_node_gb_per_s: 450, "
    "per_node: 8, inter_node_gbit_per_s: 400}",
]  # fmt: skip


def asked(*overrides: str, cap: MemoryCap | None = None) -> StepQuestion:
    plan = RunConfig.from_mapping(PLAN, overrides=overrides)
    return StepQuestion(plan, plan_space(plan), StepTimeModel.shipped(), cap)


@pytest.mark.parametrize("override", ALIKE)
def test_what_the_search_does_not_read_makes_no_other_question(override):
    assert asked(override) == asked()
    assert hash(asked(override)) == hash(asked())


@pytest.mark.parametrize("override", OTHERS)
def test_what_it_reads_does(override):
    assert asked(override) != asked()


def test_so_do_a_cap_and_another_model_of_step_times():
    plan = RunConfig.from_mapping(PLAN)
    assert asked(cap=MemoryCap(40.0)) != asked()
    assert StepQuestion(plan, plan_space(plan), StepTimeModel.shipped().without_trees(), None) != asked()


def test_answers_are_the_same_to_the_last_bit_whether_known_or_not():
    def answers(*, forget: bool) -> list[str]:
        found = []
        for override in (*ALIKE, *OTHERS[:6], *ALIKE):
            if forget:
                estimates._searched.cache_clear()
            plan = RunConfig.from_mapping(PLAN, overrides=[override])
            found.append(json.dumps(estimate(plan, draws=200).to_dict()))
        return found

    assert answers(forget=False) == answers(forget=True)


def test_a_step_is_searched_for_once():
    first = plan_step(RunConfig.from_mapping(PLAN))
    assert plan_step(RunConfig.from_mapping(PLAN, overrides=ALIKE)) is first
