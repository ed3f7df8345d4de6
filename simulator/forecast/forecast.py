"""From a planned run and a predictor to the forecast that a user reads: `forecast(config, predictor)`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from typing_extensions import override

from ...core.errors import ConfigError
from ...core.model.plausibility import MOST_DECADES_BEYOND
from ...core.quantity import Quantity
from ...core.summary import Summarised, with_interval
from ...core.units import format_count
from ...core.version import __version__
from ..cluster.cluster_estimate import CLUSTER_KEYS, ClusterEstimate
from ..cluster.estimate import DRAWS, PlannedStep, estimate
from ..cluster.layout_choice import missing
from ..cluster.operations.generating import Generating, generating
from ..cluster.operations.judging import Judging, judging
from ..cluster.operations.waterfall import Waterfall, waterfall
from ..cluster.step_time.step_model import StepTimeModel
from ..config.run_config import RunConfig
from ..config.text.scale import BytesPerToken, planned_bytes_per_token
from ..predictor.loss_model import LossModel
from ..predictor.prediction import LossPrediction
from ..predictor.predictor import AVERAGE, Predictor
from ..predictor.textbook_parameters import decompose
from .adjustments import Effect, effects, mean_effects, recommended, sentences
from .adjustments.stages import DataStages
from .after_pretraining import AfterPretraining, after_pretraining
from .bits import bits_per_byte, loss_bytes_per_token
from .chances import Chances, Outcomes, outcomes
from .for_plan import for_plan
from .law_inputs import planned, run_columns, split_columns
from .stages.branches import BranchForecast, branch_forecasts
from .stages.one_text import as_one_text
from .stages.stage_warnings import stage_warnings
from .strategies import Strategy, strategies
from .text_warnings import mix_warnings, text_warnings
from .unread import setting_warnings, unread_warnings

_FACTS = (
    *("title", "source", "corpus", "val_domain", "tokenizer", "params_kind", "table", "digest", "command"),
    *("text_of_plan", "public_runs"),
)  # of a predictor, that are told with a forecast
_NOTABLE_DECADES = 0.05
_FAR_DECADES = 2.0
_SAME_NATS = 1e-9  # rounding
_MOST_NATS = 700.0  # beyond this exp overflows
_TOO_FEW_TOKENS = 5.0  # tokens per parameter below which laws fitted on trained-out runs are off


@dataclass(frozen=True)
class DomainForecast:
    """The forecast of one target: loss and perplexity per token, bits per byte where bytes per token are known."""

    loss_nats: Quantity
    perplexity: Quantity
    bits_per_byte: Quantity | None
    decomposition_nats: Mapping[str, float]
    bytes_per_token: BytesPerToken | None = None
    """Bytes of the evaluated text per token, and how far their log is in doubt: 0 where the plan states them."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "loss_nats": self.loss_nats.to_dict(),
            "perplexity": self.perplexity.to_dict(),
            "bits_per_byte": None if self.bits_per_byte is None else self.bits_per_byte.to_dict(),
            "bytes_per_token": None if self.bytes_per_token is None else self.bytes_per_token.value,
            "bytes_per_token_log_sd": None if self.bytes_per_token is None else self.bytes_per_token.log_sd,
            "decomposition_nats": dict(self.decomposition_nats),
        }


