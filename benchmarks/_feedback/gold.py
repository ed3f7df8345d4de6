"""The gold reward: how much more probable a text is under a better model of real dialogues than under the policy.

It is log p_better(text) − log p_policy(text) given the first byte, standardised over the policy's samples; the better
model is an n-gram of eight bytes on all dialogues of the training split, 2.1 million different n-grams. Of all rewards
this is the one whose optimum, under a KL penalty of one nat per nat, is the better model itself: raising it makes text
more like real text. What is merely probable, such as a phrase repeated, is so under both and gains little. No reward
model below reads either model: they see bytes and noisy comparisons alone, and are a hundredth of its size.
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
from .policy import chunked, scored

__all__ = ["Better", "Gold", "documents", "real_windows"]


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


@dataclass(frozen=True)
class Gold:
    """`mean_nats` and `sd_nats` of the log ratio over the labelled samples: what standardises it."""

    plan: Plan
    better: Better
    mean_nats: float
    sd_nats: float

    @classmethod
    def measured(cls, plan: Plan) -> Gold:
        """Measure both on the labelled samples."""
        better = Better()
        ratios = _ratios(plan, better, "labelled")
        return cls(plan, better, float(ratios.mean()), float(ratios.std()))

    def of(self, rows: np.ndarray, policy_nats: np.ndarray) -> np.ndarray:
        """The reward of samples, (N, T), in sd over the policy's samples; `policy_nats`: their log probabilities."""
        return (self.better.nats(rows) - policy_nats - self.mean_nats) / self.sd_nats

    def of_part(self, part: str) -> np.ndarray:
        """The reward of every sample of a part, (N,), in sd."""
        return (_ratios(self.plan, self.better, part) - self.mean_nats) / self.sd_nats


def _ratios(plan: Plan, better: Better, part: str) -> np.ndarray:
    """log p_better − log p_policy of every sample of a part, nats, (N,)."""

    def by_policy() -> Callable[[np.ndarray], np.ndarray]:
        model = policy_model(plan)
        return lambda rows: scored(model, rows)

    return chunked(plan, part, "better", lambda: better.nats) - chunked(plan, part, "policy", by_policy)
