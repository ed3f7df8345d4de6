"""Every registered generator meets the contract of `foretrain.testing`, with settings of each kind."""

from typing import ClassVar

import numpy as np
import pytest
from foretrain.core.errors import UsageError
from foretrain.datasets.generators import registry
from foretrain.datasets.generators.generator import FittedGenerator, Generator
from foretrain.datasets.generators.registry import generators, register_generator
from foretrain.testing.generators import CHECKS, check_generator

CASES = [
    {"ngram": {"order": 1}},
    {"ngram": {"order": 8}},
    {"vae": {"window": 24, "batch": 8, "steps": 12, "width": 12, "latent": 2, "embedding": 4}},
    {"gan": {"window": 24, "batch": 4, "steps": 2, "width": 4, "blocks": 1, "noise": 3, "critic_steps": 1}},
    {"self": {"width": 16, "depth": 1, "context_length": 24, "tokens": 10_000}},
]


@pytest.mark.parametrize("generator", CASES, ids=lambda stated: next(iter(stated)))
def test_a_generator_meets_the_contract(generator):
    (name,) = generator
    if name not in generators():
        pytest.skip(f"{name} is announced by an entry point, which this installation doesn't have")
    if name != "ngram":
        pytest.importorskip("torch")
    check_generator(generator)


def test_every_generator_is_checked():
    assert {name for stated in CASES for name in stated} >= set(generators())


class FaultyFitted(FittedGenerator):
    """Draws bytes of its text, with one fault."""

    def __init__(self, text, digest, fault):
        self.text, self.digest, self.fault, self.written = text, digest, fault, 0
        self.facts = {"bytes": np.int64(5) if fault == "digest_and_facts_have_the_promised_form" else 5}

    def sample(self, documents, length_bytes, rng):
        """Write, wrongly in one respect."""
        if documents < 1 or length_bytes < 1:
            raise UsageError("sample: expected one document and one byte at least")
        self.written += 1
        if self.fault == "samples_follow_their_random_numbers":
            rng = np.random.default_rng(self.written)
        if self.fault == "samples_have_the_length_that_was_asked_for":
            length_bytes += 1
        drawn = rng.choice(np.frombuffer(self.text, np.uint8), (documents, length_bytes))
        if self.fault == "what_it_writes_it_has_learned":
            drawn += 128
        return [row.tobytes() for row in drawn]


class Faulty(Generator):
    """Learns which bytes there are."""

    fault: str
    size: int = 3
    calls: ClassVar[list[int]] = []

    def fit(self, documents, progress=None):
        """Learn, wrongly in one respect."""
        if self.fault == "fitting_leaves_everything_as_it_was" and documents:
            documents.sort(key=len, reverse=True)
            documents.pop()
        text = b"".join(documents)
        if not text and self.fault != "what_cannot_be_done_is_refused":
            raise UsageError("documents: got no text")
        size = 0 if self.fault == "the_digest_follows_text_and_settings" else self.size
        return FaultyFitted(text, f"{hash((text, size)) % 2**64:064x}", self.fault)


@pytest.fixture
def faulty():
    register_generator("faulty")(Faulty)
    yield
    registry._GENERATORS.remove("faulty")


def test_a_generator_without_a_fault_passes(faulty):
    check_generator({"faulty": {"fault": "none"}})


@pytest.mark.parametrize("fault", [check.__name__ for check in CHECKS][1:])
def test_a_fault_is_found(faulty, fault):
    with pytest.raises(ExceptionGroup) as caught:
        check_generator({"faulty": {"fault": fault}})
    assert any(note.startswith(f"{fault} of ") for error in caught.value.exceptions for note in error.__notes__)
