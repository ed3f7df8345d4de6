"""The marginal effect of more time, accelerators, money or tokens, for the planned model and for the best one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.errors import ConfigError, InfeasibleError, InputError
from ....core.progress import Progress
from ....core.quantity import Difference, Quantity
from ....core.version import __version__
from ...cluster.cluster_estimate import ClusterEstimate
from ...cluster.estimate import DRAWS
from ...cluster.layout_choice import missing
from ...cluster.step_time.step_model import StepTimeModel
from ...config.run_config import RunConfig
from ...forecast.cluster_differences import OnMachines, cluster_differences
from ...forecast.law_inputs import run_columns
from ...forecast.together import LossDraws
from ...predictor.predictor import Predictor
from ..compute_optimal.surface import LossSurface, tuned
from ..figures import perplexity_of
from .affordable import Affordable, AffordableSteps, Limits, affordable, with_tokens
from .devices import with_devices
from .ladder import Ladder, climb, plan_shape

__all__ = ["Change", "Marginal", "More", "what_more_buys"]

_DAYS_PER_WEEK = 7.0
_USUAL_GPUS = 0.25  # more of them, where nobody says how many


@dataclass(frozen=True)
class Change:
    """A run compared with the plan: its settings and the difference of its outcome; medians and intervals."""

    params_total: float
    tokens: float
    devices: int
    loss_nats: float
    loss_change_nats: Difference
    """This run minus the plan, with what both don't share of their errors."""
    perplexity_change: Difference
    cost_change_usd: float | None
    days_change: float
    of_machines: Mapping[str, Difference]
    """Differences in time, money and energy, with their intervals."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {name: value for name, value in vars(self).items() if name != "of_machines"}
        quantities = ("loss_change_nats", "perplexity_change")
        return {
            **plain,
            **{name: getattr(self, name).to_dict() for name in quantities},
            "differences": {name: value.to_dict() for name, value in self.of_machines.items()},
        }


@dataclass(frozen=True)
class More:
    """One way of spending more: its effect for the planned model, and for the best model within the same limits."""

    what: str
    same_model: Change | None
    best_model: Change | None
    note: str | None = None
    """Changes that were needed for it, or the reason why it is impossible."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        both = {"same_model": self.same_model, "best_model": self.best_model}
        return {
            "what": self.what,
            **{k: None if v is None else v.to_dict() for k, v in both.items()},
            "note": self.note,
        }


