"""What goes has a close one that stays; what stays has none before it."""

import numpy as np
from foretrain.datasets.selection.copies import semantic
from foretrain.datasets.selection.embeddings.arrays import unit_rows
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.sampled_from([0.5, 0.8, 0.95]))
def test_everything_that_goes_is_close_to_an_earlier_one_that_stays(seed, count, threshold):
    rng = np.random.default_rng(seed)
    vectors = unit_rows(rng.standard_normal((count, 3)))
    block, semantic._BLOCK_ROWS = semantic._BLOCK_ROWS, 16
    try:
        kept, cosine = semantic.closest_kept(vectors, threshold, rng)
    finally:
        semantic._BLOCK_ROWS = block
    alike = np.tril(vectors.astype(float) @ vectors.T.astype(float), -1)
    highest = np.where(kept, alike, 0).max(axis=1)
    assert kept[0]
    assert np.array_equal(kept, highest < threshold)
    assert np.allclose(cosine, highest, atol=1e-6)


def test_among_many_documents_copies_are_found_within_cells(monkeypatch):
    monkeypatch.setattr(semantic, "_ONE_CELL", 100)
    rng = np.random.default_rng(0)
    originals = unit_rows(rng.standard_normal((300, 16)))
    copies = unit_rows(originals + 0.02 * rng.standard_normal((300, 16)))
    kept, _ = semantic.closest_kept(np.concatenate([originals, copies]), 0.97, np.random.default_rng(1))
    again, _ = semantic.closest_kept(np.concatenate([originals, copies]), 0.97, np.random.default_rng(1))
    assert kept[:300].all()
    assert kept[300:].mean() < 0.05  # those that a border of cells divides from their original
    assert np.array_equal(kept, again)
