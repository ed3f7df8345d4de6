import json
from pathlib import Path

import pytest
from foretrain.core.errors import CorpusError
from foretrain.datasets.corpus.builtin import LIMITS
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.corpus.quality import DomainReport, Overlap, SyntheticReport, inspect

CORPORA = Path(__file__).parents[3].parent / "shared" / "corpora"


def put(path: Path, texts) -> None:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")


def corpus_in(folder: Path, **domains) -> Corpus:
    return Corpus.from_mapping({"domains": domains}, "c.yaml", folder)


def domain(report, name: str) -> DomainReport:
    found = report.domains[name]
    assert isinstance(found, DomainReport)
    return found


def test_counts(tmp_path):
    put(tmp_path / "1.jsonl", [f"Text größer {n}" for n in range(100)] + ["", " "])
    put(tmp_path / "2.jsonl", ["Text  größer 7", "Text größer 8"])
    report = inspect(corpus_in(tmp_path, a={"path": "*.jsonl"}))
    found = domain(report, "a")
    assert (found.kind, found.files, found.documents, found.empty_documents) == ("path", 2, 102, 2)
    assert found.characters == 10 * 13 + 90 * 14 + 14 + 13
    assert found.bytes == found.characters + 2 * 102
    assert found.train_documents + found.valid_documents == 102
    assert found.train_bytes + found.valid_bytes == found.bytes
    assert found.duplicate_documents == 2
    assert found.duplicate_bytes_share == pytest.approx(31 / found.bytes)
    assert report.overlaps == ()


def test_leaks_are_named(tmp_path):
    put(tmp_path / "a.jsonl", [f"a {n}" for n in range(50)])
    put(tmp_path / "a.valid.jsonl", ["a 3", "a 4", "new"])
    put(tmp_path / "b.jsonl", ["a 4", "a 5", "own"])
    corpus = corpus_in(
        tmp_path,
        a={"path": "a.jsonl", "validation_path": "a.valid.jsonl"},
        b={"path": "b.jsonl", "validation_path": "a.valid.jsonl"},
    )
    report = inspect(corpus)
    assert report.overlaps == (
        Overlap("a", "train", "a", "valid", 2),
        Overlap("a", "train", "b", "train", 2),
        Overlap("a", "train", "b", "valid", 2),
        Overlap("a", "valid", "b", "train", 1),
        Overlap("a", "valid", "b", "valid", 3),
        Overlap("b", "train", "b", "valid", 1),
    )
    assert [overlap.leak for overlap in report.overlaps] == [True, False, True, True, False, True]
    leak = (
        "1 text of the validation split of a also in the training split of b: losses measured on that text are too low"
    )
    assert f"{leak}; take it out of training." in report.notes
    assert "2 texts of a also in b (train)." in report.notes


def test_texts_in_two_domains_do_not_leak_where_the_split_is_by_hash(tmp_path):
    texts = [f"text {n}" for n in range(200)]
    put(tmp_path / "a.jsonl", texts)
    put(tmp_path / "b.jsonl", texts)
    report = inspect(corpus_in(tmp_path, a={"path": "a.jsonl"}, b={"path": "b.jsonl"}))
    assert sum(overlap.documents for overlap in report.overlaps) == 200
    assert not any(overlap.leak for overlap in report.overlaps)


def test_notes_say_what_stands_out(tmp_path):
    put(tmp_path / "one.jsonl", ["only one document"])
    put(tmp_path / "bad.jsonl", ["caf\ufffd"] * 30 + [f"bad {n}" for n in range(60)])
    report = inspect(corpus_in(tmp_path, one={"path": "one.jsonl"}, bad={"path": "bad.jsonl"}))
    notes = "\n".join(report.notes)
    assert "one: no document falls to validation; give more documents or a validation_path." in notes
    assert "bad: the validation split has only " in notes
    assert "of its bytes repeat earlier documents." in notes
    assert "of its characters are U+FFFD: wrongly decoded?" in notes


def test_builtin_and_synthetic_domains(tmp_path):
    corpus = corpus_in(
        tmp_path, h={"builtin": "headers"}, s={"synthetic": {"kind": "zipf", "vocab_size": 2, "tokens": 9}}
    )
    report = inspect(corpus)
    assert (domain(report, "h").kind, domain(report, "h").files) == ("builtin", 0)
    assert domain(report, "h").duplicate_documents == 0
    synthetic = report.domains["s"]
    assert isinstance(synthetic, SyntheticReport)
    assert synthetic.to_dict() == {
        "kind": "synthetic",
        "vocab_size": 2,
        "tokens": 9.0,
        "entropy_nats": pytest.approx(0.6365, abs=1e-4),
        "unigram_entropy_nats": pytest.approx(0.6365, abs=1e-4),
    }
    assert LIMITS in report.notes


def test_a_domain_without_text_is_refused(tmp_path):
    put(tmp_path / "a.jsonl", ["", " "])
    with pytest.raises(CorpusError, match=r"c\.yaml: domains\.a: holds no document with text"):
        inspect(corpus_in(tmp_path, a={"path": "a.jsonl"}))


def test_it_is_plain_data_the_same_each_time_and_progress_is_told(tmp_path):
    put(tmp_path / "a.jsonl", [f"text {n}" for n in range(1200)])
    told = []
    corpus = corpus_in(tmp_path, a={"path": "a.jsonl"})
    first, second = inspect(corpus, lambda *step: told.append(step)).to_dict(), inspect(corpus).to_dict()
    assert json.dumps(first) == json.dumps(second)
    read = [(f"a: {count} documents", 0.0) for count in ("0", "500", "1,000", "1,200")]
    assert told == [*read, ("done", 1.0)]
    assert {"documents", "valid_bytes", "compression_ratio", "letters_share"} < set(first["domains"]["a"])
    assert "figures" not in first["domains"]["a"]


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the public corpora are not beside this checkout (shared/corpora)")
def test_two_public_domains():
    domains = {
        name: {"path": f"{name}.train.jsonl.gz", "validation_path": f"{name}.valid.jsonl.gz"}
        for name in ("speeches", "code_python")
    }
    report = inspect(corpus_in(CORPORA, **domains))
    speeches, code = domain(report, "speeches"), domain(report, "code_python")
    assert (speeches.train_documents, speeches.valid_documents) == (120, 4)
    assert (code.train_documents, code.valid_documents) == (558, 25)
    assert report.overlaps == ()
    assert code.figures.repeated_lines_share > 10 * speeches.figures.repeated_lines_share
    assert any(note.startswith("speeches: the validation split has only 4 documents") for note in report.notes)
