"""Where the law of a mixer crosses the transformer's, and from where on the ladder's order is undecided.

Two ways:

- laws fitted apart: each pair of draws, one of either law, crosses somewhere or nowhere up to MOST_FLOPS, along runs of
  20 tokens per parameter;
- the law of all mixers, as `simulate optimal point --mixers` has it: each at its own best size, and where the 90 %
  interval of the difference contains 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from foretrain.core.quantity import Difference
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.allocation.compute_optimal import mixers as crossings
from foretrain.simulator.allocation.compute_optimal.mixers import mixers_optimal
from foretrain.simulator.predictor.predictor import Predictor

from .tables import BASELINE, cut, fittable, of_mixer, whole_mixers

__all__ = ["joint_law", "report_by_compute", "report_crossings"]

TOKENS_PER_PARAM = 20
COMPUTES = (1e12, 1e13, 1e14, 1e15)
MOST_FLOPS = 1e24
_PLACES = 400
_DRAWS = 400


def joint_law(table: RunTable, about: Mapping[str, object] | None = None) -> Predictor:
    """The law of the mean loss of all mixers, which share E, α and β and differ by the term `architecture`.

    Learning rates are left out: each mixer has its own best one, so what they change can't be told from what it does.
    """
    fitted = cut(table, fittable(table), main_loss_alone=True)
    without = RunTable.from_frame(fitted.frame.drop(columns=["lr", "lr_final"]), where=table.where)
    return Predictor.fit(without, name="mixers", about=about)


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


def report_crossings(table: RunTable, laws: dict[str, Predictor], joint: Predictor) -> None:
    """Print, for each mixer, where its law crosses the transformer's, and what is decided by the law of all mixers."""
    print(
        f"\nwhere laws cross the transformer's, FLOPs, {TOKENS_PER_PARAM} tokens per parameter, up to {MOST_FLOPS:.0e}"
    )
    print(f"{'mixer':<14}{'ladder to':>10}  {'laws fitted apart: median (90 %)':<52}law of all mixers: who leads")
    others = whole_mixers(table)[1:]
    found = mixers_optimal(joint, ["attention", *others], float(table.column("flops").max()))
    of_joint = dict(zip(others, found.crossings, strict=True))
    for name in others:
        last = float(table.column("flops")[of_mixer(table, name)].max())
        apart = crossing(laws[name], laws[BASELINE], last)
        said = _said(of_joint[name])
        print(f"{name:<14}{_flops(last):>10}  {apart.text:<52}{said}")


def crossing(own: Predictor, others: Predictor, first: float) -> Crossing:
    """Where two laws that were fitted apart cross between `first` and MOST_FLOPS, by pairs of their draws.

    A pair that crosses nowhere counts as beyond the end; the ends of the interval then are infinite.
    """
    flops, columns = _runs(first)
    one, other = _drawn(own, columns), _drawn(others, columns)
    count = min(len(one), len(other))  # laws of several forms have more draws
    gaps = one[:count] - other[:count]
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


def report_by_compute(table: RunTable, joint: Predictor) -> None:
    """Print each mixer's loss less the transformer's by the law of all mixers, from the ladder's compute outward."""
    along = f"{TOKENS_PER_PARAM} tokens per parameter"
    print(f"\nby the law of all mixers, {along}: difference to the transformer, nats (90 %)")
    print(f"{'mixer':<14}" + "".join(f"{f'{flops:.0e} FLOPs':>30}" for flops in COMPUTES))
    for name in whole_mixers(table)[1:]:
        texts = []
        for flops in COMPUTES:
            gap = _difference(joint, name, flops)
            low, high = gap.intervals[0.9]
            texts.append(f"{gap.median:+.3f} ({low:+.3f} to {high:+.3f})" + ("*" if low <= 0 <= high else " "))
        print(f"{name:<14}" + "".join(f"{text:>30}" for text in texts))
    print("* undecided: 0 lies within the interval")


def _difference(joint: Predictor, name: str, flops: float) -> Difference:
    """The loss of a mixer's run of a compute less that of the transformer's."""
    model = joint.models["loss"]
    params = math.sqrt(flops / (6 * TOKENS_PER_PARAM))
    pair = {"params": np.full(2, params), "tokens": np.full(2, TOKENS_PER_PARAM * params)}
    for level in mixers_of_law(joint):
        pair[f"architecture={level}"] = np.array([float(level == BASELINE), float(level == name)])
    return model.predict(pair, joint=True).difference(1).summary()


def mixers_of_law(joint: Predictor) -> tuple[str, ...]:
    """The levels of the term `architecture`."""
    return tuple(joint.models["loss"].fit.law.levels["architecture"])


def _said(found: crossings.Crossing) -> str:
    """Who leads on the ladder, up to where that is decided, and where the other takes over."""
    words = f"{found.leads} from {_flops(found.looked_at[0])}"
    if found.undecided is not None:
        words += f"; undecided {_flops(found.undecided[0])} to {_flops(found.undecided[1])}"
        if found.undecided[1] >= found.looked_at[1]:
            words += " and beyond"
    return words + (f"; medians cross at {_flops(found.flops)}" if found.flops else "; medians don't cross")


def _flops(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else "never"
