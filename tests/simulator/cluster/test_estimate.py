"""A plan's times, memory, money and energy: what follows from what, and what is said of what isn't known."""

import datetime
from dataclasses import replace

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, InfeasibleError
from foretrain.simulator.cluster.cluster_estimate import CLUSTER_KEYS, ClusterEstimate
from foretrain.simulator.cluster.estimate import estimate
from foretrain.simulator.cluster.layout_choice import choose_layout, missing, plan_space, plan_steps, search_layouts
from foretrain.simulator.cluster.layouts.layout import ParallelLayout
from foretrain.simulator.cluster.operations.goodput import expected_run_time
from foretrain.simulator.cluster.step_time.step_model import StepTimeModel
from foretrain.simulator.config.run_config import RunConfig
from hypothesis import given, settings
from hypothesis import strategies as st

SEVEN_B = {
    "model": {
        "architecture": {
            "layers": 32, "width": 4096, "heads": 32, "ffn_width": 11008, "vocab_size": 32000, "context_length": 4096,
        }
    },
    "data": {"tokens": "1T"},
    "optim": {"batch_tokens": "4M"},
    "hardware": {"accelerator": "H100", "count": 256, "price_usd_per_hour": 2.0, "inter_node_gbps": 400},
}  # fmt: skip
EXPERTS = {"num_experts": 8, "experts_per_token": 2, "kv_heads": 8, "ffn_width": 14336}
# The shape of DeepSeek-V3 (arXiv:2412.19437, section 4.2), a quarter of its layers.
LATENT = {
    "layers": 16, "width": 7168, "heads": 128, "ffn_width": 18432, "vocab_size": 129280, "context_length": 4096,
    "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_width": 64, "qk_nope_width": 128, "v_head_width": 128,
    "num_experts": 256, "experts_per_token": 8, "shared_experts": 1, "expert_ffn_width": 2048, "dense_layers": 3,
}  # fmt: skip
CUSTOM = {
    "name": "mine", "peak_tflops": {"bf16": 400}, "hbm_gib": 96, "hbm_gb_per_s": 3000, "per_node": 8,
    "intra_node_gb_per_s": 300, "inter_node_gbit_per_s": 400,
}  # fmt: skip
UNINTERRUPTED = "reliability={failures_per_device_hour: 0, overhead: 0, checkpoint: 0.001s}"


def plan(*overrides: str, **sections) -> RunConfig:
    return RunConfig.from_mapping({**SEVEN_B, **sections}, overrides=overrides)


def made(*overrides: str, draws: int = 2000, **sections) -> ClusterEstimate:
    return estimate(plan(*overrides, **sections), draws=draws)


def width(quantity, level: float = 0.8) -> float:
    low, high = quantity.intervals[level]
    return np.log(high / low)


PLAIN = made(draws=10_000)


# what follows from what


def test_keys_and_quantities():
    assert set(PLAIN.to_dict()) == set(CLUSTER_KEYS)
    for name in ("step_time_s", "tokens_per_s", "mfu", "peak_memory_gib", "wall_clock_days", "gpu_hours", "cost_usd"):
        quantity = getattr(PLAIN, name)
        inner = (quantity.median, quantity.median)
        for low, high in quantity.intervals.values():
            assert 0 < low < inner[0] <= inner[1] < high, name
            inner = (low, high)


def test_the_parts_of_a_step_and_of_memory_add_up():
    assert sum(PLAIN.step_parts_s.values()) == pytest.approx(PLAIN.step_time_s.median, rel=0.01)
    assert sum(PLAIN.memory_parts_gib.values()) == pytest.approx(PLAIN.peak_memory_gib.median, rel=1e-9)
    assert sum(PLAIN.wall_clock_shares.values()) == pytest.approx(1)
    assert PLAIN.cost_parts_usd is not None
    assert sum(PLAIN.cost_parts_usd.values()) == pytest.approx(PLAIN.cost_usd.median)


def test_nothing_is_faster_than_the_peak():
    """An accelerator that nobody measured, with generous links: its MFU would go beyond 100 % without a limit."""
    peak = {**CUSTOM, "matmul_tflops": {"bf16": 400}, "hbm_gb_per_s": 30000, "intra_node_gb_per_s": 3000}
    fast = made(hardware={**SEVEN_B["hardware"], "accelerator": peak, "count": 8})
    assert fast.mfu.intervals[0.95][1] == pytest.approx(1.0)
    assert fast.mfu.intervals[0.5][1] < 1.0
    for level, (low, high) in fast.step_time_s.intervals.items():
        ends = fast.mfu.intervals[level]
        assert low * ends[1] == pytest.approx(fast.step_time_s.median * fast.mfu.median, rel=1e-3)
        assert high * ends[0] == pytest.approx(fast.step_time_s.median * fast.mfu.median, rel=1e-3)
        assert fast.tokens_per_s.intervals[level][1] * low == pytest.approx(fast.step_tokens, rel=1e-3)


