from dataclasses import replace

import numpy as np
import pytest
from foretrain.core.model.architecture import Architecture
from foretrain.simulator.cluster.memory.memory import memory
from foretrain.simulator.cluster.step_time.efficiency import Efficiencies
from foretrain.simulator.cluster.step_time.network import Network
from foretrain.simulator.cluster.step_time.operators import layer_times
from foretrain.simulator.cluster.step_time.parts import StepTime, local_params, stage_layers, step_time
from foretrain.simulator.cluster.step_time.step_model import StepTimeModel
from foretrain.simulator.cluster.step_time.steps import FRAMEWORKS, Steps
from hypothesis import given, settings
from hypothesis import strategies as st

LLAMA7 = Architecture(layers=32, width=4096, heads=32, ffn_width=11008, vocab_size=32000, context_length=4096)
LLAMA70 = Architecture(
    layers=80, width=8192, heads=64, kv_heads=8, ffn_width=28672, vocab_size=128256, context_length=8192
)
MIXTRAL = Architecture(
    layers=32, width=4096, heads=32, kv_heads=8, ffn_width=14336, vocab_size=32000, context_length=4096,
    num_experts=8, experts_per_token=2,
)  # fmt: skip
DEEPSEEK = Architecture(
    layers=61, width=7168, heads=128, ffn_width=18432, vocab_size=129280, context_length=4096,
    num_experts=256, experts_per_token=8, shared_experts=1, expert_ffn_width=2048, dense_layers=3,
    q_lora_rank=1536, kv_lora_rank=512, qk_rope_width=64, qk_nope_width=128, v_head_width=128,
)  # fmt: skip
SHAPES = st.sampled_from([LLAMA7, LLAMA70, MIXTRAL, DEEPSEEK])
LAYOUTS = st.fixed_dictionaries(
    {
        "tp": st.sampled_from([1, 2, 4, 8, 16]), "pp": st.sampled_from([1, 2, 4, 8]), "vpp": st.sampled_from([1, 2]),
        "cp": st.sampled_from([1, 2, 4]), "dp": st.sampled_from([1, 2, 8, 64]), "ep": st.sampled_from([1, 2, 8]),
        "zero_stage": st.sampled_from([0, 1, 2, 3]), "sequence_parallel": st.sampled_from([0, 1]),
        "micro_batch": st.sampled_from([1, 2, 8]), "accumulation": st.sampled_from([1, 4, 32]),
        "recompute_full": st.sampled_from([0, 1]), "flash_attention": st.sampled_from([0, 1]),
        "offload_optimizer": st.sampled_from([0, 1]), "offload_weights": st.sampled_from([0, 1]),
        "offload_activations": st.sampled_from([0, 1]), "framework": st.sampled_from(FRAMEWORKS),
        "gpu": st.sampled_from(["A100-SXM-80", "H100", "GB200", "MI300X", "TPUv5p"]),
    }
)  # fmt: skip


def total(steps: Steps, fitted: Efficiencies) -> float:
    return float(step_time(steps, fitted).total_s[0])


def part(found: StepTime, name: str) -> float:
    return float(np.ravel(found.parts[name])[0])


@given(SHAPES, LAYOUTS)
@settings(max_examples=100, deadline=None)
def test_parts_add_up(make_steps, shipped, shape, layout):
    found = step_time(make_steps(shape, **layout), shipped)
    assert sum(found.parts.values()) == pytest.approx(found.total_s)
    for name, value in found.parts.items():
        assert np.all(np.isfinite(value)), name
        # an optimizer on the host isn't on the device: its part of "offload" may be negative
        assert np.all(value >= 0) or name == "offload", name
    assert part(found, "offload") + part(found, "optimizer") >= 0
    unused = {"tp": "tensor_parallel", "cp": "context_parallel", "pp": "pipeline", "ep": "expert_parallel"}
    for degree, name in unused.items():
        if layout[degree] == 1:
            assert part(found, name) == 0
    assert (part(found, "bubble") == 0) == (layout["pp"] == 1)
    assert (part(found, "data_parallel") == 0) == (layout["dp"] * layout["cp"] == 1)


@given(SHAPES, LAYOUTS, st.sampled_from(["micro_batch", "accumulation", "layers", "vocab_size", "context_length"]))
@settings(max_examples=100, deadline=None)
def test_more_work_is_never_faster(make_steps, shipped, shape, layout, what):
    if what in layout:
        grown = make_steps(shape, **{**layout, what: 2 * layout[what]})
    else:
        grown = make_steps(shape.model_copy(update={what: 2 * getattr(shape, what)}), **layout)
    assert total(grown, shipped) > total(make_steps(shape, **layout), shipped)


