"""Shuffles that are computed, not stored: entry i of a random permutation of any size, without the other entries.

A Feistel network on two mixed-radix halves: n numbers are written as (left, right) with left below a and right below
b, a·b just above n; each round adds a hash of one half to the other, which can be undone and hence is a bijection of
a·b numbers. A result of n or more is sent through again until it falls below n, which keeps it a bijection of n.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["MAX_SIZE", "shuffle_key", "shuffled", "shuffled_epochs"]

MAX_SIZE = 1 << 48
"""The largest permutation: halves stay below 2^25, so no sum here overflows."""

# Four rounds would look random to a bounded observer (Luby and Rackoff 1988); eight also mix the smallest sizes.
_ROUNDS = 8
# The finaliser of SplitMix64 (Steele, Lea and Flood 2014) and its golden-ratio increment.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_EPOCH_STEP = np.uint64(0xD1342543DE82EF95)  # odd, so that the keys of 2^64 epochs differ
_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S32 = (np.uint64(shift) for shift in (30, 27, 31, 32))


def shuffle_key(*parts: object) -> int:
    """A key below 2^64 from the text of `parts`; different parts give unrelated permutations."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def shuffled(numbers: np.ndarray, sizes: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Where each number goes, (n,) int64: entry `numbers[i]` of the permutation of `sizes[i]` numbers by `keys[i]`.

    `numbers`: (n,), 0 to size - 1; `sizes`: (n,), 1 to 2^48; `keys`: (n,) uint64. A bijection for any size and key.

    >>> shuffled(np.arange(5), np.full(5, 5), np.full(5, 3, np.uint64)).tolist()
    [0, 2, 1, 3, 4]
    """
    sizes = sizes.astype(np.uint64)
    values = numbers.astype(np.uint64)
    radix = np.ceil(np.sqrt(sizes)).astype(np.uint64)
    other = (sizes + radix - np.uint64(1)) // radix
    values = _network(values, radix, other, keys)
    while (outside := values >= sizes).any():
        values[outside] = _network(values[outside], radix[outside], other[outside], keys[outside])
    return values.astype(np.int64)


def shuffled_epochs(numbers: np.ndarray, sizes: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """As `shuffled`, for numbers without an end, (n,) from 0: each `sizes` of them are an epoch in another order.

    >>> shuffled_epochs(np.arange(6), np.full(6, 3), np.full(6, 3, np.uint64)).tolist()
    [0, 2, 1, 1, 0, 2]
    """
    epoch = numbers // sizes
    return shuffled(numbers - epoch * sizes, sizes, keys + epoch.astype(np.uint64) * _EPOCH_STEP)


def _network(values: np.ndarray, radix: np.ndarray, other: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """All rounds: a bijection of the numbers below radix · other, elementwise; everything (n,) uint64."""
    left = values // other
    right = values - left * other
    for _ in range(_ROUNDS // 2):
        keys = keys + _STEP
        left = (left + _hash(right, keys)) % radix
        keys = keys + _STEP
        right = (right + _hash(left, keys)) % other
    return left * other + right


def _hash(half: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """A number below 2^32 that depends on every bit of a half and its key."""
    mixed = half * _STEP + keys
    mixed = (mixed ^ (mixed >> _S30)) * _MULTIPLY_1
    mixed = (mixed ^ (mixed >> _S27)) * _MULTIPLY_2
    return (mixed ^ (mixed >> _S31)) >> _S32
