"""What generators are refused for: one repeated string, a latent code that is unused, text held out for validation."""

import json

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, UsageError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.corpus.documents import documents
from foretrain.datasets.generators.guards import checked_samples, collapsed, refuse_held_out, validation_digests
from foretrain.datasets.generators.members.ngram import NGramGenerator
from foretrain.datasets.generators.reading import OneGenerator, generator_mapping
from pydantic import TypeAdapter, ValidationError

TEXT = b"The tide follows the moon, and the moon takes no notice of the tide, whatever sailors may say of either. "


@pytest.mark.parametrize("unit", [b"a", b"the ", b"\x00\xff", TEXT])
@pytest.mark.parametrize("beginning", [b"", b"Once upon a time "])
def test_one_repeated_string_is_named(unit, beginning):
    samples = [beginning + (unit * 2_000)[number : number + 1_000] for number in range(4)]
    with pytest.raises(UsageError, match=r"^space: generator gan: it writes one string again and again .*; fit it to"):
        checked_samples(samples, {}, "space: generator gan")


def test_samples_that_are_all_the_same_are_named():
    assert collapsed([TEXT] * 3, {}).startswith(f"all 3 samples are the same: {TEXT[:24]!r}...")
    assert collapsed([b"", b""], {}) == "it writes nothing"


@pytest.mark.parametrize("order", [1, 2, 5])
def test_text_of_little_training_is_let_through(order):
    fitted = NGramGenerator(order=order).fit([TEXT])
    samples = fitted.sample(20, 200, np.random.default_rng(0))
    assert checked_samples(samples, fitted.facts, "ngram") is samples
    assert collapsed([TEXT], {}) is None  # alone it is no repetition
    assert collapsed([b"ab"] * 4, {}) is None  # may be chance
    coin = np.random.default_rng(0).integers(97, 99, 4_000).astype(np.uint8).tobytes()
    assert collapsed([coin], {}) is None


@pytest.mark.parametrize("kl", [0.0, 5e-4, float("nan")])
def test_a_latent_code_that_says_nothing_is_named(kl):
    assert "its KL is" in collapsed([TEXT], {"kl_nats_per_byte": kl})
    assert collapsed([TEXT], {"kl_nats_per_byte": 0.045, "collapsed": False}) is None
    assert "has collapsed" in collapsed([TEXT], {"kl_nats_per_byte": 0.045, "collapsed": True})


def test_text_held_out_is_refused_whatever_its_blanks(tmp_path):
    texts = [f"Document {number} on the moon and the tide." for number in range(40)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    described = {"domains": {"a": {"path": "a.jsonl"}, "b": {"synthetic": {"kind": "zipf_markov", "vocab_size": 64}}}}
    corpus = Corpus.from_mapping({**described, "validation_share": 0.2}, folder=tmp_path)
    held_out = validation_digests(corpus)
    train, valid = (
        [document.text.encode() for document in documents(corpus, "a", side)] for side in ("train", "valid")
    )
    assert len(held_out) == len(valid) == 40 - len(train) > 0
    refuse_held_out(train, held_out, "generator ngram")
    with pytest.raises(UsageError, match=r"generator ngram: 1 of \d+ documents .* validation text.*'Document"):
        refuse_held_out([*train, valid[0].replace(b" ", b"\n  ")], held_out, "generator ngram")


def test_a_generator_is_read_as_it_is_written_and_mistakes_are_named():
    read = TypeAdapter(OneGenerator).validate_python
    assert read("ngram") == read({"ngram": None}) == NGramGenerator()
    seventh = read({"ngram": {"order": 7, "seed": 3}})
    assert read(generator_mapping(seventh)) == seventh == read(seventh)
    for wrong, message in [
        ("ngrams", r"no such generator is installed; did you mean ngram\? expected one of"),
        ({"ngram": {"order": 9}}, "ngram.order: got 9; expected a number of at most 8"),
        ({"ngram": {"length": 9}}, "ngram.length: unknown key"),
        ({"ngram": {}, "gan": {}}, "expected the name of one generator"),
    ]:
        with pytest.raises((ConfigError, ValidationError), match=message):
            read(wrong)
