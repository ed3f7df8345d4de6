import gzip
import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foretrain.core.errors import CorpusError
from foretrain.datasets.corpus import text_readers
from foretrain.datasets.corpus.text_files import find_files
from foretrain.datasets.corpus.text_readers import read_texts

zstandard = pytest.importorskip("zstandard")

LINES = b'{"text": "one", "n": 1}\n\n{"n": 2, "text": "zwei \xc3\xa4"}\r\n{"text": null}\n{"text": "last"}'
TEXTS = [("one", 1), ("zwei ä", 3), ("", 4), ("last", 5)]


def read(path: Path, text_field: str = "text") -> list[tuple[str, str]]:
    (file,) = find_files(path.parent, path.name, "c.yaml:1: path")
    return [tuple(raw) for raw in read_texts(file, text_field)]


def put(folder: Path, name: str, data: bytes) -> Path:
    packed = {"gz": gzip.compress, "st": zstandard.ZstdCompressor().compress}.get(name[-2:], bytes)(data)
    (folder / name).write_bytes(packed)
    return folder / name


def refused(path: Path, text_field: str = "text") -> str:
    with pytest.raises(CorpusError) as caught:
        read(path, text_field)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert len(message) < 400 + len(str(path))
    return message.removeprefix(str(path))


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson.gz", "a.json.zst"])
def test_json_lines(name, tmp_path):
    path = put(tmp_path, name, LINES)
    assert read(path) == [(text, f"{path}:{line}") for text, line in TEXTS]


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.txt.gz", "a.txt.zst"])
def test_plain_text_is_one_document_as_it_stands(name, tmp_path):
    path = put(tmp_path, name, "\ufeffZeile 1\r\n\n Zeile 2 ".encode())
    assert read(path) == [("Zeile 1\r\n\n Zeile 2 ", str(path))]


def test_an_empty_text_file_is_an_empty_document(tmp_path):
    assert read(put(tmp_path, "a.txt", b"")) == [("", str(tmp_path / "a.txt"))]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet(kind, tmp_path):
    texts = [None if n % 7 == 3 else f"text {n}" for n in range(1000)]
    column = pa.array(texts, pa.string()).cast(kind) if kind != pa.string() else pa.array(texts)
    pq.write_table(pa.table({"n": range(1000), "body": column}), tmp_path / "a.parquet", row_group_size=300)
    path = tmp_path / "a.parquet"
    assert read(path, "body") == [(text or "", f"{path}:{row}") for row, text in enumerate(texts, start=1)]


def test_streams_of_several_parts(tmp_path):
    """`cat a.gz b.gz` and parallel packers write several streams one after another."""
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n') + gzip.compress(b'{"text": "b"}\n'))
    pack = zstandard.ZstdCompressor().compress
    (tmp_path / "b.jsonl.zst").write_bytes(pack(b'{"text": "a"}\n') + pack(b'{"text": "b"}\n'))
    for name in ("a.jsonl.gz", "b.jsonl.zst"):
        assert [text for text, _ in read(tmp_path / name)] == ["a", "b"]


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("data", "fragment"),
    [
        (b"", ": is empty; expected one JSON object per line"),
        (b"\n \n", ": is empty"),
        (b'{"text": "a"}\nhello\n', ":2: isn't JSON (column 1: Expecting value); expected one JSON object per line"),
        (b'{"text": "a"}\n{"text": "b"', ":2: isn't JSON"),
        (b'{\n "text": "a"\n}\n', ":1: isn't JSON"),
        (b"[" * 100_000, ":1: isn't JSON"),
        (b'{"text": "a", "n": ' + b"9" * 5000 + b"}", ":1: isn't JSON"),
        (b'["a"]\n', """:1: got ['a']; expected an object such as {"text": "…"}"""),
        (b'{"body": "a", "id": 1}\n', ":1: has no 'text'; expected a text_field that is there: 'body', 'id'"),
        (b"{}\n", ":1: has no fields at all"),
        (b'{"text": ["a"]}\n', ":1: text is ['a']; expected text (a string)"),
        (b'{"text": 7}\n', ":1: text is 7; expected text (a string)"),
        (b'{"text": "\\ud800"}\n', ":1: the escape \\ud800 isn't a character"),
        (b'{"text": "a"}\n{"text": "caf\xe9"}\n', ":2: byte 14 isn't UTF-8 text; expected UTF-8, save it as that"),
        ('{"text": "a"}\n'.encode("utf-16"), ":1: is UTF-16 text; expected UTF-8"),
        (b"PAR1\x00\x01\x02\n", ":1: is binary (it holds NUL bytes)"),
        (b"\x89PNG\x00\xff\n", ":1: is binary"),
    ],
)
def test_wrong_json_lines(data, fragment, packing, tmp_path):
    assert fragment in refused(put(tmp_path, f"a.jsonl{packing}", data))


