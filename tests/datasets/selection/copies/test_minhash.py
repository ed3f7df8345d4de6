"""Near-copies are found above the threshold, not below; the first of each group is its name."""

import zlib

import numpy as np
import pytest
from foretrain.datasets.selection.copies import minhash
from hypothesis import given, settings
from hypothesis import strategies as st


class Documents(list):
    """What `signatures` needs of the texts that reach a step."""

    def __iter__(self):
        from foretrain.datasets.corpus.document import Document, digest_of

        return (Document(text, "", digest_of(text)) for text in super().__iter__())


def words(rng, count):
    return [f"w{number}" for number in rng.integers(0, 10**6, count)]


def pair(rng, shared, count=400):
    """Two texts of `count` words, the first `shared` of them equal."""
    start = words(rng, shared)
    return " ".join(start + words(rng, count - shared)), " ".join(start + words(rng, count - shared))


def groups(texts, threshold=0.7, sequence=5, seed=0):
    made = minhash.signatures(Documents(texts), sequence, 128, np.random.default_rng(seed))
    return minhash.groups(made, threshold)


def test_signatures_are_those_of_datasketch_and_estimate_the_similarity():
    from datasketch import MinHash

    rng = np.random.default_rng(0)
    texts = pair(rng, 300)
    made = minhash.signatures(Documents(texts), 5, 128, np.random.default_rng(7))
    seed = int(np.random.default_rng(7).integers(2**32))
    plain = MinHash(128, seed=seed, hashfunc=zlib.crc32, scheme="affine32")
    parts = texts[0].split()
    plain.update_batch({" ".join(parts[n : n + 5]).encode() for n in range(396)})
    assert made.dtype == np.uint32
    assert np.array_equal(made[0], plain.hashvalues)
    true = 296 / (2 * 396 - 296)  # sequences that both have among all
    assert (made[0] == made[1]).mean() == pytest.approx(true, abs=3 * np.sqrt(true * (1 - true) / 128))


def test_copies_well_above_the_threshold_are_found_and_none_well_below():
    rng = np.random.default_rng(1)
    alike = [text for _ in range(30) for text in pair(rng, 370)]  # similarity .86
    unlike = [text for _ in range(30) for text in pair(rng, 260)]  # similarity .48
    found = groups([*alike, *unlike])
    first = np.arange(0, 120, 2)
    assert np.array_equal(found[first], first)
    assert np.array_equal(found[1:60:2], np.arange(0, 60, 2))
    assert np.array_equal(found[61::2], np.arange(61, 120, 2))


def test_short_documents_are_copies_only_of_themselves():
    assert groups(["a b", "a b c", "a b", "a", "b"]).tolist() == [0, 1, 0, 3, 4]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_a_group_is_named_by_its_first_document(kinds):
    """Equal signatures are one group, unrelated ones never, in whatever order they come."""
    rng = np.random.default_rng(3)
    of_kind = rng.integers(0, 2**32, (7, 32), dtype=np.uint32)
    found = minhash.groups(of_kind[kinds], 0.7)
    assert found.tolist() == [kinds.index(kind) for kind in kinds]


def test_documents_alike_through_others_are_one_group():
    rng = np.random.default_rng(4)
    chain = rng.integers(0, 2**32, (1, 128), dtype=np.uint32).repeat(4, axis=0)
    for number in range(1, 4):  # a fifth of the entries changes from one to the next, and stays
        chain[number:, 25 * number : 25 * (number + 1)] += np.uint32(number)
    assert minhash.groups(chain, 0.75).tolist() == [0, 0, 0, 0]
    assert minhash.groups(chain, 0.85).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("permutations", "threshold"), [(128, 0.7), (128, 0.5), (256, 0.9), (16, 0.7)])
def test_bands_find_pairs_at_the_threshold(permutations, threshold):
    rows = minhash.band_rows(permutations, threshold)
    missed = [(1 - threshold**r) ** (permutations // r) for r in (rows, rows + 1)]
    assert missed[0] <= 0.05 < missed[1]
