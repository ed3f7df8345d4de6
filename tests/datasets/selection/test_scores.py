"""Score files: every way to name a document means the same, and what is wrong with a file is said."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foretrain.core.errors import CorpusError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.corpus.documents import documents
from foretrain.datasets.selection.scores import read_labels, read_scores
from foretrain.datasets.selection.selection import select
from foretrain.datasets.selection.step import Chosen, Step

N = 60


class Reading(Step):
    """What a function makes of the documents that reach it are its scores."""

    name = "reading"

    def select(self, texts, rng):
        scores = READ[0](texts)
        return Chosen(np.ones(len(texts), bool), scores)


class FirstHalf(Step):
    """Leaves out every other document."""

    name = "half"

    def select(self, texts, rng):
        kept = np.arange(len(texts)) % 2 == 0
        return Chosen(kept, kept.astype(float))


READ = [None]


@pytest.fixture
def corpus(tmp_path):
    """Documents of which a tenth is for validation, and one that is there twice."""
    texts = [f"document number {n}" for n in range(N)] + ["document number 0 "]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return Corpus.from_mapping({"validation_share": 0.1, "domains": {"a": {"path": "a.jsonl"}}}, "c.yaml", tmp_path)


def read(corpus, path, steps=(), how=read_scores):
    """The scores of the documents that reach a step after others."""
    READ[0] = lambda texts: how(path, texts)
    return select(corpus, "a", [*steps, Reading()]).outcomes[-1].chosen.scores


def score_of(text):
    return int(text.split()[-1]) / 7


def write(path, rows):
    """Rows, each a mapping, in the format that the name says."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("key", ["digest", "where", "relative", "document"])
def test_every_format_and_every_name_of_a_document_give_the_same(corpus, tmp_path, suffix, key):
    """Rows in any order; those of validation documents are there, too, but for numbers, which they have none of."""
    train = list(documents(corpus, "a", "train"))
    expected = [score_of(document.text) for document in train]
    found = [*train, *(documents(corpus, "a", "valid") if key != "document" else ())]
    names = {
        "digest": lambda n, d: d.digest.hex(),
        "where": lambda n, d: d.where,
        "relative": lambda n, d: d.where.removeprefix(f"{tmp_path}/"),
        "document": lambda n, d: n,
    }
    rows = {names[key](n, d): score_of(d.text) for n, d in enumerate(found)}  # copies share a digest
    column = "where" if key == "relative" else key
    order = np.random.default_rng(1).permutation(len(rows))
    listed = [{column: name, "other": 1, "score": score} for name, score in rows.items()]
    write(tmp_path / f"s.{suffix}", [listed[n] for n in order])
    np.testing.assert_array_equal(read(corpus, tmp_path / f"s.{suffix}"), expected)
    np.testing.assert_array_equal(read(corpus, tmp_path / f"s.{suffix}", [FirstHalf()]), expected[::2])


def test_an_npy_is_in_the_order_of_all_training_documents(corpus, tmp_path):
    n = len(list(documents(corpus, "a", "train")))
    np.save(tmp_path / "s.npy", np.arange(n, dtype=np.float32))
    np.testing.assert_array_equal(read(corpus, tmp_path / "s.npy", [FirstHalf()]), np.arange(n)[::2])


def test_what_left_out_documents_lack_is_not_missed_and_labels_may_be_few(corpus, tmp_path):
    rows = [{"document": n, "score": n, "label": n % 2} for n in range(0, 40, 2)]
    write(tmp_path / "s.csv", rows)
    labels = read(corpus, tmp_path / "s.csv", how=read_labels)
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(labels)), np.arange(0, 40, 2))
    with pytest.raises(CorpusError, match=r"documents have no score, such as \S+a\.jsonl:\d+, .*a row for each"):
        read(corpus, tmp_path / "s.csv")


GOOD = [{"document": n, "score": n} for n in range(200)]


