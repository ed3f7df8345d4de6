"""The gold reward: real words that don't go round in circles, two things of equal weight that a reader would want.

Real words: log p_better(text) − log p_policy(text) given the first byte, how much more probable a text is under a
better model of real dialogues than under the policy. The better model is an n-gram of eight bytes on the whole training
split, 2.1 million different n-grams, a hundred times the parameters of a reward model. No circles: how many of the
text's sequences of `REPEATED` bytes differ. Each is standardised over the policy's samples, and so is their sum.

The second is there because the first alone isn't gold: an n-gram looks eight bytes back, and calls a phrase that is
written again and again good. Reward models read neither model, and as sums over n-grams they can't count repeats: they
see bytes and noisy comparisons alone.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from _proxies import CORPORA
from foretrain.datasets.ngrams.witten_bell import MAX_ORDER, NGram, fit

from .models import DOMAIN, policy_model
from .plan import LENGTH, Plan
from .policy import chunked, samples, scored

__all__ = ["Better", "Gold", "different", "documents", "real_windows"]

REPEATED = 4


class Better:
    """The better model of dialogues; counted when it is first asked, in some seconds."""

    @cached_property
    def model(self) -> NGram:
        """The n-gram."""
        return fit(documents("train"), MAX_ORDER)

    def nats(self, rows: np.ndarray) -> np.ndarray:
        """The log probability of samples after their first byte, (N, T) uint8 → (N,)."""
        firsts, which = np.unique(rows[:, 0], return_inverse=True)
        of_first = self.model.nats_per_byte([bytes([first]) for first in firsts.tolist()])[which]
        return of_first - self.model.nats_per_byte([row.tobytes() for row in rows]) * rows.shape[1]


def documents(split: str) -> list[str]:
    """The dialogues of a split of the shared corpora."""
    with gzip.open(CORPORA / f"{DOMAIN}.{split}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def real_windows(count: int, seed: int = 0) -> np.ndarray:
    """Windows of the validation split, cut as samples are: (N, T) uint8."""
    text = np.frombuffer("\0".join(documents("valid")).encode(), np.uint8)
    starts = np.random.default_rng(seed).integers(0, len(text) - LENGTH, count)
    return text[starts[:, None] + np.arange(LENGTH + 1)]


def different(rows: np.ndarray) -> np.ndarray:
    """How many different sequences of `REPEATED` bytes follow the first byte of samples, (N, T) uint8 → (N,).

    >>> int(different(np.frombuffer(b" abababab", np.uint8)[None])[0])
    2
    """
    windows = np.lib.stride_tricks.sliding_window_view(rows[:, 1:].astype(np.int64), REPEATED, axis=1)
    keys = np.sort(windows @ 256 ** np.arange(REPEATED), axis=1)
    return 1 + (keys[:, 1:] != keys[:, :-1]).sum(1)


@dataclass(frozen=True)
class Gold:
    """`means` and `deviations` over the labelled samples of both parts, nats and counts; `total_deviation` that of
    the sum of both, standardised."""

    plan: Plan
    better: Better
    means: np.ndarray
    deviations: np.ndarray
    total_deviation: float

    @classmethod
    def measured(cls, plan: Plan) -> Gold:
        """Measure all on the labelled samples."""
        better = Better()
        parts = _parts(plan, better, "labelled")
        means, deviations = parts.mean(1), parts.std(1)
        total = ((parts - means[:, None]) / deviations[:, None]).sum(0)
        return cls(plan, better, means, deviations, float(total.std()))

    def parts(self, rows: np.ndarray, policy_nats: np.ndarray) -> np.ndarray:
        """Both parts for samples, (N, T), in sd: (2, N); `policy_nats`: log probabilities under the policy."""
        return self._standardised(np.stack([self.better.nats(rows) - policy_nats, different(rows)]))

    def of(self, rows: np.ndarray, policy_nats: np.ndarray) -> np.ndarray:
        """The reward of samples, (N, T), in sd over the policy's samples: (N,)."""
        return self.parts(rows, policy_nats).sum(0) / self.total_deviation

    def of_part(self, part: str) -> np.ndarray:
        """The reward of every sample of a part, (N,), in sd."""
        return self._standardised(_parts(self.plan, self.better, part)).sum(0) / self.total_deviation

    def _standardised(self, parts: np.ndarray) -> np.ndarray:
        return (parts - self.means[:, None]) / self.deviations[:, None]


def _parts(plan: Plan, better: Better, part: str) -> np.ndarray:
    """log p_better − log p_policy in nats and how many sequences differ, of every sample of a part, (2, N)."""

    def by_policy() -> Callable[[np.ndarray], np.ndarray]:
        model = policy_model(plan)
        return lambda rows: scored(model, rows)

    ratios = chunked(plan, part, "better", lambda: better.nats) - chunked(plan, part, "policy", by_policy)
    return np.stack([ratios, different(samples(plan, part))])
