"""The generator `self`: there without plugins and without torch, the same from the same text, and it learns."""

import subprocess
import sys
from copy import copy
from itertools import pairwise

import numpy as np
import pytest
from foretrain.core.errors import UsageError
from foretrain.datasets.generators.reading import generator_mapping
from foretrain.datasets.generators.registry import generators
from foretrain.datasets.watermark.green import Watermark
from foretrain.proxies.sampling.generator import SelfGenerator
from foretrain.proxies.sampling.packed import DOMAIN, packed_store

SMALL = {"width": 16, "depth": 1, "context_length": 16, "tokens": 20_000, "batch_sequences": 8}
CYCLE = b"abcdefgh"
DOCUMENTS = [(CYCLE * 20)[start : start + 120] for start in range(8)] * 4


@pytest.fixture(scope="module")
def fitted():
    """One that has learned a cycle of eight letters."""
    return SelfGenerator(**SMALL).fit(DOCUMENTS)


def test_it_is_found_by_name_without_plugins_and_without_torch(plain_environment):
    assert generators()["self"] is SelfGenerator
    program = (
        "import sys; from foretrain.datasets.generators.registry import generators; "
        "print(generators()['self'](watermark={'key': '0123456789abcdef'}).sampling.top_p, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**plain_environment, "FORETRAIN_NO_PLUGINS": "1"},
        capture_output=True,
        encoding="utf-8",
    )
    assert (done.stdout, done.returncode) == ("1.0 False\n", 0), done.stderr


def test_it_learns_and_writes_documents_of_the_length_asked_for(fitted):
    written = fitted.sample(200, 17, np.random.default_rng(0))
    assert len(written) == 200
    assert all(0 < len(text) <= 17 and b"\0" not in text for text in written)
    assert sum(len(text) == 17 for text in written) > 100
    follows = dict(zip(CYCLE, CYCLE[1:] + CYCLE[:1], strict=True))
    right = [follows[a] == b for text in written for a, b in pairwise(text) if a in follows]
    assert np.mean(right) > 0.9
    assert fitted.facts["nats_per_byte"] < 0.5
    assert fitted.longest_bytes == 17


def test_documents_that_end_inside_a_window_begin_another(fitted):
    """Bytes are neither lost nor invented: nearly as many as windows have, but for ends of documents."""
    written = fitted.sample(1000, 17, np.random.default_rng(1))
    shorter = [text for text in written if len(text) < 17]
    assert shorter, "documents of 120 bytes end in every seventh window"
    pairs = [len(a) + len(b) for a, b in pairwise(written) if len(a) < 17 and len(b) < 17]
    assert 16 in pairs


def test_equal_text_gives_an_equal_generator_and_settings_count(fitted):
    again = SelfGenerator(**SMALL).fit(DOCUMENTS)
    assert again.digest == fitted.digest
    one, other = (each.sample(5, 17, np.random.default_rng(3)) for each in (fitted, again))
    assert one == other
    assert fitted.sample(5, 17, np.random.default_rng(4)) != one
    short = {**SMALL, "tokens": 128}
    mark = Watermark(key="0123456789abcdef")
    changes = [{}, {"seed": 1}, {"temperature": 0.5}, {"top_p": 0.5}, {"watermark": mark}, {"lr": 0.01}]
    digests = {SelfGenerator(**{**short, **change}).fit(DOCUMENTS).digest for change in changes}
    digests.add(SelfGenerator(**short).fit(DOCUMENTS[1:]).digest)
    assert len(digests) == 7
    assert generator_mapping(SelfGenerator(watermark=mark))["self"]["watermark"]["key"] == mark.fingerprint


@pytest.mark.parametrize(("documents", "length"), [(0, 5), (1, 0), (1, 18)])
def test_lengths_that_it_cannot_write_are_refused(fitted, documents, length):
    with pytest.raises(UsageError, match="of 1 to 17 bytes: the context of 16 and one more"):
        fitted.sample(documents, length, np.random.default_rng(0))


def test_a_proxy_that_writes_only_ends_of_documents_is_named(fitted):
    silent = copy(fitted)
    silent._starts = np.zeros(1, np.uint8)
    with pytest.raises(UsageError, match="nothing but ends of documents"):
        silent.sample(1, 1, np.random.default_rng(0))


def test_text_that_it_cannot_learn_from_is_refused():
    with pytest.raises(UsageError, match="got 31 bytes; expected 34 at least"):
        SelfGenerator(**SMALL).fit([b"a" * 30])
    with pytest.raises(UsageError, match="got 0 bytes"):
        SelfGenerator(**SMALL).fit([b""])
    with pytest.raises(UsageError, match=r"diverged at step .*; expected a lower lr"):
        SelfGenerator(**{**SMALL, "lr": 100.0}).fit(DOCUMENTS)


@pytest.mark.parametrize("change", [{"temperature": 0, "top_p": 0}, {"width": 4}, {"width": 20}, {"tokens": 0}])
def test_settings_that_make_no_sense_are_refused(change):
    with pytest.raises(ValueError, match=next(reversed(change))):
        SelfGenerator(**change)


def test_documents_are_packed_whole_and_the_last_are_held_out(tmp_path):
    store = packed_store([b"abc", b"", b"\xff\xfe" * 40], tmp_path / "s", 8)
    store.verify()
    assert (store.count(DOMAIN, "train"), store.count(DOMAIN, "valid")) == (76, 9)
    assert store.windows(DOMAIN, "train", 8)[0].tolist() == [97, 98, 99, 0, 255, 254, 255, 254, 255]
    assert store.tokenizer is not None
