"""The windows of one run that compete for its subsets, those that are kept, and those that it has trained on.

Windows are known by a slot: each domain has one for every window that the run may ever meet, which are the first ones
in the order of its first epoch. So the state is some bits (and one loss) for every window that the run trains on or
scores, however large the stock is. All else follows from the step.
"""

from __future__ import annotations

import numpy as np

from ....datasets.tokens.mixture import Mixture
from ....datasets.tokens.shuffling import shuffle_key, shuffled_epochs
from ...subset import Subset

__all__ = ["RunSubset"]


class RunSubset:
    """The subsets of one run: what is drawn between two refreshes, out of which candidates.

    Args:
        subset: The settings.
        mixture: All sequences of the run, whose domains, stocks and orders hold for its subsets too.
        seed: Of the order in which a subset is drawn.
        steps: Of the run.
        batch_sequences: Sequences per step.

    Attributes:
        size: How many slots there are.
        kept, seen, losses: The state, (size,) or more: whether a window is in the subset of now (bool); whether it was
            trained on (bool), up to where `note_seen` was last called; its loss at the last scoring, nats per token,
            with the measure `change` (float32, else None). To be set, once, to arrays that are changed in place.
    """

    kept: np.ndarray
    seen: np.ndarray
    losses: np.ndarray | None

    def __init__(self, subset: Subset, mixture: Mixture, seed: int, steps: int, batch_sequences: int) -> None:
        self._subset, self._mixture, self._batch = subset, mixture, batch_sequences
        self._spans = subset.spans(steps)
        self._keys = [  # of the order in which each subset is drawn, by span and domain
            np.array([shuffle_key("subset", seed, number, domain) for domain in mixture.domains], np.uint64)
            for number in range(len(self._spans))
        ]
        # Everything below by domain: sequences before each span and after the last, candidates of each span, and where
        # they begin in the domain's order, right after those of the span before.
        stops = [self._spans[0].start, *(span.stop for span in self._spans)]
        self._counts = np.stack([mixture.counts(step * batch_sequences) for step in stops])
        wanted = np.ceil(np.diff(self._counts, axis=0) / subset.keep - 1e-9).astype(np.int64)
        self._candidates = np.minimum(wanted, mixture.stocks)
        ends = self._counts[0] + np.cumsum(self._candidates, axis=0)
        self._begins = ends - self._candidates
        self._sizes = np.minimum(mixture.stocks, ends[-1])
        self._firsts = np.cumsum(self._sizes) - self._sizes  # slot of each domain's first window
        self.size = int(self._sizes.sum())
        self._pool: _Pool | None = None

    def candidates(self, spans: tuple[int, ...]) -> np.ndarray:
        """The slots of the windows that compete for the subsets of these spans, ascending, (n,)."""
        slots = [self._of_domain(span, domain) for span in spans for domain in range(len(self._sizes))]
        return np.unique(np.concatenate(slots))

    def windows(self, slots: np.ndarray) -> np.ndarray:
        """The windows of these slots, (n, context_length + 1) int64."""
        domain = np.searchsorted(self._firsts, slots, side="right") - 1
        return self._mixture.rows_at(domain, slots - self._firsts[domain])

    def choose(self, span: int, values: np.ndarray) -> None:
        """Keep, in each domain, the candidates of a span with the highest values; equal ones by their order.

        `values`, (size,), hold at the candidates. What isn't a number, as of a model that has diverged, comes last.
        """
        worth = np.where(np.isfinite(values), values, -np.inf)
        self.kept[:] = False
        for domain in range(len(self._sizes)):
            slots = self._of_domain(span, domain)
            count = int(np.ceil(self._subset.keep * len(slots) - 1e-9))
            best = np.argsort(-worth[slots], kind="stable")[:count]
            self.kept[slots[best]] = True
        self.forget()

    def forget(self) -> None:
        """Take note that `kept` has changed."""
        self._pool = None

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Sequences `start` to `stop` - 1 of the run, all of one span, (stop - start, context_length + 1) int64."""
        span = self._span(start // self._batch)
        if span is None:
            return self._mixture.rows(start, stop)
        domain, before = self._mixture.turns(start, stop)
        pool = self._drawn_from()
        nth = before - self._counts[span][domain]
        entry = shuffled_epochs(nth, pool.sizes[domain], self._keys[span][domain])
        slots = pool.slots[pool.firsts[domain] + entry]
        return self._mixture.rows_at(domain, slots - self._firsts[domain])

    def end_of_span(self, step: int) -> int:
        """The first step after `step` that may draw from something else."""
        span = self._span(step)
        return self._spans[0].start if span is None else self._spans[span].stop

    def note_seen(self, step: int) -> None:
        """Note the windows that were trained on in the span of the last of the first `step` steps."""
        span = self._span(step - 1)
        counts = self._mixture.counts(step * self._batch)
        pool = self._drawn_from()
        for domain, first in enumerate(self._firsts):
            if span is None:
                self.seen[first : first + min(counts[domain], self._sizes[domain])] = True
                continue
            size = pool.sizes[domain]
            numbers = np.arange(min(counts[domain] - self._counts[span][domain], size))
            keys = np.full(len(numbers), self._keys[span][domain])
            entry = shuffled_epochs(numbers, np.full(len(numbers), size), keys)
            self.seen[pool.slots[pool.firsts[domain] + entry]] = True

    def distinct(self) -> np.ndarray:
        """How many windows of each domain were trained on, as far as noted, (domains,)."""
        return np.array([self.seen[f : f + n].sum() for f, n in zip(self._firsts, self._sizes, strict=True)], np.int64)

    def scored(self, before_step: int, steps: int) -> int:
        """How many windows were scored before this step of a run of `steps`, each as often as it was."""
        scorings = self._subset.scorings(steps)
        return sum(len(self.candidates(spans)) for step, spans in scorings.items() if step < before_step)

    def _span(self, step: int) -> int | None:
        """The number of the span that a step is in; None for warm-up."""
        return next((number for number, span in enumerate(self._spans) if span.start <= step < span.stop), None)

    def _of_domain(self, span: int, domain: int) -> np.ndarray:
        """The slots of a domain's candidates for a span, in the domain's order."""
        places = self._begins[span, domain] + np.arange(self._candidates[span, domain])
        return self._firsts[domain] + places % self._mixture.stocks[domain]

    def _drawn_from(self) -> _Pool:
        if self._pool is None:
            self._pool = _Pool(self.kept[: self.size], self._firsts)
        return self._pool


class _Pool:
    """The slots that are kept, domain by domain: where those of each begin, and how many they are."""

    def __init__(self, kept: np.ndarray, firsts: np.ndarray) -> None:
        self.slots = np.flatnonzero(kept)
        bounds = np.append(np.searchsorted(self.slots, firsts), len(self.slots))
        self.firsts, self.sizes = bounds[:-1], np.diff(bounds)
