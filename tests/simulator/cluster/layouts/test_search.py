import re
from dataclasses import replace

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, InfeasibleError
from foretrain.core.model.architecture import Architecture
from foretrain.datasets.facts.accelerators import Accelerator, accelerator
from foretrain.simulator.cluster.layouts import search
from foretrain.simulator.cluster.layouts.candidates import LayoutSpace, candidate_layouts, layout_at
from foretrain.simulator.cluster.layouts.layout_problems import problems
from foretrain.simulator.cluster.layouts.search import default_framework, fastest_layouts, steps_of
from foretrain.simulator.cluster.memory.memory import memory
from foretrain.simulator.cluster.step_time.step_model import StepTimeModel
from foretrain.simulator.cluster.step_time.steps import FRAMEWORKS
from foretrain.simulator.config.hardware import LayoutConfig

LLAMA7 = Architecture(layers=32, width=4096, heads=32, ffn_width=11008, vocab_size=32000, context_length=4096)
LLAMA70 = Architecture(
    layers=80, width=8192, heads=64, kv_heads=8, ffn_width=28672, vocab_size=128256, context_length=8192
)
MIXTRAL = Architecture(
    layers=32, width=4096, heads=32, kv_heads=8, ffn_width=14336, vocab_size=32000, context_length=4096,
    num_experts=8, experts_per_token=2,
)  # fmt: skip
H100, A100 = accelerator("H100"), accelerator("A100-SXM-80")
MODEL = StepTimeModel.shipped()


def space(shape=LLAMA7, count=8, batch=64, **stated) -> LayoutSpace:
    return LayoutSpace(shape, count, min(8, count), batch, LayoutConfig.model_validate(stated))


CASES = {
    "7B on 8": (space(), H100, "bf16"),
    "7B on 16 A100": (space(count=16, batch=128), A100, "bf16"),
    "70B on 64": (space(LLAMA70, 64, 256), H100, "bf16"),
    "70B in fp8, no recomputation": (space(LLAMA70, 64, 256, recompute="none"), H100, "fp8"),
    "Mixtral on 32": (space(MIXTRAL, 32, 128), H100, "bf16"),
    "7B on TPUs": (space(count=16), accelerator("TPUv5p"), "bf16"),
    "7B, stated in part": (space(tp=2, micro_batch=1, zero_stage=1), H100, "bf16"),
}
EVERY = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@EVERY
def test_the_best_are_those_of_trying_every_layout(case):
    """All candidates that fit, with the full model: the search only saves itself work that can't matter.

    Once it looked only at those near the best, so that a long list missed layouts.
    """
    where, part, precision = case
    columns = candidate_layouts(where)
    steps = steps_of(where, columns, part, precision)
    needed = memory(steps)
    seconds = np.where(needed.fits(), MODEL.predict(steps).total_s, np.inf)
    found = fastest_layouts(where, part, precision, top=200)
    expected = np.sort(seconds[np.isfinite(seconds)])[:200]
    np.testing.assert_allclose([one.step_time_s for one in found], expected, rtol=1e-12)
    best = int(np.argmin(seconds))
    assert found[0].layout == layout_at(columns, best)
    assert found[0].device_gib == pytest.approx(float(needed.device_gib[best]))


@EVERY
def test_what_is_found_fits_and_is_possible(case):
    where, part, precision = case
    found = fastest_layouts(where, part, precision, top=20)
    times = [one.step_time_s for one in found]
    assert times == sorted(times)
    assert len({one.layout for one in found}) == len(found)
    for one in found:
        assert one.verdict == "fits"
        assert 0 < one.device_gib < part.memory_bytes / 2**30
        assert (one.layout.devices, one.layout.global_batch) == (where.count, where.global_batch)
        assert not problems(where.architecture, one.layout, where.count, where.global_batch)


def test_searches_are_the_same_again():
    assert fastest_layouts(*CASES["Mixtral on 32"]) == fastest_layouts(*CASES["Mixtral on 32"])


