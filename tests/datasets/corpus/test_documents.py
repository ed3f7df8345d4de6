import gzip
import hashlib
import json
import os
import unicodedata
from pathlib import Path

import pytest
from foretrain.core.errors import CorpusError, UsageError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.corpus.document import digest_of, normalised
from foretrain.datasets.corpus.documents import documents, files_of, is_validation, raw_documents, source_digest
from hypothesis import given
from hypothesis import strategies as st

TEXTS = [f"document number {n}" for n in range(400)]


def put(path: Path, texts) -> None:
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    path.write_bytes(gzip.compress(lines.encode(), mtime=0) if path.suffix == ".gz" else lines.encode())


def corpus_in(folder: Path, share: float = 0.1, **domains) -> Corpus:
    return Corpus.from_mapping({"validation_share": share, "domains": domains}, "c.yaml", folder)


def sides(corpus: Corpus, name: str = "a") -> tuple[list[str], list[str]]:
    return tuple([document.text for document in documents(corpus, name, side)] for side in ("train", "valid"))


def test_the_two_sides_make_up_the_domain(tmp_path):
    put(tmp_path / "a.jsonl.gz", TEXTS)
    train, valid = sides(corpus_in(tmp_path, a={"path": "a.jsonl.gz"}))
    assert not set(train) & set(valid)
    assert sorted(train + valid) == sorted(TEXTS)
    assert 20 < len(valid) < 60
    assert train == [text for text in TEXTS if text in set(train)]  # in the order of the file


def test_what_a_document_carries(tmp_path):
    put(tmp_path / "a.jsonl", ["", "  two \n words "])
    (document,) = documents(corpus_in(tmp_path, share=0, a={"path": "a.jsonl"}), "a", "train")
    assert document.text == "  two \n words "
    assert document.where == f"{tmp_path / 'a.jsonl'}:2"
    assert document.digest == hashlib.sha256(b"two words").digest()


def test_the_split_is_the_same_for_any_order_domain_and_spelling(tmp_path):
    put(tmp_path / "a.jsonl", TEXTS)
    put(tmp_path / "b.jsonl.gz", [f"\n{text.replace(' ', '  ')} " for text in reversed(TEXTS)])
    corpus = corpus_in(tmp_path, a={"path": "a.jsonl"}, b={"path": "b.jsonl.gz"})
    for first, second in zip(sides(corpus, "a"), sides(corpus, "b"), strict=True):
        assert sorted(first) == sorted(map(normalised, second))


def test_a_larger_share_only_moves_documents_from_training_to_validation(tmp_path):
    put(tmp_path / "a.jsonl", TEXTS)
    small, large = (set(sides(corpus_in(tmp_path, share=share, a={"path": "a.jsonl"}))[1]) for share in (0.05, 0.2))
    assert small < large


def test_a_ready_made_split_is_taken_as_it_is(tmp_path):
    put(tmp_path / "a.train.jsonl", TEXTS)
    put(tmp_path / "a.valid.jsonl", TEXTS[:3])
    corpus = corpus_in(tmp_path, a={"path": "a.train.jsonl", "validation_path": "a.valid.jsonl"})
    assert sides(corpus) == (TEXTS, TEXTS[:3])
    (tmp_path / "a.valid.jsonl").unlink()
    for side in ("train", "valid"):
        with pytest.raises(
            CorpusError, match=r"c\.yaml: domains\.a\.validation_path: got 'a\.valid\.jsonl'; there is no"
        ):
            list(documents(corpus, "a", side))


def test_a_file_on_both_sides_is_refused(tmp_path):
    """`path: data` beside `validation_path: data/valid.jsonl` trains on all that it validates on."""
    (tmp_path / "data").mkdir()
    put(tmp_path / "data" / "train.jsonl", TEXTS)
    put(tmp_path / "data" / "valid.jsonl", ["new"])
    corpus = corpus_in(tmp_path, a={"path": "data", "validation_path": "data/../data/valid.jsonl"})
    for side in ("train", "valid"):
        with pytest.raises(
            CorpusError, match=r"a\.validation_path: .*valid\.jsonl is read for training, too, by .*\.path"
        ):
            list(documents(corpus, "a", side))


def test_folders_of_text_files(tmp_path):
    for n in range(50):
        (tmp_path / "t" / str(n % 3)).mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / str(n % 3) / f"{n:02}.txt").write_text(f"text {n}\n" if n else "", encoding="utf-8")
    train, valid = sides(corpus_in(tmp_path, a={"path": "t"}))
    assert len(train) + len(valid) == 49
    assert train[:2] == ["text 3\n", "text 6\n"]


def test_raw_documents_come_with_blank_ones(tmp_path):
    put(tmp_path / "a.jsonl", ["x", " ", None])
    corpus = corpus_in(tmp_path, share=0, a={"path": "a.jsonl"})
    assert [(side, doc.text) for side, doc in raw_documents(corpus, "a", ("train", "valid"))] == [
        ("train", "x"),
        ("train", " "),
        ("train", ""),
    ]


