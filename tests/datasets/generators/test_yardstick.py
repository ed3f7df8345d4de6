"""The yardstick of generators: what it says of good text, of text that covers little, and of nonsense."""

import json

import numpy as np
import pytest
from foretrain.core.errors import UsageError
from foretrain.datasets.generators.generator import FittedGenerator
from foretrain.datasets.generators.members.ngram import NGramGenerator
from foretrain.datasets.generators.yardstick import distinct_ngrams, measure, measure_generator
from foretrain.datasets.ngrams.witten_bell import fit
from hypothesis import given
from hypothesis import strategies as st

WORDS = ["moon", "tide", "river", "stone", "court", "law", "judge", "fine", "holds", "old", "small", "the", "and", "of"]


def text(seed: int, documents: int = 30) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 80)).encode() for _ in range(documents)]


REAL, OTHER, VALID = text(0), text(1), text(2, 10)


def test_real_text_is_what_is_best_and_covers_all():
    real = measure(OTHER, REAL, VALID)
    assert real.documents == 30
    assert real.size_bytes == sum(map(len, OTHER))
    assert real.reverse_nats == pytest.approx(real.real_nats, rel=0.03)
    assert real.forward_nats == pytest.approx(real.real_nats, rel=0.03)
    assert real.worth_nats > 0  # twice as much real text is better
    longer = measure_generator(NGramGenerator(order=5).fit(REAL), REAL, VALID, 400, np.random.default_rng(0))
    shorter = measure_generator(NGramGenerator(order=2).fit(REAL), REAL, VALID, 400, np.random.default_rng(0))
    assert real.reverse_nats < longer.reverse_nats < shorter.reverse_nats
    assert longer.size_bytes == pytest.approx(real.size_bytes, rel=0.03)
    assert longer.worth_nats < real.worth_nats
    assert json.loads(json.dumps(longer.to_dict()))["distinct"]["8"] == longer.distinct[8]


def test_text_that_covers_little_looks_good_forward_only():
    little = measure(OTHER[:1] * 30, REAL, VALID)
    nonsense = measure([bytes(sorted(document)) for document in OTHER], REAL, VALID)
    real = measure(OTHER, REAL, VALID)
    assert little.forward_nats == pytest.approx(real.forward_nats, rel=0.1)
    assert little.reverse_nats > real.reverse_nats + 0.5
    assert little.distinct[8] < real.distinct[8] / 5
    assert nonsense.forward_nats > real.forward_nats + 1
    assert nonsense.worth_nats < 0


def test_any_evaluator_judges_and_real_text_is_not_drowned():
    trained = []

    def unigrams(documents):
        trained.append(sum(map(len, documents)))
        return fit(documents, 1)

    found = measure(OTHER * 5, REAL, VALID, unigrams)
    size = sum(map(len, REAL))
    assert sorted(trained) == [size, 2 * size, 5 * sum(map(len, OTHER))]  # at most as much as is real
    assert found.real_nats == pytest.approx(fit(REAL, 1).nats_per_byte([b"".join(VALID)])[0])


@given(st.lists(st.binary(max_size=30), max_size=5), st.integers(1, 6))
def test_distinct_n_grams_are_those_counted_one_by_one(texts, length):
    every = [t[i : i + length] for t in texts for i in range(len(t) - length + 1)]
    assert distinct_ngrams(texts, length) == (len(set(every)) / len(every) if every else 0)


class Stuck(FittedGenerator):
    """Writes the same words, whatever it draws."""

    digest, facts = "0" * 64, {}

    def sample(self, documents, length_bytes, rng):
        return [(b"the moon " * length_bytes)[:length_bytes]] * documents


def test_what_says_nothing_is_named():
    with pytest.raises(UsageError, match="yardstick: it writes one string again and again"):
        measure_generator(Stuck(), REAL, VALID, 400, np.random.default_rng(0))
    with pytest.raises(UsageError, match="valid: got no text; expected one byte"):
        measure(OTHER, REAL, [b""])
