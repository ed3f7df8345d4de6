from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from foretrain.core.model.architecture import Architecture
from foretrain.datasets.facts.accelerators import accelerator
from foretrain.simulator.cluster.memory.kernels import kernels_of
from foretrain.simulator.cluster.memory.memory import GIB, PARTS, RESERVE, VERDICTS, Memory, memory
from foretrain.simulator.cluster.step_time.steps import FRAMEWORKS, Steps, layouts, machine, model
from hypothesis import given, settings
from hypothesis import strategies as st

QUICK = settings(deadline=None, max_examples=60)
ROUNDING = 1 + 1e-12

LLAMA_7B = Architecture(layers=32, width=4096, heads=32, ffn_width=11008, vocab_size=32000, context_length=4096)
LLAMA_70B = Architecture(
    layers=80, width=8192, heads=64, kv_heads=8, ffn_width=28672, vocab_size=32000, context_length=4096
)
EXPERTS = Architecture(
    layers=24,
    width=2048,
    heads=16,
    kv_heads=4,
    ffn_width=8192,
    vocab_size=64000,
    context_length=4096,
    num_experts=64,
    experts_per_token=6,
    shared_experts=2,
    expert_ffn_width=1408,
    dense_layers=1,
)
LATENT = Architecture(
    layers=16,
    width=2048,
    heads=16,
    ffn_width=10944,
    vocab_size=102400,
    context_length=4096,
    kv_lora_rank=512,
    qk_rope_width=64,
    qk_nope_width=128,
    v_head_width=128,
)
SHAPES = (LLAMA_7B, LLAMA_70B, EXPERTS, LATENT)


def gpt(layers: int, width: int, heads: int, context: int = 2048, vocab: int = 51200) -> Architecture:
    return Architecture(
        family="gpt",
        layers=layers,
        width=width,
        heads=heads,
        ffn_width=4 * width,
        vocab_size=vocab,
        context_length=context,
    )


def needed(shape: Architecture, precision="bf16", part="H100", framework="megatron", **columns) -> Memory:
    plan = layouts(**columns, framework=FRAMEWORKS.index(framework))
    return memory(Steps(model(shape), machine(accelerator(part), precision, devices=int(np.max(plan.devices))), plan))


def device_gib(*arguments, **columns) -> float:
    return float(needed(*arguments, **columns).device_gib[0])


powers = st.integers(0, 3).map(lambda k: 2.0**k)
plans = st.fixed_dictionaries(
    {
        "tp": powers,
        "pp": powers,
        "cp": powers,
        "dp": powers,
        "vpp": st.sampled_from([1.0, 2.0]),
        "zero_stage": st.integers(0, 3).map(float),
        "sequence_parallel": st.booleans(),
        "micro_batch": st.integers(1, 4).map(float),
        "accumulation": st.integers(1, 32).map(float),
        "recompute_full": st.booleans(),
        "flash_attention": st.booleans(),
        "framework": st.sampled_from(FRAMEWORKS),
        "precision": st.sampled_from(["bf16", "fp16", "fp8", "tf32"]),
    }
)
shapes = st.sampled_from(SHAPES)


@QUICK
@given(shapes, plans)
def test_parts_add_up_and_readings_are_in_order(shape, plan):
    found = needed(shape, **plan)
    assert set(found.parts) == set(PARTS)
    assert all((np.isfinite(value) & (value >= 0)).all() for value in found.parts.values())
    assert float(found.allocated_bytes[0]) == pytest.approx(sum(float(v[0]) for v in found.parts.values()))
    low, high = found.interval_gib()
    assert found.allocated_gib[0] < found.reserved_gib[0] < found.device_gib[0]
    assert low[0] < found.device_gib[0] < high[0]
    assert found.verdict()[0] in VERDICTS


@QUICK
@given(shapes, plans, st.sampled_from(["micro_batch", "accumulation"]))
def test_more_at_once_never_needs_less(shape, plan, name):
    assert device_gib(shape, **plan) <= device_gib(shape, **{**plan, name: plan[name] + 1}) * ROUNDING