@pytest.mark.parametrize(
    ("data", "fragment"),
    [
        (b"one\ntwo caf\xe9\n", ": byte 12 (line 2) isn't UTF-8 text"),
        (b"a\0b", ": is binary (it holds NUL bytes); expected UTF-8 text"),
        (gzip.compress(b"text", mtime=0), ": is compressed; expected a name that ends in .gz or .zst"),
        ("text".encode("utf-16"), ": is UTF-16 text"),
    ],
)
def test_wrong_plain_text(data, fragment, tmp_path):
    assert fragment in refused(put(tmp_path, "a.txt", data))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.txt.gz", "a.txt.zst"])
def test_packed_files_that_are_cut_off_or_damaged(name, tmp_path):
    """A cut-off .zst read with the zstandard package just ends early: half a corpus would be trained on unnoticed."""
    path = put(tmp_path, name, b"".join(b'{"text": "%d"}\n' % (n * n) for n in range(20_000)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "is the file damaged or cut off?" in refused(path)
    path.write_bytes(b"this is not packed at all")
    assert "is the file damaged or cut off?" in refused(path)


def test_wrong_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": ["a"], "n": [1]}), path)
    assert ": has no 'text'; expected a text_field that is there: 'body', 'n'" in refused(path)
    assert ": column 'n' holds int64; expected text (string)" in refused(path, "n")
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    assert ": is empty; expected at least one row" in refused(path)
    invalid = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\x02\0\0\0"), pa.py_buffer(b"\xff\xfe"))
    pq.write_table(pa.table({"text": invalid}), path)
    assert "isn't UTF-8 text" in refused(path)


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "empty"])
def test_damaged_parquet(damage, tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"{n * n}" for n in range(50_000)]}), path, compression="zstd")
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[1000:1200] = bytes(200)
    path.write_bytes({"cut": data[:-100], "flip": data, "text": b"hello world, hello world", "empty": b""}[damage])
    assert "is the file damaged or cut off?" in refused(path)


def test_documents_are_bounded(monkeypatch, tmp_path):
    monkeypatch.setattr(text_readers, "MAX_DOCUMENT_BYTES", 1 << 20)
    large = "x" * (1 << 20)
    assert ": is larger than 1 MiB, the limit of one document; split" in refused(
        put(tmp_path, "a.txt.gz", large.encode() + b"x")
    )
    data = b'{"text": "a"}\n' + json.dumps({"text": large}).encode()
    assert ":2: is larger than 1 MiB" in refused(put(tmp_path, "a.jsonl", data))
    pq.write_table(pa.table({"text": ["a", large + "x"]}), tmp_path / "a.parquet")
    assert ":2: is larger than 1 MiB" in refused(tmp_path / "a.parquet")


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_a_small_file_that_unpacks_to_a_huge_line_costs_no_memory(packing, monkeypatch, tmp_path):
    monkeypatch.setattr(text_readers, "MAX_DOCUMENT_BYTES", 1 << 20)
    path = put(tmp_path, f"a.jsonl.{packing}", b"x" * (100 << 20))
    tracemalloc.start()
    assert "is larger than 1 MiB" in refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "a.jsonl"
    with open(path, "wb") as stream:
        for n in range(20_000):
            stream.write(b'{"text": "%s"}\n' % (b"%d " % n * 200))
    (file,) = find_files(tmp_path, "a.jsonl", "")
    tracemalloc.start()
    assert sum(len(raw.text) for raw in read_texts(file, "text")) > 20e6
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6


def test_a_file_that_may_not_be_read(tmp_path):
    path = put(tmp_path, "a.txt", b"text")
    (file,) = find_files(tmp_path, "a.txt", "")
    path.unlink()
    with pytest.raises(CorpusError, match=r"can't be read \(No such file or directory\)"):
        list(read_texts(file, "text"))
