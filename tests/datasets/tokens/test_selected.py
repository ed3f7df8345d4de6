"""Stores of selected text: what is in them, what stays as it is, and when they are made anew."""

import json

import numpy as np
import pytest
from foretrain.core.errors import CorpusError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.selection.named import NamedSelection
from foretrain.datasets.selection.registry import _STEPS
from foretrain.datasets.selection.step import Chosen, Step
from foretrain.datasets.tokens.mixture import Mixture
from foretrain.datasets.tokens.prepare import prepare
from foretrain.datasets.tokens.store import TokenStore
from pydantic import Field


class Longest(Step):
    """Keeps documents of at least so many bytes, or those that a file names by number."""

    least: int = Field(default=0)
    listed: str | None = Field(default=None)

    def inputs(self, folder):
        return [folder / self.listed] if self.listed else []

    def select(self, texts, rng):
        kept = texts.sizes_bytes >= self.least
        if self.listed:
            kept = np.isin(np.arange(len(texts)), json.loads((texts.folder / self.listed).read_text()))
        return Chosen(kept, kept.astype(float))


@pytest.fixture(autouse=True)
def longest():
    """The step `longest`, for these tests only."""
    _STEPS.all()
    Longest.name = "longest"
    _STEPS.add("longest", Longest)
    yield
    del _STEPS._members["longest"], _STEPS._from["longest"]


@pytest.fixture
def corpus(tmp_path):
    """`corpus(**domain)`: `web`, 60 short documents and 60 long ones in turn."""
    texts = [f"document {number} " + "word " * (8 if number % 2 else 40) for number in range(120)]
    (tmp_path / "web.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    def make(tokenizer=None, **domain):
        raw = {"domains": {"web": {"path": "web.jsonl", **domain}}, "validation_share": 0.2}
        return Corpus.from_mapping({**raw, "tokenizer": tokenizer or {"kind": "bytes"}}, folder=tmp_path)

    return make


def named(*steps, kind="long", domains=None):
    return NamedSelection(kind, steps, lambda number, step: f"space.yaml:9: selections.0.select.{number}", domains)


def documents(store, split="train", selection=None):
    text = store.tokenizer.decode(np.concatenate(store._map("web", split, selection)))
    return text[:-1].split("\0")


LONG = {"longest": {"least": 100}}


def test_training_text_is_what_the_steps_keep_and_validation_text_stays(corpus, tmp_path):
    whole = prepare(corpus(), tmp_path / "whole")
    store = prepare(corpus(select=[LONG]), tmp_path / "out")
    assert documents(store) == [text for text in documents(whole) if len(text) >= 100]
    assert documents(store, "valid") == documents(whole, "valid")
    assert store.index.domains["web"].source_digest != whole.index.domains["web"].source_digest
    # A derived store is never taken for its source, nor the other way round.
    assert prepare(corpus(), tmp_path / "out").digest == whole.digest


def test_the_tokenizer_is_learned_before_any_selection(corpus, tmp_path):
    bpe = {"kind": "bpe", "vocab_size": 300}
    whole, part = (prepare(corpus(bpe, **more), tmp_path / str(n)) for n, more in enumerate(({}, {"select": [LONG]})))
    assert part.tokenizer.digest == whole.tokenizer.digest
    assert part.count("web", "train") < whole.count("web", "train")


def test_selections_are_held_beside_the_text_which_stays_as_it_is(corpus, tmp_path):
    plain = prepare(corpus(), tmp_path / "plain")
    long, every = named(Longest(least=100)), named(Longest(), kind="every")
    store = prepare(corpus(), tmp_path / "out", selections=[long, every])
    assert (tmp_path / "plain/tokens.json").read_text().count("selections") == 0
    assert store.digest == plain.digest
    assert store.selections == {every.key: "every", long.key: "long"}
    assert documents(store, selection=long.key) == [text for text in documents(plain) if len(text) >= 100]
    sizes = [len(text) for text in documents(plain)]
    assert store.kept_share("web", long.key) == pytest.approx(sum(s for s in sizes if s >= 100) / sum(sizes))
    assert store.count("web", "train", long.key) < store.count("web", "train")
    # What keeps everything shares its shards with the text.
    assert store.index.domains["web"].selections[every.key].shards == store.index.domains["web"].train.shards
    assert len(store.index.files()) == len(set(store.index.files())) == 4
    mixture = Mixture(store, {"web": 1.0}, 32, 200, 0, selection=long.key)
    assert mixture.account()["web"].unique_tokens == (store.count("web", "train", long.key) - 1) // 32 * 32
    with pytest.raises(CorpusError, match=r"no selection 'x'; those that are held: every-.*, long-"):
        store.windows("web", "train", 32, "x")


def test_selections_of_other_designs_stay_and_only_what_changed_is_redone(corpus, tmp_path):
    (tmp_path / "kept.json").write_text(json.dumps([*range(40)]))
    long, listed = named(Longest(least=100)), named(Longest(listed="kept.json"), kind="listed")
    first = prepare(corpus(), tmp_path / "out", selections=[long])
    second = prepare(corpus(), tmp_path / "out", selections=[listed])
    assert [*second.selections] == [listed.key, long.key]
    assert second.selection_digest(long.key) == first.selection_digest(long.key)
    (tmp_path / "kept.json").write_text(json.dumps([*range(50)]))
    third = prepare(corpus(), tmp_path / "out", selections=[listed])
    assert third.selection_digest(listed.key) != second.selection_digest(listed.key)
    assert third.selection_digest(long.key) == first.selection_digest(long.key)
    # Steps of the corpus itself come first; what was selected of another text is gone.
    (tmp_path / "kept.json").write_text(json.dumps([*range(20)]))
    on_top = prepare(corpus(select=[LONG]), tmp_path / "out", selections=[listed])
    assert [*on_top.selections] == [listed.key]
    assert set(documents(on_top, selection=listed.key)) < set(documents(on_top))
    assert TokenStore.open(tmp_path / "out").selections == on_top.selections


def test_a_selection_that_leaves_less_than_a_window_names_domain_step_and_what_is_left(corpus, tmp_path):
    texts = documents(prepare(corpus(), tmp_path / "out"))
    shortest = min(range(len(texts)), key=lambda number: len(texts[number]))
    (tmp_path / "kept.json").write_text(f"[{shortest}]")
    left = rf"{len(texts[shortest])} of [\d,]+ bytes, of which training has \d\d tokens in 1 documents"
    step = {"longest": {"listed": "kept.json"}}
    with pytest.raises(CorpusError, match=rf"domains\.web\.select\.1\.longest: keeps {left}; expected at least 129"):
        prepare(corpus(select=[{"longest": {"least": 1}}, step]), tmp_path / "new")
    assert not [*(tmp_path / "new").glob("*.bin")]
    with pytest.raises(CorpusError, match=rf"space\.yaml:9: selections\.0\.select\.0: domain web: keeps {left}"):
        prepare(corpus(), tmp_path / "out", selections=[named(Longest(listed="kept.json"))])
    assert documents(TokenStore.open(tmp_path / "out")) == texts