@pytest.mark.parametrize("top", [1, 3, 1000])
def test_as_many_as_asked_for(top):
    found = fastest_layouts(space(), H100, "bf16", top=top)
    assert found[:1] == fastest_layouts(space(), H100, "bf16")[:1]
    steps = steps_of(space(), candidate_layouts(space()), H100, "bf16")
    assert len(found) == min(top, int(np.sum(memory(steps).fits())))


def test_what_is_stated_is_kept():
    stated = {"tp": 4, "pp": 2, "zero_stage": 1, "recompute": "full", "micro_batch": 2}
    found = fastest_layouts(space(LLAMA70, 64, 256, **stated), H100, "bf16")
    assert found
    for one in found:
        assert {name: getattr(one.layout, name) for name in stated} == stated


def test_software_is_that_of_the_weights_unless_stated():
    megatron, fsdp, xla = (FRAMEWORKS.index(name) for name in ("megatron", "fsdp", "xla"))
    stages = np.array([0, 1, 2, 3])
    assert default_framework(H100, stages).tolist() == [megatron, megatron, megatron, fsdp]
    assert default_framework(accelerator("TPUv5e"), stages).tolist() == [xla] * 4
    assert {one.framework for one in fastest_layouts(space(), H100, "bf16", framework="deepspeed")} == {"deepspeed"}
    for one in fastest_layouts(space(), H100, "bf16", top=200):
        assert one.framework == ("fsdp" if one.layout.zero_stage == 3 else "megatron")


def test_a_calibrated_model_is_used():
    plain = fastest_layouts(space(), H100, "bf16")
    slower = fastest_layouts(space(), H100, "bf16", fitted=replace(MODEL, offset=MODEL.offset + np.log(2)))
    assert [one.layout for one in slower] == [one.layout for one in plain]
    assert slower[0].step_time_s == pytest.approx(2 * plain[0].step_time_s)


@pytest.mark.parametrize(
    ("where", "part"),
    [
        (space(LLAMA7, 64, 512), A100),
        (space(LLAMA7, 64, 512), H100),
        (space(LLAMA70, 128, 512), A100),
        (space(LLAMA70, 128, 512), H100),
    ],
    ids=["7B A100", "7B H100", "70B A100", "70B H100"],
)
def test_utilisation_of_the_best_is_in_the_published_range(where, part):
    """MFU of 20 to 65 %, the range of what was published; a little more where a layout is the best of thousands."""
    best = fastest_layouts(where, part, "bf16")[0]
    flops = where.global_batch * where.architecture.context_length * where.architecture.training_flops_per_token()
    assert 0.3 < flops / (best.step_time_s * where.count * part.peak_flops("bf16")) < 0.68


# where nothing fits


def test_too_few_devices_name_a_number_that_does():
    with pytest.raises(InfeasibleError, match=r"^memory: .*8 × H100-SXM-80.* GiB per device of") as caught:
        fastest_layouts(space(LLAMA70, 8, 256), H100, "bf16")
    count = int(re.search(r"hardware\.count=(\d+)", str(caught.value))[1])
    assert count > 8
    assert fastest_layouts(space(LLAMA70, count, 256), H100, "bf16")


def advised(where, part, precision="bf16"):
    """The changes that are offered where nothing fits, as pairs of key and value."""
    with pytest.raises(InfeasibleError, match="smallest change that fits: ") as caught:
        fastest_layouts(where, part, precision)
    offered = str(caught.value).partition("smallest change that fits: ")[2].split(" or ")
    pairs = r"(hardware\.count|layout\.\w+)=(\[[^\]]*\]|\w+)"
    found = [{key: yaml_value(value) for key, value in re.findall(pairs, one)} for one in offered]
    assert all(found), str(caught.value)
    return found


def yaml_value(text):
    if text.startswith("["):
        return tuple(text[1:-1].split(", "))
    return int(text) if text.isdigit() else {"true": True, "false": False}.get(text, text)


