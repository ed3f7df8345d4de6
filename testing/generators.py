"""What a generator of text must do, however it writes: checks for a generator with its settings.

The checks fit it to a few kilobytes of sentences of their own, four times: settings that take seconds are right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from ..core.errors import UsageError
from ..datasets.generators.generator import FittedGenerator, Generator
from ..datasets.generators.reading import OneGenerator, generator_mapping

__all__ = ["CHECKS", "check_generator"]

_WORDS = ("moon", "tide", "river", "stone", "court", "law", "judge", "fine", "sees", "moves", "holds", "old", "small")
_DOCUMENTS, _LENGTH_BYTES = 6, 24
_OF_THE_TEXT = 0.5  # of the bytes written at least; of any bytes, one in fourteen is by chance


class Case:
    """A generator, and what it became when it was fitted to the checks' text."""

    def __init__(self, generator: Generator, length_bytes: int) -> None:
        self.generator, self.length_bytes = generator, length_bytes
        self.told: list[float] = []

    @cached_property
    def fitted(self) -> FittedGenerator:
        """Fitted once for all checks that don't fit again; `told` has the progress."""
        return self.generator.fit(_text(0), lambda text, share: self.told.append(share))

    def samples(self, seed: int = 0, fitted: FittedGenerator | None = None) -> list[bytes]:
        """What it writes with a seed."""
        return (fitted or self.fitted).sample(_DOCUMENTS, self.length_bytes, np.random.default_rng(seed))


Check = Callable[[Case], None]
"""Takes a case; raises AssertionError where the generator doesn't do what it must."""

CHECKS: list[Check] = []
"""Every check, in the order in which they are run."""


def _check(check: Check) -> Check:
    CHECKS.append(check)
    return check


def check_generator(generator: Generator | str | Mapping[str, Any], length_bytes: int = _LENGTH_BYTES) -> None:
    """Run every check on a generator.

    Args:
        generator: The generator, or what a space says: its name, or its name with its settings.
        length_bytes: Bytes of a document that it can write.

    Raises:
        ConfigError: There is no such generator.
        ValidationError: Its settings are wrong.
        ExceptionGroup: Some checks failed; each error in it carries the name of its check.

    >>> check_generator({"ngram": {"order": 3}})
    """
    case = Case(TypeAdapter(OneGenerator).validate_python(generator), length_bytes)
    failed = []
    for check in CHECKS:
        try:
            check(case)
        except Exception as error:
            error.add_note(f"{check.__name__} of {generator_mapping(case.generator)}")
            failed.append(error)
    if failed:
        raise ExceptionGroup(case.generator.name, failed)


@_check
def settings_are_read_as_they_are_written(case: Case) -> None:
    """A generator as plain values is JSON, from which an equal one is read."""
    written = json.loads(json.dumps(generator_mapping(case.generator), allow_nan=False))
    again = TypeAdapter(OneGenerator).validate_python(written)
    assert again == case.generator, f"{written} is read as {again!r}; expected {case.generator!r}"


@_check
def fitting_leaves_everything_as_it_was(case: Case) -> None:
    """Documents, settings and numpy's global random numbers; progress is a share that doesn't fall."""
    documents, settings, state = _text(0), generator_mapping(case.generator), _global_state()
    given = list(documents)
    fitted = case.generator.fit(given)
    assert given == documents, "the documents were changed"
    assert generator_mapping(case.generator) == settings, "the settings were changed"
    assert _global_state() == state, "numpy's global random numbers were drawn from or seeded"
    assert fitted.digest == case.fitted.digest, "equal settings and documents give another digest"
    assert case.samples(0, fitted) == case.samples(0), "equal settings and documents write other text"
    assert case.told == sorted(case.told), f"progress falls: {case.told}"
    assert all(0 <= share <= 1 for share in case.told), f"progress is {case.told}; expected shares from 0 to 1"


