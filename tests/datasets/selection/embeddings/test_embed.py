"""Vectors of documents: made of their words, or read from a file that must fit."""

import numpy as np
import pytest
from foretrain.core.errors import CorpusError
from foretrain.datasets.selection.embeddings import arrays

PAGES = [f"page number {number} of the web" for number in range(12)]
STEP = {"dedup": {"kind": "semantic", "embeddings": "v.npy"}}
GOOD = np.random.default_rng(0).standard_normal((12, 5))


def changed(rows, place, value):
    rows = rows.copy()
    rows[place] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (GOOD[:10], "v.npy: lacks rows: got 10; expected 12, one for each training document of the domain"),
        (np.concatenate([GOOD, GOOD]), "v.npy: has too many rows: got 24; expected 12"),
        (changed(GOOD, (3, 2), np.nan), r"v.npy: row 3 \(from 0\) isn't finite; expected"),
        (changed(GOOD, 7, np.inf), r"v.npy: row 7 \(from 0\) isn't finite; expected"),
        (changed(GOOD, 11, 0), r"v.npy: row 11 \(from 0\) holds zeros only; expected"),
        (GOOD[:, 0], r"v.npy: holds float64 of shape \(12,\); expected numbers, one row a document"),
        (np.array([["a"]] * 12), "v.npy: holds <U1 of shape"),
        (np.array([[None]] * 12), "v.npy: isn't an array of NumPy; expected a .npy as numpy.save writes it"),
    ],
)
def test_a_file_that_does_not_fit(chosen, tmp_path, rows, message):
    np.save(tmp_path / "v.npy", rows, allow_pickle=True)
    with pytest.raises(CorpusError, match=r"web.select.0.dedup: embeddings: " + message):
        chosen(PAGES, [STEP])


def test_a_file_that_is_none(chosen, tmp_path):
    with pytest.raises(CorpusError, match=r"embeddings: v.npy: can't be read: No such file"):
        chosen(PAGES, [STEP])
    (tmp_path / "v.npy").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"v.npy: isn't an array of NumPy"):
        chosen(PAGES, [STEP])
    with (tmp_path / "v.npy").open("wb") as file:
        np.savez(file, a=GOOD, b=GOOD)
    with pytest.raises(CorpusError, match=r"v.npy: holds several arrays; expected a .npy with one"):
        chosen(PAGES, [STEP])


def test_rows_are_read_by_the_number_of_the_document(chosen, tmp_path):
    """Of a file that has a row for every training document, steps take those that reach them."""
    np.save(tmp_path / "v.npy", changed(GOOD, 9, GOOD[8]))
    texts = [*PAGES[:4], PAGES[0], *PAGES[5:]]
    assert np.flatnonzero(~chosen(texts, ["dedup", STEP]).kept).tolist() == [4, 9]


def test_a_file_is_part_of_the_digest(chosen, tmp_path):
    np.save(tmp_path / "v.npy", GOOD)
    one = chosen(PAGES, [STEP])
    np.save(tmp_path / "v.npy", changed(GOOD, (0, 0), 5))
    assert chosen(PAGES, [STEP]).digest != one.digest


def test_choices_do_not_depend_on_threads(chosen):
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{number}" for number in rng.zipf(1.4, 60) % 5_000) for _ in range(300)]
    digests = set()
    for threads in (1, 2):
        with threadpool_limits(threads):
            digests.add(chosen(texts, [{"density": {"keep": 0.9}}, {"strata": {"clusters": 4}}]).digest)
    assert len(digests) == 1


def test_large_arrays_lie_in_a_file(monkeypatch):
    monkeypatch.setattr(arrays, "_MOST_IN_MEMORY_BYTES", 100)
    large = arrays.empty(50, 4)
    large[:] = 2
    assert isinstance(large, np.memmap)
    assert large.sum() == 400
    assert not isinstance(arrays.empty(5, 4), np.memmap)
