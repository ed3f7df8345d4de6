import time

import numpy as np
import pytest
from foretrain.architecture import Architecture
from foretrain.datasets.accelerators import accelerator
from foretrain.simulator.cluster.layout import Layout
from foretrain.simulator.cluster.layout_problems import problems
from foretrain.simulator.cluster.memory_advice import Advice, advise, layout_memory
from foretrain.simulator.cluster.steps import machine
from hypothesis import given, settings
from hypothesis import strategies as st

LLAMA_7B = Architecture(layers=32, width=4096, heads=32, ffn_width=11008, vocab_size=32000, context_length=4096)
LLAMA_70B = Architecture(
    layers=80, width=8192, heads=64, kv_heads=8, ffn_width=28672, vocab_size=32000, context_length=4096
)
GPT_3 = Architecture(
    family="gpt", layers=96, width=12288, heads=96, ffn_width=49152, vocab_size=51200, context_length=2048
)


def hardware(part: str = "A100-80GB"):
    return machine(accelerator(part), "bf16", devices=64)


def advice(shape: Architecture, layout: Layout, part: str = "A100-80GB") -> Advice:
    found = advise(shape, hardware(part), layout, per_node=8)
    assert found is not None
    return found


def test_nothing_to_say_of_what_fits():
    assert advise(LLAMA_7B, hardware(), Layout(dp=8, accumulation=8), per_node=8) is None


def test_the_cheapest_change_comes_first():
    plan = Layout(dp=8, micro_batch=4, accumulation=8)
    found = advice(LLAMA_7B, plan)
    assert found.largest_part == "activations"
    assert found.changes == ("layout.micro_batch=1",)
    assert found.layout == Layout(dp=8, micro_batch=1, accumulation=32)
    text = str(found)
    assert f"needs {found.needed_gib:.1f} GiB per device, of {found.usable_gib:.1f} GiB usable" in text
    assert "largest part: activations" in text
    assert f"smallest change that fits: layout.micro_batch=1 ({found.changed_gib:.1f} GiB)" in text


def test_sequence_parallelism_and_sharding_before_anything_slower():
    shared = Layout(tp=8, dp=8, micro_batch=16, accumulation=4)
    assert advice(LLAMA_7B, shared).changes == ("layout.sequence_parallel=true",)
    unsharded = Layout(dp=8, zero_stage=0, accumulation=8)
    assert advice(LLAMA_7B, unsharded).changes == ("layout.zero_stage=1",)


def test_one_device_has_only_the_host_to_turn_to():
    found = advice(LLAMA_7B, Layout(accumulation=8))
    assert found.changes == ("layout.offload=[optimizer]",)
    assert found.layout is not None
    assert found.layout.offload_optimizer


def test_two_changes_at_once_where_one_is_not_enough():
    found = advice(LLAMA_70B, Layout(dp=16, zero_stage=3, micro_batch=4, accumulation=4), "H100")
    assert len(found.changes) == 2
    assert found.layout is not None
    assert layout_memory(LLAMA_70B, hardware("H100"), [found.layout]).fits[0]


def test_more_devices_where_nothing_helps():
    found = advice(GPT_3, Layout(accumulation=1024), "H100")
    assert found.changes == ()
    assert found.least_gib is not None
    assert found.least_gib > found.usable_gib
    assert found.devices == 64
    assert f"no layout on these devices needs less than {found.least_gib:.1f} GiB" in str(found)
    assert "expected hardware.count 64, or a smaller model" in str(found)


def test_not_even_more_devices():
    """A single layer that no device can hold, and heads that can't be split."""
    huge = Architecture(layers=1, width=65536, heads=1, ffn_width=1048573, vocab_size=32000, context_length=131072)
    found = advice(huge, Layout(accumulation=2))
    assert found.devices is None
    assert "expected an accelerator with more memory, or a smaller model" in str(found)


powers = st.integers(0, 3).map(lambda k: 2**k)


@settings(deadline=None, max_examples=40)
@given(
    st.builds(
        Layout,
        tp=powers,
        pp=powers,
        dp=powers,
        zero_stage=st.integers(0, 3),
        micro_batch=powers,
        accumulation=st.just(16),
        recompute=st.sampled_from(["none", "selective", "full"]),
        flash_attention=st.booleans(),
    ),
    st.sampled_from([LLAMA_7B, LLAMA_70B]),
)
def test_what_is_advised_is_possible_and_fits(layout, shape):
    found = advise(shape, hardware(), layout, per_node=8)
    now = layout_memory(shape, hardware(), [layout])
    assert (found is None) == bool(now.fits[0])
    if found is None:
        return
    assert found.needed_gib == pytest.approx(float(now.device_gib[0]))
    assert found.needed_gib > found.usable_gib
    assert bool(found.changes) == (found.layout is not None) == (found.least_gib is None)
    if found.layout is not None:
        assert not problems(shape, found.layout, layout.devices, layout.global_batch)
        after = layout_memory(shape, hardware(), [found.layout])
        assert after.fits[0]
        assert found.changed_gib == pytest.approx(float(after.device_gib[0]))


def test_a_framework_changes_the_answer_and_options_are_independent():
    options = [Layout(dp=8, zero_stage=stage, accumulation=8) for stage in (0, 1, 2, 3)]
    together = layout_memory(LLAMA_7B, hardware(), options).device_gib
    assert together == pytest.approx([layout_memory(LLAMA_7B, hardware(), [o]).device_gib[0] for o in options])
    assert not np.allclose(together, layout_memory(LLAMA_7B, hardware(), options, framework=1).device_gib)


def test_it_answers_at_once():
    start = time.perf_counter()
    advice(LLAMA_70B, Layout(dp=64, zero_stage=0, micro_batch=8, accumulation=8))
    assert time.perf_counter() - start < 3
