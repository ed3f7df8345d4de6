"""Several plans side by side: each with its own forecast, and its differences to the first one.

What is unknown of one plan is mostly unknown of the other in the same way: the corpus, the exponents, how fast the
cluster is, what it costs. So a difference is far better known than the two numbers it is between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from typing_extensions import override

from ...core.errors import InfeasibleError, InputError, UsageError
from ...core.quantity import Difference, Quantity
from ...core.summary import Summarised, difference_text
from ...core.version import __version__
from ..cluster.estimate import plan_step
from ..cluster.step_time.step_model import StepTimeModel
from ..config.run_config import RunConfig
from ..predictor.predictor import Predictor
from .cluster_differences import CLUSTER_FIGURES, OnMachines, cluster_differences
from .forecast import DomainForecast, Forecast, forecast
from .strategies import undecided_notes
from .together import LossDraws, predict_together

__all__ = ["FIGURES", "WITH_STAGES", "Comparison", "compare", "differences", "figures", "with_stages"]

_LOSS_FIGURES = ("loss_nats", "perplexity", "bits_per_byte")
FIGURES = (*_LOSS_FIGURES, *CLUSTER_FIGURES)
"""What plans are compared by, of the target that is compared; of each, less is better."""
WITH_STAGES = ("total_wall_clock_days", "total_cost_usd")
"""What plans come to with the stages after pretraining, if any of them states some."""


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
    >>> low < loss.median < high, loss.chance_lower > 0.8
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
        wholes = with_stages(self.forecasts)
        for name, one, found, whole in zip(self.names, self.forecasts, self.differences, wholes, strict=True):
            own = {key: value.to_dict() for key, value in figures(one, self.target).items()}
            plans.append(
                {
                    "name": name,
                    **dict.fromkeys(FIGURES),
                    **own,
                    **{key: None if value is None else value.to_dict() for key, value in whole.items()},
                    "difference": {**dict.fromkeys(own), **{key: value.to_dict() for key, value in found.items()}},
                    "chances": one.chances.to_dict(),
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
    found = []
    for number, run in enumerate(runs, start=1):
        try:
            found.append(forecast(run, predictor, step_times))
        except (InputError, InfeasibleError) as error:
            which = f"plan {number}" if run.name is None else f"plan {number} ({run.name})"
            raise type(error)("\n".join(f"{which}: {line}" for line in str(error).splitlines())) from error
    target = found[0].main
    comparison = Comparison(
        forecasts=tuple(found),
        target=target,
        differences=differences(found, predictor, step_times, target),
        notes=tuple(_notes(found, target)),
    )
    of_loss = [its.get("loss_nats") for its in comparison.differences]
    undecided = undecided_notes(comparison.names, [one.strategies for one in found], of_loss)
    return replace(comparison, notes=(*comparison.notes, *undecided))


def figures(one: Forecast, target: str) -> dict[str, Quantity]:
    """The figures that a forecast has: FIGURES of a target, and `loss_nats.<domain>` of every other target."""
    of_target = one.of(target)
    found: dict[str, Quantity | None] = {name: getattr(of_target, name) for name in _LOSS_FIGURES}
    if one.cluster is not None:
        found |= {name: getattr(one.cluster, name) for name in CLUSTER_FIGURES}
    found |= {_name_of(name): domain.loss_nats for name, domain in one.domains.items() if name != target}
    return {name: value for name, value in found.items() if value is not None}


def with_stages(forecasts: Sequence[Forecast]) -> list[dict[str, Quantity | None]]:
    """WITH_STAGES of each plan, of its run alone where it states no stages; all empty where no plan states any."""
    if all(one.after is None for one in forecasts):
        return [{} for _ in forecasts]
    found = []
    for one in forecasts:
        both = (one.cluster.wall_clock_days, one.cluster.cost_usd) if one.cluster is not None else (None, None)
        if one.after is not None:
            both = (one.after.total_days, one.after.total_cost_usd)
        found.append(dict(zip(WITH_STAGES, both, strict=True)))
    return found


def _name_of(target: str) -> str:
    """The figure that the loss of a further target is."""
    return f"loss_nats.{target.removeprefix('loss.')}"


def differences(
    forecasts: Sequence[Forecast],
    predictor: Predictor,
    step_times: StepTimeModel | None = None,
    target: str | None = None,
) -> tuple[Mapping[str, Difference], ...]:
    """How forecasts differ from the first of them, by figure; an empty mapping for the first.

    Args:
        forecasts: The forecasts, all by the same predictor.
        predictor: The predictor.
        step_times: What predicted the step times; by default the shipped model.
        target: The target whose loss is compared; by default the first forecast's main one.
    """
    target = target or forecasts[0].main
    found = _of_losses(forecasts, predictor, target)
    machines = [_on_machines(one, step_times) for one in forecasts]
    for place, (its, own) in enumerate(zip(found, machines, strict=True)):
        if place and machines[0] is not None and own is not None:
            its |= cluster_differences(machines[0], own, place)
    return tuple(found)


def _on_machines(one: Forecast, step_times: StepTimeModel | None) -> OnMachines | None:
    """What the estimate of a forecast was made from; None without one. Its layout needn't be searched for again."""
    if one.cluster is None:
        return None
    config = one.config.model_copy(update={"layout": one.cluster.layout.stated()})
    return OnMachines(config, plan_step(config, step_times), one.cluster)


def _of_losses(forecasts: Sequence[Forecast], predictor: Predictor, target: str) -> list[dict[str, Difference]]:
    """Differences of the losses, and of the target's perplexity and bits per byte; none for the first."""
    configs = [one.config for one in forecasts]
    found: list[dict[str, Difference]] = [{} for _ in forecasts]
    for name in (target, *(name for name in predictor.models if name != target)):
        prediction = predict_together(configs, predictor, name)
        for place in range(1, len(found)):
            figure = "loss_nats" if name == target else _name_of(name)
            found[place][figure] = prediction.difference(place).summary()
        if name != target:
            continue
        drawn = LossDraws.of(prediction, configs[0].seed)
        for place in range(1, len(found)):
            found[place]["perplexity"] = drawn.perplexity(place)
            of_bits = _of_bits(forecasts[0].of(target), forecasts[place].of(target), drawn.pair(place))
            if of_bits is not None:
                found[place]["bits_per_byte"] = of_bits
    return found


def _of_bits(first: DomainForecast, other: DomainForecast, drawn: tuple[np.ndarray, np.ndarray]) -> Difference | None:
    """The difference in bits per byte, of plans whose tokenizers may differ, from draws of both losses in nats."""
    if first.bits_per_byte is None or other.bits_per_byte is None:
        return None
    medians = first.bits_per_byte.median, other.bits_per_byte.median
    bits = [
        nats * (median / of_loss.loss_nats.median)
        for nats, median, of_loss in zip(drawn, medians, (first, other), strict=True)
    ]
    return Difference.around(medians[1] - medians[0], bits[1] - bits[0])


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
