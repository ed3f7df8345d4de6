"""MLP-Mixer: triangles kept as rows one after the other are those of the formula, of the context and no more."""

import numpy as np
import pytest
import torch
from foretrain.core.errors import ConfigError, UsageError
from foretrain.proxies.engine._buffers import WeightLayout
from foretrain.proxies.models.mlp_mixer import MlpMixer
from foretrain.proxies.sampling.sampling import sample
from foretrain.proxies.sampling.settings import SamplingSettings
from foretrain.testing._model_shapes import away_from_start, shape_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.testing import assert_close

pytestmark = pytest.mark.usefixtures("one_thread")


def model_of(length, width=8):
    return MlpMixer(shape_of("plain", mixer="mlp_mixer", context_length=length, width=width))


def layer_of(model, copies=2):
    """The weights of the first layer, in fp64, away from their start."""
    weights = WeightLayout(model).split(away_from_start(model, list(range(copies))).double())
    return {name[2:]: weight for name, weight in weights.items() if name.startswith("0.")}


@settings(max_examples=30, deadline=None)
@given(context=st.integers(1, 23), cut=st.integers(0, 22), seed=st.integers(0, 99))
def test_mixing_is_the_formula(context, cut, seed):
    """Place by place, copy by copy, with weights read from the rows, for sequences up to the context."""
    model, length = model_of(context), max(1, context - cut)
    weights = layer_of(model)
    inputs = torch.randn(2, 3, length, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = model.mix(weights, inputs, model.shared_by_layers({"norm": weights["norm_1"]}, length))
    for copy in range(2):
        first, second = (
            torch.stack([_row(weights[name][copy], place, length) for place in range(length)])
            for name in ("tokens_in", "tokens_out")
        )
        for batch in range(3):
            expected = second @ functional.gelu(first @ inputs[copy, batch]) @ weights["out"][copy]
            assert_close(found[copy, batch], expected, rtol=1e-12, atol=1e-12)


def _row(triangle, place, length):
    start = sum(range(1, place + 1))
    return functional.pad(triangle[start : start + place + 1], (0, length - place - 1))


def test_at_the_start_a_layer_sums_the_newest_places():
    """Three in one triangle, two in the other, so that four are seen; the rest is noise."""
    model = model_of(40)
    start = {weight.name: weight.start for weight in model.mixer_weights()}
    for name, places in {"tokens_in": 3, "tokens_out": 2}.items():
        for place in (0, 1, 2, 39):
            row = _row(start[name], place, 40)
            assert row.nonzero().flatten().tolist() == list(range(max(0, place - places + 1), place + 1))


def test_learning_rates_of_triangles_follow_the_context_not_the_width():
    for width in (8, 64):
        model = model_of(32, width)
        scales = {weight.name: model.learning_rate_scale(weight) for weight in model.mixer_weights()}
        assert scales == {"tokens_in": 2.0, "tokens_out": 2.0, "out": 64 / width}


def test_a_sequence_longer_than_the_context_is_refused():
    model = model_of(12)
    weights = WeightLayout(model).split(WeightLayout(model).initial([1]))
    message = "got a sequence of 13; mlp_mixer has weights for 12 places"
    with pytest.raises(ConfigError, match=message):
        model.logits(weights, torch.zeros(1, 2, 13, dtype=torch.int64))
    with pytest.raises(ConfigError, match=message):
        model.start(weights, 1, 2, 13)
    first = np.zeros((1, 2), int)
    assert sample(model, weights, first, 13, SamplingSettings(), [1]).shape == (1, 2, 13)
    with pytest.raises(UsageError, match="expected 1 to 13: the context of 12"):
        sample(model, weights, first, 14, SamplingSettings(), [1])