def test_a_stated_release_is_used_or_spoken_of():
    architecture = {**SEVEN_B["model"]["architecture"], **EXPERTS}
    experts = {"model": {"architecture": architecture}}
    on = ("hardware.accelerator=GB200", "layout={tp: 1, pp: 1, ep: 8, zero_stage: 1}")
    names = ("26.04", "26.06", "27.12")
    old, new, unknown = (made(*on, f"hardware.release='{name}'", **experts) for name in names)
    assert 1.15 < old.step_time_s.median / new.step_time_s.median < 1.5
    assert unknown.step_time_s.median == pytest.approx(new.step_time_s.median, rel=0.05)
    assert width(unknown.step_time_s) > 1.05 * width(new.step_time_s)
    assert [note for note in unknown.notes if "hardware.release '27.12'" in note and "26.04.01" in note]
    assert not [note for note in old.notes if "release" in note]
    with pytest.raises(ConfigError, match=r"hardware.release: got 'latest'; expected year and month such as 26\.04"):
        plan("hardware.release=latest")
    assert plan("hardware.release=26.10").hardware.release == "26.10", "which YAML reads as 26.1"


def test_rates_are_those_of_the_step():
    tokens = 1024 * 4096
    assert PLAIN.tokens_per_s.median == pytest.approx(tokens / PLAIN.step_time_s.median)
    flops = plan().model.architecture.training_flops_per_token() * tokens
    assert PLAIN.mfu.median == pytest.approx(flops / (PLAIN.step_time_s.median * 256 * 989.4e12), rel=1e-3)


def test_gpu_hours_are_devices_times_wall_clock_where_nothing_waits():
    assert PLAIN.gpu_hours.median == pytest.approx(PLAIN.wall_clock_days.median * 24 * 256, rel=1e-9)
    assert PLAIN.cost_usd.median == pytest.approx(2.0 * PLAIN.gpu_hours.median, rel=1e-9)
    spot = "reliability={preemptions_per_device_hour: 1e-4, preemption_wait: 2h}"
    waiting = made(spot, "prices={purchase: spot, spot_usd_per_hour: 1}")
    assert waiting.gpu_hours.median < 0.98 * waiting.wall_clock_days.median * 24 * 256
    assert waiting.cost_usd.median == pytest.approx(waiting.gpu_hours.median, rel=1e-9)


def test_an_undisturbed_run_takes_its_steps():
    quiet = made(UNINTERRUPTED)
    steps = 1e12 / (1024 * 4096)
    assert quiet.wall_clock_days.median == pytest.approx(steps * quiet.step_time_s.median / 86_400, rel=1e-6)
    assert quiet.goodput.median == pytest.approx(1)
    assert quiet.interruptions.median == 0
    slower = made(UNINTERRUPTED.replace("overhead: 0", "overhead: 0.5"))
    assert slower.wall_clock_days.median == pytest.approx(1.5 * quiet.wall_clock_days.median)


@pytest.mark.parametrize(
    "reliability",
    [
        {},
        {"failures_per_device_hour": 2e-4, "restart": "20min"},
        {"failures_per_device_hour": 1e-4, "checkpoint": "3min"},
    ],
    ids=["usual", "frequent", "slow checkpoints"],
)
def test_medians_agree_with_the_closed_form(reliability):
    """What is simulated is what is expected, to 2 %."""
    config = plan(reliability={"failure_rate_spread": 1, **reliability})
    found = estimate(config)
    steps = (1 + found.overhead) * 1e12 / (1024 * 4096)
    expected = expected_run_time(found.step_time_s.median * steps, 256, config.reliability)
    assert found.wall_clock_days.median == pytest.approx(float(expected.wall_clock_s) / 86_400, rel=0.02)
    assert found.goodput.median == pytest.approx(float(expected.goodput), rel=0.02)


@settings(deadline=None, max_examples=5)
@given(st.floats(0.01, 100), st.floats(1.1, 5))
def test_more_expensive_hours_cost_more_in_proportion(price, factor):
    once, more = (made(f"hardware.price_usd_per_hour={p}", draws=100) for p in (price, price * factor))
    assert more.cost_usd.median == pytest.approx(factor * once.cost_usd.median, rel=1e-6)
    assert more.wall_clock_days == once.wall_clock_days