@QUICK
@given(shapes, plans, st.sampled_from(["layers", "context_length", "vocab_size", "ffn_width"]))
def test_a_larger_model_never_needs_less(shape, plan, name):
    larger = shape.model_copy(update={name: 2 * getattr(shape, name)})
    assert device_gib(shape, **plan) <= device_gib(larger, **plan) * ROUNDING


@QUICK
@given(shapes, plans)
def test_a_higher_zero_stage_never_needs_more(shape, plan):
    stages = [device_gib(shape, **{**plan, "zero_stage": float(stage)}) for stage in range(4)]
    assert all(after <= before * ROUNDING for before, after in pairwise(stages))


@QUICK
@given(shapes, plans)
def test_recomputing_offloading_and_fusing_never_need_more(shape, plan):
    plain = {**plan, "recompute_full": 0.0, "flash_attention": 0.0}
    now = device_gib(shape, **plain)
    for change in (
        {"recompute_selective": 1.0},
        {"recompute_full": 1.0},
        {"flash_attention": 1.0},
        {"offload_optimizer": 1.0},
        {"offload_activations": 1.0},
        {"sequence_parallel": True},
    ):
        assert device_gib(shape, **{**plain, **change}) <= now * ROUNDING, change
    assert device_gib(shape, **{**plain, "recompute_full": 1.0}) <= device_gib(
        shape, **{**plain, "recompute_selective": 1.0}
    )


@QUICK
@given(shapes, plans)
def test_more_replicas_never_need_more_where_zero_shards(shape, plan):
    stage = max(plan["zero_stage"], 1.0)
    few = needed(shape, **{**plan, "dp": 2.0, "zero_stage": stage})
    many = needed(shape, **{**plan, "dp": 4.0, "zero_stage": stage})
    # what is gathered is whole less one's own shard: that part grows by less than the shards shrink
    assert many.allocated_bytes[0] <= few.allocated_bytes[0] * ROUNDING


@QUICK
@given(st.lists(plans, min_size=2, max_size=5), shapes)
def test_many_at_once_are_as_each_alone(several, shape):
    columns = {
        name: np.array([float(plan[name]) for plan in several])
        for name in several[0]
        if name not in ("framework", "precision")
    }
    alike = {"framework": several[0]["framework"], "precision": several[0]["precision"]}
    together = needed(shape, **columns, **alike).device_gib
    alone = [device_gib(shape, **{**plan, **alike}) for plan in several]
    assert together == pytest.approx(alone, rel=1e-12)


def test_chunks_are_seamless():
    n = 40_000
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(1, 5, n).astype(float) for name in ("tp", "pp", "dp", "micro_batch", "accumulation")}
    found = needed(LLAMA_7B, **columns)
    for row in (0, 16_383, 16_384, n - 1):
        one = needed(LLAMA_7B, **{name: column[row] for name, column in columns.items()})
        assert found.device_gib[row] == pytest.approx(one.device_gib[0], rel=1e-12)
    assert found.verdict().shape == (n,)


def test_states_of_the_zero_paper():
    """Rajbhandari et al. 2020 (arXiv:1910.02054), figure 1: 7.5B parameters, 64 replicas, fp16 and Adam."""
    published = {0: 120.0, 1: 31.4, 2: 16.6, 3: 1.9}
    shape = gpt(36, 4096, 32)
    whole = needed(shape, "fp16", framework="deepspeed", dp=64.0, zero_stage=0.0).parts["weights"][0] / 2
    for stage, gb in published.items():
        parts = needed(shape, "fp16", framework="deepspeed", dp=64.0, zero_stage=float(stage)).parts
        states = sum(float(parts[name][0]) for name in ("weights", "gradients", "optimizer"))
        assert 7.5 * states / whole == pytest.approx(gb, abs=0.05)
    assert whole == pytest.approx(shape.params_total, rel=0.005)


