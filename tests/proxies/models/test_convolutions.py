"""Dynamic convolution and attention over kernels against sums written out, their counts, and what they refuse."""

import pytest
import torch
from foretrain.core.model.architecture import Architecture
from foretrain.proxies.models import build_model
from foretrain.proxies.models.kernel_conv import _Convolution
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.nn import functional

pytestmark = pytest.mark.usefixtures("one_thread")

widths, taps, layers = st.integers(1, 12).map(lambda n: 4 * n), st.integers(2, 12), st.integers(1, 3)
few = settings(max_examples=25, deadline=None)


def shape(mixer, **change):
    sizes = {"layers": 1, "width": 8, "ffn_width": 8, "vocab_size": 11, "context_length": 12}
    return Architecture.model_validate({**sizes, "mixer": mixer, **change})


def mixed(model, generator):
    """What a layer's mixer makes of random inputs, (1, 2, T, D), with random weights, and these."""
    weights = {
        weight.name: torch.randn(1, *weight.shape, dtype=torch.float64, generator=generator) * 0.3
        for weight in model.mixer_weights()
    }
    size = (1, 2, model.shape.context_length, model.shape.width)
    inputs = torch.randn(size, dtype=torch.float64, generator=generator)
    return weights, inputs, model.mix(weights, inputs, None)


@few
@given(taps=taps, heads=st.sampled_from([1, 2, 4]), seed=st.integers(0, 99))
def test_dynamic_convolution_is_its_sum(taps, heads, seed):
    """Wu et al. 2019: GLU; in each head a softmax over the taps that there are, of scores from the token."""
    model = build_model("dynamic_conv", shape({"dynamic_conv": {"taps": taps}}, heads=heads))
    weights, inputs, found = mixed(model, torch.Generator().manual_seed(seed))
    first, gate = (inputs[0] @ weights["gated"][0]).chunk(2, -1)
    values = first * gate.sigmoid()
    scores = values @ weights["kernels"][0]  # (B, T, heads · taps)
    total = torch.zeros_like(values)
    size = values.shape[-1] // heads
    for at in range(values.shape[1]):
        for head in range(heads):
            there = min(taps, at + 1)
            share = scores[:, at, head * taps : head * taps + there].softmax(-1)
            channels = slice(head * size, (head + 1) * size)
            for back in range(there):
                total[:, at, channels] += share[:, back, None] * values[:, at - back, channels]
    torch.testing.assert_close(found[0], total @ weights["out"][0], rtol=1e-9, atol=1e-12)


@few
@given(taps=taps, kernels=st.integers(2, 5), seed=st.integers(0, 99))
def test_kernel_convolution_is_its_sum(taps, kernels, seed):
    """Chen et al. 2020: kernels mixed by a softmax over a narrow layer of the mean, here of the inputs so far."""
    model = build_model("kernel_conv", shape({"kernel_conv": {"taps": taps, "kernels": kernels}}))
    weights, inputs, found = mixed(model, torch.Generator().manual_seed(seed))
    values, gate = (inputs[0] @ weights["projections"][0]).chunk(2, -1)
    total = torch.zeros_like(values)
    for at in range(values.shape[1]):
        mean = inputs[0, :, : at + 1].mean(1)
        share = ((mean @ weights["squeeze"][0]).relu() @ weights["choose"][0]).softmax(-1)  # (B, kernels)
        for back in range(min(taps, at + 1)):
            total[:, at] += (share @ weights["kernels"][0, back]) * values[:, at - back]
    torch.testing.assert_close(found[0], (total * functional.silu(gate)) @ weights["out"][0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("length", [1, 3, 9])
def test_the_written_gradient_is_that_of_differences(length):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn((2, 1, length, 3), dtype=torch.float64, generator=generator).requires_grad_()
    kernels = torch.randn((2, 4, 1, length, 3), dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(_Convolution.apply, (values, kernels))


@few
@given(width=widths, taps=taps, layers=layers, heads=st.sampled_from([1, 2, 4]))
def test_counts_of_dynamic_convolution(width, taps, layers, heads):
    """3D² + D·heads·taps parameters; 2 FLOPs for each, and 2 a tap and channel."""
    made = shape({"dynamic_conv": {"taps": taps}}, width=width, layers=layers, heads=heads)
    counted = made.mixer.weights(made)
    assert counted == (3 * width**2 + width * heads * taps, 0)
    assert made.mixer.flops(made).total == 2 * sum(counted) + 2 * width * taps
    assert made.mixer.kept(made).of(1_000) == (taps - 1) * width
    assert sum(weight.size for weight in build_model("dynamic_conv", made).weights) == made.params_total


@few
@given(width=widths, taps=taps, layers=layers, kernels=st.integers(2, 9))
def test_counts_of_kernel_convolution(width, taps, layers, kernels):
    """3¼D² + D·kernels·(taps + ¼) parameters; 2 FLOPs for each, and 2 a tap and channel."""
    made = shape({"kernel_conv": {"taps": taps, "kernels": kernels}}, width=width, layers=layers)
    counted = made.mixer.weights(made)
    assert counted == (3.25 * width**2 + kernels * width / 4, kernels * taps * width)
    assert made.mixer.flops(made).total == 2 * sum(counted) + 2 * width * taps
    assert made.mixer.kept(made).of(1_000) == taps * width
    assert sum(weight.size for weight in build_model("kernel_conv", made).weights) == made.params_total


@pytest.mark.parametrize(
    ("mixer", "change", "message"),
    [
        ({"dynamic_conv": {"taps": 13}}, {}, r"got 13; expected at most context_length 12"),
        ({"kernel_conv": {"taps": 13}}, {}, r"got 13; expected at most context_length 12"),
        ({"dynamic_conv": {"taps": 12}}, {"heads": 3}, r"got 3; expected a divisor of width 8|got 3, which doesn't"),
        ({"dynamic_conv": {"taps": 1}}, {}, r"taps"),
        ({"kernel_conv": {"kernels": 1}}, {}, r"kernels"),
        ({"kernel_conv": {"taps": 8}}, {"heads": 2}, r"got 2; mixer kernel_conv has none"),
        ({"dynamic_conv": {"kernels": 4}}, {}, r"kernels"),
        ({"kernel_conv": {"taps": 4}}, {"kv_heads": 1}, r"attention alone has it"),
    ],
)
def test_settings_that_make_no_model_are_refused(mixer, change, message):
    with pytest.raises(ValidationError, match=message):
        shape(mixer, **change)