def changed(at, **values):
    return [{**row, **values} if n == at else row for n, row in enumerate(GOOD)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-3], r"3 of \d+ documents have no score, such as \S+a\.jsonl:\d+, .*row for each document"),
        (lambda rows: [*rows, rows[4], rows[2]], r"rows that name a document that an earlier row names: 2 \(row \d+"),
        (
            lambda rows: [*rows, {**rows[0], "document": 900}],
            r"rows that name no document of the domain by its ",
        ),
        (
            lambda rows: [{**rows[0], "score": "nan"}, *rows[1:]],
            r"rows that hold no finite score: 1 \(row 1\); ",
        ),
        (lambda rows: [{**rows[0], "score": "inf"}, *rows[1:]], r"rows that hold no finite score: 1 \(row 1"),
        (lambda rows: [{**rows[0], "score": ""}, *rows[1:]], r"rows that hold no finite score: 1 \(row 1"),
        (
            lambda rows: [{**row, "score": 0.5} for row in rows],
            r"score: is 0\.5 for all \d+ documents; ",
        ),
        (lambda rows: [{**rows[0], "score": "good"}, *rows[1:]], "row 1: score: got 'good'; expected a number"),
        (lambda rows: [{**rows[0], "document": "x"}, *rows[1:]], "row 1: document: got 'x'; expected a whole number"),
        (lambda rows: [{**rows[0], "document": -1}, *rows[1:]], "row 1: document: got -1; expected a whole number"),
        (lambda rows: [*rows, {**rows[0], "document": 2**64}], r"row \d+: document: got \d+; expected a whole number"),
        (
            lambda rows: [{"nr": 0, "score": 1}],
            "has the columns 'nr', 'score'; expected one of digest",
        ),
        (lambda rows: [{"document": 0, "value": 1}], "has no column 'score'; it has 'document', 'value'"),
        (lambda rows: [{"digest": "ab", "score": 1}], "row 1: digest: got 'ab'; expected 64 hexadecimal digits"),
        (
            lambda rows: [{"where": "b.jsonl:1", "score": 1}],
            "rows that name no document of the domain by its where",
        ),
    ],
)
def test_what_is_wrong_with_rows_is_said(corpus, tmp_path, change, message):
    n = len(list(documents(corpus, "a", "train")))
    write(tmp_path / "s.csv", change(GOOD[:n]))
    with pytest.raises(CorpusError, match=rf"^c\.yaml: domains\.a\.select\.0\.reading: \S*s\.csv: {message}"):
        read(corpus, tmp_path / "s.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.csv", b"", "can't be read: Empty CSV file"),
        ("s.csv", b"document,score\n", "has no row; expected some"),
        ("s.csv", b"document,score,score\n0,1,2\n", "has the column score twice; expected it once"),
        ("s.jsonl", b"", "has no row; expected some"),
        ("s.jsonl", b'{"document": 0, "score": 1}\n[1]\n', "2: isn't a JSON object on a line of its own"),
        ("s.jsonl", b'{"document": 0, "score": "1"}\n', "row 1: score: got '1'; expected a number"),
        ("s.jsonl", b'{"document": 0, "score": 1e999}\n', "rows that hold no finite score: 1 "),
        ("s.parquet", b"PAR1", "can't be read: "),
        ("s.npy", b"\x93NUMPY\x01\x00", "isn't an array of NumPy; expected a .npy as numpy.save writes it"),
        ("s.txt", b"1\n", r"isn't a kind of file that can be read; expected \.csv"),
        ("none.csv", None, "can't be read: "),
        ("none.npy", None, "can't be read: No such file"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(corpus, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=rf"^c\.yaml: domains\.a\.select\.0\.reading: \S*{name}:( |){message}"):
        read(corpus, tmp_path / name)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(3), r"has 3 rows; expected \d+, one for each training document"),
        (np.zeros((3, 2)), "expected an array of numbers in one dimension"),
        (np.array([{"a": 1}], object), "isn't an array of NumPy; expected a .npy"),
        ("nan", r"rows that hold no finite number: 1 \(row 3"),
        ("equal", "is 1 for all"),
    ],
)
def test_what_is_wrong_with_an_npy_is_said(corpus, tmp_path, values, message):
    n = len(list(documents(corpus, "a", "train")))
    if isinstance(values, str):
        values, which = np.ones(n), values
        values[2] = np.nan if which == "nan" else 1
    np.save(tmp_path / "s.npy", values)
    with pytest.raises(CorpusError, match=message):
        read(corpus, tmp_path / "s.npy")