RATES = (
    "matmul_flops", "wide_flops", "hbm_bytes_per_s", "intra_bytes_per_s", "inter_bytes_per_s", "host_bytes_per_s",
)  # fmt: skip


@given(SHAPES, LAYOUTS, st.sampled_from(RATES), st.floats(1.0, 50.0))
@settings(max_examples=100, deadline=None)
def test_faster_machines_are_never_slower(make_steps, shipped, shape, layout, rate, factor):
    steps = make_steps(shape, **layout)
    faster = replace(steps, machines=replace(steps.machines, **{rate: factor * getattr(steps.machines, rate)}))
    before, after = total(steps, shipped), total(faster, shipped)
    assert before / factor * (1 - 1e-9) <= after <= before * (1 + 1e-9)


@given(st.lists(st.tuples(SHAPES, LAYOUTS), min_size=2, max_size=6))
@settings(max_examples=20, deadline=None)
def test_a_row_does_not_depend_on_others(make_steps, shipped, rows):
    each = [make_steps(shape, **layout) for shape, layout in rows]
    together = step_time(Steps.join(each), shipped).total_s
    np.testing.assert_allclose(together, [total(one, shipped) for one in each], rtol=1e-12)


# pipelines


@pytest.mark.parametrize("pp", [2, 8, 16])
@pytest.mark.parametrize("vpp", [1, 5])
def test_the_bubble_is_the_textbooks(pp, vpp, make_steps, lossless, shipped):
    """Narayanan et al. 2021 (arXiv:2104.04473), section 2.2: (p − 1) / (v · m) of the ideal time."""
    for fitted in (lossless, shipped):
        found = step_time(make_steps(LLAMA70, pp=pp, vpp=vpp if 80 % (pp * vpp) == 0 else 1, accumulation=64), fitted)
        chunks = vpp if 80 % (pp * vpp) == 0 else 1
        outside = ("bubble", "data_parallel", "straggling", "optimizer", "offload", "other")
        ideal = sum(part(found, name) for name in found.parts if name not in outside)
        assert part(found, "bubble") == pytest.approx(fitted["bubble"] * (pp - 1) / (chunks * 64) * ideal)


def test_more_micro_batches_fill_the_pipeline(make_steps, shipped):
    steps = make_steps(LLAMA70, tp=8, pp=8, dp=2, accumulation=np.array([4.0, 16, 64, 256]))
    per_token = step_time(steps, shipped).total_s / steps.tokens
    assert np.all(np.diff(per_token) < 0)


def test_layers_of_the_slowest_stage(make_steps):
    pp, vpp = np.array([1.0, 2, 4, 16, 8]), np.array([1.0, 1, 5, 5, 2])
    np.testing.assert_array_equal(stage_layers(make_steps(LLAMA70, pp=pp, vpp=vpp)), [80, 40, 20, 5, 10])
    # Llama-3 405B: 126 layers, the embedding and the head count as one each (arXiv:2407.21783, section 3.3.2)
    uneven = make_steps(LLAMA70.model_copy(update={"layers": 126}), pp=16, vpp=np.array([1.0, 8]))
    np.testing.assert_array_equal(stage_layers(uneven), [7, 7])
    # without a pipeline all layers are on the one stage, whatever vpp says
    np.testing.assert_array_equal(stage_layers(make_steps(DEEPSEEK, vpp=np.array([1.0, 2]))), [61, 61])


@given(st.sampled_from([LLAMA7, LLAMA70, MIXTRAL]), st.integers(10, 130), st.sampled_from([2, 3, 4, 8]))
@settings(max_examples=60, deadline=None)
def test_uneven_stages_are_never_faster_than_even_ones(make_steps, lossless, shape, layers, pp):
    """A pipeline can't beat its work spread evenly: with a small head the pace is set by a stage without it."""
    shape = Architecture(**{**shape.model_dump(), "layers": layers})
    columns = {"accumulation": 32}
    alone = step_time(make_steps(shape, **columns), lossless)
    found = step_time(make_steps(shape, pp=pp, **columns), lossless)
    outside = ("bubble", "pipeline", "data_parallel", "straggling", "optimizer", "offload", "other", "gradients")
    work = sum(part(alone, name) for name in alone.parts if name not in outside)
    pace = part(found, "bubble") / (pp - 1) - part(found, "pipeline") / 32 - part(found, "gradients") / 32
    assert pace >= work / 32 / pp * (1 - 1e-9)


# recomputation


