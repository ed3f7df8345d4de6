"""The model over tables: what their coordinates have in common, and what a corpus, an evaluation set or an author adds.

    coordinates of a table = mean + kinds of text + source + evaluation set + corpus + the table's own part

each of the last four Gaussian around zero. A table counts by what its runs say of its coordinates (a `Summary`), so
many tables of one author are one witness to what authors have in common. The spreads are found by expectation-
maximisation; given them, everything is linear, and the belief about a new table is a Gaussian in closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from .coordinates import LEVEL, PARAMS, SIZE, TOKENS
from .labels import UNKNOWN, Labels
from .posterior import Belief, Summary

EFFECTS = ("source", "evaluated_on", "corpus")
_TEXT = (LEVEL, PARAMS, TOKENS)
"""Coordinates that the kind of text moves: how hard it is, and how fast a model learns it."""
_KIND_SD = (0.2, 0.2, 0.2)  # how far kinds of text may lie from the mean, by coordinate
_FLAT_SD = 10.0  # of the mean itself: no prior to speak of


@dataclass(frozen=True)
class Table:
    """One table and one loss: its labels and what its runs say."""

    labels: Labels
    summary: Summary
    facts: Mapping[str, Any] = field(default_factory=dict)
    """`rows`; lowest and highest `params`, `tokens` and `compute` of its runs; `sizes` of up to four, logs of params
    and tokens `(n, 2)`; `deviation` of the largest from the law, in log loss."""


@dataclass(frozen=True)
class Spreads:
    """Covariances between sources, evaluation sets, corpora and tables, each `(7, 7)`."""

    source: np.ndarray
    evaluated_on: np.ndarray
    corpus: np.ndarray
    table: np.ndarray
    level_sd: Mapping[str, float] = field(default_factory=dict)
    """Standard deviation of the levels of tables on one evaluation set, in logs, where several authors share it."""

    def own_part(self, labels: Labels) -> np.ndarray:
        """Covariance `(7, 7)` of a table's own part, the doubt of its bytes per token included."""
        covariance = self.table.copy()
        stretch = np.ones(SIZE)
        stretch[LEVEL] = self.level_sd.get(labels.evaluated_on, stretch[LEVEL] * np.sqrt(covariance[LEVEL, LEVEL]))
        stretch[LEVEL] /= np.sqrt(covariance[LEVEL, LEVEL])
        covariance = covariance * np.outer(stretch, stretch)
        covariance[LEVEL, LEVEL] += labels.bytes_log_sd**2
        return covariance


@dataclass(frozen=True)
class Population:
    """The tables and the spreads; `expected` says what a table with given labels is like."""

    tables: tuple[Table, ...]
    spreads: Spreads
    kinds: tuple[str, ...]
    shift: np.ndarray
    """Added to the coordinates of tables that aren't among these, `(7,)`."""

    def without(self, source: str) -> Population:
        """The same without the tables of a source: for judging on runs that it must not have seen.

        Args:
            source: The author, as in `Labels.source`.
        """
        return replace(self, tables=tuple(t for t in self.tables if t.labels.source != source))

    def expected(self, labels: Labels) -> Belief:
        """The belief about a table before any run of it is seen; names that no table here has are new.

        Args:
            labels: What is known of it. A table of the same author, corpus and evaluation set is the table itself.

        Returns:
            Its coordinates, with the level in nats per token of its tokenizer.

        >>> import numpy as np
        >>> from foretrain.simulator.hierarchy.labels import describe
        >>> from foretrain.simulator.hierarchy.shipped import population
        >>> told, unknown = (population().expected(describe(corpus, "gpt2")) for corpus in ("c4", None))
        >>> bool(told.covariance[LEVEL, LEVEL] < unknown.covariance[LEVEL, LEVEL])
        True
        """
        design, mean, covariance = self._effects
        row = design.row(labels)
        centre = row @ mean
        spread = row @ covariance @ row.T
        for effect in EFFECTS:
            for name, share in _levels(labels, effect).items():
                if (effect, name) not in design.places:
                    spread = spread + share**2 * getattr(self.spreads, effect)
        if ("source", labels.source) not in design.places:
            centre = centre + self.shift
        same = self.tables_of(labels)
        if same:
            centre, spread = _with_own_part(same, row, mean, covariance, self.spreads.own_part(labels))
            in_its_tokens = [table.labels for table in same if table.labels.tokenizer == labels.tokenizer]
            if in_its_tokens:
                labels = in_its_tokens[0]  # nats per token of the table itself, whatever its tokens hold
            else:
                spread[LEVEL, LEVEL] += labels.bytes_log_sd**2
        else:
            spread = spread + self.spreads.own_part(labels)
        centre[LEVEL] += labels.offset
        return Belief(centre, 0.5 * (spread + spread.T))

    @cached_property
    def _effects(self) -> tuple[_Design, np.ndarray, np.ndarray]:
        """All effects: where they stand, mean `(P,)` and covariance `(P, P)`; solved for once: every forecast asks."""
        design = _Design.of(self)
        return (design, *design.posterior(self))

    def tables_of(self, labels: Labels) -> list[Table]:
        """The tables of the same author, corpus and evaluation set; none where nobody is named."""
        if not labels.source:
            return []
        return [table for table in self.tables if table.labels.key == labels.key]

    def author_of(self, labels: Labels) -> str:
        """The one author whose tables have this corpus, on this evaluation set if several have it; else `UNKNOWN`."""
        on_corpus = [table.labels for table in self.tables if table.labels.corpus == labels.corpus]
        judged_alike = [one for one in on_corpus if one.evaluated_on == labels.evaluated_on]
        for found in (on_corpus, judged_alike):
            authors = {one.source for one in found}
            if len(authors) == 1:
                return authors.pop()
        return UNKNOWN


