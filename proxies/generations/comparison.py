"""What chains came to: losses by generation, regime and seed, and differences between regimes over common seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..results import RunResult
from ..runs import ProxyRun

__all__ = ["ChainKey", "ChainLoss", "Difference", "chain_losses", "differences"]

_LEVEL = 0.9


class ChainKey(NamedTuple):
    """A chain, whatever its seed."""

    regime: str
    real_share: float

    @property
    def name(self) -> str:
        """In words, such as `replace, half real`'s `replace 0.5`."""
        return f"{self.regime} {self.real_share:g}" if self.regime == "replace" else self.regime


@dataclass(frozen=True)
class ChainLoss:
    """The final loss of a run, nats per token (the mean over domains), and its rise over generation 0 of its seed.

    `chain` is None in generation 0.
    """

    chain: ChainKey | None
    generation: int
    seed: int
    loss_nats: float
    rise_nats: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        chain = {"regime": "real", "real_share": None} if self.chain is None else self.chain._asdict()
        return {
            **chain,
            "generation": self.generation,
            "seed": self.seed,
            "loss_nats": self.loss_nats,
            "rise_nats": self.rise_nats,
        }


@dataclass(frozen=True)
class Difference:
    """One chain's loss less another's in one generation, pair by pair over common seeds.

    `mean_nats` has the 90 % interval ± `half_nats` by Student's t, infinite for one seed.
    """

    first: ChainKey
    second: ChainKey
    generation: int
    by_seed: dict[int, float]
    mean_nats: float
    half_nats: float

    @property
    def decided(self) -> bool:
        """Whether the interval leaves 0 out."""
        return abs(self.mean_nats) > self.half_nats

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "first": self.first.name,
            "second": self.second.name,
            "generation": self.generation,
            "by_seed": {str(seed): value for seed, value in self.by_seed.items()},
            "mean_nats": self.mean_nats,
            "half_nats": self.half_nats if math.isfinite(self.half_nats) else None,
            "decided": self.decided,
        }


def chain_losses(outcomes: Iterable[tuple[ProxyRun, RunResult]]) -> list[ChainLoss]:
    """The final losses of runs that are done, generation 0 first; one that diverged has none."""
    found: list[tuple[ProxyRun, float]] = []
    for run, result in outcomes:
        if result.status == "ok" and result.evaluations:
            losses = [loss.mean_nats for loss in result.evaluations[-1].losses.values()]
            found.append((run, math.fsum(losses) / len(losses)))
    first = {run.seed: loss for run, loss in found if run.chain is None}
    rows = []
    for run, loss in found:
        chain = None if run.chain is None else ChainKey(run.chain.regime, run.chain.real_share)
        number = 0 if run.chain is None else run.chain.generation
        rows.append(ChainLoss(chain, number, run.seed, loss, loss - first.get(run.seed, math.nan)))
    return rows


def differences(losses: Sequence[ChainLoss]) -> list[Difference]:
    """The first chain that there is less each other one, by generation, over the seeds that both have."""
    chains = list(dict.fromkeys(row.chain for row in losses if row.chain is not None))
    found = []
    for other in chains[1:]:
        for number in sorted({row.generation for row in losses if row.generation}):
            one, two = (
                {row.seed: row.loss_nats for row in losses if (row.chain, row.generation) == (chain, number)}
                for chain in (chains[0], other)
            )
            by_seed = {seed: one[seed] - two[seed] for seed in sorted(one.keys() & two.keys())}
            if by_seed:
                found.append(Difference(chains[0], other, number, by_seed, *_interval(list(by_seed.values()))))
    return found


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half of its interval."""
    from scipy import stats

    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, math.inf
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
    return mean, float(stats.t.ppf((1 + _LEVEL) / 2, len(values) - 1)) * spread
