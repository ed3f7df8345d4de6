"""Interpolated n-grams of bytes after Witten and Bell, on sorted keys.

The probability of a byte c after the bytes h, of which h' leaves out the first, is

    p(c | h) = (N(h, c) + T(h) · p(c | h')) / (N(h) + T(h)),

where N(h, c) counts how often c followed h, N(h) how often anything did, and T(h) how many different bytes did; where
h was never followed, p(c | h) = p(c | h'); below the empty context stands the uniform distribution over 256 bytes.

Source: Witten and Bell 1991, "The zero-frequency problem: estimating the probabilities of novel events in adaptive text
compression", IEEE Transactions on Information Theory 37(4), method C; interpolated as in Chen and Goodman 1998, "An
empirical study of smoothing techniques for language modeling", equations 14 to 16.

An n-gram of up to eight bytes is an integer; those of one length stand sorted in one array, with what scoring needs
beside them, so that both fitting and scoring are sorts and look-ups of whole arrays.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...core.errors import UsageError

__all__ = ["MAX_ORDER", "NGram", "fit"]

MAX_ORDER = 8
"""Longest n-gram that an integer of 64 bits holds."""

_BATCH_BYTES = 1 << 20  # scored at once
_BITS = np.uint64(8)
_UNIFORM = 1 / 256
_BELOW_1 = float(np.nextafter(1.0, 0.0))
_LAST_7 = (1 << 56) - 1  # bytes of an integer


@dataclass(frozen=True)
class _Table:
    """The n-grams of one length that occurred, `(m,)` each: their keys, sorted, the first byte the most significant;
    p(last byte | the bytes before it); and T / (N + T) of the bytes before it, the weight of the shorter context."""

    keys: np.ndarray
    probabilities: np.ndarray
    weights: np.ndarray


class _Level(NamedTuple):
    """The n-grams of one length as sampling reads them: `keys` and `weights` of their table; `reached`, the sum of
    N(h, c) / (N(h) + T(h)) over them, up to each `(m,)`; and `bounds`, where the followers of a context stand, by its
    key with a last byte of 0, as far as it was looked up. Views, whose single entries Python reads faster than those of
    arrays."""

    keys: memoryview
    weights: memoryview
    reached: memoryview
    bounds: dict[int, tuple[int, int]]


@dataclass(frozen=True)
class NGram:
    """A fitted model. `order` is the longest n-gram: a byte is foretold from up to `order - 1` bytes before it, within
    its document. It takes 24 bytes for each different n-gram of 1 to `order` bytes: up to 24 · `order` bytes of memory
    for a byte of training text, in practice a quarter of that.
    """

    order: int
    tables: tuple[_Table, ...]

    def nats_per_byte(self, documents: Iterable[str | bytes]) -> np.ndarray:
        """Return the mean negative log probability of the bytes of each document `(n,)`, in nats.

        Documents are scored one by one: the figure of one doesn't depend on the others, nor on their order. They are
        read as a stream; about 60 bytes of memory go to each byte of 1 MiB or of the longest document.

        Raises:
            UsageError: A document is empty.

        >>> model = fit(["abababab"], order=2)
        >>> scores = model.nats_per_byte(["abab", "bbbb"])
        >>> bool(scores[0] < scores[1])
        True
        """
        return np.concatenate([np.empty(0), *(self._batch(batch) for batch in _batches(documents))])

    def distribution(self, context: bytes) -> np.ndarray:
        """Return the probability of each byte after a context `(256,)`; only its last `order - 1` bytes count.

        >>> round(float(fit(["abababab"], order=2).distribution(b"a")[ord("b")]), 3)
        0.88
        """
        context = context[-(self.order - 1) :] if self.order > 1 else b""
        probabilities = np.full(256, _UNIFORM)
        for length in range(len(context) + 1):
            table = self.tables[length]
            key = int.from_bytes(context[len(context) - length :], "big") << 8
            start = np.searchsorted(table.keys, np.uint64(key))
            stop = np.searchsorted(table.keys, np.uint64(key + 255), side="right")
            if start < stop:
                probabilities *= table.weights[start]
                followed = (table.keys[start:stop] & np.uint64(255)).astype(np.intp)
                probabilities[followed] = table.probabilities[start:stop]
        return probabilities

    def sample(self, documents: int, length_bytes: int, rng: np.random.Generator) -> list[bytes]:
        """Draw documents of `length_bytes` bytes each, every byte given those before it: 500 kB in a second or so.

        A byte is drawn among those that followed the longest context, in proportion to how often they did, or, with
        probability T / (N + T), given the context that is one byte shorter, and so on. The first documents are the same
        however many there are.

        Raises:
            UsageError: Less than one document, or less than one byte.

        >>> fit(["abababab"], order=3).sample(1, 6, np.random.default_rng(0))
        [b'bababa']
        """
        if documents < 1 or length_bytes < 1:
            raise UsageError(
                f"sample: got {documents} documents of {length_bytes} bytes; expected one at least of each"
            )
        levels = [self._level(length) for length in range(1, self.order + 1)]
        return [_written(levels, rng.random(length_bytes).tolist()) for _ in range(documents)]

    def _level(self, length: int) -> _Level:
        """What drawing by n-grams of one length needs."""
        table = self.tables[length - 1]
        lower: np.ndarray | float = _UNIFORM
        if length > 1:
            shorter = self.tables[length - 2]
            lower = shorter.probabilities[np.searchsorted(shorter.keys, _ends(table.keys, length - 1))]
        reached = np.cumsum(table.probabilities - table.weights * lower)
        return _Level(table.keys.data, table.weights.data, reached.data, {})

    def _batch(self, batch: list[bytes]) -> np.ndarray:
        sizes = np.array([len(document) for document in batch])
        if not sizes.all():
            raise UsageError("documents: got an empty one; expected one byte at least in each")
        data, depths = _joined(batch, sizes)
        keys = _keys(data, depths, self.order)
        whole = depths >= self.order - 1
        # Text repeats itself: a tenth of its n-grams are different ones.
        different, which = np.unique(keys[whole], return_inverse=True)
        probabilities = np.empty(len(data))
        probabilities[whole] = self._probabilities(different, np.full(len(different), self.order))[which]
        probabilities[~whole] = self._probabilities(keys[~whole], depths[~whole] + 1)
        starts = np.cumsum(sizes) - sizes
        return np.add.reduceat(-np.log(probabilities), starts) / sizes

    def _probabilities(self, keys: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The probability of the last byte of each n-gram given those before it `(k,)`; `lengths: (k,)`, in bytes."""
        probabilities = np.full(len(keys), _UNIFORM)
        for length, table in enumerate(self.tables, 1):
            reached = lengths >= length
            probabilities[reached] = _refined(table, _ends(keys[reached], length), probabilities[reached])
        return probabilities