@settings(deadline=None, max_examples=5)
@given(st.integers(100, 10_000), st.floats(1.05, 5))
def test_more_tokens_take_longer(billions, factor):
    once, more = (made(f"data.tokens={t:.0f}", draws=400) for t in (1e9 * billions, 1e9 * billions * factor))
    assert more.step_time_s == once.step_time_s
    assert more.wall_clock_days.median > once.wall_clock_days.median
    assert more.energy_mwh.median > once.energy_mwh.median
    assert more.gpu_hours.median == pytest.approx(factor * once.gpu_hours.median, rel=0.05)


def test_the_same_again_and_another_seed():
    assert made() == made()
    assert made("seed=1").step_time_s != made().step_time_s
    assert made("seed=1").step_time_s.median == pytest.approx(made().step_time_s.median, rel=0.03)


# deadlines, budgets, dates


def test_a_later_deadline_is_likelier_to_be_kept():
    median = PLAIN.wall_clock_days.median
    chances = [made(f"targets.deadline={share * median:.4f}d").p_deadline for share in (0.3, 0.8, 1.0, 1.2, 3.0)]
    assert chances == sorted(chances)
    assert (chances[0], chances[-1]) == (0, 1)
    assert chances[2] == pytest.approx(0.5, abs=0.03)
    assert PLAIN.p_deadline is None


def test_a_larger_budget_is_likelier_to_do():
    median = PLAIN.cost_usd.median
    chances = [made(f"targets.budget_usd={share * median:.0f}").p_budget for share in (0.3, 1.0, 3.0)]
    assert chances == [0, pytest.approx(0.5, abs=0.03), 1]
    assert PLAIN.p_budget is None
    assert made("targets.budget_usd=1M", "hardware.price_usd_per_hour=null").p_budget is None


def test_dates_follow_from_the_start():
    found = made("start=2026-12-01", "targets.deadline=2027-01-10")
    start = datetime.date(2026, 12, 1)
    assert found.finish is not None
    for name, days in (
        ("median", found.wall_clock_days.median),
        ("low_90", found.wall_clock_days.intervals[0.9][0]),
        ("high_90", found.wall_clock_days.intervals[0.9][1]),
    ):
        assert found.finish[name] == start + datetime.timedelta(days=int(days))
    assert found.p_deadline == made("targets.deadline=40d").p_deadline
    assert PLAIN.finish is None
    assert found.to_dict()["finish"]["median"] == found.finish["median"].isoformat()


# what is missing, and notes


@pytest.mark.parametrize(
    ("override", "lacking"),
    [
        ("model={params: 7B, params_active: 2B}", ("model.architecture",)),
        ("optim=null", ("optim.batch_tokens",)),
        ("hardware=null", ("hardware.accelerator", "hardware.count")),
        ("hardware.count=null", ("hardware.count",)),
    ],
)
def test_what_is_missing_is_named(override, lacking):
    config = plan(override)
    assert missing(config) == lacking
    with pytest.raises(ConfigError, match=", ".join(lacking)):
        estimate(config)


def test_nothing_is_missing_of_a_whole_plan():
    assert missing(plan()) == ()


def notes(*overrides: str, **sections) -> str:
    return "\n".join(made(*overrides, draws=50, **sections).notes)


def test_notes_say_what_was_taken_for_granted():
    said = notes("hardware.inter_node_gbps=null", "hardware.price_usd_per_hour=null")
    assert "hardware.inter_node_gbps isn't stated: 400 Gbit/s per accelerator taken" in said
    assert "no cost: no price is stated" in said
    assert "reliability.overhead" in said
    stated = notes("reliability.overhead=0.1")
    assert not any(word in stated for word in ("inter_node_gbps", "no cost", "overhead", "no step time"))
    assert "inter_node_gbps" not in notes("hardware={accelerator: H100, count: 8}"), "a single node needs no network"


def test_a_layout_that_may_not_fit_is_doubted():
    tight = {"tp": 1, "pp": 1, "micro_batch": 16, "recompute": "none"}
    found = made("hardware={accelerator: A100, count: 8}", layout=tight, draws=50)
    assert found.fits == "tight"
    assert "memory is tight" in "\n".join(found.notes)


