"""Measures of a plan for goals and limits: losses, times, money, sizes; each at any quantile of the forecast.

Names are those of `Forecast.to_dict()`. A name may end in a domain: `loss_nats.github`, `epochs.web`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ....core.errors import ConfigError
from ....core.quantity import Quantity
from ....core.reading.suggest import did_you_mean, nearest
from ....core.units import shown
from ...cluster.cluster_estimate import ClusterEstimate
from ...cluster.operations.before_run import before_run
from ...config.run_config import RunConfig
from ...forecast.after_pretraining import AfterPretraining, after_pretraining
from ...predictor.prediction import LossPrediction
from ...predictor.predictor import AVERAGE, Predictor
from ..serving import ServingConfig
from .after_pretraining import STAGE_MEASURES

__all__ = ["MEASURES", "Measure", "PlanOutcome", "get_measure"]

_MEDIAN = 0.5


@dataclass(frozen=True)
class PlanOutcome:
    """The forecast of one plan: its losses by target (one run each), and the estimate of its cluster."""

    config: RunConfig
    losses: Mapping[str, LossPrediction]
    predictor: Predictor
    cluster: ClusterEstimate | None
    serving: ServingConfig
    _after: dict[str, AfterPretraining | None] = field(default_factory=dict, repr=False, compare=False)

    def loss(self, target: str, quantile: float) -> float:
        """A target's loss, nats per token; `loss.average` is the plain mean over domains."""
        parts = {name: self.losses[name] for name in self.predictor.parts(target)}
        return _at(self.predictor.mean(parts), quantile)

    def after(self, main: str) -> AfterPretraining | None:
        """The stages after the run; None for a plan without any. `main` is the target of its general loss.

        Raises `InputError` where a stage lies too far beyond what its law rests on.
        """
        if main not in self._after:  # several goals and limits may be of the stages
            found = after_pretraining(self.config, self.predictor, self.losses, main, self.cluster)
            self._after[main] = found
        return self._after[main]

    def weighted(self, weights: Mapping[str, float], quantile: float) -> float:
        """The weighted mean of several targets' losses, with their errors' correlation kept."""
        return _at(self.predictor.averaged({name: self.losses[name] for name in weights}, weights), quantile)


@dataclass(frozen=True)
class Measure:
    """One quantity by which plans are compared or limited."""

    name: str
    unit: str
    of: Callable[[PlanOutcome, float], float]
    """Its value in an outcome at a quantile; a value without uncertainty is the same at all quantiles."""
    needs_cluster: bool = False
    uncertain: bool = True
    domain: str | None = None
    """The domain that the name ends in."""
    loss_columns: tuple[str, ...] = ()
    """The loss targets that it reads; empty for none."""
    of_what: str = ""
    """What a loss is measured on, in words: a domain, or "mean of 3 domains"."""


def get_measure(name: str, predictor: Predictor, main: str, where: str) -> Measure:
    """A measure by its name. `main` is the target that `loss_nats` stands for. ConfigError for an unknown one."""
    stem, dot, domain = name.partition(".")
    if stem in ("loss_nats", "perplexity") and bool(dot) == bool(domain):
        return _loss(name, stem, domain, predictor, main, where)
    if stem == "epochs" and domain:
        return Measure(name, "times", lambda o, q: _epochs(o.config, domain), uncertain=False, domain=domain)
    if name in STAGE_MEASURES:
        return _of_stages(name, predictor, main)
    if name not in MEASURES:
        known = ["loss_nats", "perplexity", "loss_nats.<domain>", *MEASURES, "epochs.<domain>", *STAGE_MEASURES]
        hint = did_you_mean(nearest(name, known))
        raise ConfigError(f"{where}: got {shown(name)}; {hint}expected one of {', '.join(known)}")
    return MEASURES[name]


def _loss(name: str, stem: str, domain: str, predictor: Predictor, main: str, where: str) -> Measure:
    target = f"loss.{domain}" if domain else main
    if target not in (*predictor.models, AVERAGE):
        known = ", ".join(t.removeprefix("loss.") for t in predictor.models if t != "loss") or "none"
        raise ConfigError(f"{where}: the predictor has no loss of {shown(domain)}; it has {known}")
    loss_columns = tuple(predictor.parts(target))
    exp = stem == "perplexity"
    return Measure(
        name,
        "" if exp else "nats",
        lambda o, q: math.exp(o.loss(target, q)) if exp else o.loss(target, q),
        loss_columns=loss_columns,
        of_what=predictor.in_words(target),
    )


