import numpy as np
import pytest
from foretrain.core.errors import ConfigError
from foretrain.core.model.architecture import Architecture
from foretrain.datasets.facts.accelerators import Accelerator, accelerator
from foretrain.simulator.cluster.step_time.steps import (
    GENERATIONS,
    Layouts,
    Models,
    Steps,
    generation_index,
    layouts,
    machine,
    model,
)
from hypothesis import given, settings
from hypothesis import strategies as st

LLAMA = Architecture(
    layers=32, width=4096, heads=32, kv_heads=8, ffn_width=14336, vocab_size=128256, context_length=8192
)
DEEPSEEK = Architecture(
    layers=61, width=7168, heads=128, ffn_width=18432, vocab_size=129280, context_length=4096,
    num_experts=256, experts_per_token=8, shared_experts=1, expert_ffn_width=2048, dense_layers=3,
    q_lora_rank=1536, kv_lora_rank=512, qk_rope_width=64, qk_nope_width=128, v_head_width=128,
)  # fmt: skip


def many(n: int = 4) -> Steps:
    columns = {"tp": np.array([1.0, 2, 4, 8][:n]), "dp": np.full(n, 8.0), "micro_batch": np.arange(1.0, n + 1)}
    return Steps(model(LLAMA), machine(accelerator("h100"), "bf16", devices=64), layouts(**columns))


# joining and choosing


def test_scalars_stand_for_all():
    steps = many()
    assert len(steps) == 4
    assert steps.tokens.tolist() == [8 * 8192, 2 * 8 * 8192, 3 * 8 * 8192, 4 * 8 * 8192]
    assert steps.layouts.devices.tolist() == [8, 16, 32, 64]


@pytest.mark.parametrize("rows", [np.array([2, 0]), np.array([True, False, False, True])])
def test_chosen_rows_keep_their_values(rows):
    chosen = many().take(rows)
    assert len(chosen) == 2
    np.testing.assert_array_equal(chosen.tokens, many().tokens[rows])
    np.testing.assert_array_equal(chosen.layouts.tp, many().layouts.tp[rows])
    assert chosen.models.layers.ndim == 0  # a scalar stays one


def test_joined_structs_come_apart_again():
    shapes = [LLAMA, DEEPSEEK, LLAMA.model_copy(update={"layers": 16})]
    joined = Models.join([model(shape) for shape in shapes])
    assert joined.layers.tolist() == [32, 61, 16]
    assert joined.matrix_inputs.shape == (5, 3)
    for k, shape in enumerate(shapes):
        one = joined.take(np.array([k]))
        for name, value in vars(model(shape)).items():
            np.testing.assert_array_equal(np.ravel(getattr(one, name)), np.ravel(value), err_msg=name)


def test_steps_are_joined_with_their_parts():
    part = machine(accelerator("a100-80gb"), "bf16", devices=8)
    one = Steps(model(DEEPSEEK), part, layouts(dp=8))
    two = Steps(model(LLAMA), part, layouts(tp=2, dp=4))
    joined = Steps.join([one, two])
    assert len(joined) == 2
    assert joined.models.num_experts.tolist() == [256, 0]
    assert joined.layouts.tp.tolist() == [1, 2]
    assert joined.tokens.tolist() == [8 * 4096, 4 * 8192]


# models


def shapes():
    """Architectures of every style, small."""
    return st.builds(
        _shape,
        st.integers(1, 6), st.sampled_from([1, 2, 4, 8]), st.sampled_from([8, 12, 64]), st.integers(1, 300),
        st.sampled_from(["mha", "gqa", "mqa", "mla", "mla without queries"]), st.booleans(), st.booleans(),
        st.sampled_from([None, (4, 2, 0, 0), (8, 3, 2, 1), (16, 1, 1, 0)]),
    )  # fmt: skip


