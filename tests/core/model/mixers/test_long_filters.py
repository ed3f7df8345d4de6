"""Counts of the mixers whose filters are as long as the context: Hyena and H3."""

from __future__ import annotations

import math

import pytest
from foretrain.core.model.architecture import Architecture
from foretrain.core.model.mixers.members.h3 import H3
from foretrain.core.model.mixers.members.hyena import Hyena
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

widths, contexts = st.integers(1, 4096), st.integers(64, 65_536)
SETTINGS = {
    Hyena: {"filter_width": st.integers(1, 128), "filter_bands": st.integers(1, 32), "taps": st.integers(1, 64)},
    H3: {"taps": st.integers(1, 64), "states": st.integers(1, 64)},
}
mixers = st.one_of([st.builds(kind, **settings) for kind, settings in SETTINGS.items()])
both = pytest.mark.parametrize("kind", SETTINGS)


def shape(mixer, width=64, context_length=128, **more) -> Architecture:
    sizes = {"layers": 1, "ffn_width": 64, "vocab_size": 256}
    return Architecture(mixer=mixer, width=width, context_length=context_length, **{**sizes, **more})


@given(mixers, widths, contexts)
def test_four_square_matrices_of_which_each_token_pays_two_flops_a_weight(mixer, width, context_length):
    """Whatever else a layer holds grows with its width, not with its square; and what it holds isn't the context's."""
    found = shape(mixer, width, context_length)
    assert mixer.flops(found).products == 8 * width**2
    rest = mixer.weights(found).matrices - 4 * width**2
    twice = mixer.weights(shape(mixer, 2 * width, context_length)).matrices - 16 * width**2
    if isinstance(mixer, H3):
        assert rest == twice == 0
    else:
        assert twice - rest == mixer.filter_width * width
    assert mixer.weights(shape(mixer, width, 2 * context_length)) == mixer.weights(found)


@given(st.builds(Hyena, **SETTINGS[Hyena]), widths, contexts)
def test_the_network_of_filters_costs_each_place_two_flops_a_weight(mixer, width, context_length):
    """Of a batch it is next to nothing, so it stands apart from what a token costs."""
    found = shape(mixer, width, context_length)
    flops = mixer.flops(found)
    assert flops.shared == 2 * (mixer.weights(found).matrices - 4 * width**2)
    assert flops.total == flops.products + flops.other


@given(mixers, widths, contexts)
def test_twice_the_context_costs_ten_flops_a_channel_more(mixer, width, context_length):
    """Two real transforms of twice the context: half of 5·n·log2(n), which FFTW's benchmark counts of a complex one."""
    once, twice = (mixer.flops(shape(mixer, width, length)).other for length in (context_length, 2 * context_length))
    assert math.isclose(twice - once, 10 * width, rel_tol=1e-6)


@given(st.builds(Hyena, **SETTINGS[Hyena]), contexts)
def test_generating_with_hyena_keeps_a_number_a_channel_of_every_token(mixer, context_length):
    kept = mixer.kept(shape(mixer, 32, context_length))
    assert kept.per_token == 32
    assert kept.fixed == 3 * (mixer.taps - 1) * 32


@given(st.builds(H3, **SETTINGS[H3]), contexts)
def test_generating_with_h3_keeps_the_same_of_any_text(mixer, context_length):
    kept = mixer.kept(shape(mixer, 32, context_length))
    assert kept.of(1) == kept.of(1e9) == 32 * (mixer.taps - 1 + 2 * mixer.states)


@both
def test_a_kernel_longer_than_the_context_is_refused(kind):
    shape(kind(taps=16), context_length=16)
    with pytest.raises(ValidationError, match=r"taps: got 17; expected at most context_length 16"):
        shape(kind(taps=17), context_length=16)


@both
@pytest.mark.parametrize("taps", [0, -1, 2.5, True, "three", 1e9])
def test_taps_that_cannot_be_are_refused(kind, taps):
    with pytest.raises(ValidationError, match="taps"):
        kind(taps=taps)


@pytest.mark.parametrize(("mixer", "key"), [("hyena", "states"), ("h3", "filter_width")])
def test_the_settings_of_another_mixer_are_refused(mixer, key):
    with pytest.raises(ValidationError, match=key):
        shape({mixer: {key: 8}})


@both
def test_heads_are_refused(kind):
    with pytest.raises(ValidationError, match="heads"):
        shape(kind(), heads=2)
