from dataclasses import replace

import numpy as np
import pytest
from foretrain.core.model.architecture import Architecture
from foretrain.simulator.cluster.step_time.operators import layer_times, output_head_s
from foretrain.simulator.cluster.step_time.steps import FRAMEWORKS
from hypothesis import given, settings
from hypothesis import strategies as st

LLAMA = Architecture(
    layers=32, width=4096, heads=32, kv_heads=8, ffn_width=14336, vocab_size=128256, context_length=8192
)
GPT = Architecture(
    family="gpt", layers=24, width=2048, heads=16, ffn_width=8192, vocab_size=51200, context_length=2048,
    learned_positions=False,
)  # fmt: skip
MIXTRAL = Architecture(
    layers=32, width=4096, heads=32, kv_heads=8, ffn_width=14336, vocab_size=32000, context_length=4096,
    num_experts=8, experts_per_token=2,
)  # fmt: skip
DEEPSEEK = Architecture(
    layers=61, width=7168, heads=128, ffn_width=18432, vocab_size=129280, context_length=4096,
    num_experts=256, experts_per_token=8, shared_experts=1, expert_ffn_width=2048, dense_layers=3,
    q_lora_rank=1536, kv_lora_rank=512, qk_rope_width=64, qk_nope_width=128, v_head_width=128,
)  # fmt: skip
PARTS = ("matmul", "attention", "elementwise", "launch")
NO_MEMORY_TIME = {"hbm_bytes_per_s": np.inf}


def flops(steps, fitted, shape) -> tuple[float, float]:
    """FLOPs of a micro-batch's forward and backward that the model's seconds stand for."""
    times, rate = layer_times(steps, fitted), float(steps.machines.matmul_flops)
    head = output_head_s(steps, fitted)
    forward = shape.layers * (times.forward.matmul + times.forward.attention) + head / 3
    backward = shape.layers * (times.backward.matmul + times.backward.attention) + head * 2 / 3
    return float(forward[0]) * rate, float(backward[0]) * rate


@pytest.mark.parametrize("shape", [LLAMA, GPT, MIXTRAL, DEEPSEEK], ids=["llama", "gpt", "mixtral", "deepseek"])
@pytest.mark.parametrize("micro_batch", [1, 3])
def test_arithmetic_is_that_of_the_architecture(shape, micro_batch, make_steps, lossless):
    """Without any loss, a pass takes the FLOPs that `Architecture` counts on its own.

    Apart are the router (up to 0.3 % of DeepSeek's) and the diagonal of the causal mask, 1 / context of the scores.
    """
    steps = make_steps(shape, links=NO_MEMORY_TIME, micro_batch=micro_batch)
    forward, backward = flops(steps, lossless, shape)
    tokens = micro_batch * shape.context_length
    assert forward == pytest.approx(shape.forward_flops_per_token() * tokens, rel=4e-3)
    # fused attention does five products in the backward pass for two in the forward one, at 0.9 of the rate
    keys, values = shape.attention_widths
    scores = shape.layers * shape.heads * (keys + values) * shape.context_length * tokens
    expected = 2 * (shape.forward_flops_per_token() * tokens - scores) + 2.5 / 0.9 * scores
    assert backward == pytest.approx(expected, rel=4e-3)


def test_unfused_attention_computes_every_pair(make_steps, lossless):
    """What the causal mask hides is computed too: twice the arithmetic of fused attention."""
    both = make_steps(LLAMA, links=NO_MEMORY_TIME, flash_attention=np.array([1.0, 0.0]))
    times = layer_times(both, lossless)
    assert times.forward.attention[1] == pytest.approx(2 * times.forward.attention[0])
    assert times.backward.attention[1] == pytest.approx(2 * times.forward.attention[1])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_fused_attention_is_never_slower_for_long_contexts(framework, make_steps, shipped):
    for length in (2048, 8192, 65536):
        shape = LLAMA.model_copy(update={"context_length": length})
        steps = make_steps(shape, framework=framework, flash_attention=np.array([1.0, 0.0]))
        times = layer_times(steps, shipped)
        assert times.forward.attention[0] < times.forward.attention[1]
        assert times.backward.attention[0] < times.backward.attention[1]


def test_misaligned_heads_are_slow_only_without_fused_attention(make_steps, shipped):
    """Unfused attention on heads of 100 leaves tensor cores unused: BLOOM's sweep lost half its speed so."""
    aligned = GPT.model_copy(update={"head_width": 128})
    odd = GPT.model_copy(update={"head_width": 100})
    for flash, slower in ((0.0, True), (1.0, False)):
        seconds = [layer_times(make_steps(s, flash_attention=flash), shipped).forward.attention for s in (odd, aligned)]
        assert (seconds[0] > 1.5 * seconds[1]) == slower


