"""How much is sampled, labelled and trained: the whole benchmark, or a quick pass through all of its parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from _proxies import WORK

__all__ = ["FULL", "LENGTH", "QUICK", "Plan"]

LENGTH = 48
"""Bytes that the policy writes after a first byte, which is the prompt: about nine words."""


@dataclass(frozen=True)
class Plan:
    """Sizes of one pass; whatever was sampled or trained in `folder` isn't made again.

    `pool` samples are judged by best of n, `labelled` others are compared in pairs, both in chunks of `chunk`;
    `comparisons` ascend. `seeds` draw the pairs of best of n. REINFORCE goes `steps` steps for each of
    `reinforce_comparisons`, `kl_penalties` (sd of the learned reward per nat) and `reinforce_seeds`.
    """

    folder: Path
    table: Path
    policy_tokens: str
    pool: int
    labelled: int
    chunk: int
    comparisons: tuple[int, ...]
    most_n: int
    seeds: int
    reinforce_comparisons: tuple[int, ...]
    kl_penalties: tuple[float, ...]
    reinforce_seeds: int
    steps: int

    @property
    def ns(self) -> list[int]:
        """1, 2, 4, … samples that the best is taken of."""
        return [2**power for power in range(self.most_n.bit_length())]


FULL = Plan(
    folder=WORK / "feedback",
    table=Path(__file__).resolve().parents[1] / "results" / "feedback.csv",
    policy_tokens="4M",
    pool=131_072,
    labelled=65_536,
    chunk=4_096,
    comparisons=(100, 300, 1_000, 3_000, 10_000, 30_000),
    most_n=2_048,
    seeds=5,
    reinforce_comparisons=(3_000, 30_000),
    kl_penalties=(0.02, 0.1, 0.5),
    reinforce_seeds=3,
    steps=30,
)
QUICK = Plan(
    folder=WORK / "feedback-quick",
    table=WORK / "feedback-quick" / "feedback.csv",
    policy_tokens="0.25M",
    pool=8_192,
    labelled=4_096,
    chunk=2_048,
    comparisons=(100, 300, 1_000),
    most_n=64,
    seeds=3,
    reinforce_comparisons=(1_000,),
    kl_penalties=(0.1,),
    reinforce_seeds=1,
    steps=6,
)
