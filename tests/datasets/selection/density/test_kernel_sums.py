"""Sums of the kernel are exact for few documents, without bias for many, and never below a document's own."""

import numpy as np
import pytest
from foretrain.datasets.selection.density import kernel_sums as sums
from foretrain.datasets.selection.embeddings.arrays import unit_rows


@pytest.fixture(scope="module")
def vectors():
    """3,000 documents of five topics, and 200 copies of one."""
    rng = np.random.default_rng(0)
    topics = rng.standard_normal((5, 16))
    made = topics[rng.integers(0, 5, 3_000)] + 0.5 * rng.standard_normal((3_000, 16))
    return unit_rows(np.concatenate([made, made[:1] + 0.01 * rng.standard_normal((200, 16))]))


def naive(vectors, bandwidth):
    plain = vectors.astype(float)
    distances = ((plain[:, None] - plain) ** 2).sum(axis=2)
    return np.exp(-distances / (2 * bandwidth**2)).sum(axis=1)


@pytest.mark.parametrize("bandwidth", [0.05, 0.3, 2.0])
def test_exact_sums(vectors, bandwidth):
    few = vectors[-600:]
    assert np.allclose(sums.kernel_sums(few, bandwidth, np.random.default_rng(0)), naive(few, bandwidth), rtol=1e-4)


@pytest.mark.parametrize(("bandwidth", "error"), [(0.1, 0.02), (0.2, 0.05), (1.0, 0.02)])
def test_estimated_sums(vectors, bandwidth, error, monkeypatch):
    """Also where a cell holds more documents than are looked at."""
    monkeypatch.setattr(sums, "_MOST_IN_CELL", 150)
    exact = sums.kernel_sums(vectors, bandwidth, np.random.default_rng(0))
    estimated = sums.kernel_sums(vectors, bandwidth, np.random.default_rng(1), exact=1_000)
    assert (estimated >= 1).all()
    assert np.median(np.abs(estimated / exact - 1)) < error
    assert estimated.sum() == pytest.approx(exact.sum(), rel=0.05)
    assert np.array_equal(estimated, sums.kernel_sums(vectors, bandwidth, np.random.default_rng(1), exact=1_000))


def test_many_equal_documents():
    equal = np.tile(unit_rows(np.ones((1, 4))), (3_000, 1))
    assert np.allclose(sums.kernel_sums(equal, 0.1, np.random.default_rng(0), exact=1_000), 3_000, rtol=1e-6)