def _shape(layers, heads, head_width, ffn_width, attention, gated, tied, experts) -> Architecture:
    fields = {
        "layers": layers + 1, "width": heads * head_width, "heads": heads, "ffn_width": ffn_width, "vocab_size": 997,
        "context_length": 128, "ffn_gated": gated, "tied_embeddings": tied, "norm": "none",
    }  # fmt: skip
    if attention.startswith("mla"):
        fields |= {"kv_lora_rank": 16, "qk_rope_width": 4, "qk_nope_width": 8, "v_head_width": 6}
        fields |= {} if attention.endswith("queries") else {"q_lora_rank": 24}
    else:
        fields |= {"kv_heads": {"mha": heads, "gqa": max(1, heads // 2), "mqa": 1}[attention]}
    if experts:
        names = ("num_experts", "experts_per_token", "shared_experts", "dense_layers")
        fields |= {**dict(zip(names, experts, strict=True)), "expert_ffn_width": 48}
    return Architecture(**fields)


@given(shapes())
@settings(deadline=None)
def test_matrices_add_up_to_the_parameters(shape):
    """Every parameter that `Architecture` counts is in a matrix here, but for norms (none here) and the router."""
    made = model(shape)
    dense = made.layers - made.moe_layers
    body = made.layers * made.mixer_params + dense * made.ffn_params
    body = body + made.moe_layers * (made.num_experts + made.shared_experts) * made.expert_params
    router = made.moe_layers * made.num_experts * made.width
    tables = (2 - made.tied_embeddings) * made.table_params
    assert float((body + router + tables)[0]) == shape.params_total == float(made.params_total)


def test_published_counts():
    # DeepSeek-V3 (arXiv:2412.19437, abstract): 671B parameters; Llama-3 8B: 8,030,261,248 in its checkpoint
    assert float(model(DEEPSEEK).params_total) == pytest.approx(671e9, rel=1e-3)
    assert float(model(LLAMA).params_total) == 8_030_261_248


# machines


def test_units_of_a_machine():
    part = machine(accelerator("H100-SXM-80"), "bf16", devices=16)
    assert part.peak_flops == 989e12
    assert part.hbm_bytes_per_s == 3350e9
    assert part.intra_bytes_per_s == 450e9
    assert part.inter_bytes_per_s == 50e9  # 400 Gb/s
    assert (
        machine(accelerator("H100-SXM-80"), "bf16", devices=16, inter_node_gbit_per_s=100).inter_bytes_per_s == 12.5e9
    )
    assert part.memory_bytes < 80 * 2**30


@pytest.mark.parametrize(
    ("precision", "value", "narrow", "format_", "half"),
    [
        ("fp32", 4, 4, 0, 0), ("tf32", 4, 4, 0, 0), ("bf16", 2, 2, 0, 0), ("fp16", 2, 2, 0, 1),
        ("fp8", 2, 1, 1, 0), ("mxfp8", 2, 1.03, 2, 0), ("fp4", 2, 0.5, 3, 0), ("nvfp4", 2, 0.56, 3, 0),
    ],
)  # fmt: skip
def test_formats(precision, value, narrow, format_, half):
    part = machine(accelerator("B200"), precision)
    assert (part.value_bytes, part.narrow_bytes, part.format, part.half) == (value, narrow, format_, half)


@pytest.mark.parametrize("name", ["A100-SXM-80", "H100-SXM-80", "B200", "TPUv5p", "MI300X"])
def test_products_stay_below_the_peak(name):
    part = machine(accelerator(name), "bf16")
    assert 0.5 <= part.matmul_flops / part.peak_flops < 1
    assert part.matmul_flops == part.wide_flops


def test_generations():
    names = {"A100-SXM-80": "ampere", "H100": "hopper", "GB200": "blackwell", "TPUv5e": "tpu"}
    assert {name: GENERATIONS[generation_index(accelerator(name))] for name in names} == names
    assert generation_index(accelerator("MI300X")) == len(GENERATIONS)
    assert generation_index(Accelerator(peak_tflops={"bf16": 100})) == len(GENERATIONS)


OWN = {"peak_tflops": {"bf16": 100.0}, "hbm_gib": 32.0, "hbm_gb_per_s": 1000.0}


@pytest.mark.parametrize(
    ("fields", "devices", "offload", "lacks"),
    [
        (OWN, 1, False, None),
        (OWN, 8, False, "intra_node_gb_per_s"),
        ({**OWN, "intra_node_gb_per_s": 100.0}, 8, False, None),
        ({**OWN, "intra_node_gb_per_s": 100.0}, 9, False, "inter_node_gbit_per_s"),
        (OWN, 1, True, "pcie_gb_per_s"),
        ({"peak_tflops": {"bf16": 100.0}, "hbm_gib": 32.0}, 1, False, "hbm_gb_per_s"),
        ({"peak_tflops": {"bf16": 100.0}, "hbm_gb_per_s": 1000.0}, 1, False, "hbm_gib"),
    ],
)
def test_what_is_needed_and_unknown_is_named(fields, devices, offload, lacks):
    own = Accelerator.model_validate({**fields, "per_node": 8, "name": "mine"})
    if lacks is None:
        assert np.isfinite(machine(own, "bf16", devices=devices, offload=offload).hbm_bytes_per_s)
        return
    with pytest.raises(ConfigError, match=f"mine has no {lacks}"):
        machine(own, "bf16", devices=devices, offload=offload)


def test_a_stated_network_needs_no_figure_of_the_accelerator():
    own = Accelerator.model_validate({**OWN, "intra_node_gb_per_s": 100.0, "per_node": 8})
    assert machine(own, "bf16", devices=64, inter_node_gbit_per_s=80).inter_bytes_per_s == 10e9


@pytest.mark.parametrize(("name", "precision"), [("A100", "fp8"), ("V100-SXM2-32", "bf16"), ("H100", "nvfp4")])
def test_formats_that_an_accelerator_lacks_are_named(name, precision):
    with pytest.raises(ConfigError, match=f"has no {precision} peak.*expected one of"):
        machine(accelerator(name), precision)


# layouts


def test_the_plainest_layout():
    plain = layouts()
    assert {name for name, value in vars(plain).items() if value == 0} == {
        "sequence_parallel", "recompute_selective", "recompute_full", "offload_optimizer", "offload_weights",
        "offload_activations", "framework", "release", "unstated_sd",
    }  # fmt: skip
    assert plain.devices == plain.data_ranks == plain.expert_ranks == 1


def test_ranks():
    made = layouts(tp=2, pp=4, cp=2, dp=8, ep=16)
    assert (made.devices, made.data_ranks, made.expert_ranks) == (128, 16, 2)
    assert isinstance(made, Layouts)


def test_a_name_that_is_no_column_is_refused():
    with pytest.raises(TypeError):
        layouts(tpp=2)