def _of_stages(name: str, predictor: Predictor, main: str) -> Measure:
    """A measure of the stages after pretraining."""
    stage = STAGE_MEASURES[name]

    def value(outcome: PlanOutcome, quantile: float) -> float:
        after = outcome.after(main)
        return math.nan if after is None else stage.value(after, quantile)

    columns = tuple(predictor.models) if stage.reads_losses else ()
    return Measure(name, stage.unit, value, needs_cluster=stage.needs_cluster, loss_columns=columns)


def _at(prediction: LossPrediction, quantile: float) -> float:
    """A quantile of one run's predicted loss."""
    if quantile == _MEDIAN:
        return float(prediction.loss_nats[0])
    low, high = prediction.interval(abs(2.0 * quantile - 1.0))
    return float((high if quantile > _MEDIAN else low)[0])


def _quantile(quantity: Quantity | None, draws: np.ndarray | None, quantile: float) -> float:
    """A quantile of the draws, or of the stated intervals if there are no draws."""
    if quantity is None:
        return math.nan
    if quantile == _MEDIAN:
        return quantity.median
    return float(np.quantile(draws, quantile)) if draws is not None else quantity.quantile(quantile)


def _cluster(name: str, unit: str) -> Measure:
    return Measure(name, unit, lambda o, q: _quantile(getattr(_of(o), name), None, q), needs_cluster=True)


def _of(outcome: PlanOutcome) -> ClusterEstimate:
    if outcome.cluster is None:
        raise ValueError("the plan's machines are not estimated")
    return outcome.cluster


def _days(outcome: PlanOutcome, quantile: float) -> float:
    estimate = _of(outcome)
    return _quantile(estimate.wall_clock_days, estimate.draws.wall_clock_s / 86_400.0, quantile)


def _cost(outcome: PlanOutcome, quantile: float) -> float:
    estimate = _of(outcome)
    return _quantile(estimate.cost_usd, estimate.draws.cost_usd, quantile)


def _lifetime_cost(outcome: PlanOutcome, quantile: float) -> float:
    """Training and serving together, US dollars."""
    return _cost(outcome, quantile) + outcome.serving.cost_usd(outcome.config)


def _flops_before(config: RunConfig) -> float:
    """FLOPs of what models compute before the run: scores of its documents, text to train on."""
    return math.fsum(one.flops for one in before_run(config).values())


def _epochs(config: RunConfig, domain: str) -> float:
    """How often a domain's stock is seen; 0 where it has no limit or no share."""
    return config.data.domain_epochs.get(domain, 0.0)


def _plain(name: str, unit: str, of: Callable[[RunConfig], float]) -> Measure:
    return Measure(name, unit, lambda o, q: of(o.config), uncertain=False)


_ALL = (
    Measure("cost_usd", "USD", _cost, needs_cluster=True),
    Measure("wall_clock_days", "days", _days, needs_cluster=True),
    _cluster("gpu_hours", "GPU-hours"),
    _cluster("energy_mwh", "MWh"),
    _cluster("co2e_t", "t CO2e"),
    _cluster("peak_memory_gib", "GiB"),
    Measure("p_fit", "", lambda o, q: _of(o).p_fit, needs_cluster=True, uncertain=False),
    _cluster("step_time_s", "s"),
    _cluster("mfu", ""),
    _cluster("goodput", ""),
    Measure("lifetime_cost_usd", "USD", _lifetime_cost, needs_cluster=True),
    Measure("inference_usd_per_mtok", "USD", lambda o, q: o.serving.usd_per_mtok(o.config), uncertain=False),
    Measure(
        "lifetime_flops",
        "FLOPs",
        lambda o, q: o.config.training_flops + o.serving.flops(o.config) + _flops_before(o.config),
        uncertain=False,
    ),
    Measure("inference_flops_per_token", "FLOPs", lambda o, q: o.serving.flops_per_token(o.config), uncertain=False),
    Measure("inference_state_gib", "GiB", lambda o, q: o.serving.state_gib_per_sequence(o.config), uncertain=False),
    Measure("inference_memory_gib", "GiB", lambda o, q: o.serving.memory_gib(o.config), uncertain=False),
    _plain("training_flops", "FLOPs", lambda c: c.training_flops),
    _plain("tokens", "tokens", lambda c: c.data.tokens),
    _plain("params_total", "parameters", lambda c: c.model.params_total),
    _plain("params_active", "parameters", lambda c: c.model.params_active),
    _plain("epochs", "times", lambda c: c.data.epochs),
    _plain("tokens_per_param", "tokens", lambda c: c.data.tokens / c.model.params_active),
    _plain("devices", "devices", lambda c: float(c.hardware.count or 0)),
)
MEASURES: Mapping[str, Measure] = {measure.name: measure for measure in _ALL}
"""Everything but losses, epochs by domain, and `STAGE_MEASURES`: they depend on predictor, mix and stages."""
