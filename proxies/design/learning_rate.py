"""Choosing the learning rate of a ladder from trials at a few sizes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from ...core.errors import FitError
from ...core.reading.fields import Frozen, PositiveReal, Whole
from ..results import RunResult
from ..runs import ProxyRun

__all__ = ["LearningRateChoice", "LearningRateOptimum", "LearningRateTrial", "lr_trials", "pick_lr"]

_DIGITS = 4
_SAME_STEPS = 2


class LearningRateTrial(NamedTuple):
    """One run of the tuning stage: `lr` is at width 64; `loss_nats` is infinite or NaN if it diverged."""

    params: int
    width: int
    lr: float
    loss_nats: float


class LearningRateOptimum(Frozen):
    """The best learning rate at one size; `edge` says at which end of the range it lies, None for within."""

    params: Whole
    width: Whole
    lr: PositiveReal
    edge: Literal["low", "high"] | None


class LearningRateChoice(Frozen):
    """The learning rate of each width, as fitted, with the reason. JSON by `model_dump(mode="json")`."""

    optima: tuple[LearningRateOptimum, ...]
    common: PositiveReal | None
    reason: str

    @property
    def at_edge(self) -> bool:
        """Whether an optimum lies at the end of the range tried, so that the true one may lie beyond."""
        return any(optimum.edge for optimum in self.optima)

    def at(self, width: int) -> float:
        """Return the learning rate (at width 64, as `Recipe.lr`) for a model of this width.

        That is the common optimum where there is one; else it is interpolated over the logarithms of width and
        learning rate, and constant beyond the tuned widths, as a trend of two points is too uncertain to extrapolate.
        """
        if self.common is not None:
            return self.common
        widths, lrs = ([math.log(getattr(o, name)) for o in self.optima] for name in ("width", "lr"))
        return _rounded(math.exp(float(np.interp(math.log(width), widths, lrs))))


def lr_trials(outcomes: Iterable[tuple[ProxyRun, RunResult]]) -> list[LearningRateTrial]:
    """Return the trials that runs of the lr stage are: their last loss, as the plain mean over domains in nats.

    That is the `loss` of the run table. A run that diverged has an infinite one.
    """
    trials = []
    for run, result in outcomes:
        losses = [loss.mean_nats for evaluation in result.evaluations[-1:] for loss in evaluation.losses.values()]
        loss = math.fsum(losses) / len(losses) if result.status == "ok" and losses else math.inf
        trials.append(LearningRateTrial(run.shape.params_total, run.shape.width, run.recipe.lr, loss))
    return trials


def pick_lr(trials: Iterable[LearningRateTrial]) -> LearningRateChoice:
    """Return the best learning rate from trials at one or several sizes.

    At each size a parabola over log lr goes through the best trial and its two neighbours, after averaging trials of
    equal lr. Its vertex is the optimum; where the best trial is the first or the last, that trial itself is, and
    `edge` says so. Optima that differ by at most two steps between trials count as one, their geometric mean: the
    bowl is flat, single trials are noisy, and under the engine's scaling one rate is expected to serve every width.

    Raises FitError where there are no trials, or all at one size diverged.
    """
    sizes: dict[tuple[int, int], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        sizes[trial.width, trial.params][trial.lr].append(trial.loss_nats)
    if not sizes:
        raise FitError("learning rate: there are no trials to choose from; run the lr stage first")
    optima = tuple(_optimum(params, width, losses) for (width, params), losses in sorted(sizes.items()))
    lrs = [optimum.lr for optimum in optima]
    step = max(_step(list(losses)) for losses in sizes.values())
    same = max(lrs) / min(lrs) <= step**_SAME_STEPS * (1 + 1e-9)
    common = _rounded(math.exp(math.fsum(map(math.log, lrs)) / len(lrs))) if same else None
    return LearningRateChoice(optima=optima, common=common, reason=_reason(optima, common))


def _optimum(params: int, width: int, losses: dict[float, list[float]]) -> LearningRateOptimum:
    """Return the best learning rate at one size from the losses by learning rate."""
    lrs = sorted(losses)
    means = [math.fsum(losses[lr]) / len(losses[lr]) for lr in lrs]
    means = [mean if math.isfinite(mean) else math.inf for mean in means]
    best = means.index(min(means))
    if math.isinf(means[best]):
        raise FitError(f"learning rate: every trial at width {width} diverged, down to {lrs[0]:g}; lower lr.low")
    edge: Literal["low", "high"] | None = "low" if best == 0 else "high" if best == len(lrs) - 1 else None
    lr = lrs[best]
    if edge is None and math.isfinite(means[best + 1]) and math.isfinite(means[best - 1]):
        lr = _rounded(math.exp(_vertex(np.log(lrs[best - 1 : best + 2]), np.array(means[best - 1 : best + 2]))))
    return LearningRateOptimum(params=params, width=width, lr=lr, edge=edge)


def _vertex(x: np.ndarray, y: np.ndarray) -> float:
    """Return where the parabola through three points, the middle one lowest, is lowest."""
    left, right = (x[1] - x[0]) * (y[1] - y[2]), (x[1] - x[2]) * (y[1] - y[0])
    if left == right:
        # Three equal losses.
        return float(x[1])
    return float(x[1] - 0.5 * ((x[1] - x[0]) * left - (x[1] - x[2]) * right) / (left - right))


def _step(lrs: list[float]) -> float:
    """Return the ratio between neighbouring learning rates, at most."""
    ordered = sorted(lrs)
    return max((b / a for a, b in pairwise(ordered)), default=1.0)


def _rounded(lr: float) -> float:
    return float(f"{lr:.{_DIGITS}g}")


def _reason(optima: tuple[LearningRateOptimum, ...], common: float | None) -> str:
    """Return one sentence or two for people."""
    found = ", ".join(f"{optimum.lr:g} at width {optimum.width}" for optimum in optima)
    text = f"best learning rate: {found}"
    if len(optima) > 1:
        apart = "apart by more than two steps, so interpolated over the width"
        text += f"; {apart if common is None else f'within two steps of each other, so {common:g} for all widths'}"
    for optimum in optima:
        if optimum.edge:
            text += f"; at width {optimum.width} the {optimum.edge}est one tried was best: widen the range"
    return text
