"""An importance subset of the training text that is refreshed on the way (SwiftLearn, arXiv:2311.15134).

During warm-up a run draws from everything. Then, and once every `refresh` of the run, windows compete for the stretch
that follows: those are scored by a forward pass with the weights of that moment, and the best `keep` of them in each
domain are all that the run draws from, in shuffled epochs, until the next refresh.

SwiftLearn scores the whole set. That is senseless where a run never sees most of its text, so the candidates of a
stretch are bounded: the windows that come next in the domain's order, 1/keep times as many as the stretch trains on,
and at most the whole stock. A run that sees little of its stock thus trains once on the best of what passes by, and one
that repeats a small stock chooses among all of it, as in the paper. Each stretch has candidates of its own; they come
round again only where the stock is used up. Domains compete within themselves, so the mix's shares stay.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from ..core.reading.fields import Frozen, Share

__all__ = ["Span", "Subset"]


class Span(NamedTuple):
    """A stretch of a run, from step `start` on and up to `stop`, in which it draws from one subset."""

    start: int
    stop: int


class Subset(Frozen):
    """What share of the text a run draws from after its warm-up, by which measure, and how often it chooses anew.

    `loss` keeps the windows of highest loss. `change` keeps those whose loss has moved the furthest, up or down, since
    the scoring before: the candidates of a stretch are scored where the stretch before it begins too (those of the
    first, half-way through the warm-up). That is a second forward pass of each, unless a small stock competes whole.
    """

    warmup: Annotated[Share, Field(ge=0.01, lt=1)] = Field(
        default=0.2, description="Share of the run's steps that are drawn from everything, before the first choice."
    )
    keep: Annotated[Share, Field(ge=0.01, lt=1)] = Field(
        default=0.5, description="Share of the windows that compete, in each domain, that the run then draws from."
    )
    refresh: Annotated[Share, Field(ge=0.01)] = Field(
        default=0.2, description="Share of the run's steps after which the subset is chosen anew."
    )
    measure: Literal["change", "loss"] = Field(
        default="change", description="Keep the windows of highest loss, or of the largest change of loss."
    )

    def spans(self, steps: int) -> tuple[Span, ...]:
        """The stretches after warm-up of a run of 2 steps or more, each with a subset of its own.

        >>> [tuple(span) for span in Subset(warmup=0.2, refresh=0.3).spans(20)]
        [(4, 10), (10, 16), (16, 20)]
        """
        first = min(max(1, round(self.warmup * steps)), steps - 1)
        every = max(1, round(self.refresh * steps))
        return tuple(Span(start, min(start + every, steps)) for start in range(first, steps, every))

    def scorings(self, steps: int) -> dict[int, tuple[int, ...]]:
        """The steps before which windows are scored: the numbers of the `spans` whose candidates they are.

        >>> Subset(measure="change").scorings(10)
        {1: (0,), 2: (0, 1), 4: (1, 2), 6: (2, 3), 8: (3,)}
        """
        spans = self.spans(steps)
        if self.measure == "loss":
            return {span.start: (number,) for number, span in enumerate(spans)}
        both = {span.start: (number, number + 1) for number, span in enumerate(spans[:-1])}
        return {spans[0].start // 2: (0,), **both, spans[-1].start: (len(spans) - 1,)}

    def most_scored(self, steps: int, batch_sequences: int) -> int:
        """The most sequences that a run's scorings take, as far as its stock isn't smaller than its candidates are."""
        spans = self.spans(steps)
        counted = [spans[number] for numbers in self.scorings(steps).values() for number in numbers]
        return sum(math.ceil((span.stop - span.start) * batch_sequences / self.keep) for span in counted)
