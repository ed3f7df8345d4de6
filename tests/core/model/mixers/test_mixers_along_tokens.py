"""Counts of the mixers that are networks along the sequence: MLP-Mixer and HyperMixer, against sums over places."""

import pytest
from foretrain.core.model.architecture import Architecture
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

LENGTHS, WIDTHS = st.integers(1, 200), st.integers(1, 200)


def shape_of(mixer, width=32, length=16, **more):
    sizes = {"layers": 2, "width": width, "ffn_width": 48, "vocab_size": 61, "context_length": length}
    return Architecture(mixer=mixer, **{**sizes, **more})


def without_mixer(shape):
    """Parameters of everything else: two tables, and in each layer a gated feed-forward and two norms."""
    layer = 3 * shape.width * shape.ffn_width + 2 * shape.width
    return 2 * shape.vocab_size * shape.width + shape.layers * layer + shape.width


@given(LENGTHS, WIDTHS)
def test_an_mlp_mixer_has_two_triangles_and_a_matrix(length, width):
    shape = shape_of("mlp_mixer", width, length)
    triangle = sum(range(1, length + 1))  # as many weights in a row as there are places up to its own
    assert shape.params_total == without_mixer(shape) + 2 * (2 * triangle + width**2)
    # the mean over places: 2 FLOPs for each weight of a row, in each channel
    rows = sum(2 * 2 * width * place for place in range(1, length + 1)) / length
    flops = shape.mixer.flops(shape)
    assert flops.total == pytest.approx(rows + 2 * width**2)
    assert flops.total + flops.masked == pytest.approx(2 * 2 * width * length + 2 * width**2)  # of whole squares


@given(LENGTHS, st.integers(1, 12), st.integers(1, 12))
def test_a_hyper_mixer_costs_the_same_at_every_place(length, heads, head_width):
    width = heads * head_width
    shape = shape_of({"hyper_mixer": {"head_width": head_width}}, width, length)
    # both matrices' rows, values, the last projection; a gain
    assert shape.params_total == without_mixer(shape) + 2 * (4 * width**2 + width)
    state = heads * head_width**2
    outer, total, read = state, state, 2 * state
    assert shape.mixer.flops(shape).total == 2 * 4 * width**2 + outer + total + read
    assert shape.mixer.kept(shape).of(length) == state


@given(LENGTHS, WIDTHS, st.integers(0, 200))
def test_an_mlp_mixer_keeps_two_numbers_of_each_channel_and_token(length, width, tokens):
    shape = shape_of("mlp_mixer", width, length)
    assert shape.mixer.kept(shape).of(tokens) == 2 * width * tokens


def test_only_the_mlp_mixer_is_bound_to_its_context():
    assert not shape_of("mlp_mixer").mixer.any_context
    assert shape_of("hyper_mixer").mixer.any_context


@pytest.mark.parametrize(
    ("mixer", "more", "message"),
    [
        ({"hyper_mixer": {"head_width": 12}}, {}, "head_width: got 12; expected a divisor of width 32"),
        ({"hyper_mixer": {"head_width": 0}}, {}, "head_width: got 0; expected a number of at least 1"),
        ({"hyper_mixer": {"taps": 4}}, {}, "taps"),
        ({"mlp_mixer": {"head_width": 8}}, {}, "head_width"),
        ("mlp_mixer", {"heads": 4}, "got 4; mixer mlp_mixer has none: expected it left out"),
        ("hyper_mixer", {"heads": 4}, "got 4; mixer hyper_mixer has none: expected it left out"),
        ("hyper_mixer", {"kv_heads": 1}, "got 1 with mixer hyper_mixer; attention alone has it"),
        ("mlp_mixer", {"rotary_positions": True}, "got True with mixer mlp_mixer; attention alone has it"),
    ],
)
def test_settings_that_they_dont_have_are_refused(mixer, more, message):
    with pytest.raises(ValidationError, match=message):
        shape_of(mixer, **more)
