"""What keeps bad generators out of training: those that write one string over and over, that ignore their latent code,
or that were fitted to the text that losses are measured on."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ...core.errors import UsageError
from ...core.units import shown
from ..corpus.corpus import Corpus
from ..corpus.document import digest_of
from ..corpus.documents import documents

__all__ = [
    "LEAST_KL_NATS_PER_BYTE",
    "LEAST_NATS_PER_BYTE",
    "checked_samples",
    "collapsed",
    "refuse_held_out",
    "validation_digests",
]

LEAST_NATS_PER_BYTE = 0.2
"""Nats per byte that samples hold at least, as DEFLATE codes them: real text of 2 to 900 kB has 1.3 to 2.8, pages of
boilerplate that repeat the same lines .3, a kilobyte or more of one repeated string .1 or less."""

LEAST_KL_NATS_PER_BYTE = 1e-3
"""Nats per byte that a latent code holds at least: under it a decoder writes as if there were none (posterior collapse,
Bowman et al. 2016, "Generating sentences from a continuous space", section 3)."""

_NATS_PER_BYTE = 5.545177444479562  # 8 ln 2: nats that a byte of code holds
_SHORTEST_BYTES = 16  # of a document that is the same as another by more than chance
_SHOWN_BYTES = 24


def collapsed(samples: Sequence[bytes], facts: Mapping[str, Any]) -> str | None:
    """Why text of a generator isn't fit to be trained on, in words; None where it is.

    Args:
        samples: Documents that it wrote. Half a kilobyte or less may be too little to show that one string is
            repeated, unless all are the same.
        facts: What the fitted generator says of itself: `kl_nats_per_byte`, where it has a latent code, is held against
            `LEAST_KL_NATS_PER_BYTE`; `collapsed`, where it knows, is believed.

    >>> print(collapsed([b"and the " * 200], {}))
    it writes one string again and again (0.073 nats per byte): b'and the and the and the '...
    """
    kl_nats = facts.get("kl_nats_per_byte")
    if kl_nats is not None and not kl_nats >= LEAST_KL_NATS_PER_BYTE:
        return (
            f"its KL is {kl_nats:.2g} nats per byte, expected {LEAST_KL_NATS_PER_BYTE:g} at least: what it writes "
            "doesn't depend on its latent code"
        )
    if facts.get("collapsed"):
        return "it says of itself that it has collapsed: all that it writes is alike, or independent of its latent code"
    filled = [sample for sample in samples if sample]
    if not filled:
        return "it writes nothing"
    beginning = f"{filled[0][:_SHOWN_BYTES]!r}{'...' * (len(filled[0]) > _SHOWN_BYTES)}"
    nats = _deflated_nats_per_byte(b"".join(filled))
    if nats < LEAST_NATS_PER_BYTE:
        return f"it writes one string again and again ({nats:.2g} nats per byte): {beginning}"
    if len(filled) > 1 and len(set(filled)) == 1 and len(filled[0]) >= _SHORTEST_BYTES:
        return f"all {len(filled)} samples are the same: {beginning}"
    return None


def checked_samples(samples: Sequence[bytes], facts: Mapping[str, Any], where: str) -> Sequence[bytes]:
    """Return the samples of a generator, if they are fit to be trained on.

    Args:
        samples: Documents that it wrote.
        facts: The fitted generator's.
        where: The generator, as the message calls it, such as `generations: generator vae`.

    Raises:
        UsageError: They aren't, by `collapsed`.
    """
    why = collapsed(samples, facts)
    if why is not None:
        raise UsageError(
            f"{where}: {why}; nothing is trained on this; fit it to more text or for longer, sample at a higher "
            "temperature, or take another generator"
        )
    return samples


def validation_digests(corpus: Corpus) -> frozenset[bytes]:
    """The digests (32 bytes each, `digest_of`) of all validation documents of a corpus, those of synthetic domains
    aside, which have no documents. Raises CorpusError for text that can't be read.
    """
    read = [name for name in corpus.domains if corpus.domain(name).synthetic is None]
    return frozenset(document.digest for name in read for document in documents(corpus, name, "valid"))


def refuse_held_out(texts: Iterable[bytes], held_out: Collection[bytes], where: str) -> None:
    """Refuse text that a generator is to be fitted to, if a document of it is held out for validation.

    A model that is trained on what such a generator writes has seen the text that its loss is measured on.

    Args:
        texts: Whole documents, UTF-8. A part of a held-out document isn't found.
        held_out: Digests, of `validation_digests`.
        where: What is fitted, as the message calls it, such as `generations: generator ngram`.

    Raises:
        UsageError: Some documents are held out; the message says how many and shows the first.
    """
    texts = list(texts)
    found = [text for text in texts if digest_of(text.decode(errors="replace")) in held_out]
    if found:
        first = shown(found[0].decode(errors="replace")[:60])
        raise UsageError(
            f"{where}: {len(found)} of {len(texts)} documents that it is to learn from are validation text, the first "
            f"of them {first}; expected training documents only"
        )


def _deflated_nats_per_byte(text: bytes) -> float:
    """Length of the text in DEFLATE's code, what any text costs aside, in nats per byte."""
    return (len(zlib.compress(text)) - len(zlib.compress(b""))) * _NATS_PER_BYTE / len(text)
