"""The laws of reward over-optimisation by least squares, for each reward model on its own, with t intervals over seeds.

    best of n:  gold = d (α − β d)        REINFORCE:  gold = d (α − β log d)        d = √KL, KL in nats

Source: Gao et al. 2022, "Scaling laws for reward model overoptimization" (arXiv:2210.10760), section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from .table import BEST_OF_N

__all__ = ["Held", "Law", "averaged", "fitted", "half_width", "held_out", "law_gold", "misfit"]

LEVEL = 0.9


@dataclass(frozen=True)
class Law:
    """α and β, the mean over seeds, with the half widths of their 90 % intervals; `by_seed`: (seeds, 2)."""

    method: str
    by_seed: np.ndarray

    @property
    def alpha_beta(self) -> np.ndarray:
        """α, β."""
        return self.by_seed.mean(0)

    @property
    def half_widths(self) -> np.ndarray:
        """Of the 90 % intervals of α and β."""
        return half_width(self.by_seed)

    def gold(self, kl_nats: np.ndarray) -> np.ndarray:
        """Gold reward, sd, at KLs (k,)."""
        return law_gold(self.method, kl_nats) @ self.alpha_beta

    @property
    def peak_kl_nats(self) -> float:
        """The KL of the highest gold; infinite where β isn't above 0."""
        alpha, beta = self.alpha_beta
        if beta <= 0:
            return np.inf
        return float((alpha / (2 * beta)) ** 2 if self.method == BEST_OF_N else np.exp(2 * (alpha / beta - 1)))


def law_gold(method: str, kl_nats: np.ndarray) -> np.ndarray:
    """What α and β are multiplied by, (k, 2), at KLs (k,)."""
    distance = np.sqrt(kl_nats)
    if method == BEST_OF_N:
        return np.stack([distance, -(distance**2)], axis=1)
    return np.stack([distance, -distance * np.log(np.maximum(distance, 1e-12))], axis=1)


def fitted(rows: pd.DataFrame, form: str | None = None) -> Law:
    """Fit the rows of one method and one reward model, each seed alone: its points share samples and weights.

    `form` is the method whose law is fitted, by default that of the rows.
    """
    (own,) = set(rows["method"])
    method = form or own
    rows = rows[rows["kl_nats"] > 0]
    found = []
    for _, its in rows.groupby("seed"):
        parts = law_gold(method, its["kl_nats"].to_numpy())
        found.append(np.linalg.lstsq(parts, its["gold"].to_numpy(), rcond=None)[0])
    return Law(method, np.array(found))


def misfit(rows: pd.DataFrame, law: Law) -> float:
    """How far a law is from the rows of a method and reward model, root mean square, sd."""
    return float(np.sqrt(np.mean((law.gold(rows["kl_nats"].to_numpy()) - rows["gold"]) ** 2)))


@dataclass(frozen=True)
class Held:
    """A larger n than those that were fitted on: gold foretold and measured, means over seeds, and the half width of
    the 90 % interval of their difference."""

    n: int
    foretold: float
    measured: float
    half_width: float

    @property
    def inside(self) -> bool:
        """Whether the interval holds what was measured."""
        return abs(self.measured - self.foretold) <= self.half_width


def held_out(rows: pd.DataFrame, most_n: int) -> list[Held]:
    """Fit best of n up to `most_n`, foretell the rest.

    The interval has what α and β of the seeds leave open, how far the law is from the points that it was fitted on, and
    the standard error of the pool.
    """
    law = fitted(rows[rows["n"] <= most_n])
    mean = averaged(rows)
    near = mean[(mean["n"] <= most_n) & (mean["n"] > 1)]
    found = []
    for row in mean[mean["n"] > most_n].itertuples():
        parts = law_gold(law.method, np.array([row.kl_nats]))[0]
        seeds = half_width(law.by_seed @ parts)
        wider = stats.norm.ppf((1 + LEVEL) / 2) * np.hypot(misfit(near, law), row.gold_se)
        found.append(Held(int(row.n), float(parts @ law.alpha_beta), float(row.gold), float(np.hypot(seeds, wider))))
    return found


def averaged(rows: pd.DataFrame) -> pd.DataFrame:
    """The means over seeds of best of n: kl_nats, gold, gold_se and proxy by n.

    Seeds are judged on one pool, whose error they share; what they differ by is on top of it.
    """
    by_n = rows.groupby("n")
    found = by_n[["kl_nats", "gold", "proxy"]].mean()
    between = by_n["gold"].std(ddof=1).fillna(0) / np.sqrt(by_n.size())
    found["gold_se"] = np.hypot(by_n["gold_se"].mean(), between)
    return found.reset_index()


def half_width(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Half width of the 90 % t interval of the mean over the first axis; infinite for one value."""
    values = np.asarray(values)
    if len(values) < 2:
        return np.full(values.shape[1:], np.inf)
    return stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(0, ddof=1) / np.sqrt(len(values))
