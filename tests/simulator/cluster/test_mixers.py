"""What the cluster model says of mixers that aren't attention: their FLOPs, their doubt, what it can't price."""

from __future__ import annotations

import math

import pytest
from foretrain.core.errors import InfeasibleError
from foretrain.core.model.architecture import Architecture
from foretrain.core.model.mixers.registry import mixers
from foretrain.simulator.cluster.estimate import estimate
from foretrain.simulator.cluster.step_time.steps import model
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.search.serving import ServingConfig

SIZES = {"layers": 16, "width": 2048, "ffn_width": 5632, "vocab_size": 32_000, "context_length": 2048}
OTHERS = sorted(set(mixers()) - {"attention"})


def plan(mixer: str, layout: dict | None = None, **more) -> RunConfig:
    heads = {"heads": 16} if mixers()[mixer].has_heads else {}
    return RunConfig.from_mapping(
        {
            "model": {"architecture": {**SIZES, **heads, "mixer": mixer, **more}},
            "data": {"tokens": "100B"},
            "optim": {"batch_tokens": "2M"},
            "hardware": {"accelerator": "h100-sxm", "count": 64},
            **({"layout": layout} if layout else {}),
        }
    )


@pytest.mark.parametrize("mixer", OTHERS)
def test_a_mixer_is_priced_by_its_flops_with_a_doubt_that_is_stated(mixer):
    own, usual = estimate(plan(mixer)), estimate(plan("attention"))
    assert any(f"mixer {mixer}: its operators weren't measured" in note for note in own.notes)
    assert not any("mixer" in note for note in usual.notes)
    widths = [high / low for low, high in (one.step_time_s.intervals[0.9] for one in (own, usual))]
    assert widths[0] > widths[1]
    # a step takes about as much longer as it has FLOPs, within what layouts differ by
    flops = plan(mixer).training_flops / plan("attention").training_flops
    assert own.step_time_s.median / usual.step_time_s.median == pytest.approx(flops, rel=0.35)


@pytest.mark.parametrize("mixer", OTHERS)
def test_matrices_and_further_flops_add_up_to_the_mixer(mixer):
    shape = plan(mixer).model.architecture
    assert isinstance(shape, Architecture)
    one, flops = model(shape), shape.mixer.flops(shape)
    assert 2 * float(one.mixer_params[0]) == pytest.approx(flops.products)
    assert 2 * float(one.mixer_params[0]) + float(one.mixer_flops) == pytest.approx(flops.total)


@pytest.mark.parametrize(
    ("mixer", "layout", "message"),
    [
        (
            "hyena",
            {"tp": 1, "cp": 2},
            r"layout\.cp: got 2; mixer hyena over parts of a context isn't priced; expected 1",
        ),
        ("kernel_conv", {"tp": 2}, r"layout\.tp: got 2, which doesn't divide the 1 parts"),
        ("h3", {"tp": 3}, r"layout\.tp: got 3, which doesn't divide the 2048 parts that mixer h3 .*expected"),
    ],
)
def test_layouts_that_cannot_be_priced_are_refused(mixer, layout, message):
    with pytest.raises(InfeasibleError, match=message):
        estimate(plan(mixer, layout))


def test_serving_keeps_keys_and_values_or_a_state():
    serving = ServingConfig(context_tokens=8192, sequences=4)
    # 2 · layers · width · tokens numbers of 2 bytes
    assert serving.state_gib_per_sequence(plan("attention")) == 2 * 16 * 2048 * 8192 * 2 / 2**30
    grouped = plan("attention", kv_heads=4)
    assert serving.state_gib_per_sequence(grouped) == 2 * 16 * 512 * 8192 * 2 / 2**30
    assert serving.state_gib_per_sequence(plan("h3")) < 0.01
    assert serving.state_gib_per_sequence(plan("hyena")) < 0.6 * serving.state_gib_per_sequence(plan("attention"))
    weights_gib = plan("h3").model.params_total * 2 / 2**30
    kept = serving.memory_gib(plan("h3")) - weights_gib
    assert kept == pytest.approx(4 * serving.state_gib_per_sequence(plan("h3")))


@pytest.mark.parametrize("mixer", OTHERS)
def test_fused_attention_makes_no_other_mixer_faster(mixer):
    layout = {"tp": 1, "pp": 1, "dp": 64, "micro_batch": 1, "recompute": "full"}
    fused, plain = (estimate(plan(mixer, {**layout, "flash_attention": each})) for each in (True, False))
    assert fused.step_parts_s["attention"] == plain.step_parts_s["attention"] > 0


def test_doubt_grows_with_the_time_that_unmeasured_operators_take():
    def variance(mixer: str, width: int) -> float:
        shape = {**SIZES, "width": width, "ffn_width": 2 * width, "mixer": mixer}
        shape |= {"heads": width // 64} if mixer == "attention" else {}
        model_ = {"model": {"architecture": shape}, "data": {"tokens": "100B"}, "optim": {"batch_tokens": "2M"}}
        layout = {"tp": 1, "pp": 1, "dp": 8, "micro_batch": 4, "recompute": "full"}
        config = RunConfig.from_mapping(
            {**model_, "hardware": {"accelerator": "h100-sxm", "count": 8}, "layout": layout}
        )
        low, high = estimate(config).step_time_s.intervals[0.9]
        return math.log(high / low) ** 2

    # operators that move memory are more of a narrow model's step than of a wide one's
    added = [variance("hyena", width) - variance("attention", width) for width in (1024, 4096)]
    assert added[0] > added[1] > 0