# Korthikanti et al. 2022 (arXiv:2205.05198), table 2: bytes of a layer over s·b·h, where `pairs` is a·s/h
KORTHIKANTI = {
    "nothing parallel": ({}, lambda pairs: 34 + 5 * pairs),
    "tensor parallel": ({"tp": 8.0}, lambda pairs: 10 + 24 / 8 + 5 * pairs / 8),
    "and sequence": ({"tp": 8.0, "sequence_parallel": 1.0}, lambda pairs: 34 / 8 + 5 * pairs / 8),
    "tensor, selective": ({"tp": 8.0, "recompute_selective": 1.0}, lambda pairs: 10 + 24 / 8),
    "and sequence, selective": (
        {"tp": 8.0, "sequence_parallel": 1.0, "recompute_selective": 1.0},
        lambda pairs: 34 / 8,
    ),
    "full": ({"recompute_full": 1.0}, lambda pairs: 2),
}


@pytest.mark.parametrize(
    "shape", [gpt(48, 6144, 64), gpt(96, 12288, 96), gpt(105, 20480, 128)], ids=["22B", "175B", "530B"]
)
@pytest.mark.parametrize("case", KORTHIKANTI)
def test_activations_of_korthikanti(shape, case):
    """Without flash attention, as all was before 2022: dropout is counted, and nothing that kernels fuse later."""
    columns, published = KORTHIKANTI[case]
    bytes_of_all = needed(shape, part="A100-80GB", flash_attention=0.0, micro_batch=4.0, **columns).parts["activations"]
    layer = published(shape.heads * 2048 / shape.width) * 2048 * 4 * shape.width
    assert bytes_of_all[0] / shape.layers == pytest.approx(layer)


def test_the_22b_of_korthikanti():
    """59.3 GiB of activations by their formula, and 18 bytes per parameter with bf16 and sums of gradients in fp32."""
    parts = needed(gpt(48, 6144, 64), part="A100-80GB", tp=8.0, micro_batch=4.0, flash_attention=0.0).parts
    assert parts["activations"][0] / GIB == pytest.approx(59.3, abs=0.05)
    states = sum(float(parts[name][0]) for name in ("weights", "gradients", "optimizer"))
    assert states / GIB == pytest.approx(45.6, rel=0.02)


def test_dropout_adds_its_masks_alone():
    """Two of a byte per value of the stream; for each of attention's pairs a byte, and two for what it leaves."""
    shape, sbh, pairs = gpt(96, 12288, 96), 2048 * 12288.0, 96 * 2048.0 * 2048.0

    def layer(dropout: bool | None, **columns: float) -> float:
        plan = layouts(flash_attention=0.0, **columns)
        steps = Steps(model(shape), machine(accelerator("H100"), "bf16", devices=8), plan)
        found = memory(replace(steps, kernels=kernels_of(dropout=dropout)))
        return float(found.parts["activations"][0]) / shape.layers

    assert layer(True) - layer(False) == pytest.approx(2 * sbh + 3 * pairs)
    assert layer(None) == layer(True)
    selective = [layer(dropout, recompute_selective=1.0, tp=8.0, sequence_parallel=1.0) for dropout in (True, False)]
    assert selective[0] - selective[1] == pytest.approx(2 * sbh / 8)


def test_micro_batches_in_flight():
    """1F1B keeps pp micro-batches on the first stage; interleaving keeps 1 + (pp − 1) / (pp · vpp) times as many."""
    shape = gpt(96, 12288, 96)
    one = needed(shape, pp=8.0, accumulation=1.0).parts["activations"][0]
    assert needed(shape, pp=8.0, accumulation=5.0).parts["activations"][0] == pytest.approx(5 * one)
    assert needed(shape, pp=8.0, accumulation=64.0).parts["activations"][0] == pytest.approx(8 * one)
    interleaved = needed(shape, pp=8.0, vpp=3.0, accumulation=64.0).parts["activations"][0]
    assert interleaved == pytest.approx(8 * one * (1 + 7 / (8 * 3)))