@dataclass(frozen=True, repr=False)
class Forecast(Summarised):
    """What a planned run will reach, how certain that is, and what the forecast rests on.

    Losses are in nats per token. A `Quantity` is a median with central intervals.

    >>> import foretrain
    >>> config = foretrain.RunConfig.from_mapping({"model": {"params": "7B"}, "data": {"tokens": "140B"}})
    >>> found = foretrain.forecast(config, foretrain.load_predictor("web-text"))
    >>> round(found.headline.loss_nats.median, 1), sorted(found.headline.loss_nats.intervals)
    (2.2, [0.5, 0.8, 0.9, 0.95])
    >>> found.cluster is None, "hardware.accelerator" in str(found.cluster_missing)
    (True, True)
    """

    config: RunConfig
    """The plan."""
    predictor: Mapping[str, Any]
    """Plain facts about the predictor."""
    main: str
    """The target of the headline, which targets, goals and JSON speak of: `loss.average` is the mean of domains."""
    domains: Mapping[str, DomainForecast]
    """The forecast of each target."""
    params_fitted: float
    """The N that went into the law, in the predictor's own convention."""
    extrapolation_gap_decades: float
    """How far the plan lies beyond the fitted runs, in decades (powers of ten); 0 if inside."""
    p_target: float | None
    """Chance of reaching `targets.perplexity` or `targets.loss_nats`; None if neither is stated."""
    p_all: float | None
    """Chance of reaching every target that is stated: loss, by the deadline, within the budget; None without any."""
    prediction: LossPrediction = field(compare=False, repr=False)
    """The predicted loss of the main target, whose distribution the intervals are of."""
    warnings: tuple[str, ...] = field(default_factory=tuple)
    """What should be known before relying on the figures, in plain sentences."""
    average: DomainForecast | None = None
    """The plain mean of the loss over domains, their errors' correlation kept; None for a single domain."""
    cluster: ClusterEstimate | None = None
    """Times, memory, money and energy; None where the plan says too little of its machines."""
    cluster_missing: tuple[str, ...] = ()
    """What the plan would have to say for them."""
    branches: tuple[BranchForecast, ...] = ()
    """The ends of runs that leave this one on its way, such as earlier cooldowns."""
    adjustments: tuple[Effect, ...] = ()
    """What batch, learning rate and optimizer do to the loss of the main target, where no law of its reads them."""
    strategies: tuple[Strategy, ...] = ()
    """The levels that a law of the main target tells apart and the plan is at, such as its selection of documents."""
    after: AfterPretraining | None = None
    """The stages after the run that the plan states: continued pretraining, feedback, oversight; None without any."""
    recommended: Mapping[str, float] = field(default_factory=dict)
    """Batch, AdamW's learning rate and critical batch that suit such a run; empty where a law of its reads them."""

    @property
    def chances(self) -> Chances:
        """The chance of each stated target, and which of them is in doubt."""
        return Chances.of(self.config, self.p_target, self.cluster, self.p_all)

    @property
    def waterfall(self) -> Waterfall | None:
        """Where days and dollars go; None where the plan says too little of its machines."""
        return None if self.cluster is None else waterfall(self.cluster, self.config)

    @property
    def judging(self) -> Judging | None:
        """The judge that scores the documents before the run; None without one."""
        return judging(self.config)

    @property
    def generating(self) -> Generating | None:
        """The model that writes the synthetic text before the run; None without one."""
        return generating(self.config)

    def equally_likely(self, n: int) -> Outcomes:
        """n equally likely outcomes of loss, perplexity, wall clock and cost, such as 20 or 50."""
        return outcomes(self.prediction, self.cluster, n)

    @property
    def headline(self) -> DomainForecast:
        """The forecast of the main target."""
        return self.of(self.main)

    def of(self, target: str) -> DomainForecast:
        """The forecast of a target, the mean of domains (`loss.average`) among them."""
        if target == AVERAGE and target not in self.domains and self.average is not None:
            return self.average
        return self.domains[target]

    @override
    def summary(self) -> dict[str, str]:
        config = self.config
        size = f"{format_count(config.model.params_total)} parameters, {format_count(config.data.tokens)} tokens"
        facts = {
            "run": f"{config.name or 'run'}, {size}",
            "perplexity": with_interval(self.headline.perplexity),
            "loss, nats": with_interval(self.headline.loss_nats),
        }
        if self.cluster is not None:
            facts["wall clock, days"] = with_interval(self.cluster.wall_clock_days)
            if self.cluster.cost_usd is not None:
                facts["cost, USD"] = with_interval(self.cluster.cost_usd, format_count)
        if self.p_all is not None:
            facts["chance of all targets"] = f"{self.p_all:.0%}"
        facts["predictor"] = str(self.predictor["name"])
        if self.warnings:
            facts["warnings"] = str(len(self.warnings))
        return facts

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys and units in the names, for JSON."""
        model = self.config.model
        data = self.config.data
        told = sentences(self.adjustments)
        average = None
        if self.average is not None:
            average = self.average.to_dict()
        cluster: dict[str, Any] = dict.fromkeys(CLUSTER_KEYS)
        if self.cluster is not None:
            cluster = self.cluster.to_dict()
        return {
            "name": self.config.name,
            **self.headline.to_dict(),
            "domains": {name: domain.to_dict() for name, domain in self.domains.items()},
            "average": average,
            "p_target": self.p_target,
            "p_all": self.p_all,
            "chances": self.chances.to_dict(),
            "extrapolation_gap_decades": self.extrapolation_gap_decades,
            "branches": [one.to_dict() for one in self.branches],
            "adjustments": [one.to_dict(told.get(one.name)) for one in self.adjustments],
            "strategies": [one.to_dict() for one in self.strategies],
            "after_pretraining": None if self.after is None else self.after.to_dict(),
            "recommended_settings": dict(self.recommended),
            "training_flops": self.config.training_flops,
            "judging": None if self.judging is None else self.judging.to_dict(),
            "generating": None if self.generating is None else self.generating.to_dict(),
            "params_total": model.params_total,
            "params_active": model.params_active,
            "params_fitted": self.params_fitted,
            "tokens": data.tokens,
            "epochs": data.epochs,
            **cluster,
            "waterfall": None if self.waterfall is None else self.waterfall.to_dict(),
            "cluster_missing": list(self.cluster_missing),
            "predictor": dict(self.predictor),
            "warnings": list(self.warnings),
            "config": self.config.to_mapping(),
            "seed": self.config.seed,
            "version": __version__,
        }


def forecast(
    config: RunConfig,
    predictor: Predictor,
    step_times: StepTimeModel | None = None,
    *,
    step: PlannedStep | None = None,
) -> Forecast:
    """Forecast one planned run: its loss, and its time and cost where the plan states the hardware.

    Args:
        config: The plan.
        predictor: Predicts the loss.
        step_times: Predicts the time of a step; by default the shipped model.
        step: The run's step in its layout if it is known already (from `plan_step`), so that no layout is searched for.

    Returns:
        The forecast; losses in nats per token, with intervals. The same seed (`config.seed`) gives the same figures.

    Raises:
        InputError: The predictor does not apply to this run.
        InfeasibleError: The hardware of the plan can't run it.

    >>> import foretrain
    >>> predictor = foretrain.load_predictor("web-text")
    >>> plan = {"model": {"params": "7B"}, "data": {"tokens": "140B"}, "targets": {"loss_nats": 2.5}}
    >>> short = foretrain.forecast(foretrain.RunConfig.from_mapping(plan), predictor)
    >>> longer = foretrain.forecast(foretrain.RunConfig.from_mapping(plan | {"data": {"tokens": "1T"}}), predictor)
    >>> longer.headline.loss_nats.median < short.headline.loss_nats.median
    True
    >>> 0 < short.p_target < longer.p_target < 1
    True
    """
    warnings: list[str] = []
    text = as_one_text(config)
    given, predictor = predictor, for_plan(config, predictor)
    columns = run_columns(config, predictor, warnings)

    domains: dict[str, DomainForecast] = {}
    predictions: dict[str, LossPrediction] = {}
    adjustments: dict[str, list[Effect]] = {}
    for name, model in predictor.models.items():
        prediction, known = planned(config, model, columns)
        predictions[name] = prediction
        adjustments[name] = effects(model, known, split_columns(columns)[1])
        scale = loss_bytes_per_token(text.data, predictor, name)
        in_bits = predictor.about.get("level_known_in") == "bits_per_byte"
        domains[name] = _domain(prediction, _parts(model, prediction, known, adjustments[name]), scale, in_bits)

    main = predictor.main_loss_on(text.data.evaluated_on, text.data.corpus_text)
    average = _average(text, predictor, predictions, domains)
    of_main = predictor.mean({name: predictions[name] for name in predictor.parts(main)})

    lacking = missing(config)
    cluster = None
    if not lacking:
        cluster = estimate(config, step_times, step=step)

    of_settings = mean_effects([adjustments[name] for name in predictor.parts(main)])
    wanted = config.targets.loss_nats_wanted
    p_target = None
    if wanted is not None:
        p_target = float(of_main.probability_at_most(wanted)[0])

    gap = max(float(prediction.extrapolation_decades[0]) for prediction in predictions.values())
    _refuse_what_nobody_knows(config, predictor, gap)
    warnings += text_warnings(text, predictor)
    warnings += _warnings(config, gap)
    warnings += mix_warnings(predictor, columns)
    warnings += setting_warnings(predictor, columns)
    reads_text = _reads_text(predictor)
    # of a text that isn't read, `stage_warnings` says all there is to say
    warnings += [said for name, said in sentences(of_settings).items() if reads_text or name != DataStages.name]
    warnings += unread_warnings(text, predictor, of_settings)
    warnings += stage_warnings(config, reads_text)
    of_strategies = strategies(config, predictor, main, columns)
    warnings += [doubt for one in of_strategies for doubt in one.doubts]
    warnings += predictor.notes

    return Forecast(
        config=config,
        predictor=_about(predictor, main),
        main=main,
        domains=domains,
        average=average,
        cluster=cluster,
        cluster_missing=lacking,
        adjustments=of_settings,
        strategies=of_strategies,
        after=after_pretraining(config, predictor, predictions, main, cluster),
        recommended=recommended(config, next(iter(predictor.parts(main).values())), columns),
        prediction=of_main,
        params_fitted=float(columns["params"][0]),
        extrapolation_gap_decades=gap,
        p_target=p_target,
        p_all=_p_all(config, of_main, cluster),
        warnings=tuple(dict.fromkeys(warnings)),
        branches=branch_forecasts(config, lambda plan: forecast(plan, given).headline.loss_nats),
    )


def _reads_text(predictor: Predictor) -> bool:
    """Whether the forecast depends on the mix or the corpus of the plan."""
    return bool(predictor.about.get("text_of_plan")) or any(m.fit.law.domains for m in predictor.models.values())


def _average(
    config: RunConfig,
    predictor: Predictor,
    predictions: Mapping[str, LossPrediction],
    domains: Mapping[str, DomainForecast],
) -> DomainForecast | None:
    """The forecast of the mean over domains; None where there is only one."""
    names = sorted(predictor.domain_losses)
    if len(names) < 2:
        return None
    parts: dict[str, float] = {}
    for name in names:
        for key, nats in domains[name].decomposition_nats.items():
            parts[key] = parts.get(key, 0.0) + nats / len(names)
    mean = predictor.mean({name: predictions[name] for name in names})
    return _domain(mean, parts, planned_bytes_per_token(config.data))


def _parts(
    model: LossModel,
    prediction: LossPrediction,
    known: Mapping[str, np.ndarray],
    adjustments: Sequence[Effect],
) -> dict[str, float]:
    """Where the loss comes from, nats: the law's parts, what was learned on top, what new domains and settings cost."""
    of_settings: dict[str, float] = {}
    nats = float(prediction.loss_nats[0])
    for effect in reversed(adjustments):
        without = nats * math.exp(-float(effect.log_loss[0]))
        of_settings[effect.name] = nats - without
        nats = without
    return _law_parts(model, nats, known) | {name: part for name, part in of_settings.items() if part != 0.0}