@_check
def digest_and_facts_have_the_promised_form(case: Case) -> None:
    """SHA-256 in hex, and plain finite values."""
    digest = case.fitted.digest
    assert re.fullmatch("[0-9a-f]{64}", digest), f"the digest is {digest!r}; expected 64 hexadecimal digits"
    json.dumps(dict(case.fitted.facts), allow_nan=False)


@_check
def samples_follow_their_random_numbers(case: Case) -> None:
    """Equal ones write equal text, whatever was written between; others write other text."""
    first, other, again = case.samples(0), case.samples(1), case.samples(0)
    assert again == first, "equal random numbers write other text after other samples"
    assert other != first, "other random numbers write the same text"


@_check
def samples_have_the_length_that_was_asked_for(case: Case) -> None:
    """So many documents of bytes, none empty and none longer; of one byte, too."""
    for documents, length in ((_DOCUMENTS, case.length_bytes), (1, 1)):
        samples = case.fitted.sample(documents, length, np.random.default_rng(0))
        assert len(samples) == documents, f"{len(samples)} documents; expected {documents}"
        assert all(type(sample) is bytes for sample in samples), "samples aren't bytes"
        sizes = {len(sample) for sample in samples}
        assert 0 < min(sizes) <= max(sizes) <= length, f"samples have {sorted(sizes)} bytes; expected 1 to {length}"


@_check
def what_it_writes_it_has_learned(case: Case) -> None:
    """Most bytes that it writes are those of its text."""
    known = set(b"".join(_text(0)))
    written = b"".join(case.fitted.sample(40, case.length_bytes, np.random.default_rng(0)))
    share = sum(byte in known for byte in written) / len(written)
    assert share >= _OF_THE_TEXT, f"{share:.0%} of the bytes written occur in its text; expected {_OF_THE_TEXT:.0%}"


@_check
def the_digest_follows_text_and_settings(case: Case) -> None:
    """Other text, or another value of a setting, gives another digest."""
    assert case.generator.fit(_text(1)).digest != case.fitted.digest, "other text gives the same digest"
    for other in _others(case.generator):
        assert other.fit(_text(0)).digest != case.fitted.digest, f"{other!r} has the digest of {case.generator!r}"


@_check
def what_cannot_be_done_is_refused(case: Case) -> None:
    """No text to learn from; no document, none of a byte, or longer ones than it writes."""
    for documents in ([], [b""]):
        _assert_refused(f"fit({documents})", lambda documents=documents: case.generator.fit(documents))
    asked = [(0, case.length_bytes), (-1, case.length_bytes), (1, 0)]
    if case.fitted.longest_bytes is not None:
        asked.append((1, case.fitted.longest_bytes + 1))
    for documents, length in asked:
        _assert_refused(
            f"sample({documents}, {length})",
            lambda documents=documents, length=length: case.fitted.sample(documents, length, np.random.default_rng(0)),
        )


def _global_state() -> list[Any]:
    """Where the random numbers stand that all of numpy's old functions share."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return [name, np.asarray(keys).tolist(), *rest]


def _assert_refused(what: str, call: Callable[[], object]) -> None:
    try:
        call()
    except UsageError:
        return
    raise AssertionError(f"{what} is answered; expected UsageError")


def _others(generator: Generator) -> Sequence[Generator]:
    """The generator with the first whole number of its settings, its seed aside, changed by one; none without such."""
    values = generator.model_dump()
    for name, value in values.items():
        if name == "seed" or type(value) is not int:
            continue
        for changed in (value + 1, value - 1):
            try:
                return [type(generator).model_validate({**values, name: changed})]
            except ValidationError:
                continue
    return []


def _text(seed: int) -> list[bytes]:
    """Some sentences."""
    rng = np.random.default_rng(seed)
    return [
        " ".join(f"The {' '.join(rng.choice(_WORDS, 4))} number {rng.integers(100)}." for _ in range(10)).encode()
        for _ in range(_DOCUMENTS)
    ]
