"""What papers compared at sizes beyond proxies is part of what a mixer is worth to a predictor without its level."""

from __future__ import annotations

import numpy as np
import pytest
from foretrain import forecast
from foretrain.datasets.facts.architectures import COMPARED
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.adjustments.architecture import _averaged
from foretrain.simulator.predictor.storage.folder import load

SIZES = {"layers": 12, "width": 768, "ffn_width": 2048, "vocab_size": 32_000, "context_length": 1024}


def plan(mixer: str, layers: int = 12) -> RunConfig:
    heads = {"heads": 12} if mixer in ("attention", "dynamic_conv") else {}
    return RunConfig.from_mapping(
        {"model": {"architecture": {**SIZES, **heads, "layers": layers, "mixer": mixer}}, "data": {"tokens": "20B"}}
    )


def effects(mixer: str) -> list:
    return [one for one in forecast(plan(mixer), load("web-text")).adjustments if one.name == "architecture"]


def test_attention_has_no_effect():
    assert effects("attention") == []


def test_a_paper_narrows_what_proxies_leave_open_and_is_named():
    (compared,), (other,) = effects("hyena"), effects("dynamic_conv")
    assert set(COMPARED["hyena"].sources) <= set(compared.sources)
    assert not set(other.sources) & {source for one in COMPARED.values() for source in one.sources}
    assert compared.sd[0] < other.sd[0]


def test_the_doubt_grows_beyond_the_models_compared():
    saved, sd = COMPARED["h3"].tokens_saved([1e7, 125e6, 1.25e9, 12.5e9])
    assert np.ptp(saved) == 0
    assert sd[0] == sd[1] < sd[2] < sd[3]


<<<<<<< HEAD
@pytest.mark.parametrize(("sds", "middle"), [((1.0, 1.0), 0.5), ((0.1, 10.0), 0.0), ((10.0, 0.1), 1.0)])
def test_two_estimates_are_weighted_by_precision(sds, middle):
    mean, sd = _averaged((np.zeros(1), np.array([sds[0]])), (np.ones(1), np.array([sds[1]])))
    assert mean[0] == pytest.approx(middle, abs=1e-3)
    assert sd[0] < min(sds)
=======
def test_a_law_with_levels_reads_it_itself():
    found = forecast(plan("hyena"), load("proxy-architectures"))
    assert not [one for one in found.adjustments if one.name == "architecture"]
    (strategy,) = found.strategies
    assert strategy.level == "hyena"
    assert strategy.verdict == "undecided"
>>>>>>> dc402de48b193f34f90b60c48b9282cc707838c8