@pytest.mark.parametrize("shape", [LLAMA, MIXTRAL, DEEPSEEK], ids=["llama", "mixtral", "deepseek"])
def test_tensor_parallelism_splits_the_arithmetic(shape, make_steps, lossless):
    steps = make_steps(shape, links=NO_MEMORY_TIME, tp=np.array([1.0, 2, 4, 8]), ep=1)
    times = layer_times(steps, lossless)
    ratio = times.forward.matmul[0] / times.forward.matmul
    if shape.kv_lora_rank is None:
        np.testing.assert_allclose(ratio, [1, 2, 4, 8])
    else:  # latent projections are computed on every device
        assert np.all(ratio <= [1, 2, 4, 8])
        assert np.all(ratio >= [1, 1.8, 3.2, 5])
    np.testing.assert_allclose(times.forward.attention[0] / times.forward.attention, [1, 2, 4, 8])


def test_expert_parallelism_moves_tokens_but_not_arithmetic(make_steps, lossless):
    steps = make_steps(DEEPSEEK, links=NO_MEMORY_TIME, dp=64, ep=np.array([1.0, 8, 64]))
    matmul = layer_times(steps, lossless).forward.matmul
    np.testing.assert_allclose(matmul, matmul[0])


def test_more_experts_on_a_device_read_more_weights(make_steps, shipped):
    steps = make_steps(DEEPSEEK, dp=64, ep=np.array([1.0, 8, 64]))
    matmul = layer_times(steps, shipped).forward.matmul
    assert np.all(np.diff(matmul) < 0)


def test_narrow_formats_speed_up_products_but_not_attention(make_steps, lossless):
    wide, narrow = (layer_times(make_steps(LLAMA, precision=p), lossless).forward for p in ("bf16", "fp8"))
    assert narrow.matmul < 0.7 * wide.matmul
    assert narrow.attention == wide.attention
    assert narrow.elementwise > wide.elementwise  # operands are made narrow first
    head = [output_head_s(make_steps(LLAMA, precision=p), lossless) for p in ("bf16", "fp8")]
    assert head[0] == head[1]


def test_small_layers_wait_for_launches(make_steps, shipped):
    """However small a layer is, a pass takes the launches of its kernels."""
    tiny = Architecture(layers=4, width=128, heads=1, ffn_width=256, vocab_size=1000, context_length=128)
    times = layer_times(make_steps(tiny), shipped)
    floor = shipped["launch_s"] * shipped["launch.megatron"]
    assert times.forward.total == pytest.approx(floor, rel=0.01)
    assert times.backward.total > times.forward.total
    large = layer_times(make_steps(LLAMA, micro_batch=4), shipped)
    assert large.forward.launch < 0.01 * large.forward.total


@given(
    st.sampled_from([LLAMA, GPT, MIXTRAL, DEEPSEEK]),
    st.sampled_from(["tokens", "ffn_width", "heads", "vocab_size"]),
    st.integers(1, 6),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_more_work_is_never_faster(make_steps, shipped, shape, what, times, flash):
    kind = {"flash_attention": float(flash)}
    steps = make_steps(shape, **kind)
    if what == "tokens":
        larger = make_steps(shape, micro_batch=1 + times, **kind)
    else:
        name = {"ffn_width": "expert_ffn_width"}.get(what, what) if shape.num_experts else what
        old = getattr(shape, name) or shape.ffn_width
        grown = {name: old * (1 + times)}
        if what == "heads" and shape.kv_lora_rank is None:
            grown["head_width"] = shape.head_width or shape.width // shape.heads
        larger = make_steps(Architecture(**{**shape.model_dump(), **grown}), **kind)
    before, after = layer_times(steps, shipped), layer_times(larger, shipped)
    assert after.forward.total >= before.forward.total
    assert after.backward.total >= before.backward.total
    assert output_head_s(larger, shipped) >= output_head_s(steps, shipped)


RATES = ("matmul_flops", "wide_flops", "hbm_bytes_per_s")


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("shape", [LLAMA, GPT, DEEPSEEK], ids=["llama", "gpt", "deepseek"])
def test_faster_machines_are_never_slower(rate, shape, make_steps, shipped):
    steps = make_steps(shape, precision="fp8")
    faster = replace(steps, machines=replace(steps.machines, **{rate: 2 * getattr(steps.machines, rate)}))
    before, after = layer_times(steps, shipped), layer_times(faster, shipped)
    assert after.forward.total < before.forward.total
    assert after.backward.total < before.backward.total
    assert after.forward.total > before.forward.total / 2


def test_a_mixture_averages_its_dense_and_expert_layers(make_steps, lossless):
    """Three of DeepSeek's 61 layers are dense."""
    dense = {**DEEPSEEK.model_dump(), "num_experts": None, "experts_per_token": None, "shared_experts": 0}
    dense = Architecture(**{**dense, "expert_ffn_width": None, "dense_layers": 0})
    every = Architecture(**{**DEEPSEEK.model_dump(), "dense_layers": 0})
    found = [
        float(layer_times(make_steps(s, links=NO_MEMORY_TIME), lossless).forward.matmul[0])
        for s in (DEEPSEEK, dense, every)
    ]
    assert found[0] == pytest.approx((3 * found[1] + 58 * found[2]) / 61)
