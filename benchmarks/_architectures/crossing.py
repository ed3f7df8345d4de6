"""Where the law of a mixer crosses the transformer's, and from where on the ladder's order is undecided.

Along runs of 20 tokens per parameter, compute 6·N·D, two ways:

- laws fitted apart: each pair of draws, one of either law, crosses somewhere or nowhere up to MOST_FLOPS;
- the law of all mixers: the 90 % interval of the difference (`LossModel.sd_between`), whose ends pass 0 somewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.predictor.predictor import Predictor

from .tables import BASELINE, cut, fittable, mixers_of, of_mixer

__all__ = ["joint_law", "report_crossings"]

TOKENS_PER_PARAM = 20
MOST_FLOPS = 1e24
_PLACES = 400
_WIDTH = NormalDist().inv_cdf(0.95)
_DRAWS = 400


def joint_law(table: RunTable, about: Mapping[str, object] | None = None) -> Predictor:
    """The law of the mean loss of all mixers, which share E, α and β and differ by the term `architecture`."""
    return Predictor.fit(cut(table, fittable(table), main_loss_alone=True), name="mixers", about=about)


@dataclass(frozen=True)
class Crossing:
    """Where a mixer's law crosses the transformer's, FLOPs: the middle, the ends of 90 %, the share that crosses."""

    middle: float
    low: float
    high: float
    share: float

    @property
    def text(self) -> str:
        if self.share < 0.05:
            return "none"
        return f"{_flops(self.middle)} ({_flops(self.low)} to {_flops(self.high)}), {self.share:.0%} of draws"


def report_crossings(table: RunTable, laws: dict[str, Predictor], joint: Predictor | None) -> None:
    """Print, for each mixer, where its law crosses the transformer's, and what is decided by the law of all mixers."""
    print(
        f"\nwhere laws cross the transformer's, FLOPs, {TOKENS_PER_PARAM} tokens per parameter, up to {MOST_FLOPS:.0e}"
    )
    of_joint = "law of all mixers: 90 % of the difference"
    print(f"{'mixer':<14}{'ladder to':>10}  {'laws fitted apart: median (90 %)':<52}{of_joint}")
    for name in mixers_of(table)[1:]:
        last = float(table.column("flops")[of_mixer(table, name)].max())
        apart = crossing(laws[name], laws[BASELINE], last)
        said = "" if joint is None else _decided(joint, name, last)
        print(f"{name:<14}{_flops(last):>10}  {apart.text:<52}{said}")


def crossing(own: Predictor, others: Predictor, first: float) -> Crossing:
    """Where two laws that were fitted apart cross between `first` and MOST_FLOPS, by pairs of their draws.

    A pair that crosses nowhere counts as beyond the end; the ends of the interval then are infinite.
    """
    flops, columns = _runs(first)
    gaps = _drawn(own, columns) - _drawn(others, columns)
    places = [_first_change(flops, gap) for gap in gaps]
    low, middle, high = np.quantile(places, (0.05, 0.5, 0.95), method="inverted_cdf")
    return Crossing(float(middle), float(low), float(high), float(np.isfinite(places).mean()))


def _runs(first: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Compute in even steps of its logarithm, and the runs that it pays for."""
    flops = np.geomspace(first, MOST_FLOPS, _PLACES)
    params = np.sqrt(flops / (6 * TOKENS_PER_PARAM))
    return flops, {"params": params, "tokens": TOKENS_PER_PARAM * params}


def _drawn(predictor: Predictor, columns: dict[str, np.ndarray]) -> np.ndarray:
    """The loss by the draws of a fit, nats, `(K, n)`."""
    fit = predictor.models["loss"].fit
    theta = fit.draws[:_DRAWS]
    return fit.law.loss(theta, fit.law.prepare(columns, fit.reference))


def _first_change(flops: np.ndarray, gap: np.ndarray) -> float:
    """Where a difference first has the other sign; infinite where it never has."""
    changed = np.flatnonzero(np.sign(gap) != np.sign(gap[0]))
    return float(flops[changed[0]]) if len(changed) else math.inf


def _decided(joint: Predictor, name: str, first: float) -> str:
    """What the 90 % interval of the difference says from the end of the ladder on."""
    flops, columns = _runs(first)
    model = joint.models["loss"]
    both = {key: np.repeat(values[:, None], 2, axis=1) for key, values in columns.items()}
    signs = []
    for place in range(0, _PLACES, 8):
        pair = {key: values[place] for key, values in both.items()} | _levels(model, name)
        said = model.fit.log_loss(pair)
        gap, sd = float(said[0] - said[1]), model.sd_between(pair)
        signs.append((float(flops[place]), 0 if abs(gap) < _WIDTH * sd else int(np.sign(gap)), gap))
    words = {-1: "lower", 0: "undecided", 1: "higher"}
    changes = [signs[0], *(two for one, two in pairwise(signs) if two[1] != one[1])]
    return ", ".join(f"{words[sign]} from {_flops(at)}" for at, sign, _ in changes)


def _levels(model, name: str) -> dict[str, np.ndarray]:
    """The columns of a pair of runs: the mixer's, and the transformer's."""
    term = next(term for term in model.fit.law.terms if term.name == "architecture")
    return {
        f"architecture={level}": np.array([float(level == name), float(level == BASELINE)]) for level in term.levels
    }


def _flops(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else "never"