@dataclass(frozen=True)
class Marginal:
    """A plan, and the effect of more of each resource."""

    name: str | None
    predictor: str
    params_total: float
    tokens: float
    devices: int
    loss_nats: Quantity
    perplexity: Quantity
    wall_clock_days: Quantity
    cost_usd: Quantity | None
    rows: tuple[More, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys and units in the names, for JSON."""
        quantities = {name: getattr(self, name) for name in ("loss_nats", "perplexity", "wall_clock_days", "cost_usd")}
        plain = {name: getattr(self, name) for name in ("name", "predictor", "params_total", "tokens", "devices")}
        return {
            "plan": {**plain, **{k: None if v is None else v.to_dict() for k, v in quantities.items()}},
            "more": [row.to_dict() for row in self.rows],
            "notes": list(self.notes),
            "version": __version__,
        }


@dataclass(frozen=True)
class _Wish:
    what: str
    limits: Limits
    config: RunConfig
    tokens: float | None = None
    """Tokens of the planned model, where they are stated instead of stretched to the limits."""
    note: str | None = None


def what_more_buys(
    config: RunConfig,
    predictor: Predictor,
    *,
    weeks: float = 1.0,
    gpus: int | None = None,
    budget: float = 0.1,
    step_times: StepTimeModel | None = None,
    progress: Progress | None = None,
) -> Marginal:
    """What more time, more accelerators, more money or more tokens would do for a plan.

    More time and more money go into more tokens on the same accelerators; more accelerators keep to the plan's wall
    clock. Each is answered for the planned model and for the best shape of its family within the same limits.

    Args:
        config: The plan, with its architecture and hardware.
        predictor: Predicts the loss.
        weeks: Additional wall clock, weeks.
        gpus: Additional accelerators, answered beside a quarter more of them; None for only that.
        budget: Additional share of the cost, such as 0.1 for 10 % more.
        step_times: Predicts the time of a step; by default the shipped model.
        progress: Called with what is being done and the share done, 0 to 1.

    Returns:
        The plan's own outcomes, and one row for each addition; changes of the loss in nats per token.

    Raises:
        ConfigError: The plan leaves out something that is needed.
        InfeasibleError: The plan itself can't run.
        InputError: An addition is not above 0.

    >>> import foretrain
    >>> shape = {"layers": 8, "width": 768, "heads": 12, "ffn_width": 2048, "vocab_size": 32000, "context_length": 2048}
    >>> config = foretrain.RunConfig.from_mapping({
    ...     "model": {"architecture": shape},
    ...     "data": {"tokens": "10B"},
    ...     "optim": {"batch_tokens": "512k"},
    ...     "hardware": {"accelerator": "H100-SXM-80", "count": 8},
    ... })
    >>> found = foretrain.what_more_buys(config, foretrain.load_predictor("web-text"))
    >>> twice = found.rows[-1]
    >>> twice.what, twice.same_model.loss_change_nats.median < 0
    ('twice the tokens', True)
    """
    _check(config, weeks, gpus, budget)
    steps = AffordableSteps(step_times)
    base = steps.estimate(config, DRAWS)
    comparison = _Comparison(config, predictor, base, steps)
    wishes = list(_wishes(config, base, weeks, gpus, budget, steps))
    rows, near = [], None
    for number, wish in enumerate(wishes):
        if progress is not None:
            progress(wish.what, number / len(wishes))
        row, near = comparison.row(wish, near)
        rows.append(row)
    loss = comparison.prediction.quantity()
    return Marginal(
        name=config.name,
        predictor=predictor.name,
        params_total=config.model.params_total,
        tokens=config.data.tokens,
        devices=base.devices,
        loss_nats=loss,
        perplexity=perplexity_of(loss),
        wall_clock_days=base.wall_clock_days,
        cost_usd=base.cost_usd,
        rows=tuple(rows),
        notes=(comparison.surface.of_settings, *comparison.surface.notes),
    )


def _check(config: RunConfig, weeks: float, gpus: int | None, budget: float) -> None:
    lacking = missing(config)
    if lacking:
        raise ConfigError(f"{', '.join(lacking)}: missing; expected in the plan, for times and money")
    plan_shape(config)
    for name, value in (("weeks", weeks), ("gpus", 1 if gpus is None else gpus), ("budget", budget)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name}: got {value:g}; expected more than 0")


def _wishes(
    config: RunConfig,
    base: ClusterEstimate,
    weeks: float,
    gpus: int | None,
    budget: float,
    steps: AffordableSteps,
) -> Iterator[_Wish]:
    days = base.wall_clock_days.median
    same_time = Limits(wall_clock_days=days)
    yield _Wish("nothing more, best shape", same_time, config, tokens=config.data.tokens)
    week = f"{weeks:g} week{'' if weeks == 1 else 's'} more"
    yield _Wish(week, Limits(wall_clock_days=days + _DAYS_PER_WEEK * weeks), config)
    quarter = max(1, round(_USUAL_GPUS * base.devices))
    for more in dict.fromkeys([quarter] if gpus is None else [quarter, gpus]):
        count = base.devices + more
        what = f"{more} more accelerators ({more / base.devices:+.0%})"
        try:
            plan, note = with_devices(config, count, steps)
        except InfeasibleError as error:
            yield _Wish(what, Limits(), config, note=str(error).splitlines()[0])
        else:
            yield _Wish(what, same_time, plan, note=note)
    if base.cost_usd is not None and base.cost_usd.median > 0:
        yield _Wish(f"{budget:.0%} more money", Limits(cost_usd=base.cost_usd.median * (1.0 + budget)), config)
    doubled = with_tokens(config, 2.0 * config.data.tokens)
    longer = steps.estimate(doubled, DRAWS).wall_clock_days.median
    yield _Wish("twice the tokens", Limits(wall_clock_days=longer), config, tokens=doubled.data.tokens)


class _Comparison:
    """Runs against the plan, with what is unknown of both alike left out of the differences."""

    def __init__(self, config: RunConfig, predictor: Predictor, base: ClusterEstimate, steps: AffordableSteps) -> None:
        self.config, self.predictor, self.base, self.steps = config, predictor, base, steps
        self.surface = LossSurface.of(predictor, config)
        at = self._at(config)
        self.prediction = self.surface.predict(*at)
        self.machines = OnMachines(config, steps.of(config), base)

    def row(self, wish: _Wish, near: float | None) -> tuple[More, float | None]:
        """What a wish buys, and the best size for it, near which that of the next one will be."""
        if wish.limits.unlimited:
            return More(wish.what, None, None, wish.note), near
        same, note = None, wish.note
        try:
            same = self._change(self._planned_model(wish))
        except InfeasibleError as error:
            note = str(error).splitlines()[0]
        try:
            ladder = climb(wish.config, self.predictor, wish.limits, self.steps, near=near)
        except InfeasibleError:
            return More(wish.what, same, None, note), near
        return More(wish.what, same, self._best(ladder), note), ladder.rungs[ladder.best].params

    def _planned_model(self, wish: _Wish) -> Affordable:
        if wish.tokens is None:
            return affordable(wish.config, wish.limits, self.steps, DRAWS)
        plan = with_tokens(wish.config, wish.tokens)
        return Affordable(plan, self.steps.estimate(plan, DRAWS), "tokens")

    def _best(self, ladder: Ladder) -> Change:
        return self._change(ladder.rungs[ladder.best].affordable)

    def _change(self, run: Affordable) -> Change:
        both = (np.concatenate(pair) for pair in zip(self._at(self.config), self._at(run.config), strict=True))
        joint = self.surface.predict(*both, joint=True)
        machines = OnMachines(run.config, self.steps.of(run.config), run.estimate)
        cost, base = run.estimate.cost_usd, self.base.cost_usd
        return Change(
            params_total=run.config.model.params_total,
            tokens=run.config.data.tokens,
            devices=run.estimate.devices,
            loss_nats=float(joint.loss_nats[1]),
            loss_change_nats=joint.difference(1).summary(),
            perplexity_change=LossDraws.of(joint, self.config.seed).perplexity(1),
            cost_change_usd=None if cost is None or base is None else cost.median - base.median,
            days_change=run.estimate.wall_clock_days.median - self.base.wall_clock_days.median,
            of_machines=cluster_differences(self.machines, machines),
        )

    def _at(self, config: RunConfig) -> tuple[np.ndarray, np.ndarray]:
        return run_columns(tuned(config), self.predictor, [])["params"], np.array([config.data.tokens])
