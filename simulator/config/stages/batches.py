"""Tokens per optimizer step along a run, and the way from steps to tokens and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .spans import spans
from .stage import OptimStage

__all__ = ["BatchPlan", "Stretch"]

_ROUNDING = 1e-9  # of a step, by which sums of stretches may exceed what they are


class Stretch(NamedTuple):
    """Tokens `start` to `end` of a run, with a batch that goes evenly with tokens from `first` to `last`."""

    start: float
    end: float
    first: float
    last: float

    @property
    def growth(self) -> float:
        """Growth of the batch per token, which is the growth of its logarithm per step."""
        return (self.last - self.first) / (self.end - self.start)

    def steps_to(self, tokens: float) -> float:
        """Steps from its start until the run has seen `tokens`; none before it, all of its own after it."""
        passed = min(max(tokens, self.start), self.end) - self.start
        if self.first == self.last:
            return passed / self.first
        return math.log1p(self.growth * passed / self.first) / self.growth

    @property
    def steps(self) -> float:
        """Its steps, with fractions."""
        return self.steps_to(self.end)


class BatchPlan(NamedTuple):
    """Tokens per step along a run, by stretches that follow each other; branches are no part of it.

    >>> plan = BatchPlan.of([OptimStage(share=0.1, batch_tokens=1e6), OptimStage(batch_tokens=4e6)], 4e6, 40e9)
    >>> plan.steps, plan.step_at(4e9)
    (13000, 4000.0)
    """

    stretches: tuple[Stretch, ...]

    @classmethod
    def of(cls, stages: Sequence[OptimStage], batch_tokens: float, tokens: float) -> BatchPlan:
        """The batches of a run of `tokens`, in which `batch_tokens` is the batch until a stage states another."""
        found: list[Stretch] = []
        batch = batch_tokens
        for stage, span in zip(stages, spans(stages, tokens), strict=True):
            if stage.branch or not span.tokens > 0:
                continue
            first = stage.batch_tokens or batch
            batch = stage.batch_tokens_final or first
            if found and found[-1].first == found[-1].last == first == batch:
                found[-1] = found[-1]._replace(end=span.end)
            else:
                found.append(Stretch(span.start, span.end, first, batch))
        return cls(tuple(found) or (Stretch(0.0, tokens, batch_tokens, batch_tokens),))

    @property
    def even(self) -> bool:
        """Whether all steps have one batch."""
        return len(self.stretches) == 1 and self.stretches[0].first == self.stretches[0].last

    @property
    def tokens(self) -> float:
        """Tokens of the run."""
        return self.stretches[-1].end

    @property
    def steps(self) -> int:
        """Optimizer steps of the run, the last one possibly short."""
        exact = self.step_at(self.tokens)
        return math.ceil(exact) if self.even else math.ceil(exact * (1 - _ROUNDING))

    @property
    def parts(self) -> list[tuple[float, float]]:
        """Batches of the run and the steps with each; where the batch grows, its mean over steps."""
        return [
            ((one.end - one.start) / one.steps if one.first != one.last else one.first, one.steps)
            for one in self.stretches
        ]

    def step_at(self, tokens: float) -> float:
        """Steps, with fractions, that lie behind when the run has seen `tokens`."""
        return math.fsum(one.steps_to(tokens) for one in self.stretches)