def _levels(labels: Labels, effect: str) -> Mapping[str, float]:
    """The names of an effect that act on a table, with their shares."""
    if effect == "corpus":
        return labels.corpus
    return {getattr(labels, effect): 1.0}


def _with_own_part(
    tables: Sequence[Table], row: np.ndarray, mean: np.ndarray, covariance: np.ndarray, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the coordinates of a table that is among those of the population, in bits per byte.

    Its own part follows from what its runs say beyond its effects; the doubt of its bytes per token is part of that.
    """
    information = np.zeros((SIZE, SIZE))
    vector = np.zeros(SIZE)
    for table in tables:
        summary = _in_bits(table)
        information += summary.information
        vector += summary.vector
    inverse = np.linalg.inv(information + np.linalg.inv(own))
    centre = row @ mean + inverse @ (vector - information @ (row @ mean))
    loading = row - inverse @ information @ row
    return centre, inverse + loading @ covariance @ loading.T


@dataclass(frozen=True)
class _Design:
    """Where each effect stands in the long vector of all of them."""

    places: Mapping[tuple[str, str], slice]
    kinds: tuple[str, ...]
    size: int

    @classmethod
    def of(cls, population: Population) -> _Design:
        places: dict[tuple[str, str], slice] = {("mean", ""): slice(0, SIZE)}
        at = SIZE
        for kind in population.kinds:
            places["kind", kind] = slice(at, at + len(_TEXT))
            at += len(_TEXT)
        for effect in EFFECTS:
            for name in dict.fromkeys(n for table in population.tables for n in _levels(table.labels, effect)):
                if name != UNKNOWN:
                    places[effect, name] = slice(at, at + SIZE)
                    at += SIZE
        return cls(places, population.kinds, at)

    def row(self, labels: Labels) -> np.ndarray:
        """Derivatives `(7, P)` of a table's coordinates by all effects."""
        row = np.zeros((SIZE, self.size))
        row[:, self.places["mean", ""]] = np.eye(SIZE)
        for kind, share in labels.kinds.items():
            if kind in self.kinds:
                place = self.places["kind", kind]
                row[list(_TEXT), range(place.start, place.stop)] += share
        for effect in EFFECTS:
            for name, share in _levels(labels, effect).items():
                place = self.places.get((effect, name))
                if place is not None:
                    row[:, place] += share * np.eye(SIZE)
        return row

    def prior_precision(self, spreads: Spreads) -> np.ndarray:
        precision = np.zeros((self.size, self.size))
        for (effect, _), place in self.places.items():
            if effect == "mean":
                block = np.eye(SIZE) / _FLAT_SD**2
            elif effect == "kind":
                block = np.diag(1.0 / np.square(_KIND_SD))
            else:
                block = np.linalg.inv(getattr(spreads, effect))
            precision[place, place] = block
        return precision

    def posterior(self, population: Population) -> tuple[np.ndarray, np.ndarray]:
        """Mean `(P,)` and covariance `(P, P)` of all effects."""
        precision = self.prior_precision(population.spreads)
        vector = np.zeros(self.size)
        for table in population.tables:
            row = self.row(table.labels)
            information, pull = _marginal(table, population.spreads.own_part(table.labels))
            touched = np.flatnonzero(row.any(axis=0))  # a table has few of all effects
            row = row[:, touched]
            precision[np.ix_(touched, touched)] += row.T @ information @ row
            vector[touched] += row.T @ pull
        covariance = np.linalg.inv(precision)
        return covariance @ vector, covariance


def _in_bits(table: Table) -> Summary:
    """The table's summary with its level in bits per byte."""
    shift = np.zeros(SIZE)
    shift[LEVEL] = table.labels.offset
    information = table.summary.information
    return Summary(information, table.summary.vector - information @ shift)


def _marginal(table: Table, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a table says of the sum of its effects, its own part integrated out."""
    summary = _in_bits(table)
    gain = summary.information @ np.linalg.inv(summary.information + np.linalg.inv(own))
    return summary.information - gain @ summary.information, summary.vector - gain @ summary.vector


def learn(
    tables: Sequence[Table],
    refit: Callable[[Table, Belief], Table],
    *,
    kinds: tuple[str, ...],
    start: Spreads,
    shift: np.ndarray,
    rounds: int = 7,
) -> Population:
    """Find the spreads by expectation-maximisation. A source counts once, however many tables it has.

    Args:
        tables: The tables, each with a summary to start from.
        refit: Maps a table and the belief about it from all effects but its own part to the table with a new summary.
        kinds: Kinds of text with an effect of their own.
        start: First guess of the spreads.
        shift: See `Population`, `(7,)`.
        rounds: Rounds; the spreads hardly move after five.

    Returns:
        The tables as they were read last, and the spreads.
    """
    population = Population(tuple(tables), start, kinds, shift)
    for _ in range(rounds):
        design, mean, covariance = population._effects
        refitted, own_parts = [], []
        for table in population.tables:
            row = design.row(table.labels)
            own = population.spreads.own_part(table.labels)
            centre = row @ mean
            centre[LEVEL] += table.labels.offset
            refitted.append(refit(table, Belief(centre, own + row @ covariance @ row.T)))
            summary = _in_bits(table)
            inverse = np.linalg.inv(summary.information + np.linalg.inv(own))
            part = inverse @ (summary.vector - summary.information @ (row @ mean))
            loading = inverse @ summary.information @ row
            moment = np.outer(part, part) + inverse + loading @ covariance @ loading.T
            # what is due to its bytes per token is no difference between tables
            doubt = table.labels.bytes_log_sd**2
            moment[LEVEL, LEVEL] *= 1.0 - doubt / own[LEVEL, LEVEL]
            own_parts.append(moment)
        count: dict[str, int] = {}
        for table in population.tables:
            count[table.labels.source] = count.get(table.labels.source, 0) + 1
        shares = np.array([1.0 / count[t.labels.source] for t in population.tables])
        new: dict[str, Any] = {"level_sd": _level_sds(population, own_parts)}
        new |= {"table": _shrunk(np.tensordot(shares / shares.sum(), np.array(own_parts), 1))}
        for effect in EFFECTS:
            blocks = []
            for (kind, _), place in design.places.items():
                if kind == effect:
                    blocks.append(np.outer(mean[place], mean[place]) + covariance[place, place])
            new[effect] = _shrunk(np.mean(blocks, axis=0))
        population = replace(population, tables=tuple(refitted), spreads=Spreads(**new))
    return population


def _level_sds(population: Population, own_parts: Sequence[np.ndarray]) -> dict[str, float]:
    """How far levels of tables on one evaluation set lie apart, for sets that several authors share."""
    usual = float(population.spreads.table[LEVEL, LEVEL])
    squares: dict[str, list[float]] = {}
    authors: dict[str, set[str]] = {}
    for table, part in zip(population.tables, own_parts, strict=True):
        name = table.labels.evaluated_on
        authors.setdefault(name, set()).add(table.labels.source)
        squares.setdefault(name, []).append(float(part[LEVEL, LEVEL]))
    found = {}
    for name, of_set in squares.items():
        if len(authors[name]) >= _FEWEST_AUTHORS:
            count = len(authors[name])
            pooled = (_PRIOR_AUTHORS * usual + count * np.mean(of_set)) / (_PRIOR_AUTHORS + count)
            found[name] = float(np.sqrt(pooled))
    return found


_FEWEST_AUTHORS = 2
_PRIOR_AUTHORS = 1.0
_SHRINK = 0.3


def _shrunk(covariance: np.ndarray) -> np.ndarray:
    """With correlations nearer to 0, as an estimate from a few dozen deserves."""
    spread = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(spread, spread)
    correlation = (1.0 - _SHRINK) * correlation + _SHRINK * np.eye(len(spread))
    return correlation * np.outer(spread, spread)