def test_experts_are_shared_out_over_their_own_ranks():
    """Experts' states are spread over ep devices, and ZeRO over those that hold the same ones."""
    few, many = (needed(EXPERTS, dp=8.0, ep=ep).parts for ep in (1.0, 8.0))
    assert few["optimizer"][0] == pytest.approx(many["optimizer"][0])
    experts = 23 * 64 * 3 * 2048 * 1408
    assert few["weights"][0] - many["weights"][0] == pytest.approx(2 * experts * 7 / 8)


def test_what_offloading_leaves_on_the_device():
    plan = {"tp": 2.0, "dp": 4.0, "micro_batch": 2.0}
    plain = needed(LLAMA_7B, **plan).parts
    offloaded = needed(LLAMA_7B, **plan, offload_optimizer=1.0, offload_weights=1.0, offload_activations=1.0).parts
    assert offloaded["optimizer"][0] == 0
    assert offloaded["weights"][0] == 0
    assert offloaded["gradients"][0] == plain["gradients"][0]
    assert offloaded["activations"][0] == pytest.approx(plain["activations"][0] * 2 / 32)
    assert offloaded["buffers"][0] > plain["buffers"][0]


KNOWN_NOT_TO_FIT = {
    "GPT-3 175B on one H100": (gpt(96, 12288, 96), {"recompute_full": 1}),
    "7B unsharded, 112 GB of states": (LLAMA_7B, {"recompute_full": 1, "part": "A100-80GB", "framework": "fsdp"}),
    "70B over 8 devices, 1.1 TB of states": (
        LLAMA_70B,
        {"dp": 8, "zero_stage": 3, "recompute_full": 1, "part": "A100-80GB", "framework": "fsdp"},
    ),
    "1.5B, batch 32, on 32 GB (Rajbhandari et al. 2020, section 3)": (
        gpt(48, 1600, 25, 1024, 50304),
        {"micro_batch": 32, "flash_attention": 0, "part": "V100-32GB", "precision": "fp16"},
    ),
}


@pytest.mark.parametrize("case", KNOWN_NOT_TO_FIT)
def test_known_not_to_fit(case):
    shape, columns = KNOWN_NOT_TO_FIT[case]
    assert needed(shape, **columns).verdict()[0] == "does not fit"


@pytest.mark.parametrize(
    ("shape", "plan"),
    [
        (gpt(48, 6144, 64), {"micro_batch": 4}),
        (gpt(96, 12288, 96), {"pp": 8, "vpp": 3, "accumulation": 64}),
        (gpt(105, 20480, 128), {"pp": 35, "vpp": 3, "accumulation": 280}),
        (gpt(128, 25600, 160), {"pp": 64, "accumulation": 512}),
    ],
    ids=["22B", "175B", "530B", "1T"],
)
def test_korthikantis_models_fit_only_with_selective_recomputation(shape, plan):
    """Their figure 1: all four need more than 80 GB without, and were trained with it on A100 of 80 GB."""
    plan = {"tp": 8, "flash_attention": 0, "part": "A100-80GB", **plan}
    assert needed(shape, **plan).verdict()[0] == "does not fit"
    assert needed(shape, **plan, sequence_parallel=1, recompute_selective=1).verdict()[0] == "fits"


def test_the_verdict_follows_from_the_figures():
    found = needed(LLAMA_7B, tp=np.array([1.0, 2.0, 4.0, 8.0]), micro_batch=np.linspace(1, 40, 4), recompute_full=0.0)
    assert found.usable_gib == pytest.approx((1 - RESERVE) * found.capacity_bytes / GIB)
    assert (found.fits() == (found.device_gib <= found.usable_gib)).all()
    assert (found.possible | ~found.fits()).all()
    low, high = needed(LLAMA_7B, framework="xla").interval_gib()
    close, near = needed(LLAMA_7B, framework="megatron").interval_gib()
    assert high[0] / low[0] > near[0] / close[0]
