"""Small files that unpack to any size: refused with what was too large, in little memory and time."""

import gzip
import json
import sys
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foretrain.core.errors import CorpusError, LogError, RunTableError
from foretrain.datasets.corpus import text_readers
from foretrain.datasets.corpus.text_files import find_files
from foretrain.datasets.run_logs import records
from foretrain.datasets.runs import raw_table

if sys.platform == "win32":
    pytest.skip("peaks of memory are POSIX's", allow_module_level=True)

LIMIT = 2_000_000


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    monkeypatch.setattr(raw_table, "MAX_BYTES", LIMIT)
    monkeypatch.setattr(raw_table, "MAX_CELLS", 100_000)
    monkeypatch.setattr(records, "MAX_BYTES", LIMIT)
    monkeypatch.setattr(records, "MAX_CELLS", 100_000)
    monkeypatch.setattr(text_readers, "UNPACKED_BYTES", LIMIT)
    monkeypatch.setattr(text_readers, "MOST_BLANK_LINES", 1000)


def peak_bytes(work) -> int:
    """What a piece of work held at most, of Python's and of Arrow's memory."""
    before = pa.default_memory_pool().bytes_allocated()
    tracemalloc.start()
    try:
        work()
        python = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return python + max(0, pa.default_memory_pool().bytes_allocated() - before)


def packed(path: Path, data: bytes) -> Path:
    path.write_bytes(gzip.compress(data))
    return path


def test_a_parquet_table_of_one_repeated_text(tmp_path):
    rows = 400
    cells = {"params": [1e6] * rows, "tokens": [1e8] * rows, "loss": [3.0] * rows, "note": ["x" * 100_000] * rows}
    pq.write_table(pa.table(cells), tmp_path / "runs.parquet", row_group_size=100)
    assert (tmp_path / "runs.parquet").stat().st_size < 50_000

    def read():
        with pytest.raises(RunTableError, match=r"too large: .* 1 row groups unpack to 10,002,\d+ bytes; .* 2,000,000"):
            raw_table.read_raw(tmp_path / "runs.parquet")

    assert peak_bytes(read) < 4 * LIMIT


def test_a_parquet_table_of_wide_binary_cells(tmp_path):
    cells = pa.table({"loss": [3.0] * 100, "blob": pa.array([b"x" * 50_000] * 100, pa.binary(50_000))})
    pq.write_table(cells, tmp_path / "runs.parquet")
    with pytest.raises(RunTableError, match="too large: cells of 50,000 bytes"):
        raw_table.read_raw(tmp_path / "runs.parquet")


def test_columns_of_lists_are_left_out_and_said(tmp_path):
    pq.write_table(pa.table({"loss": [3.0], "tags": [["x" * 100] * 100]}), tmp_path / "runs.parquet")
    raw = raw_table.read_raw(tmp_path / "runs.parquet")
    assert list(raw.frame.columns) == ["loss"]
    assert raw.notes == ["columns of lists or records are not read: 'tags'"]


def test_texts_of_an_honest_table_are_read_as_before(tmp_path):
    cells = {
        "loss": [3.0, 3.1, 3.2],
        "corpus": ["web", None, "web"],
        "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
    }
    pq.write_table(pa.table(cells), tmp_path / "runs.parquet")
    frame = raw_table.read_raw(tmp_path / "runs.parquet").frame
    assert list(frame["corpus"].fillna("none")) == ["web", "none", "web"]
    assert list(frame["kind"]) == ["a", "b", "a"]


@pytest.mark.parametrize(
    "data",
    [b" " * (LIMIT + 1), b"\n" * (LIMIT + 1), b"a,b\n" + b"\n" * 200_000 + b"1,2\n"],
    ids=["blanks", "line ends", "between rows"],
)
def test_a_packed_table_of_nothing(tmp_path, data):
    def read():
        with pytest.raises(RunTableError, match=r"unpacks to more than 2,000,000 bytes|too large: .* cells"):
            raw_table.read_raw(packed(tmp_path / "runs.csv.gz", data))

    assert peak_bytes(read) < 4 * LIMIT


@pytest.mark.parametrize("blank", [b" ", b"\n", b"\r\n", b"\t\n"])
def test_a_table_of_blanks_is_empty(tmp_path, blank):
    (tmp_path / "runs.csv").write_bytes(blank * 20_000)
    with pytest.raises(RunTableError, match="is empty"):
        raw_table.read_raw(tmp_path / "runs.csv")


def texts_of(path: Path) -> int:
    (file,) = find_files(path.parent, path.name, "corpora.yaml")
    return sum(len(text.text) for text in text_readers.read_texts(file, "text"))


def zstd(path: Path, data: bytes) -> Path:
    path.write_bytes(pa.compress(data, codec="zstd", asbytes=True))
    return path


@pytest.mark.parametrize("pack", [packed, zstd])
def test_packed_text_that_never_ends(tmp_path, pack):
    name = "a.jsonl.gz" if pack is packed else "a.jsonl.zst"
    line = json.dumps({"text": "x" * 10_000}).encode() + b"\n"
    with pytest.raises(CorpusError, match=rf"{name}:\d+: too large: unpacks to more than 1 MiB and 200 times"):
        texts_of(pack(tmp_path / name, line * 2000))
    with pytest.raises(CorpusError, match="1,001 blank lines follow each other"):
        texts_of(pack(tmp_path / name, b"\n" * 100_000))


def test_a_parquet_corpus_of_one_repeated_text(tmp_path):
    pq.write_table(pa.table({"text": ["x" * 400_000] * 1000}), tmp_path / "a.parquet")
    size = (tmp_path / "a.parquet").stat().st_size

    def read():
        with pytest.raises(CorpusError, match="too large: unpacks to more than"):
            texts_of(tmp_path / "a.parquet")

    assert size * text_readers.MOST_UNPACKED < 400_000_000
    assert peak_bytes(read) < 6 * LIMIT


@pytest.mark.parametrize(
    "text",
    ["step,loss\n" + ",\n" * 60_000, '{"step":1}\n' + "\n" * 120_000, "step,loss\n" + "\n" * 200_000],
)
def test_a_log_of_nothing(tmp_path, text):
    (tmp_path / "log").write_text(text)
    with pytest.raises(LogError, match=r"too large: [\d,]+ values; expected at most 100,000"):
        records.read_records(tmp_path / "log")