@pytest.mark.parametrize("shape", [LLAMA7, MIXTRAL], ids=["llama", "mixtral"])
def test_full_recomputation_adds_a_forward_pass(shape, make_steps, shipped):
    steps = make_steps(shape, tp=2, dp=4, ep=2, accumulation=8, recompute_full=np.array([0.0, 1.0]))
    found = step_time(steps, shipped)
    forward = shape.layers * 8 * layer_times(steps, shipped).forward.total
    passes = found.parts["tensor_parallel"] / 2 + found.parts["expert_parallel"] / 2
    np.testing.assert_allclose(found.parts["recompute"], [0, (forward + passes)[0]])
    assert 1.2 < found.total_s[1] / found.total_s[0] < 1.36


def test_selective_recomputation_adds_attention_alone(make_steps, shipped):
    steps = make_steps(LLAMA7, recompute_selective=1, flash_attention=0)
    found = step_time(steps, shipped)
    assert part(found, "recompute") == pytest.approx(part(found, "attention") / 3)


# data parallelism


def test_sharded_weights_communicate_half_as_much_again(make_steps, lossless):
    """Rajbhandari et al. 2020 (arXiv:1910.02054), section 7: 1.5 times the volume of data parallelism."""
    steps = make_steps(LLAMA7, dp=8, zero_stage=np.array([0.0, 1, 2, 3]), accumulation=1)
    seconds = step_time(steps, lossless).parts["data_parallel"]
    np.testing.assert_allclose(seconds / seconds[0], [1, 1, 1, 1.5], rtol=0.04)  # the latency of 32 layers' gathers
    gather = Network(steps, lossless).gather_s(*local_params(steps))
    np.testing.assert_allclose(seconds[0], 2 * gather, rtol=0.01)


def test_sharded_weights_are_gathered_for_every_micro_batch(make_steps, lossless):
    stages = np.repeat([1.0, 2.0, 3.0], 2)
    steps = make_steps(LLAMA7, dp=8, zero_stage=stages, accumulation=np.tile([1.0, 10.0], 3))
    seconds = step_time(steps, lossless).parts["data_parallel"].reshape(3, 2)
    # gradients once a step; with every micro-batch, and weights once; both with every micro-batch
    np.testing.assert_allclose(seconds[:, 1] / seconds[:, 0], [1, 5.5, 10], rtol=0.01)


@given(SHAPES, LAYOUTS)
@settings(max_examples=60, deadline=None)
def test_with_a_pipeline_sharded_gradients_are_reduced_once_a_step(make_steps, shipped, shape, layout):
    """Stage 2 took 44.2 s where stage 1 took 38.8 (llama-70b, 256 A100, tp 8, pp 8), for traffic nobody causes."""
    layout |= {"pp": max(2, layout["pp"])}
    first, second = (make_steps(shape, **{**layout, "zero_stage": stage}) for stage in (1, 2))
    assert total(second, shipped) == total(first, shipped)


def test_fsdp_keeps_weights_whole_with_a_pipeline(make_steps, shipped):
    """As its memory is counted: gathered and reduced once a step, like sharded optimizer states."""
    columns = {"pp": 4, "dp": 8, "accumulation": 16, "framework": "fsdp"}
    first, third = (step_time(make_steps(LLAMA70, zero_stage=stage, **columns), shipped) for stage in (1, 3))
    assert third.parts["data_parallel"] == first.parts["data_parallel"]


# layers, width, heads, GPUs, micro-batch, and teraFLOP/s per GPU by the paper's formula for FLOPs
ZERO3 = [
    (96, 12288, 96, 384, 4, 144), (96, 12288, 96, 768, 2, 88), (96, 12288, 96, 1536, 1, 44),
    (105, 20480, 128, 640, 4, 138), (105, 20480, 128, 1120, 2, 98), (105, 20480, 128, 2240, 1, 48),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "width", "heads", "gpus", "micro_batch", "tflops"), ZERO3)
def test_deepspeed_gathers_over_one_card(make_steps, layers, width, heads, gpus, micro_batch, tflops):
    """Narayanan et al. 2021 (arXiv:2104.04473), table 2: ZeRO-3 on A100s was predicted 27 to 75 % too fast."""
    shape = Architecture(
        family="gpt", layers=layers, width=width, heads=heads, ffn_width=4 * width, vocab_size=51200,
        context_length=2048, learned_positions=False,
    )  # fmt: skip
    steps = make_steps(
        shape, gpu="A100-SXM-80", precision="fp16", framework="deepspeed", zero_stage=3, dp=gpus,
        micro_batch=micro_batch, recompute_full=1, flash_attention=0,
    )  # fmt: skip
    sequences = gpus * micro_batch
    extra = 1 + 2048 / (6 * width) + 51200 / (16 * layers * width)  # equation (3) of the paper
    measured_s = 96 * sequences * 2048 * layers * width**2 * extra / (gpus * tflops * 1e12)
    assert StepTimeModel.shipped().predict(steps).total_s[0] == pytest.approx(measured_s, rel=0.2)


