"""Families of shapes: near the size that is asked for, near the base's proportions, splittable."""

import math

import pytest
from foretrain import Architecture
from foretrain.core.errors import InputError
from foretrain.core.model.shape_family import USUAL, family_shape, params_range, sized_shape
from hypothesis import example, given, settings
from hypothesis import strategies as st

LLAMA = Architecture(layers=32, width=4096, heads=32, ffn_width=11008, vocab_size=32000, context_length=4096)
GROUPED = Architecture(
    layers=80, width=8192, heads=64, kv_heads=8, ffn_width=28672, vocab_size=32000, context_length=4096
)
EXPERTS = LLAMA.model_copy(update={"num_experts": 8, "experts_per_token": 2, "kv_heads": 8, "ffn_width": 14336})
GEMMA = Architecture(
    layers=28, width=3072, heads=16, head_width=256, ffn_width=24576, vocab_size=256000, context_length=8192
)
BASES = {"llama": LLAMA, "grouped": GROUPED, "experts": EXPERTS, "wide heads": GEMMA}


@settings(deadline=None, max_examples=60)
@given(base=st.sampled_from(sorted(BASES)), decades=st.floats(-1.2, 1.8))
@example(base="llama", decades=-0.163)  # between numbers of heads
@example(base="experts", decades=-1.065)
@example(base="wide heads", decades=0.673)
def test_size_is_near_and_proportions_stay(base, decades):
    base = BASES[base]
    params = base.params_total * 10**decades
    shape = family_shape(base, params)
    assert abs(math.log(shape.params_total / params)) < 0.12
    assert 1 / 1.5 < shape.width / shape.layers * base.layers / base.width < 1.6
    assert shape.vocab_size == base.vocab_size
    assert shape.num_experts == base.num_experts
    assert shape.attention_widths == base.attention_widths
    assert shape.heads < 24 or shape.heads % 4 == 0


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_its_own_size_gives_the_base_itself(base):
    assert family_shape(base, base.params_total) == base


def test_llama_13b_comes_out_as_it_was_published():
    """arXiv:2302.13971, table 2: 40 layers of width 5,120 with 40 heads."""
    shape = family_shape(LLAMA, 13.0e9)
    assert (shape.layers, shape.width, shape.heads, shape.ffn_width) == (40, 5120, 40, 13824)


def test_sizes_beyond_the_family_are_refused():
    low, high = params_range(LLAMA)
    for params in (low / 2, high * 2):
        with pytest.raises(InputError, match="expected from"):
            family_shape(LLAMA, params)


@settings(deadline=None, max_examples=100)
@given(st.floats(8, math.log10(4e11)))
@example(math.log10(1.5e9))
def test_a_size_that_is_asked_for_is_met(decades):
    shape = sized_shape(USUAL, 10**decades)
    assert abs(shape.params_total / 10**decades - 1) < 0.02
    assert 1.8 < shape.ffn_width / shape.width < 3.4
    assert Architecture.model_validate(shape.model_dump()) == shape
