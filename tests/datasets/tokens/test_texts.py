"""Further texts in a token store: what they hold, that they change nothing else, and what is said when one is lost."""

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, CorpusError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.provenance.provenance import GeneratedBy, Provenance
from foretrain.datasets.tokens.mixture import Mixture, stock_rows
from foretrain.datasets.tokens.prepare import prepare
from foretrain.datasets.tokens.store import TokenStore
from foretrain.datasets.tokens.texts import NewText, add_texts, linked_store, lost_texts, split_digest, text_rows
from hypothesis import given, settings
from hypothesis import strategies as st

CONTEXT = 8
SOURCE = {"kind": "zipf_markov", "vocab_size": 50, "tokens": 4_000}
CORPUS = {"domains": {name: {"synthetic": {**SOURCE, "seed": seed}} for seed, name in enumerate("ab")}}


def by(parent="0" * 64):
    return Provenance(
        origin="generator", generator=GeneratedBy(kind="self", digest="1" * 64, parent=parent, seed=7, generation=1)
    )


def samples(count, length=CONTEXT + 1, start=0):
    """Samples whose tokens say which sample they are of."""
    return np.repeat((start + np.arange(count) % 50)[:, None] % 50, length, 1)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return prepare(Corpus.from_mapping(CORPUS), tmp_path_factory.mktemp("base"))


@pytest.fixture
def folder(base, tmp_path):
    linked_store(base, tmp_path / "tokens")
    return tmp_path / "tokens"


def test_texts_come_back_beside_domains_that_stay_what_they_are(base, folder):
    add_texts(folder, [NewText("one", samples(20), by()), NewText("two", samples(3), by())])
    add_texts(folder, [NewText("Three!", samples(5), by())])
    store = TokenStore.open(folder)
    assert (store.digest, store.domains, store.texts) == (base.digest, ("a", "b"), ("Three!", "one", "two"))
    assert (text_rows(store, "one") == samples(20)).all()
    assert store.text("two").provenance == by()
    assert len({store.text_digest(key) for key in store.texts}) == 3
    store.verify()
    assert store.to_dict()["texts"]["one"]["provenance"]["generator"]["kind"] == "self"
    # the domains are the same files, and preparing the corpus again would lose the texts
    assert (folder / store.index.domains["a"].train.shards[0].file).stat().st_nlink > 1
    with pytest.raises(CorpusError, match="holds further texts"):
        prepare(Corpus.from_mapping(CORPUS), folder)
    assert linked_store(base, folder).texts == store.texts


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(1, 12))
def test_no_window_crosses_samples_and_none_is_left_out(count, length, context):
    from foretrain.datasets.tokens.store import Windows

    rows = np.arange(count * (length + 1)).reshape(count, length + 1)
    windows = Windows([rows.reshape(-1)], context, length + 1)
    assert len(windows) == count * (length // context)
    for window in windows.gather(np.arange(len(windows))):
        assert len(set(window // (length + 1))) == 1
        assert (np.diff(window) == 1).all()


def test_a_run_draws_its_shares_and_repeats_only_what_it_may(folder):
    add_texts(folder, [NewText("one", samples(40), by()), NewText("two", samples(40, start=40), by())])
    store = TokenStore.open(folder)
    drawn = Mixture(
        store, {"a": 1.0}, CONTEXT, 1_000, 3, {"a": 20 * CONTEXT, "two": 10 * CONTEXT}, texts={"one": 0.5, "two": 0.25}
    )
    used = drawn.account()
    assert list(used) == ["a", "one", "two"]
    assert [use.tokens / CONTEXT for use in used.values()] == pytest.approx([250, 500, 250], abs=2)
    assert [use.unique_tokens / CONTEXT for use in used.values()] == [20, 40, 10]
    rows = drawn.rows(0, 1_000)
    assert len(np.unique(rows[(rows == rows[:, :1]).all(1)], axis=0)) >= 40
    # of real text, the windows after a stock are none of it
    stock = {row.tobytes() for row in drawn.stock_rows(0)}
    assert stock == {row.tobytes() for row in stock_rows(store, "a", CONTEXT, 0, 20)}
    assert len(Mixture(store, {"a": 1.0}, CONTEXT, 9, 3, texts={"one": 1.0}).domains) == 1
    with pytest.raises(CorpusError, match=r"its training text holds 3\.99k tokens in windows of 9; expected 8\.08k"):
        stock_rows(store, "a", CONTEXT, 990, 20)


@pytest.mark.parametrize(
    ("texts", "error", "words"),
    [
        ({"none": 0.5}, CorpusError, "there is no text 'none'; those that are held: one"),
        ({"one": 1.5}, ConfigError, "texts: 'one': got 1.5; expected a share from 0 to 1"),
        ({"one": -0.5}, ConfigError, "texts: 'one': got -0.5"),
    ],
)
def test_shares_that_make_no_sense_are_refused(folder, texts, error, words):
    add_texts(folder, [NewText("one", samples(4), by())])
    with pytest.raises(error) as caught:
        Mixture(TokenStore.open(folder), {"a": 1.0}, CONTEXT, 9, 0, texts=texts)
    assert words in str(caught.value)


def test_a_generator_that_read_validation_text_is_refused(base, folder):
    parent = split_digest(base.index.domains["b"].valid)
    with pytest.raises(CorpusError, match="fitted to the validation text of 'b'"):
        add_texts(folder, [NewText("one", samples(4), by(parent))])
    assert TokenStore.open(folder).texts == ()


@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_a_lost_text_is_named_and_comes_back_only_as_it_was(folder, damage):
    add_texts(folder, [NewText("one", samples(9), by()), NewText("two", samples(4), by())])
    shard = folder / TokenStore.open(folder).text("one").shards[0].file
    if damage == "gone":
        shard.unlink()
    else:
        data = shard.read_bytes()
        shard.write_bytes(data[:-1] if damage == "cut" else bytes([data[0] ^ 1]) + data[1:])
    assert set(lost_texts(folder)) == {"one"}
    if damage != "other":  # of the same length: only reading it shows
        with pytest.raises(CorpusError, match="the text one that self 1111111111111111 wrote for generation 1 is lost"):
            TokenStore.open(folder)
    with pytest.raises(CorpusError, match="came out otherwise than it was"):
        add_texts(folder, [NewText("one", samples(9, start=1), by())])
    assert set(lost_texts(folder)) == {"one"}
    add_texts(folder, [NewText("one", samples(9), by())])
    assert lost_texts(folder) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NewText("a", samples(4), by()), "named as a domain is"),
        (NewText("one", np.zeros((0, 9)), by()), "has no sample"),
        (NewText("one", samples(4) + 50, by()), "expected ids below 50"),
    ],
)
def test_texts_that_make_no_sense_are_refused(folder, text, words):
    with pytest.raises(CorpusError, match=words):
        add_texts(folder, [text])
    assert TokenStore.open(folder).texts == ()
