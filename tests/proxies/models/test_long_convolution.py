"""Convolutions along whole sequences, and the filters of Hyena and H3 that go into them."""

from __future__ import annotations

import pytest
import torch
from foretrain.proxies.engine._buffers import WeightLayout
from foretrain.proxies.models import build_model
from foretrain.proxies.models._long_convolution import long_convolution, long_convolution_step
from foretrain.testing._model_shapes import away_from_start, random_tokens, scores, shape_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

sizes = st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 33), st.integers(1, 4))
both = pytest.mark.parametrize("name", ["hyena", "h3"])


def drawn(copies: int, batch: int, length: int, width: int, dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(length)
    inputs = torch.randn(copies, batch, length, width, generator=generator, dtype=torch.float64)
    filters = torch.randn(copies, length, width, generator=generator, dtype=torch.float64)
    return inputs.to(dtype), filters.to(dtype)


def direct(inputs: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """The sum as it is written."""
    found = torch.zeros_like(inputs)
    for at in range(inputs.shape[2]):
        for back in range(at + 1):
            found[:, :, at] += filters[:, None, back] * inputs[:, :, at - back]
    return found


@settings(deadline=None, max_examples=30)
@given(sizes)
def test_it_is_the_direct_sum_as_a_whole_and_step_by_step(size):
    inputs, filters = drawn(*size)
    expected = direct(inputs, filters)
    assert_close(long_convolution(inputs, filters), expected, rtol=1e-11, atol=1e-11)
    steps = [long_convolution_step(inputs, filters, at) for at in range(size[2])]
    assert_close(torch.cat(steps, 2), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_narrow_numbers_are_transformed_in_fp32_and_come_back_as_they_were(dtype, off):
    inputs, filters = drawn(2, 2, 24, 3, dtype)
    found = long_convolution(inputs, filters)
    assert found.dtype == dtype
    assert_close(found.double(), direct(inputs.double(), filters.double()), rtol=off, atol=off)


def test_gradients_are_those_of_the_sum():
    inputs, filters = (part.requires_grad_() for part in drawn(1, 2, 5, 2))
    assert torch.autograd.gradcheck(long_convolution, (inputs, filters))


@both
def test_scores_of_bf16_weights_are_near_those_of_fp32(name):
    model = build_model(name, shape_of("plain", mixer=name))
    flat, tokens = WeightLayout(model).initial([1]), random_tokens(model, 1)[..., :-1]
    flat += 0.05 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(2))
    assert_close(scores(model, flat.bfloat16(), tokens).float(), scores(model, flat, tokens), rtol=0.1, atol=0.1)


@both
def test_a_model_of_a_longer_context_than_its_sequences_gives_each_place_its_own_score(name):
    """Filters are those of the context, not of the sequence that is looked at."""
    model = build_model(name, shape_of("plain", mixer=name, context_length=40))
    flat, tokens = away_from_start(model, [1]).double(), random_tokens(model, 1)[..., :-1]
    whole = scores(model, flat, tokens)
    for length in (1, 7, 39):
        assert_close(scores(model, flat, tokens[..., :length]), whole[:, :, :length], rtol=1e-9, atol=1e-9)


@both
def test_a_new_model_mixes_at_the_size_of_its_inputs(name):
    """Whatever the context: filters start at a norm of about 1, so that neither echoes nor nothing is added."""
    for context_length in (16, 128, 512):
        model = build_model(name, shape_of("one layer", mixer=name, width=64, context_length=context_length))
        weights = WeightLayout(model).split(WeightLayout(model).initial([1, 2]))
        layer = {key.removeprefix("0."): value for key, value in weights.items() if key.startswith("0.")}
        inputs = torch.randn(2, 4, context_length, 64, generator=torch.Generator().manual_seed(0))
        added = model.mix(layer, inputs, model.shared_by_layers(weights, context_length))
        assert 0.3 < added.std().item() < 3.0