@pytest.mark.parametrize(
    ("texts", "share", "side", "fragment"),
    [
        (["", " \n"], 0.1, "train", "c.yaml: domains.a: holds no document with text; expected at least one"),
        (["a"], 0.0, "valid", "validation_share is 0; expected a share above 0, or a validation_path"),
        (
            ["a", "b", "c"],
            0.0001,
            "valid",
            "none of 3 documents falls to validation, with a validation_share of 0.0001",
        ),
    ],
)
def test_a_side_without_documents_is_an_error(texts, share, side, fragment, tmp_path):
    put(tmp_path / "a.jsonl", texts)
    with pytest.raises(CorpusError) as caught:
        list(documents(corpus_in(tmp_path, share=share, a={"path": "a.jsonl"}), "a", side))
    assert fragment in str(caught.value)


def test_a_domain_that_falls_to_validation_as_a_whole(tmp_path):
    text = next(text for text in TEXTS if is_validation(digest_of(text), 0.1))
    put(tmp_path / "a.jsonl", [text])
    with pytest.raises(CorpusError, match="all 1 documents fall to validation"):
        list(documents(corpus_in(tmp_path, a={"path": "a.jsonl"}), "a", "train"))


def test_calls_that_cannot_be_answered(tmp_path):
    corpus = corpus_in(tmp_path, a={"synthetic": {"kind": "zipf"}})
    with pytest.raises(CorpusError, match="no domain 'b'; the domains are a"):
        documents(corpus, "b", "train")
    with pytest.raises(UsageError, match="expected train or valid"):
        documents(corpus, "a", "test")  # type: ignore[arg-type]
    with pytest.raises(CorpusError, match=r"domains\.a: is synthetic and has tokens, not documents"):
        list(documents(corpus, "a", "train"))
    assert files_of(corpus, "a", "train") == []


# the digest of a document

text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)
blanks = st.text(alphabet=" \t\r\n\u00a0\u2003", min_size=1, max_size=3)


@given(text)
def test_normalising_is_done_once(text):
    assert normalised(normalised(text)) == normalised(text)


@given(st.lists(st.text(alphabet="aäö\u0301é-", min_size=1, max_size=6), max_size=5), st.data())
def test_white_space_and_composition_do_not_matter(words, data):
    spread = data.draw(blanks) + "".join(word + data.draw(blanks) for word in words)
    assert digest_of(spread) == digest_of(" ".join(words))
    assert digest_of(unicodedata.normalize("NFD", spread)) == digest_of(spread)


@given(text, text)
def test_other_words_are_another_document(first, second):
    assert (digest_of(first) == digest_of(second)) == (normalised(first) == normalised(second))


@given(text, st.floats(0, 0.5))
def test_the_split_is_the_rule_that_the_notes_state(text, share):
    digest = hashlib.sha256(normalised(text).encode()).hexdigest()
    assert is_validation(digest_of(text), share) == (int(digest[:8], 16) % 10_000 < round(share * 10_000))


# the digest of a source


def test_a_digest_follows_content_not_place_or_time(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder / "t").mkdir(parents=True)
        put(tmp_path / folder / "t" / "a.jsonl", TEXTS)
    os.utime(tmp_path / "two" / "t" / "a.jsonl", (1, 1))
    first, second = (corpus_in(tmp_path / folder, a={"path": "t"}) for folder in ("one", "two"))
    assert source_digest(first, "a") == source_digest(second, "a")
    assert len(source_digest(first, "a")) == 64


def test_a_digest_changes_with_whatever_changes_the_documents(tmp_path):
    put(tmp_path / "a.jsonl", TEXTS)
    put(tmp_path / "b.jsonl", TEXTS[1:])
    (tmp_path / "t").mkdir()
    put(tmp_path / "t" / "a.jsonl", TEXTS)
    put(tmp_path / "t" / "b.jsonl", TEXTS[1:])
    kinds = [
        {"path": "a.jsonl"},
        {"path": "b.jsonl"},
        {"path": "t"},
        {"path": "a.jsonl", "text_field": "body"},
        {"path": "a.jsonl", "validation_path": "b.jsonl"},
        {"path": "b.jsonl", "validation_path": "a.jsonl"},
        {"synthetic": {"kind": "zipf"}},
        {"synthetic": {"kind": "zipf", "seed": 1}},
        {"builtin": "headers"},
    ]
    digests = [source_digest(corpus_in(tmp_path, a=kind), "a") for kind in kinds]
    digests.append(source_digest(corpus_in(tmp_path, share=0.2, a=kinds[0]), "a"))
    assert len(set(digests)) == len(digests)
    # what only a plan needs doesn't count
    assert source_digest(corpus_in(tmp_path, a={**kinds[0], "unique_tokens": "1B"}), "a") == digests[0]