def fit(documents: Iterable[str | bytes], order: int = 5) -> NGram:
    """Count the n-grams of documents. No n-gram goes beyond a document.

    Args:
        documents: Texts, or their UTF-8 bytes; empty ones add nothing. Their bytes are held, and about 40 bytes of
            memory for each of them while one length is counted.
        order: Bytes of the longest n-gram, 1 to 8.

    Raises:
        UsageError: The order is another one, or there is no text.

    >>> chr(fit(["abababab"], order=3).distribution(b"ab").argmax())
    'a'
    """
    if not 1 <= order <= MAX_ORDER:
        raise UsageError(f"order: got {order}; expected 1 to {MAX_ORDER}")
    batch = [encoded for document in documents if (encoded := _encoded(document))]
    if not batch:
        raise UsageError("documents: got no text; expected one byte at least")
    data, depths = _joined(batch, np.array([len(document) for document in batch]))
    tables: list[_Table] = []
    keys = _keys(data, depths, order)
    for length in range(1, order + 1):
        tables.append(_table(np.sort(_ends(keys[depths >= length - 1], length)), length, tables))
    return NGram(order, tuple(tables))


def _table(sorted_keys: np.ndarray, length: int, shorter: list[_Table]) -> _Table:
    """Count n-grams of one length. `sorted_keys: (k,)` has one key per occurrence."""
    firsts = _firsts(sorted_keys)
    keys, counts = sorted_keys[firsts], np.diff(firsts, append=len(sorted_keys))
    starts = _firsts(keys >> _BITS)  # where the context changes
    if not len(keys):
        return _Table(keys, np.empty(0), np.empty(0))
    different = np.diff(starts, append=len(keys))
    occurrences = np.add.reduceat(counts, starts)
    totals = np.repeat(occurrences + different, different)
    different = np.repeat(different, different)
    if length == 1:
        lower: np.ndarray | float = _UNIFORM
    else:  # whatever ends an n-gram that occurred has occurred
        table = shorter[-1]
        lower = table.probabilities[np.searchsorted(table.keys, _ends(keys, length - 1))]
    return _Table(keys, (counts + different * lower) / totals, different / totals)


