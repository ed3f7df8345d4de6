"""The subsets of all copies of a group: scored together, chosen and drawn by each copy for itself.

Letters in shapes: K copies, B sequences of a batch, T tokens of a sequence and the one that follows, S slots of windows
(of the copy that has the most).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ....datasets.tokens.mixture import Mixture
from ...runs import ProxyRun
from ...subset import Subset
from .run_subset import RunSubset

__all__ = ["GroupSubsets"]

Losses = Callable[[np.ndarray], np.ndarray]
"""From tokens (K, B, T) to the mean loss of each sequence, (K, B), with each copy's weights of now."""

_AHEAD_SEQUENCES = 256  # that are read at once


class GroupSubsets:
    """What each copy of a group draws, in the runs that share a `Recipe.subset`.

    Args:
        subset: The settings that all of them have.
        runs: The runs, one for each copy.
        mixtures: Their sequences without a subset.

    Attributes:
        tensors: Everything that scorings change, by name, (K, S) each; `changed` is to be called after writing to them.
    """

    def __init__(self, subset: Subset, runs: Sequence[ProxyRun], mixtures: Sequence[Mixture]) -> None:
        first = runs[0]
        self._steps, self._batch = first.steps, first.batch_sequences
        self._scorings = subset.scorings(first.steps)
        self._starts = {span.start: number for number, span in enumerate(subset.spans(first.steps))}
        self._runs = [
            RunSubset(subset, mixture, run.seed, first.steps, first.batch_sequences)
            for run, mixture in zip(runs, mixtures, strict=True)
        ]
        shape = len(runs), max(run.size for run in self._runs)
        self.tensors: dict[str, Tensor] = {name: torch.zeros(shape, dtype=torch.bool) for name in ("kept", "seen")}
        if subset.measure == "change":
            self.tensors["losses"] = torch.zeros(shape)
        for copy, run in enumerate(self._runs):
            run.kept, run.seen = (self.tensors[name][copy].numpy() for name in ("kept", "seen"))
            run.losses = self.tensors["losses"][copy].numpy() if subset.measure == "change" else None

    def changed(self) -> None:
        """Take note that the tensors have changed."""
        for run in self._runs:
            run.forget()

    def is_due(self, step: int) -> bool:
        """Whether windows are to be scored before this step."""
        return step in self._scorings

    def refresh(self, step: int, losses: Losses) -> None:
        """Score the windows that are due before `step`, and choose the subsets of the span that begins there."""
        slots = [run.candidates(self._scorings[step]) for run in self._runs]
        found = self._score(slots, losses)
        span = self._starts.get(step)
        for run, of_run, measured in zip(self._runs, slots, found, strict=True):
            values = np.zeros(len(run.kept), np.float32)
            values[of_run] = measured
            if run.losses is not None:
                before = run.losses[of_run].copy()
                run.losses[of_run] = measured
                values[of_run] = np.abs(measured - before)
            if span is not None:
                run.note_seen(step)
                run.choose(span, values)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Sequences `start` to `stop` - 1 of each run, all of one span: (K, stop - start, T)."""
        return np.stack([run.rows(start, stop) for run in self._runs])

    def end_of_span(self, step: int) -> int:
        """The first step after `step` that may draw from something else."""
        return self._runs[0].end_of_span(step)

    def distinct(self, copy: int, step: int) -> np.ndarray:
        """How many windows of each domain a copy has trained on in the first `step` steps, each once, (domains,)."""
        self._runs[copy].note_seen(step)
        return self._runs[copy].distinct()

    def scored(self, copy: int, step: int) -> int:
        """How many windows of a copy were scored in the first `step` steps, each as often as it was."""
        return self._runs[copy].scored(step, self._steps)

    def _score(self, slots: Sequence[np.ndarray], losses: Losses) -> list[np.ndarray]:
        """The loss of the windows of these slots by each copy, (n,) each, in batches of the size that is trained on.

        A copy that has fewer windows than another fills its batches with windows that it has had; they don't count.
        """
        longest = max(map(len, slots))
        ahead = max(1, _AHEAD_SEQUENCES // self._batch) * self._batch
        parts = []
        for begin in range(0, longest, ahead):
            count = -(-min(ahead, longest - begin) // self._batch) * self._batch
            at = np.arange(begin, begin + count)
            read = np.stack(
                [run.windows(of_run[at % len(of_run)]) for run, of_run in zip(self._runs, slots, strict=True)]
            )
            for batch in range(0, count, self._batch):
                parts.append(losses(read[:, batch : batch + self._batch]))
        found = np.concatenate(parts, 1)
        return [of_copy[: len(of_run)] for of_copy, of_run in zip(found, slots, strict=True)]
