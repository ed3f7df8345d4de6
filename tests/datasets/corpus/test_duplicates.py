import hashlib
from collections import Counter

import pytest
from foretrain.datasets.corpus.duplicates import Copies, DuplicateTracker, SharedDocuments
from hypothesis import given
from hypothesis import strategies as st


def digest(text: object) -> bytes:
    return hashlib.sha256(str(text).encode()).digest()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 6)), max_size=60))
def test_counts_are_those_of_a_plain_count(added):
    tracker = DuplicateTracker()
    for domain, side, text in added:
        tracker.add(domain, side, digest(text), 10 + text)
    for domain in range(3):
        mine = Counter(text for owner, _, text in added if owner == domain)
        copies = sum(count - 1 for count in mine.values())
        assert tracker.copies(domain) == Copies(copies, sum((count - 1) * (10 + text) for text, count in mine.items()))
    places = {(domain, side) for domain, side, _ in added}
    texts = {place: {text for *at, text in added if tuple(at) == place} for place in places}
    pairs = [(one, two, len(texts[one] & texts[two])) for one in sorted(places) for two in sorted(places) if one < two]
    assert tracker.shared() == [SharedDocuments(*pair) for pair in pairs if pair[2]]
    assert not tracker.estimated


def test_beyond_its_capacity_it_estimates_in_bounded_memory():
    tracker = DuplicateTracker(capacity=2_000)
    for n in range(60_000):
        tracker.add(0, 0, digest(n), 100)
        if n % 4 == 0:
            tracker.add(0, 0, digest(n), 100)
        if n % 3 == 0:
            tracker.add(1, 1, digest(n), 100)
    assert tracker.estimated
    assert len(tracker._places) <= 2_000
    copies = tracker.copies(0)
    assert copies.documents == pytest.approx(15_000, rel=0.2)
    assert copies.bytes == 100 * copies.documents
    (shared,) = tracker.shared()
    assert (shared.first, shared.second) == ((0, 0), (1, 1))
    assert shared.documents == pytest.approx(20_000, rel=0.2)
