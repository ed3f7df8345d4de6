import hashlib

import numpy as np
from foretrain.datasets.corpus.repeats import Repeats
from hypothesis import given, settings
from hypothesis import strategies as st


def digests(numbers):
    return [hashlib.sha256(str(number).encode()).digest() for number in numbers]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.integers(0, 40), max_size=30).filter(bool), max_size=12))
def test_each_digest_is_new_once(batches):
    repeats, seen = Repeats(), set()
    for batch in batches:
        expected = [number not in seen and not seen.add(number) for number in batch]
        assert repeats.new(digests(batch)).tolist() == expected
    assert repeats.complete


def test_beyond_the_limit_later_digests_are_still_compared_with_the_first():
    repeats = Repeats(limit=50)
    assert repeats.new(digests(range(40))).all()
    assert repeats.complete
    assert repeats.new(digests(range(40, 80))).all()
    assert not repeats.complete
    assert not repeats.new(digests(range(40))).any()
    assert repeats.new(digests(range(40, 80))).sum() == 30


def test_memory_is_eight_bytes_per_digest():
    repeats = Repeats()
    rng = np.random.default_rng(0)
    for _ in range(100):
        data = rng.bytes(32 * 1000)
        repeats.new([data[k : k + 32] for k in range(0, len(data), 32)])
    levels = repeats._levels
    assert sum(level.nbytes for level in levels) == 800_000
    assert len(levels) < 12