def test_what_nobody_measured_is_less_sure():
    """An accelerator of no known generation: a note, and a wider interval until a step of it is measured."""
    hardware = {"accelerator": {**CUSTOM}, "count": 64}
    layout = {"tp": 2, "pp": 1, "cp": 1, "micro_batch": 2, "zero_stage": 1, "recompute": "none"}
    unknown = made(hardware=hardware, layout=layout)
    known = made(hardware={**hardware, "accelerator": {**CUSTOM, "generation": "hopper"}}, layout=layout)
    assert "no step time measured on mine or its kin" in "\n".join(unknown.notes)
    assert "no step time" not in "\n".join(known.notes)
    assert width(unknown.step_time_s) > 1.2 * width(known.step_time_s)
    assert (unknown.accelerator, unknown.energy_mwh) == ("mine", None)
    assert "no energy: mine states no tdp_w" in "\n".join(unknown.notes)
    assert "inter_node_gbps" not in "\n".join(unknown.notes), "the accelerator states its network itself"
    powered = made(hardware={**hardware, "accelerator": {**CUSTOM, "tdp_w": 500}}, layout=layout)
    assert powered.energy_mwh is not None
    config = plan(hardware=hardware, layout=layout)
    space = plan_space(config)
    steps = plan_steps(config, space, choose_layout(config, space, StepTimeModel.shipped()))
    surer = StepTimeModel.shipped().calibrated(steps, np.array([unknown.step_time_s.median]))
    assert width(estimate(config, surer).step_time_s) < 0.8 * width(unknown.step_time_s)


# machines, precisions, models


def test_half_the_bits_are_faster():
    bf16, fp8 = (made(f"hardware.precision={precision}") for precision in ("bf16", "fp8"))
    assert (bf16.precision, fp8.precision) == ("bf16", "fp8")
    assert 0.5 < fp8.step_time_s.median / bf16.step_time_s.median < 0.95
    assert fp8.mfu.median < bf16.mfu.median, "of a peak twice as high"


def test_better_machines_are_faster():
    times = [made(f"hardware.accelerator={name}").step_time_s.median for name in ("A100", "H100", "B200")]
    assert times == sorted(times, reverse=True)


def test_offloading_frees_memory_and_takes_time():
    layout = {"tp": 1, "pp": 1, "cp": 1, "micro_batch": 1, "zero_stage": 1, "recompute": "none"}
    device, host = (made(layout={**layout, "offload": offload}) for offload in ([], ["optimizer"]))
    assert host.memory_parts_gib["optimizer"] < 0.1 * device.memory_parts_gib["optimizer"] + 0.1
    assert host.step_time_s.median > device.step_time_s.median
    assert host.step_parts_s["offload"] > 0 == device.step_parts_s["offload"]


def test_tpus():
    found = made(hardware={"accelerator": "TPU-v5p", "count": 64})
    assert (found.framework, found.energy_mwh) == ("xla", None)
    assert 0.3 < found.mfu.median < 0.75


def test_mixtures_of_experts():
    shape = {**SEVEN_B["model"]["architecture"], **EXPERTS}
    found = made("layout={ep: 8}", model={"architecture": shape})
    assert found.layout.ep == 8
    assert 0.15 < found.mfu.median < 0.6
    assert found.step_parts_s["expert_parallel"] > 0
    assert width(found.step_time_s) > width(PLAIN.step_time_s), "their kernels are less known"


def test_latent_attention_with_many_experts():
    model = {"architecture": {**LATENT}}
    found = made("hardware.count=512", "optim.batch_tokens=16M", model=model, draws=500)
    assert plan(model=model).model.params_total > 1e11
    assert found.layout.ep > 1
    assert 0.1 < found.mfu.median < 0.6
    assert found.fits == "fits"


# layouts


def test_the_layout_that_is_taken_is_the_fastest():
    found, rows = search_layouts(plan(), top=5)
    assert PLAIN.layout == found[0].layout
    assert [row["step_time_s"] for row in rows] == sorted(row["step_time_s"] for row in rows)
    assert rows[0]["step_time_s"] == pytest.approx(PLAIN.step_time_s.median, rel=0.01)
    low, high = rows[0]["step_time_interval_s"]
    assert (low, high) == pytest.approx(PLAIN.step_time_s.intervals[0.8], rel=0.03)
    assert rows[0]["mfu"] == pytest.approx(PLAIN.mfu.median, rel=0.01)


def test_a_stated_layout_is_taken_as_it_is():
    stated = {"tp": 8, "pp": 2, "vpp": 2, "cp": 1, "ep": 1, "dp": 16, "zero_stage": 1, "micro_batch": 2}
    found = made(layout={**stated, "recompute": "selective"}).layout
    expected = ParallelLayout(**stated, sequence_parallel=True, accumulation=32, recompute="selective")
    assert found == expected
    assert replace(found, accumulation=1).devices == 256


