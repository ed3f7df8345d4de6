"""N-grams of bytes: what they are by definition, and that every way to ask gives the same answer."""

import math

import numpy as np
import pytest
from foretrain.core.errors import UsageError
from foretrain.datasets.ngrams.witten_bell import fit
from hypothesis import given, settings
from hypothesis import strategies as st

TEXTS = st.lists(st.binary(min_size=1, max_size=12).map(lambda b: bytes(x % 5 for x in b)), min_size=1, max_size=6)


def probability(documents: list[bytes], context: bytes, byte: int) -> float:
    """p(byte | context) as Witten and Bell define it, counted in plain Python."""
    lower = probability(documents, context[1:], byte) if context else 1 / 256
    size = len(context)
    after = [d[i + size] for d in documents for i in range(len(d) - size) if d[i : i + size] == context]
    different = len(set(after))
    return (after.count(byte) + different * lower) / (len(after) + different) if after else lower


@settings(max_examples=40, deadline=None)
@given(TEXTS, TEXTS, st.integers(1, 5))
def test_scores_are_those_of_the_definition(trained, scored, order):
    model = fit(trained, order)
    expected = [
        -sum(math.log(probability(trained, d[max(0, i - order + 1) : i], d[i])) for i in range(len(d))) / len(d)
        for d in scored
    ]
    assert model.nats_per_byte(scored) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.binary(max_size=9), st.integers(1, 8))
def test_probabilities_are_above_0_and_add_up_to_1_after_every_context(trained, context, order):
    after = fit(trained, order).distribution(context)
    assert after.min() > 0
    assert after.sum() == pytest.approx(1, abs=1e-12)


def test_bytes_up_to_255_and_the_longest_n_grams_keep_their_places():
    documents = [bytes(range(256)), bytes(range(255, -1, -1)), b"\xff" * 20, "naïve café – 東京".encode()]
    model = fit(documents, 8)
    context = documents[1][:7]
    assert model.distribution(context)[248] == pytest.approx(probability(documents, context, 248), rel=1e-12)
    alone = [model.distribution(context[:i])[context[i]] for i in range(7)]
    assert model.nats_per_byte([context])[0] == pytest.approx(-np.log(alone).mean(), rel=1e-12)


def test_a_document_scores_the_same_alone_and_among_others(monkeypatch):
    rng = np.random.default_rng(0)
    documents = [rng.integers(97, 103, size).astype(np.uint8).tobytes().decode() for size in (1, 300, 2, 70, 1_000)]
    model = fit(documents[:3], 5)
    together = model.nats_per_byte(documents)
    assert [model.nats_per_byte([document])[0] for document in documents] == together.tolist()
    monkeypatch.setattr("foretrain.datasets.ngrams.witten_bell._BATCH_BYTES", 64)
    assert model.nats_per_byte(iter(documents)).tolist() == together.tolist()
    assert model.nats_per_byte([]).shape == (0,)


class Draws:
    """Random numbers that are known: those that lead to a context, then one of an even grid, document by document."""

    def __init__(self, before: list[float], grid: int) -> None:
        self.before, self.grid, self.calls = before, grid, 0

    def random(self, count: int) -> np.ndarray:
        self.calls += 1
        return np.array([*self.before, (self.calls - 0.5) / self.grid])[-count:]


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.lists(st.floats(0, 1, exclude_max=True), max_size=6), st.integers(1, 5))
def test_samples_follow_the_distribution_after_every_context(trained, before, order):
    # Of 2,000 documents with one beginning the last byte is drawn evenly; each level of the mixture cuts the range of
    # random numbers once for each byte, by less than one of the grid.
    model, grid = fit(trained, order), 2_000
    samples = model.sample(grid, len(before) + 1, Draws(before, grid))
    (context,) = {sample[:-1] for sample in samples}
    drawn = np.bincount([sample[-1] for sample in samples], minlength=256) / grid
    np.testing.assert_allclose(drawn, model.distribution(context), atol=(order + 1) / grid)


def test_samples_know_bytes_of_every_value_and_repeat_where_text_does():
    documents = [bytes(range(256)) * 3, b"\xff" * 20]
    for order in (1, 8):
        model = fit(documents, order)
        three = model.sample(3, 400, np.random.default_rng(1))
        assert model.sample(2, 400, np.random.default_rng(1)) == three[:2]
        assert {len(sample) for sample in three} == {400}
        assert len(set(three)) == 3
    assert model.nats_per_byte(three).max() < 1.5  # of 5.5


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: fit(["a"]).sample(0, 5, np.random.default_rng(0)), "got 0 documents of 5 bytes; expected one"),
        (lambda: fit(["a"], 9), "order: got 9; expected 1 to 8"),
        (lambda: fit(["", b""]), "got no text"),
        (lambda: fit(["a"]).nats_per_byte(["a", ""]), "got an empty one"),
    ],
)
def test_what_cannot_be_counted_is_refused(ask, message):
    with pytest.raises(UsageError, match=message):
        ask()
