"""What a mixer keeps of a sequence to generate with: keys and values of attention exactly, nothing that shrinks."""

from __future__ import annotations

import pytest
from foretrain.core.model.architecture import Architecture
from foretrain.core.model.mixers.registry import mixers
from hypothesis import given
from hypothesis import strategies as st

SIZES = {"layers": 2, "ffn_width": 64, "vocab_size": 64, "context_length": 64}
TOKENS = st.integers(0, 10**6)


@pytest.mark.parametrize("mixer", sorted(mixers()))
@given(first=TOKENS, more=TOKENS, width=st.integers(1, 8))
def test_more_tokens_never_keep_less(mixer, first, more, width):
    heads = {"heads": 2} if mixers()[mixer].has_heads else {}
    shape = Architecture.model_validate({**SIZES, "width": 16 * width, "mixer": mixer, **heads})
    kept = shape.mixer.kept(shape)
    assert 0 <= kept.of(first) <= kept.of(first + more)
    assert kept.of(first + 1) - kept.of(first) == pytest.approx(kept.per_token, abs=1e-6)


@given(kv_heads=st.integers(1, 8), groups=st.integers(1, 4), head_width=st.integers(1, 32), tokens=TOKENS)
def test_attention_keeps_a_key_and_a_value_of_each_head_and_token(kv_heads, groups, head_width, tokens):
    heads = {"heads": kv_heads * groups, "kv_heads": kv_heads, "head_width": head_width}
    shape = Architecture.model_validate({**SIZES, "width": 64, **heads})
    assert shape.mixer.kept(shape).of(tokens) == 2 * kv_heads * head_width * tokens
