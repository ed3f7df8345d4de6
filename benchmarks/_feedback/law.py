"""The laws of reward over-optimisation, by the package's own fit, and what they foretell of larger n."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from foretrain.simulator.after_pretraining.feedback.fitting import fit_feedback
from foretrain.simulator.after_pretraining.feedback.law import FeedbackLaw
from foretrain.simulator.after_pretraining.feedback.measurements import Measurements
from scipy import stats

__all__ = ["Held", "averaged", "fitted", "gold_of", "half_width", "held_out", "misfit"]

LEVEL = 0.9


def fitted(rows: pd.DataFrame, method: str | None = None) -> FeedbackLaw:
    """Fit the rows of one method and one reward model; `method` is that whose law is taken, by default their own."""
    (measured,) = Measurements.of_frame(rows.reset_index(drop=True)).values()
    return fit_feedback(measured if method is None else replace(measured, method=method), standardised=True)


def gold_of(law: FeedbackLaw, kl_nats: np.ndarray) -> np.ndarray:
    """The median gold reward of the mean reward model, sd, at KLs `(k,)`."""
    alpha, beta = law.coefficients({}, None)
    return np.median(law.form.gain(np.sqrt(kl_nats)[:, None], alpha, beta), axis=1)


def misfit(rows: pd.DataFrame, law: FeedbackLaw) -> float:
    """How far a law is from the rows of a method and reward model, root mean square, sd."""
    return float(np.sqrt(np.mean((gold_of(law, rows["kl_nats"].to_numpy()) - rows["gold"]) ** 2)))


@dataclass(frozen=True)
class Held:
    """A larger n than those that were fitted on: gold foretold of one more reward model, and measured."""

    n: int
    foretold: tuple[float, float, float]
    """Median, and the ends of the 90 % interval."""
    measured: np.ndarray
    """Of each set of comparisons."""

    @property
    def inside(self) -> int:
        """How many of the sets lie inside the interval."""
        _, low, high = self.foretold
        return int(((low <= self.measured) & (self.measured <= high)).sum())

    @property
    def mean_inside(self) -> bool:
        """Whether their mean does."""
        _, low, high = self.foretold
        return bool(low <= self.measured.mean() <= high)


def held_out(rows: pd.DataFrame, most_n: int) -> list[Held]:
    """Fit best of n up to `most_n`, foretell the rest as a plan's forecast does."""
    law, rng, found = fitted(rows[rows["n"] <= most_n]), np.random.default_rng(0), []
    for n, its in rows[rows["n"] > most_n].groupby("n"):
        alpha, beta = law.coefficients({}, rng)
        off, noise = rng.standard_normal((2, law.draws))
        gold = law.gain(np.sqrt(its["kl_nats"].iloc[:1].to_numpy()), alpha, beta, off) + law.noise * noise
        middle, low, high = np.quantile(gold, [0.5, (1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
        found.append(Held(round(float(str(n))), (middle, low, high), its["gold"].to_numpy()))
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
