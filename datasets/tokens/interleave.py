"""Weighted round-robin: which party has turn i, so evenly that after any number of turns each has had its share.

A binary tree halves the weights as evenly as they can be. At a node with turns 0, 1, 2, …, its left child of share p
has had floor(n·p + phase) of the first n; that child's turns and its sibling's are counted on, down to the parties.
A level adds an error of at most 5/8 of a turn and passes on the child's share of the error above it; so after n turns
every party stands within about 1.5 of n times its weight (tested: below 2). The seed sets phases and sides. Arithmetic
is exact, on integers: nothing is stored per turn, and turn i is the same whoever asks, in whatever order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["MAX_TURNS", "Interleave"]

MAX_TURNS = (1 << 31) - 1
"""Most turns: with 32-bit shares products stay below 2^63, and rounding a share costs no more than a quarter turn."""

_BITS = 32
_ONE = 1 << _BITS
# Phases near a half keep the error of a level small; the range is what the seed chooses from.
_PHASES = (3 / 8, 5 / 8)


@dataclass
class _Node:
    """A node: the left child's share and the phase, both in units of 2^-32, the children, the party of a leaf."""

    share: int
    phase: int
    left: int
    right: int
    party: int


class Interleave:
    """Turns for parties with these `weights`, positive numbers; a party is its place in that sequence."""

    def __init__(self, weights: Sequence[float], rng: np.random.Generator) -> None:
        self._parties = len(weights)
        self._nodes: list[_Node] = []
        self._depth = 0
        self._grow(sorted(((weight, party) for party, weight in enumerate(weights)), reverse=True), rng, 0)
        nodes = self._nodes
        self._share, self._phase, self._left, self._right, self._party = (
            np.array([getattr(node, name) for node in nodes], np.int64)
            for name in ("share", "phase", "left", "right", "party")
        )

    def turns(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Who has each turn, (n,), and how many turns that party had before, (n,). `numbers`: (n,), 0 to MAX_TURNS - 1.

        >>> Interleave([0.75, 0.25], np.random.default_rng(0)).turns(np.arange(8))[0].tolist()
        [0, 1, 0, 0, 0, 1, 0, 0]
        """
        turn = numbers.astype(np.int64)
        node = np.zeros(len(turn), np.int64)
        for _ in range(self._depth):
            share = self._share[node]
            grown = turn * share + self._phase[node]
            before = grown >> _BITS
            goes_left = (grown + share) >> _BITS > before
            turn = np.where(goes_left, before, turn - before)
            node = np.where(goes_left, self._left[node], self._right[node])
        return self._party[node], turn

    def counts(self, turns: int) -> np.ndarray:
        """How many of the first `turns` turns each party has, (parties,) int64; they sum to `turns`."""
        counts = np.zeros(self._parties, np.int64)
        reached = {0: turns}
        # A child is always after its parent in the list.
        for number, node in enumerate(self._nodes):
            here = reached[number]
            if node.left == number:
                counts[node.party] = here
            else:
                reached[node.left] = (here * node.share + node.phase) >> _BITS
                reached[node.right] = here - reached[node.left]
        return counts

    def _grow(self, items: list[tuple[float, int]], rng: np.random.Generator, depth: int) -> int:
        """Add the tree of these (weight, party), heaviest first, and return its root's number."""
        number = len(self._nodes)
        self._depth = max(self._depth, depth)
        if len(items) == 1:
            # A leaf is its own left child and takes every turn, so that all paths can be walked to the same depth.
            self._nodes.append(_Node(_ONE, 0, number, number, items[0][1]))
            return number
        sides = _halves(items)
        if rng.random() < 0.5:
            sides.reverse()
        left, right = (sum(weight for weight, _ in side) for side in sides)
        low, high = _PHASES
        node = _Node(round(left / (left + right) * _ONE), int((low + (high - low) * rng.random()) * _ONE), 0, 0, -1)
        self._nodes.append(node)
        node.left = self._grow(sides[0], rng, depth + 1)
        node.right = self._grow(sides[1], rng, depth + 1)
        return number


def _halves(items: list[tuple[float, int]]) -> list[list[tuple[float, int]]]:
    """Two sides of about equal weight, each heaviest first: every item goes to the lighter side."""
    sides: list[list[tuple[float, int]]] = [[], []]
    totals = [0.0, 0.0]
    for item in items:
        lighter = 0 if totals[0] <= totals[1] else 1
        sides[lighter].append(item)
        totals[lighter] += item[0]
    return sides
