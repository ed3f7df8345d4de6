"""Several plans side by side: each with its own forecast, and its differences to the first one.

What is unknown of one plan is mostly unknown of the other in the same way: the corpus, the exponents, how fast the
cluster is, what it costs. So a difference is far better known than the two numbers it is between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from typing_extensions import override

from ...core.errors import UsageError
from ...core.quantity import Difference, Quantity
from ...core.summary import Summarised, difference_text
from ...core.version import __version__
from ..cluster.chance import Chance
from ..cluster.cluster_estimate import Draws
from ..cluster.estimate import DRAWS, PlannedStep, estimate, plan_step
from ..cluster.layout_choice import missing
from ..cluster.step_time.step_model import StepTimeModel
from ..config.run_config import RunConfig
from ..predictor.predictor import Predictor
from .forecast import Forecast, forecast
from .together import predict_together

__all__ = ["FIGURES", "Comparison", "compare", "differences", "figures"]

FIGURES = (
    "loss_nats", "perplexity", "bits_per_byte", "wall_clock_days", "gpu_hours", "cost_usd", "energy_mwh",
)  # fmt: skip
"""What plans are compared by, of the target that is compared; of each, less is better."""

_DRAWN: Mapping[str, Callable[[Draws], np.ndarray | None]] = {
    "wall_clock_days": lambda draws: draws.wall_clock_s / 86_400.0,
    "gpu_hours": lambda draws: draws.gpu_hours,
    "cost_usd": lambda draws: draws.cost_usd,
    "energy_mwh": lambda draws: draws.energy_mwh,
}
_LOSS_STREAM = 1  # of a seed: as in the chance of all targets, times don't depend on what is drawn of losses
_MOST_NATS = 700.0  # beyond this exp overflows


@dataclass(frozen=True, repr=False)
class Comparison(Summarised):
    """Plans side by side, as `compare` gives them: forecasts, and how each differs from the first.

    >>> import foretrain
    >>> plan = {"name": "1T", "model": {"params": "7B"}, "data": {"tokens": "1T"}}
    >>> longer = {"name": "2T", "model": {"params": "7B"}, "data": {"tokens": "2T"}}
    >>> found = foretrain.compare([plan, longer], foretrain.load_predictor("web-text"))
    >>> sorted(found.differences[1]), found.differences[0]
    (['loss_nats', 'perplexity'], {})
    >>> loss = found.differences[1]["loss_nats"]
    >>> low, high = loss.intervals[0.9]
    >>> low < loss.median < high, loss.chance_lower > 0.9
    (True, True)
    """

    forecasts: tuple[Forecast, ...]
    """The forecast of each plan, the same as it has alone."""
    target: str
    """The target whose loss is compared."""
    differences: tuple[Mapping[str, Difference], ...]
    """By figure, each plan minus the first; none of the first itself, and none of what a plan says too little for."""
    notes: tuple[str, ...] = field(default_factory=tuple)
    """What else should be known, in plain sentences."""

    @property
    def names(self) -> tuple[str, ...]:
        """The plans' names, numbered from 1 where they have none or share one."""
        stated = [one.config.name for one in self.forecasts]
        return tuple(
            name if name and stated.count(name) == 1 else f"{name or 'plan'} {number}"
            for number, name in enumerate(stated, start=1)
        )

    @override
    def summary(self) -> dict[str, str]:
        first, *others = self.names
        facts = {"compared with": first}
        for name, found in zip(others, self.differences[1:], strict=True):
            facts[name] = difference_text(found["loss_nats"], "{:+.3f}".format, "nats")
        return facts

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys and units in the names, for JSON."""
        plans = []
        for name, one, found in zip(self.names, self.forecasts, self.differences, strict=True):
            own = {key: value.to_dict() for key, value in figures(one, self.target).items()}
            plans.append(
                {
                    "name": name,
                    **dict.fromkeys(FIGURES),
                    **own,
                    "difference": {**dict.fromkeys(own), **{key: value.to_dict() for key, value in found.items()}},
                    "warnings": list(one.warnings),
                    "config": one.config.to_mapping(),
                }
            )
        return {
            "target": self.target,
            "plans": plans,
            "predictor": dict(self.forecasts[0].predictor),
            "notes": list(self.notes),
            "version": __version__,
        }


def compare(
    configs: Sequence[RunConfig | Mapping[str, Any]],
    predictor: Predictor,
    step_times: StepTimeModel | None = None,
) -> Comparison:
    """Forecast plans and compare each with the first, by one set of draws for all.

    Shared are the level and the exponents of the loss, and on machines of one kind the deviations of step times, the
    rate of failures and the price; a run's own noise and the failures that hit it are not.

    Args:
        configs: The plans, or what they say as a mapping; at least two.
        predictor: Predicts the loss of all.
        step_times: Predicts the time of a step; by default the shipped model.

    Returns:
        Each plan's forecast, the same as `forecast` gives it, and its differences to the first plan's with intervals
        and the chance to be lower.

    Raises:
        UsageError: There are fewer than two plans.
        InputError: The predictor does not apply to one of them.
        InfeasibleError: The hardware of a plan can't run it.

    >>> import foretrain
    >>> plans = [{"model": {"params": "7B"}, "data": {"tokens": tokens}} for tokens in ("1T", "2T")]
    >>> found = foretrain.compare(plans, foretrain.load_predictor("web-text"))
    >>> one, other = (forecast.headline.loss_nats.intervals[0.9] for forecast in found.forecasts)
    >>> low, high = found.differences[1]["loss_nats"].intervals[0.9]
    >>> high - low < 0.2 * (one[1] - one[0])
    True
    """
    if len(configs) < 2:
        raise UsageError(f"plans: got {len(configs)}; expected at least two to compare")
    runs = [one if isinstance(one, RunConfig) else RunConfig.from_mapping(one) for one in configs]
    steps = [None if missing(run) else plan_step(run, step_times) for run in runs]
    found = [forecast(run, predictor, step_times, step=step) for run, step in zip(runs, steps, strict=True)]
    target = found[0].main
    return Comparison(
        forecasts=tuple(found),
        target=target,
        differences=differences(found, predictor, steps, target),
        notes=tuple(_notes(found, target)),
    )


def figures(one: Forecast, target: str) -> dict[str, Quantity]:
    """The figures that a forecast has: FIGURES of a target, and `loss_nats.<domain>` of every other target."""
    of_target = one.domains[target]
    found: dict[str, Quantity | None] = {name: getattr(of_target, name) for name in FIGURES if name not in _DRAWN}
    if one.cluster is not None:
        found |= {name: getattr(one.cluster, name) for name in _DRAWN}
    found |= {_name_of(name): domain.loss_nats for name, domain in one.domains.items() if name != target}
    return {name: value for name, value in found.items() if value is not None}


def _name_of(target: str) -> str:
    """The figure that the loss of a further target is."""
    return f"loss_nats.{target.removeprefix('loss.')}"


def differences(
    forecasts: Sequence[Forecast],
    predictor: Predictor,
    steps: Sequence[PlannedStep | None],
    target: str | None = None,
) -> tuple[Mapping[str, Difference], ...]:
    """How forecasts differ from the first of them, by figure; an empty mapping for the first.

    Args:
        forecasts: The forecasts, all by the same predictor.
        predictor: The predictor.
        steps: The step of each plan in its layout; None for one without an estimate of its cluster.
        target: The target whose loss is compared; by default the first forecast's main one.
    """
    target = target or forecasts[0].main
    of_loss = _of_losses(forecasts, predictor, target)
    configs = [one.config for one in forecasts]
    for name in predictor.models:
        if name != target:
            together = predict_together(configs, predictor, name)
            for place, its in enumerate(of_loss, start=1):
                its[_name_of(name)] = together.difference(place).summary()
    found: list[Mapping[str, Difference]] = [{}]
    for place in range(1, len(forecasts)):
        of_cluster = _of_clusters(forecasts[0], forecasts[place], steps[0], steps[place], place)
        found.append({**of_loss[place - 1], **of_cluster})
    return tuple(found)


def _of_losses(forecasts: Sequence[Forecast], predictor: Predictor, target: str) -> list[dict[str, Difference]]:
    """Differences of loss, perplexity and bits per byte of each forecast but the first."""
    configs = [one.config for one in forecasts]
    prediction = predict_together(configs, predictor, target)
    drawn = prediction.sample(np.random.default_rng([configs[0].seed, _LOSS_STREAM]), DRAWS)
    first, base = forecasts[0].domains[target], drawn[:, 0]
    found = []
    for place, one in enumerate(forecasts[1:], start=1):
        own = one.domains[target]
        of_loss = prediction.difference(place)
        nats = of_loss.summary()
        # the draws in their own order, which holds what a difference has to do with the level, by calibrated sizes
        other = base + of_loss.matched(drawn[:, place] - base)
        of_perplexity = Difference.around(own.perplexity.median - first.perplexity.median, _exp(other) - _exp(base))
        these = {"loss_nats": nats, "perplexity": replace(of_perplexity, chance_lower=nats.chance_lower)}
        if own.bits_per_byte is not None and first.bits_per_byte is not None:
            per_nat = [one.bits_per_byte.median / one.loss_nats.median for one in (own, first) if one.bits_per_byte]
            centre = own.bits_per_byte.median - first.bits_per_byte.median
            of_bits = Difference.around(centre, per_nat[0] * other - per_nat[1] * base)
            if math.isclose(*per_nat, rel_tol=1e-9):
                of_bits = replace(of_bits, chance_lower=nats.chance_lower)
            these["bits_per_byte"] = of_bits
        found.append(these)
    return found


def _of_clusters(
    first: Forecast, other: Forecast, first_step: PlannedStep | None, step: PlannedStep | None, place: int
) -> dict[str, Difference]:
    """Differences of what the machines take; none where one of the plans has no estimate."""
    if first.cluster is None or other.cluster is None or first_step is None or step is None:
        return {}
    shared = None
    alike = first.config.hardware.machine == other.config.hardware.machine
    if alike and first.cluster.framework == other.cluster.framework:
        shared = step.fitted.error_correlation(first_step.steps, step.steps)
    chance = Chance.beside(first.config.seed, step.fitted, DRAWS, place, shared)
    beside = estimate(other.config, step=step, chance=chance)
    found = {}
    for name, of_draws in _DRAWN.items():
        own, base = getattr(other.cluster, name), getattr(first.cluster, name)
        drawn, drawn_first = of_draws(beside.draws), of_draws(first.cluster.draws)
        if own is not None and base is not None and drawn is not None and drawn_first is not None:
            found[name] = Difference.around(own.median - base.median, drawn - drawn_first)
    return found


def _exp(nats: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(nats, _MOST_NATS))


def _notes(forecasts: Sequence[Forecast], target: str) -> list[str]:
    """What makes plans hard to compare."""
    notes = []
    if any(one.main != target for one in forecasts):
        notes.append(f"the plans state different data.val_domain: all are compared on {target}")
    without = [str(number) for number, one in enumerate(forecasts, start=1) if one.cluster is None]
    if 0 < len(without) < len(forecasts):
        lacking = ", ".join(dict.fromkeys(name for one in forecasts for name in one.cluster_missing))
        notes.append(f"no times or cost of plan {', '.join(without)}: {lacking} not stated")
    return notes