def changed(where, change):
    """The same space with the change."""
    count = change.get("hardware.count", where.count)
    stated = {key.removeprefix("layout."): value for key, value in change.items() if key.startswith("layout.")}
    stated = where.stated.model_copy(update=stated)
    return replace(where, count=count, per_node=min(count, 8), stated=LayoutConfig.model_validate(dict(stated)))


@pytest.mark.parametrize(
    ("count", "stated", "keys"),
    [
        (8, {}, [{"layout.offload"}, {"hardware.count"}]),
        (1, {}, [{"hardware.count"}]),
        (64, {"tp": 8, "pp": 1, "cp": 1, "zero_stage": 1, "recompute": "none", "micro_batch": 8}, None),
        (64, {"tp": 8, "pp": 1, "cp": 1, "zero_stage": 0, "recompute": "none", "micro_batch": 1}, None),
        (64, {"tp": 1, "pp": 1, "dp": 64, "cp": 1, "zero_stage": 1}, None),
        (16, {"recompute": "none", "zero_stage": 1}, None),
        (16, {"zero_stage": 0, "micro_batch": 4}, None),
        (8, {"tp": 1, "pp": 1, "zero_stage": 0, "recompute": "none"}, None),
        (8, {"tp": 8, "pp": 1, "dp": 1, "cp": 1}, None),
    ],
    ids=str,
)
def test_every_change_that_is_offered_makes_it_fit(count, stated, keys):
    where = space(LLAMA70, count, 64, **stated)
    found = advised(where, H100)
    assert keys is None or [set(change) for change in found] == keys
    for change in found:
        assert fastest_layouts(changed(where, change), H100, "bf16", top=1)[0].verdict == "fits", change


def test_where_none_surely_fits_the_likeliest_come_first():
    """Less chance than is asked for is no reason to refuse what may run, but the fastest is the least likely."""
    where = space(LLAMA7, 8, 1024, tp=1, pp=1, micro_batch=16, recompute="none")
    found = fastest_layouts(where, A100, "bf16", top=20)
    assert {one.verdict for one in found} == {"tight"}
    assert [one.p_fit for one in found] == sorted((one.p_fit for one in found), reverse=True)
    assert found[0] == fastest_layouts(where, A100, "bf16", top=1)[0]


def test_a_model_beyond_any_number_of_devices_is_explained():
    huge = LLAMA70.model_copy(update={"layers": 1, "width": 262_144, "heads": 2048, "ffn_width": 4_000_000})
    with pytest.raises(InfeasibleError, match=r"smallest change that fits: none found; expected .* a smaller model"):
        fastest_layouts(space(huge, 1, 1), accelerator("T4"), "fp16")


def test_an_impossible_split_is_explained():
    with pytest.raises(InfeasibleError, match="no layout is possible for 13 devices"):
        fastest_layouts(space(count=13, batch=64), H100, "bf16")


def test_what_the_accelerator_lacks_is_named():
    own = Accelerator.model_validate(
        {"name": "mine", "peak_tflops": {"bf16": 300}, "hbm_gib": 80, "hbm_gb_per_s": 2000, "per_node": 8}
    )
    with pytest.raises(ConfigError, match="mine has no intra_node_gb_per_s"):
        fastest_layouts(space(), own, "bf16")


def test_looking_at_the_fastest_alone_finds_what_looking_at_all_finds():
    """Of each layout the least recomputation first; the answer is the same to the last bit, or there is none."""
    told = 0
    for where, part, precision in CASES.values():
        columns = candidate_layouts(where)
        steps = steps_of(where, columns, part, precision)
        for top in (1, 10, 200):
            near = search._fastest_of_near(columns, steps, where.fit_chance, MODEL, top)
            every = search._Candidates.of(columns, steps, where.fit_chance)
            if near is not None:
                told += 1
                assert near == search._fastest(every, every.memory.fits(where.fit_chance), MODEL, top)
    assert told >= 4
