"""HyperMixer: sums by chunks are the sums of the formula, whatever the length and the chunks."""

import numpy as np
import pytest
import torch
from foretrain.core.model.architecture import Architecture
from foretrain.proxies.engine._buffers import WeightLayout
from foretrain.proxies.models import hyper_mixer
from foretrain.proxies.models.hyper_mixer import HyperMixer
from foretrain.testing._model_shapes import away_from_start
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from torch.testing import assert_close

pytestmark = pytest.mark.usefixtures("one_thread")


def model_of(head_width=4, heads=2):
    sizes = {"layers": 2, "width": head_width * heads, "ffn_width": 24, "vocab_size": 61, "context_length": 16}
    return HyperMixer(Architecture(mixer={"hyper_mixer": {"head_width": head_width}}, **sizes))


def layer_of(model, copies=2):
    """The weights of the first layer, in fp64, away from their start."""
    weights = WeightLayout(model).split(away_from_start(model, list(range(copies))).double())
    return {name[2:]: weight for name, weight in weights.items() if name.startswith("0.")}


def mixed(model, weights, inputs):
    return model.mix(weights, inputs, model.shared_by_layers({"norm": weights["norm_1"]}, inputs.shape[2]))


def random_inputs(length, width, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 2, length, width, generator=generator, dtype=torch.float64)


def direct(weights, inputs, waves, head_width):
    """What the module's formula gives for one sequence (T, D), each place summed anew, head by head."""
    width = inputs.shape[1]
    rows = (inputs + waves) @ weights["rows"]
    first, second, values = rows[:, :width], rows[:, width:], inputs @ weights["values"]
    found = np.zeros_like(inputs)
    for place in range(len(inputs)):
        for start in range(0, width, head_width):
            head = slice(start, start + head_width)
            inner = first[: place + 1, head].T @ values[: place + 1, head] / np.sqrt(place + 1)
            found[place, head] = second[place, head] @ (inner * ndtr(inner))  # x · Φ(x) is GELU
    scale = 1 / np.sqrt((found**2).mean(1, keepdims=True) + 1e-6)
    return found * scale * weights["mixed_norm"] @ weights["out"]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 37), st.integers(1, 40), st.sampled_from([(4, 2), (3, 3), (1, 5), (8, 1)]), st.integers(0, 99))
def test_sums_by_chunks_are_the_direct_ones(length, chunk, heads, seed):
    model = model_of(*heads)
    weights, inputs = layer_of(model), random_inputs(length, model.shape.width, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hyper_mixer, "_CHUNK", chunk)
        found = mixed(model, weights, inputs).numpy()
    waves = model.shared_by_layers({"norm": weights["norm_1"]}, length).numpy()
    for copy in range(2):
        own = {name: weight[copy].numpy() for name, weight in weights.items()}
        for batch in range(2):
            expected = direct(own, inputs[copy, batch].numpy(), waves, heads[0])
            np.testing.assert_allclose(found[copy, batch], expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 9))
def test_a_place_doesnt_see_what_follows(length, more, chunk):
    """Not by its sum, nor by what the sum is divided by, which counts the places up to its own."""
    model = model_of()
    weights, inputs = layer_of(model), random_inputs(length + more, 8, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hyper_mixer, "_CHUNK", chunk)
        assert_close(mixed(model, weights, inputs)[:, :, :length], mixed(model, weights, inputs[:, :, :length]))


def test_a_sequence_longer_than_the_context_is_mixed_as_any():
    """What steps keep has one size, however long the sequence."""
    model = model_of()
    assert model.shape.context_length == 16
    weights = WeightLayout(model).split(away_from_start(model, [1]).double())
    tokens = torch.randint(61, (1, 2, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = model.logits(weights, tokens)
        state = model.start(weights, 1, 2, 40)
        for at in range(40):
            assert_close(model.step(weights, state, tokens[..., at]), whole[:, :, at], rtol=1e-9, atol=1e-9)
    _, sums = state.mixers[0]
    assert sums.numel() == 2 * model.shape.mixer.kept(model.shape).of(40)