def test_gathers_among_thousands_of_ranks_are_felt(make_steps):
    """Fernandez et al. 2024 (arXiv:2411.13055): a 7B model by FSDP, 2 sequences per H100, loses 37 % of its
    throughput per GPU from 128 to 2,048 of them, hardly anything below."""
    model = StepTimeModel.shipped()
    few, some, many = (
        model.predict(make_steps(LLAMA7, framework="fsdp", zero_stage=3, dp=gpus, micro_batch=2)).total_s[0]
        for gpus in (8, 128, 2048)
    )
    assert 0.95 < few / some <= 1
    assert 0.55 < some / many < 0.8


def test_long_micro_batches_hide_traffic(make_steps, shipped):
    steps = make_steps(LLAMA7, dp=64, zero_stage=3, micro_batch=np.array([1.0, 2, 4, 8]), framework="fsdp")
    found = step_time(steps, shipped)
    assert np.all(np.diff(found.parts["data_parallel"] / found.total_s) < 0)


# memory of the host, the optimizer


def test_the_optimizer_works_on_its_shard(make_steps, lossless):
    fitted = Efficiencies({**lossless.values, "optimizer_bytes": 30.0})
    steps = make_steps(LLAMA7, dp=8, zero_stage=np.array([0.0, 1, 2, 3]))
    seconds = step_time(steps, fitted).parts["optimizer"]
    expected = LLAMA7.params_total * 30 / float(steps.machines.hbm_bytes_per_s)
    np.testing.assert_allclose(seconds, np.array([1, 1 / 8, 1 / 8, 1 / 8]) * expected, rtol=1e-3)  # norms


def test_offloading_costs_time(make_steps, shipped):
    names = ("offload_optimizer", "offload_weights", "offload_activations")
    plain = total(make_steps(LLAMA7, dp=8), shipped)
    for name in names:
        assert total(make_steps(LLAMA7, dp=8, **{name: 1}), shipped) > plain


def test_weights_on_the_host_come_for_both_passes(make_steps, lossless):
    steps = make_steps(LLAMA7, offload_weights=1, accumulation=4)
    expected = 2 * 4 * LLAMA7.params_total * 2 / float(steps.machines.host_bytes_per_s)
    assert part(step_time(steps, lossless), "offload") == pytest.approx(expected, rel=1e-3)


def test_offloaded_activations_are_those_that_memory_is_freed_of(make_steps, lossless):
    """Once a residual stream per layer was moved, whatever was kept: a sixth of it, so that offloading looked free."""
    for layout in ({}, {"recompute_full": 1}, {"flash_attention": 0, "recompute_selective": 1}, {"tp": 8, "dp": 1}):
        plain = make_steps(LLAMA7, accumulation=3, sequence_parallel=1, **layout)
        moved = make_steps(LLAMA7, accumulation=3, sequence_parallel=1, offload_activations=1, **layout)
        seconds = part(step_time(moved, lossless), "offload")
        kept = seconds * float(moved.machines.host_bytes_per_s) / (2 * 3)
        freed = memory(plain).parts["activations"] - memory(moved).parts["activations"]
        # two of 32 layers are on the device at any time; frameworks keep a little more than the itemised bytes
        assert kept * 30 / 32 == pytest.approx(float(freed[0]), rel=0.15)


# parameters on a device


@pytest.mark.parametrize(
    ("shape", "layout", "dense", "experts"),
    [
        (LLAMA7, {}, LLAMA7.params_total, 0),
        (LLAMA7, {"tp": 4}, LLAMA7.params_total / 4, 0),
        (LLAMA7, {"dp": 8, "zero_stage": 3}, LLAMA7.params_total, 0),
        (LLAMA7, {"pp": 4}, (LLAMA7.params_total - 2 * 32000 * 4096) / 4 + 32000 * 4096, 0),
        (MIXTRAL, {"dp": 8, "ep": 8}, 1.604e9, 32 * 3 * 4096 * 14336),
        (MIXTRAL, {"dp": 8, "ep": 4}, 1.604e9, 2 * 32 * 3 * 4096 * 14336),
    ],
)
def test_local_parameters(shape, layout, dense, experts, make_steps):
    found = local_params(make_steps(shape, **layout))
    np.testing.assert_allclose(np.ravel(found[0]), dense, rtol=2e-3)  # norms, the router
    np.testing.assert_allclose(np.ravel(found[1]), experts)
