"""One yardstick for all generators: what their text is worth to a model that is trained on it, and how varied it is.

- *Reverse* cross-entropy: a model trained on samples, scored on real text it has not seen. It is low only where samples
  look like real text and cover all of it; text that leaves anything out pays for it here.
- *Forward* cross-entropy: a model trained on real text, scored on samples. Low where samples look like real text,
  however little of it they cover: one good sentence repeated scores well, hence never alone.
- *Mixed*: a model trained on real text and as much that was written, scored on real text. Beside it stands the loss of
  a model trained on the real text alone: what adding such text is worth.
- *Distinct n-grams*: the share of different ones among all n-grams of the samples, which falls with their number, so
  that texts of equal length are compared.

The same figures of real text that nobody trained on are what a perfect generator would get. All are in nats per byte;
the model is Witten and Bell's 5-gram unless another is given.

Sources: reverse and forward as in Zhao et al. 2018, "Adversarially regularized autoencoders" (arXiv:1706.04223, section
5, "reverse perplexity"), and Semeniuk et al. 2018, "On accurate evaluation of GANs for language generation"
(arXiv:1806.04936); distinct n-grams after Li et al. 2016, "A diversity-promoting objective function for neural
conversation models" (arXiv:1510.03055).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from ...core.errors import UsageError
from ..ngrams.witten_bell import fit
from .generator import FittedGenerator
from .guards import checked_samples

__all__ = ["DISTINCT_BYTES", "Evaluator", "Measured", "Scorer", "distinct_ngrams", "measure", "measure_generator"]

DISTINCT_BYTES = (4, 8, 16)
"""Lengths of the n-grams of which the share of different ones is told: about a syllable, a word, three words."""


class Scorer(Protocol):
    """A model that was trained on some text."""

    def nats_per_byte(self, documents: Sequence[bytes], /) -> np.ndarray:
        """The mean negative log probability of the bytes of each document `(n,)`, in nats."""
        ...


Evaluator = Callable[[Sequence[bytes]], Scorer]
"""Trains a model on documents, such as `foretrain.datasets.ngrams.witten_bell.fit`."""


@dataclass(frozen=True)
class Measured:
    """What the yardstick finds of a text. Losses are in nats per byte; `distinct` has a share by bytes of an n-gram.

    `mixed_nats` is the loss after real text and as much of this text, `real_nats` after the real text alone.
    """

    documents: int
    size_bytes: int
    reverse_nats: float
    forward_nats: float
    mixed_nats: float
    real_nats: float
    distinct: dict[int, float]

    @property
    def worth_nats(self) -> float:
        """What adding the text saves: positive where training on it beside real text lowers the loss."""
        return self.real_nats - self.mixed_nats

    def to_dict(self) -> dict[str, Any]:
        """As plain values, `worth_nats` included; the keys of `distinct` are text."""
        distinct = {str(length): share for length, share in self.distinct.items()}
        return {**asdict(self), "worth_nats": self.worth_nats, "distinct": distinct}


def measure(
    texts: Sequence[bytes], real: Sequence[bytes], valid: Sequence[bytes], evaluator: Evaluator = fit
) -> Measured:
    """Hold texts against real text.

    Args:
        texts: What a generator wrote, or real documents other than `real`, for comparison.
        real: Real training documents: what the generator was fitted to. As much of `texts` as there is of it is mixed
            with it; less, if there is less.
        valid: Real documents that neither it nor the evaluator is trained on.
        evaluator: Trains the model that judges.

    Raises:
        UsageError: One of them holds no text.

    >>> real = [b"the moon moves the tide. " * 4]
    >>> found = measure([b"the tide moves the moon. " * 4], real, [b"the moon moves. "])
    >>> found.reverse_nats > found.real_nats, found.distinct[4]
    (True, 0.2268041237113402)
    """
    texts, valid = [text for text in texts if text], [text for text in valid if text]
    for name, documents in (("texts", texts), ("real", real), ("valid", valid)):
        if not any(documents):
            raise UsageError(f"{name}: got no text; expected one byte at least")
    on_real = evaluator(real)
    mixed = [*real, *_first(texts, sum(map(len, real)))]
    return Measured(
        documents=len(texts),
        size_bytes=sum(map(len, texts)),
        reverse_nats=_loss(evaluator(texts), valid),
        forward_nats=_loss(on_real, texts),
        mixed_nats=_loss(evaluator(mixed), valid),
        real_nats=_loss(on_real, valid),
        distinct={length: distinct_ngrams(texts, length) for length in DISTINCT_BYTES},
    )


def measure_generator(
    generator: FittedGenerator,
    real: Sequence[bytes],
    valid: Sequence[bytes],
    length_bytes: int,
    rng: np.random.Generator,
    evaluator: Evaluator = fit,
) -> Measured:
    """Let a generator write as much as it was fitted to, and hold that against real text.

    Args:
        generator: What was fitted to `real`.
        real: As in `measure`.
        valid: As in `measure`.
        length_bytes: Bytes of each document that it writes.
        rng: Where samples get their random numbers.
        evaluator: As in `measure`.

    Raises:
        UsageError: It writes one string again and again, or ignores its latent code, by `guards.collapsed`.
    """
    documents = max(1, round(sum(map(len, real)) / length_bytes))
    samples = generator.sample(documents, length_bytes, rng)
    return measure(checked_samples(samples, generator.facts, "yardstick"), real, valid, evaluator)


def distinct_ngrams(texts: Sequence[bytes], length_bytes: int) -> float:
    """The share of different ones among all n-grams of texts; 0 where each text is shorter.

    >>> distinct_ngrams([b"abab", b"bab"], 2)
    0.4
    """
    total, different = 0, set[bytes]()
    for text in texts:
        count = len(text) - length_bytes + 1
        total += max(0, count)
        different.update(text[start : start + length_bytes] for start in range(count))
    return len(different) / total if total else 0.0


def _first(texts: Sequence[bytes], size_bytes: int) -> list[bytes]:
    """The first texts, the last of them cut, up to so many bytes."""
    found: list[bytes] = []
    for text in texts:
        if size_bytes <= 0:
            break
        found.append(text[:size_bytes])
        size_bytes -= len(text)
    return found


def _loss(scorer: Scorer, documents: Sequence[bytes]) -> float:
    """Nats per byte of all documents together."""
    return float(np.average(scorer.nats_per_byte(documents), weights=[len(document) for document in documents]))
