"""What is published of a mixer stands in for levels that a predictor's runs don't have."""

from __future__ import annotations

import pytest
from foretrain import forecast
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.predictor.storage.folder import load

SIZES = {"layers": 12, "width": 768, "ffn_width": 2048, "vocab_size": 32_000, "context_length": 1024}


def plan(mixer: str, layers: int = 12) -> RunConfig:
    heads = {"heads": 12} if mixer in ("attention", "dynamic_conv") else {}
    return RunConfig.from_mapping(
        {"model": {"architecture": {**SIZES, **heads, "layers": layers, "mixer": mixer}}, "data": {"tokens": "20B"}}
    )


def effect(mixer: str, layers: int = 12) -> tuple[float, float, float]:
    found = forecast(plan(mixer, layers), load("web-text")).adjustments
    (one,) = [effect for effect in found if effect.name == "architecture"]
    return one.percent()


def test_attention_has_no_effect():
    assert not [one for one in forecast(plan("attention"), load("web-text")).adjustments if one.name == "architecture"]


def test_a_paper_moves_the_forecast_and_leaves_it_undecided():
    middle, low, high = effect("hyena")
    assert low < middle < 0 < high


@pytest.mark.parametrize("mixer", ["dynamic_conv", "mlp_mixer"])
def test_what_nobody_compared_is_wide_about_nothing(mixer):
    middle, low, high = effect(mixer)
    assert middle == 0.0
    assert high - low > effect("hyena")[2] - effect("hyena")[1]


def test_the_doubt_grows_beyond_the_models_compared():
    # relative to what a token is worth there, which falls with size: the ratio of sd to shift
    def doubt(layers):
        middle, low, high = effect("hyena", layers)
        return (high - low) / abs(middle)

    assert doubt(600) > doubt(12)


def test_a_law_with_levels_reads_it_itself():
    found = forecast(plan("hyena"), load("proxy-architectures"))
    assert not [one for one in found.adjustments if one.name == "architecture"]
    (strategy,) = found.strategies
    assert strategy.level == "hyena"
    assert strategy.verdict == "undecided"
