"""Derived corpora: exactly what was kept, written whole or not at all, and never taken for their source."""

import json
import os

import numpy as np
import pyarrow as pa
import pytest
from foretrain.core.errors import CorpusError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.corpus.document import Document, digest_of
from foretrain.datasets.corpus.documents import documents, raw_documents, source_digest
from foretrain.datasets.corpus.quality import inspect
from foretrain.datasets.selection.derived.leaks import LeakFinder
from foretrain.datasets.selection.derived.writing import derive
from foretrain.datasets.selection.selection import select
from foretrain.datasets.selection.step import Chosen, Step
from foretrain.datasets.tokens.prepare import prepare
from typing_extensions import override

WORDS = ("river", "stone", "night", "house", "water", "fire", "earth", "wind", "paper", "engine", "curve", "token")


def text(number: int, words: int = 60) -> str:
    rng = np.random.default_rng(number)
    return f"Number {number}: " + " ".join(rng.choice(WORDS, words))


def write(path, texts) -> None:
    path.write_text("".join(json.dumps({"body": one}) + "\n" for one in texts), encoding="utf-8")


class Half(Step):
    """Keeps every other document that reaches it."""

    name = "half"

    @override
    def select(self, texts, rng) -> Chosen:
        kept = np.arange(len(texts)) % 2 == 0
        return Chosen(kept, np.where(kept, 1.0, np.nan), {"auc": float("nan"), "groups": np.int64(3)})


class Nothing(Step):
    """Keeps no document."""

    name = "nothing"

    @override
    def select(self, texts, rng) -> Chosen:
        return Chosen(np.zeros(len(texts), bool), np.zeros(len(texts)))


@pytest.fixture
def made(tmp_path):
    """`made(steps)`: a corpus of 60 web pages, five of them twice, with a validation split of its own
    that repeats one page and half of another; 40 books with the split by hash; and a synthetic domain."""
    pages = [text(number) for number in range(60)]
    write(tmp_path / "web.jsonl", [*pages, *pages[:5], "  \n "])
    write(tmp_path / "valid.jsonl", [pages[7], f"{pages[9]} {text(999, 20)}", *(text(1000 + n) for n in range(8))])
    write(tmp_path / "books.jsonl", [text(2000 + number) for number in range(40)])

    def make(steps=None, folder=tmp_path) -> Corpus:
        steps = ["dedup", Half()] if steps is None else steps
        web = {"path": "web.jsonl", "validation_path": "valid.jsonl", "text_field": "body", "unique_tokens": "20B"}
        domains = {
            "Web pages": {**web, "max_epochs": 4, "select": steps},
            "books": {"path": "books.jsonl", "text_field": "body"},
            "toy": {"synthetic": {"kind": "zipf", "vocab_size": 64, "tokens": 20_000}},
        }
        return Corpus.from_mapping({"validation_share": 0.2, "domains": domains}, folder=folder)

    return make