def _law_parts(model: LossModel, loss_nats: float, known: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The parts of a loss without effects of settings, nats."""
    parts = {name: float(nats[0]) for name, nats in decompose(model.fit, known).items()}
    by_law = sum(parts.values())
    if model.misfit is not None:  # the median over the laws that the tables leave open, in one law's proportions
        return {name: nats * loss_nats / by_law for name, nats in parts.items()}
    plain = by_law
    if model.surrogate is not None:
        plain = model.predict(known).loss_nats[0]
        parts["learned"] = float(plain - by_law)
    cost = float(loss_nats - plain)
    if abs(cost) > _SAME_NATS:
        parts["new_domains"] = cost
    return parts


def _domain(
    prediction: LossPrediction, parts: dict[str, float], scale: BytesPerToken | None, known_in_bits: bool = False
) -> DomainForecast:
    """The forecast of one target from the prediction of its loss, of one run."""
    loss = prediction.quantity()
    perplexity = loss.mapped(lambda nats: math.exp(min(nats, _MOST_NATS)))
    bits = None if scale is None else bits_per_byte(loss, scale, known_in_bits=known_in_bits)
    return DomainForecast(loss, perplexity, bits, parts, scale)


def _p_all(config: RunConfig, prediction: LossPrediction, cluster: ClusterEstimate | None) -> float | None:
    """The chance of every stated target at once, by draws of loss, time and cost together.

    None where none is stated, or where one needs times or costs that the plan says too little for.
    """
    wanted_nats = config.targets.loss_nats_wanted
    deadline_s = config.deadline_s
    budget_usd = config.targets.budget_usd
    if wanted_nats is None and deadline_s is None and budget_usd is None:
        return None

    number = DRAWS
    wall_clock_s = cost_usd = None
    if cluster is not None:
        wall_clock_s = cluster.draws.wall_clock_s
        cost_usd = cluster.draws.cost_usd
        number = len(wall_clock_s)

    reached = np.ones(number, dtype=bool)
    if wanted_nats is not None:
        # a stream of its own: times don't change when a loss target is stated, nor losses with the machines
        rng = np.random.default_rng([config.seed, 1])
        losses = prediction.sample(rng, number)[:, 0]
        reached &= losses <= wanted_nats
    if deadline_s is not None:
        if wall_clock_s is None:
            return None
        reached &= wall_clock_s <= deadline_s
    if budget_usd is not None:
        if cost_usd is None:
            return None
        reached &= cost_usd <= budget_usd
    return float(reached.mean())


def _about(predictor: Predictor, main: str) -> dict[str, Any]:
    """What the forecast rests on: facts of the predictor, and of the model of its main target."""
    models = list(predictor.parts(main).values())
    about: dict[str, Any] = {"name": predictor.name}
    for key in _FACTS:
        about[key] = predictor.about.get(key)
    about |= {
        "main": main,
        "main_in_words": predictor.in_words(main) or None,
        "law": ", ".join(dict.fromkeys(model.fit.law.name for model in models)),
        "why": models[0].choice.get("why") if len(models) == 1 else None,
        "parameters": models[0].parameters if len(models) == 1 else {},
        "rows": max(model.rows for model in models),
        "backtest_cuts": min(model.calibration.own_cuts for model in models),
        "fitted_params": _whole_range(models, "params"),
        "fitted_tokens": _whole_range(models, "tokens"),
        "fitted_flops": _whole_range(models, "compute"),
    }
    return about


def _whole_range(models: Sequence[LossModel], name: str) -> list[float]:
    """The lowest and the highest value of a column over the fitted runs of several models."""
    ends = [model.fitted_ranges[name] for model in models]
    return [min(low for low, _ in ends), max(high for _, high in ends)]


def _warnings(config: RunConfig, gap: float) -> list[str]:
    """What a careful reader should know before believing the numbers; `gap` in decades beyond the fitted runs."""
    found = []
    if gap > _NOTABLE_DECADES:
        far = "far " if gap > _FAR_DECADES else ""
        found.append(f"{far}beyond the fitted runs by {gap:.2g} decades; the interval has been widened for it")

    tokens = config.data.tokens
    params = config.model.params_active
    if tokens / params < _TOO_FEW_TOKENS:
        found.append(
            f"{tokens / params:.2g} tokens per parameter ({format_count(tokens)} for "
            f"{format_count(params)}): such under-trained runs follow the law poorly"
        )
    return found


def _refuse_what_nobody_knows(config: RunConfig, predictor: Predictor, gap: float) -> None:
    """Raise ConfigError for a plan so far beyond the fitted runs that a forecast would be made up."""
    if gap <= MOST_DECADES_BEYOND:
        return
    ranges = {name: predictor.models[predictor.main_loss].fitted_ranges[name] for name in ("params", "tokens")}
    (least_n, most_n), (least_d, most_d) = ranges["params"], ranges["tokens"]
    raise ConfigError(
        f"model.params, data.tokens: got {format_count(config.model.params_total)} parameters and "
        f"{format_count(config.data.tokens)} tokens, {gap:.2g} decades beyond the runs that {predictor.name} rests on "
        f"({format_count(least_n)} to {format_count(most_n)} parameters, {format_count(least_d)} to "
        f"{format_count(most_d)} tokens); expected at most {MOST_DECADES_BEYOND:g} decades"
    )