def _written(levels: list[_Level], draws: list[float]) -> bytes:
    """One document, a byte from each random number. What is left of a number that doesn't decide a byte by the longer
    context is uniform again, for the shorter one."""
    written = bytearray()
    before = 0  # the bytes before, as an integer
    for place, draw in enumerate(draws):
        for length in range(min(place + 1, len(levels)), 0, -1):
            level = levels[length - 1]
            context = before << 8 & (1 << 8 * length) - 1
            if context not in level.bounds:
                start = bisect_left(level.keys, context)
                level.bounds[context] = start, bisect_right(level.keys, context | 255, start)
            start, stop = level.bounds[context]
            if start == stop:
                continue
            weight = level.weights[start]
            if draw < 1 - weight:
                drawn = bisect_right(level.reached, (level.reached[start - 1] if start else 0.0) + draw, start, stop)
                byte = level.keys[min(drawn, stop - 1)] & 255
                break
            draw = min(max((draw - (1 - weight)) / weight, 0.0), _BELOW_1)
        else:
            byte = int(draw * 256)  # below the empty context stands the uniform distribution
        written.append(byte)
        before = (before << 8 | byte) & _LAST_7
    return bytes(written)


def _refined(table: _Table, keys: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Turn probabilities given a context into those given a context that is one byte longer.

    `keys: (k,)` are the n-grams with the longer context, `lower: (k,)` the probabilities of their last bytes.
    """
    if not len(table.keys):
        return lower
    places = np.searchsorted(table.keys, keys)
    np.minimum(places, len(table.keys) - 1, out=places)
    found = table.keys[places]
    # An n-gram that never occurred stands between its neighbours in order. If its context was ever followed, one of
    # the two has the same context.
    before = table.keys[np.maximum(places - 1, 0)]
    contexts = keys >> _BITS
    weights = np.where(
        (found >> _BITS) == contexts,
        table.weights[places],
        np.where((before >> _BITS) == contexts, table.weights[np.maximum(places - 1, 0)], 1.0),
    )
    return np.where(found == keys, table.probabilities[places], weights * lower)


def _firsts(values: np.ndarray) -> np.ndarray:
    """Where each run of equal values begins."""
    return np.flatnonzero(np.concatenate([[len(values) > 0], values[1:] != values[:-1]]))


def _keys(data: np.ndarray, depths: np.ndarray, order: int) -> np.ndarray:
    """The n-gram of `order` bytes that ends at each byte `(k,)`, shorter where its document begins."""
    keys = data.astype(np.uint64)
    for back in range(1, order):
        earlier = data[:-back].astype(np.uint64) << np.uint64(8 * back)
        keys[back:] |= np.where(depths[back:] >= back, earlier, np.uint64(0))
    return keys


def _ends(keys: np.ndarray, length: int) -> np.ndarray:
    """The last `length` bytes of each n-gram."""
    return keys & np.uint64((1 << 8 * length) - 1)


def _joined(batch: list[bytes], sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of all documents `(k,)`, and for each how many of its document come before it `(k,)`, 8 at most."""
    data = np.frombuffer(b"".join(batch), np.uint8)
    depths = np.arange(len(data)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return data, np.minimum(depths, MAX_ORDER).astype(np.uint8)


def _batches(documents: Iterable[str | bytes]) -> Iterator[list[bytes]]:
    """Documents in batches of about `_BATCH_BYTES`."""
    batch: list[bytes] = []
    held = 0
    for document in documents:
        batch.append(_encoded(document))
        held += len(batch[-1])
        if held >= _BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _encoded(document: str | bytes) -> bytes:
    return document.encode() if isinstance(document, str) else document