def test_degrees_that_do_not_make_the_devices_are_refused():
    """Stated tp, pp and dp aren't made up for by context parallelism that nobody asked for."""
    with pytest.raises(InfeasibleError, match=r"is 128, not 256; expected layout\.dp 16, or hardware\.count 128"):
        made("layout={tp: 8, pp: 2, dp: 8}")
    assert made("layout={tp: 8, pp: 2, cp: 2, dp: 8}", draws=50).layout.cp == 2


def test_faults_are_those_of_what_is_stated():
    """The plainest layout's batch, which doesn't split, is no fault of a plan that says nothing about it."""
    with pytest.raises(InfeasibleError) as caught:
        made("layout={tp: 3}", "hardware.count=2048")
    assert "layout.tp: got 3" in str(caught.value)
    assert "optim.batch_tokens" not in str(caught.value)


def test_everything_that_an_accelerator_lacks_is_named_at_once():
    bare = {"name": "mine", "peak_tflops": {"bf16": 400}, "per_node": 8}
    with pytest.raises(ConfigError) as caught:
        made(hardware={"accelerator": bare, "count": 16}, layout={"offload": ["optimizer"]})
    for key in ("hbm_gib", "hbm_gb_per_s", "intra_node_gb_per_s", "inter_node_gbit_per_s", "pcie_gb_per_s"):
        assert f"hardware.accelerator.{key}" in str(caught.value)
    single = {**bare, "hbm_gib": 500, "hbm_gb_per_s": 3000}
    assert made(hardware={"accelerator": single, "count": 1}, draws=50).devices == 1, "one device needs no links"


def test_a_run_that_never_ends_is_refused():
    with pytest.raises(InfeasibleError, match="would practically never finish"):
        made("reliability.failures_per_device_hour=0.9")


# the chance to fit, and what is taken without being said


def test_a_layout_is_chosen_that_fits_with_the_chance_asked_for():
    chances = [made(f"hardware.fit_chance={asked}", "hardware.count=64", draws=50).p_fit for asked in (0.6, 0.9, 0.99)]
    assert all(found >= asked for found, asked in zip(chances, (0.6, 0.9, 0.99), strict=True))
    assert plan("hardware.fit_chance=95%").hardware.fit_chance == 0.95
    with pytest.raises(ConfigError, match=r"hardware\.fit_chance"):
        plan("hardware.fit_chance=90")


def test_a_stated_layout_has_its_chance_told():
    tight = {"tp": 1, "pp": 1, "micro_batch": 16, "recompute": "none"}
    found = made("hardware={accelerator: A100, count: 8}", layout=tight, draws=50)
    assert 0 < found.p_fit < 0.9
    assert f"a chance to fit of {found.p_fit:.0%} where hardware.fit_chance asks for 90%" in "\n".join(found.notes)


def test_memory_that_rises_with_the_software_names_both():
    layout = {"tp": 1, "pp": 1, "dp": 256, "micro_batch": 2, "recompute": "none", "zero_stage": 3}
    wide = ("model.architecture.layers=8", "model.architecture.vocab_size=256000")
    said = "\n".join(made(*wide, layout=layout, draws=50).notes)
    assert "memory rises from ZeRO stage 2 to 3" in said
    assert "megatron is taken up to stage 2, fsdp at 3" in said
    for framework in ("fsdp", "megatron"):
        stated = "\n".join(made(*wide, f"hardware.framework={framework}", layout=layout, draws=50).notes)
        assert "memory rises" not in stated


def test_an_unknown_optimizer_is_counted_as_adamw_and_said():
    unknown, adamw = made("optim.optimizer=frobnicate", draws=50), made(draws=50)
    assert unknown.memory_parts_gib == adamw.memory_parts_gib
    assert "optim.optimizer 'frobnicate' isn't known: its memory is counted as adamw's" in unknown.notes
    assert made("optim.optimizer=muon", draws=50).memory_parts_gib["optimizer"] > 0


def test_a_size_alone_gets_a_shape_of_the_usual_family():
    found = made(draws=50, model={"params": "1.5B"})
    said = next(note for note in found.notes if note.startswith("model.architecture isn't stated"))
    assert "a Llama-like shape of 1.43B" in said
    assert "layers" in said
    assert "vocab_size 32000, context_length 4096" in said
    own = "\n".join(made(draws=50, model={"params": "1.5B", "vocab_size": 50304, "context_length": 2048}).notes)
    assert "vocab_size 50304, context_length 2048" in own
    assert not any("model.architecture" in note for note in made(draws=50).notes)
