"""Green lists: a share γ, a function of key, context and token, and of nothing else; keys stay secret."""

import numpy as np
import pytest
from foretrain.core.errors import UsageError
from foretrain.datasets.watermark.green import Watermark
from pydantic import ValidationError

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"


def contexts_and_tokens(count: int, length: int = 3, vocab_size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, vocab_size, (count, length)), rng.integers(0, vocab_size, count)


@pytest.mark.parametrize(("gamma", "context", "vocab_size"), [(0.5, 3, 256), (0.25, 5, 1000), (0.9, 3, 256)])
def test_a_share_gamma_is_green_and_all_ways_to_ask_agree(gamma, context, vocab_size):
    mark = Watermark(key=KEY, gamma=gamma, delta=1.5, context=context, vocab_size=vocab_size)
    contexts, tokens = contexts_and_tokens(400, context, vocab_size)
    bias = mark.bias(contexts, vocab_size)
    assert bias.dtype == np.float32
    assert set(np.unique(bias).tolist()) == {0.0, 1.5}
    assert abs((bias > 0).mean() - gamma) < 5 * np.sqrt(gamma * (1 - gamma) / bias.size)
    of_lists = (bias > 0).sum(axis=1)  # binomial, as the detector takes it to be
    assert of_lists.var() == pytest.approx(vocab_size * gamma * (1 - gamma), rel=0.35)
    green = mark.green(contexts, tokens)
    assert np.array_equal(green, bias[np.arange(len(tokens)), tokens] > 0)
    text = np.concatenate([contexts, tokens[:, None]], axis=1)
    assert np.array_equal(mark.is_green(mark.hashes(text))[:, 0], green)
    assert np.array_equal(mark.green(contexts.astype("<u2"), tokens.astype("<u2")), green)
    assert mark.hashes(text[0, :context]).shape == (0,)


def test_each_place_of_the_context_the_token_and_the_key_count():
    contexts, tokens = contexts_and_tokens(4000)
    green = Watermark(key=KEY).green(contexts, tokens)
    others = [Watermark(key=OTHER).green(contexts, tokens), Watermark(key=KEY).green(contexts, tokens ^ 1)]
    for place in range(3):
        changed = contexts.copy()
        changed[:, place] ^= 1
        others.append(Watermark(key=KEY).green(changed, tokens))
    others.append(Watermark(key=KEY).green(contexts[:, ::-1], tokens))
    for other in others:  # agreeing as often as independent coins do
        assert abs((green == other).mean() - 0.5) < 5 * 0.5 / np.sqrt(len(green))


def test_a_key_is_never_shown_but_tells_settings_apart():
    mark = Watermark(key=KEY)
    for text in (repr(mark), str(mark), str(mark.model_dump()), mark.model_dump_json(), mark.fingerprint):
        assert KEY not in text
    assert mark.model_dump_json() == Watermark(key=KEY).model_dump_json() != Watermark(key=OTHER).model_dump_json()
    with pytest.raises(ValidationError, match="fingerprint of a key"):
        Watermark.model_validate_json(mark.model_dump_json())
    with pytest.raises(ValidationError) as caught:
        Watermark.model_validate({"key": KEY, "colour": "green"})
    assert KEY not in str(caught.value)
    assert Watermark.model_validate(mark.model_dump()) == mark


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"key": "guess"}, "5 characters; expected 16"),
        ({"context": 1}, "expected 3 tokens or more: a text has few different ones of 2"),
        ({"context": 2}, "expected 3 tokens or more"),
        ({"gamma": 1}, "less than 1"),
        ({"delta": 0}, "greater than 0"),
        ({"tokenizer": "mine"}, "tokenizer"),
    ],
)
def test_settings_that_make_no_watermark_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Watermark.model_validate({"key": KEY} | settings)


def test_another_vocabulary_or_context_is_refused():
    mark = Watermark(key=KEY, tokenizer="a" * 64)
    contexts, tokens = contexts_and_tokens(2)
    with pytest.raises(UsageError, match="256 tokens, got one of 512"):
        mark.bias(contexts, 512)
    with pytest.raises(UsageError, match="expected the tokenizer"):
        mark.check_vocabulary(256, "b" * 64)
    mark.check_vocabulary(256)
    with pytest.raises(UsageError, match=r"expected \(n, 3\)"):
        mark.green(contexts[:, :2], tokens)