def held(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_holds_what_is_kept_and_all_validation_text(made, tmp_path):
    corpus = made()
    derived = derive(corpus, tmp_path / "kept")
    again = Corpus.load(tmp_path / "kept" / "corpora.yaml")
    assert list(again.domains) == list(corpus.domains)
    assert not any(domain.select for domain in again.domains.values())
    for name in ("Web pages", "books"):
        kept = select(corpus, name).kept
        train = [document.text for document in documents(corpus, name, "train")]
        assert [one.text for one in documents(again, name, "train")] == [train[n] for n in np.flatnonzero(kept)]
        valid = [one.text for side, one in raw_documents(corpus, name, ("valid",)) if side == "valid"]
        assert [one.text for one in documents(again, name, "valid")] == valid
    assert derived.domains["books"].selection.kept.all()
    web = again.domains["Web pages"]
    share = derived.domains["Web pages"].selection.kept_share
    assert web.unique_tokens == pytest.approx(20e9 * share, rel=1e-9)
    assert web.max_epochs == 4
    assert again.domains["toy"] == corpus.domains["toy"]
    assert inspect(again).domains["Web pages"].valid_documents == 10  # type: ignore[union-attr]
    store = prepare(again, tmp_path / "tokens")
    assert set(store.domains) == set(corpus.domains)


def test_records_where_rows_were_and_what_they_were_made_from(made, tmp_path):
    corpus = made()
    derived = derive(corpus, tmp_path / "kept")
    packed = next((tmp_path / "kept").glob("web-pages*.train.jsonl.zst"))
    rows = [json.loads(line) for line in pa.input_stream(str(packed), compression="zstd").read().splitlines()]
    assert [row["source"] for row in rows] == [f"web.jsonl:{n + 1}" for n in range(0, 60, 2)]
    said = json.loads((tmp_path / "kept" / "selection.json").read_text())
    assert said == json.loads(json.dumps(derived.to_dict()))
    assert (said["kind"], said["keep"]) == ("dedup+half", derived.keep)
    web = said["domains"]["Web pages"]
    assert web["source_digest"] == source_digest(corpus, "Web pages")
    assert [step["step"] for step in web["steps"]] == ["dedup", "half"]
    assert (web["steps"][0]["documents"], web["steps"][1]["documents_kept"]) == (65, 30)
    assert (web["steps"][1]["auc"], web["steps"][1]["groups"]) == (None, 3)
    assert web["train"]["documents"] == 30


def test_is_never_taken_for_its_source(made, tmp_path):
    """Also where everything is kept."""
    plain = {"path": "books.jsonl", "text_field": "body"}
    corpus = Corpus.from_mapping({"domains": {"books": {**plain, "select": ["dedup"]}}}, folder=tmp_path)
    assert derive(corpus, tmp_path / "kept").keep == 1.0
    again = Corpus.load(tmp_path / "kept" / "corpora.yaml")
    assert source_digest(again, "books") != source_digest(corpus, "books")
    assert again.name == "corpus after dedup"


def test_equal_corpora_give_equal_bytes_from_anywhere(made, tmp_path, monkeypatch):
    derive(made(), tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    derive(made(folder="."), "two")
    one, two = held(tmp_path / "one"), held(tmp_path / "two")
    assert one == two


def test_examples_are_few_short_and_left_out(made, tmp_path):
    corpus = made()
    domain = derive(corpus, tmp_path / "kept").domains["Web pages"]
    every = {one.where.rpartition("/")[2]: one.text for one in documents(corpus, "Web pages", "train")}
    for number, outcome in enumerate(domain.selection.outcomes):
        examples = domain.examples[number]
        gone = {f"web.jsonl:{place + 1}" for place in outcome.reached[~outcome.chosen.kept]}
        assert len({one.where for one in examples}) == min(10, len(gone))
        assert {one.where for one in examples} <= gone
        assert all(one.text == every[one.where][:200] for one in examples)
    assert {one.score for one in domain.examples[1]} == {None}


def test_leaks_are_found_in_ready_made_splits_and_as_near_copies(made, tmp_path):
    derived = derive(made(["dedup"]), tmp_path / "kept")
    leaks = derived.domains["Web pages"].leaks
    assert (leaks.whole, leaks.near, leaks.whole_kept, leaks.near_kept) == (1, 1, 1, 1)
    assert leaks.where == ("web.jsonl:8", "web.jsonl:10")
    assert derived.domains["books"].leaks.whole == 0  # which a split by hash can't have


def test_thinned_leaks_still_find_long_copies():
    def document(number, words):
        return Document(text(number, words), "", digest_of(text(number, words)))

    finder = LeakFinder(capacity=400)
    for number in range(20):
        finder.add(document(number, 400))
    assert all(finder.near(document(number, 380)) for number in range(20))
    assert not any(finder.near(document(number, 380)) for number in range(20, 40))
    assert not finder.near(Document("short", "", digest_of("short")))


@pytest.mark.parametrize("stop", [0.1, 0.75, 0.85])
def test_an_interrupted_run_leaves_what_was_there(made, tmp_path, stop):
    derive(made(["dedup"]), tmp_path / "kept")
    before = held(tmp_path / "kept")

    def interrupt(_text, share):
        if share >= stop:
            raise KeyboardInterrupt

    for out in ("kept", "new"):
        with pytest.raises(KeyboardInterrupt):
            derive(made(), tmp_path / out, interrupt)
    assert held(tmp_path / "kept") == before
    assert not (tmp_path / "new").exists()
    derive(made(), tmp_path / "kept")
    assert held(tmp_path / "kept") != before


def test_a_step_that_keeps_nothing_writes_nothing(made, tmp_path):
    with pytest.raises(CorpusError, match=r"domains\.Web pages\.select\.1\.nothing: keeps none of 60 documents"):
        derive(made(["dedup", Nothing()]), tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_corpus_without_steps_is_refused(made, tmp_path):
    with pytest.raises(CorpusError, match="no domain states steps of a selection; expected some in one of Web pages"):
        derive(made([]), tmp_path / "kept")


@pytest.mark.parametrize(
    ("path", "out", "said"),
    [
        ("texts", "texts/kept", "outside the source"),
        ("texts", "texts", "holds other files"),
        ("texts/../texts/**/*.jsonl*", "texts/kept", "outside the source"),
        ("*/web.train.*", "kept", "outside the source"),
        ("texts/a.jsonl", "mine", "holds files, but no selection.json of a derived corpus"),
        ("texts/a.jsonl", "texts/a.jsonl", "is a file"),
    ],
)
def test_a_folder_that_is_not_for_it_is_refused_and_left_alone(tmp_path, path, out, said):
    (tmp_path / "texts").mkdir()
    write(tmp_path / "texts" / "a.jsonl", [text(number) for number in range(30)])
    (tmp_path / "texts" / "web.train.jsonl").write_bytes((tmp_path / "texts" / "a.jsonl").read_bytes())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "corpora.yaml").write_text("domains: {py: {builtin: python_source}}\n")
    web = {"path": path, "text_field": "body", "select": ["dedup"]}
    corpus = Corpus.from_mapping({"domains": {"web": web}}, folder=tmp_path)
    before = sorted(os.walk(tmp_path))
    with pytest.raises(CorpusError, match=said.replace(".", r"\.")):
        derive(corpus, tmp_path / out)
    assert sorted(os.walk(tmp_path)) == before


def test_tokens_beside_it_stay_where_they_are(made, tmp_path):
    """Proxies write them there; the folder could not be selected into again."""
    derive(made(["dedup"]), tmp_path / "kept")
    (tmp_path / "kept" / "corpora.tokens").mkdir()
    (tmp_path / "kept" / "corpora.tokens" / "tokens.json").write_text("{}")
    derive(made(), tmp_path / "kept")
    assert (tmp_path / "kept" / "corpora.tokens" / "tokens.json").read_text() == "{}"
    assert Corpus.load(tmp_path / "kept" / "corpora.yaml").name == "corpus after dedup+half"


def test_it_cannot_be_written_over_itself(made, tmp_path):
    derive(made(["dedup"]), tmp_path / "kept")
    domains = {"books": {"path": "books.train.jsonl.zst", "select": ["dedup"]}}
    inside = Corpus.from_mapping({"domains": domains}, folder=tmp_path / "kept")
    with pytest.raises(CorpusError, match="outside the source"):
        derive(inside, tmp_path / "kept")


def test_text_that_changes_meanwhile_is_noticed(made, tmp_path):
    def grow(said, share):
        if share >= 0.7 and not done:
            done.append(True)
            with open(tmp_path / "web.jsonl", "a", encoding="utf-8") as stream:
                stream.write(json.dumps({"body": "One more."}) + "\n")

    done: list[bool] = []
    with pytest.raises(CorpusError, match="the text changed while it was read"):
        derive(made(["dedup"]), tmp_path / "kept", grow)
    assert not (tmp_path / "kept").exists()
