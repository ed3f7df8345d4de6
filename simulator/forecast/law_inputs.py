"""From a planned run to the columns that a predictor's laws read, and the prediction of one target from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...core.columns import Column, level_column
from ...datasets.runs.columns import columns
from ..config.run_config import RunConfig
from ..laws import DOMAIN_FAMILIES, Columns, Law, OfLevels, mix_column, stock_column
from ..predictor.domains import check_domains, new_domains, without_new_domains
from ..predictor.levels import check_levels
from ..predictor.loss_model import LossModel
from ..predictor.prediction import LossPrediction
from ..predictor.predictor import Predictor
from .adjustments import adjusted, effects, is_stated, stated_columns
from .stages.one_text import as_one_text

_READ_APART = ("params", "params_total", "tokens", "unique_tokens", "num_experts", *DOMAIN_FAMILIES)
"""Columns of which more is to be said than what stands in the plan."""


def run_columns(config: RunConfig, predictor: Predictor, warnings: list[str]) -> dict[str, np.ndarray]:
    """The columns of one planned run that the predictor's laws read, and what else it states, `(1,)` each.

    The latter are named by their place in the plan, `optim.lr`; `planned` knows their effects.

    Args:
        config: The planned run.
        predictor: The predictor whose laws are to read it.
        warnings: What is assumed or left out is appended here.
    """
    laws = [model.fit.law for model in predictor.models.values()]
    stated, config = stated_columns(config, predictor), as_one_text(config)
    params = _fitted_params(config, predictor, warnings)
    found: dict[str, float] = {"params": params, "tokens": config.data.tokens}
    found |= _data_columns(config, laws, warnings)
    found |= _experts(config, laws, warnings)
    found |= _all_experts(config, predictor)
    found |= _settings(config, laws, warnings)
    found |= stated
    return {name: np.array([float(value)]) for name, value in found.items()}


def _experts(config: RunConfig, laws: Sequence[Law], warnings: list[str]) -> dict[str, float]:
    """The expert count that laws read; none for a dense model."""
    experts = config.model.num_experts
    if experts is None or experts <= 1:
        return {}
    if not any("num_experts" in law.columns for law in laws):
        warnings.append(
            "this predictor knows dense models only: the forecast is that of a dense model of the active size, "
            "so it is too high (--predictor web-text has experts)"
        )
        return {}
    warnings.append("the effect of experts comes from routed models of at most 370M parameters per token")
    return {"num_experts": _as_read(columns()["num_experts"], config)}


def _all_experts(config: RunConfig, predictor: Predictor) -> dict[str, float]:
    """All parameters of a routed model, where laws read them beside those of one token; none for a dense model."""
    model = config.model
    read = any("params_total" in one.fit.law.optional for one in predictor.models.values())
    if not read or model.num_experts is None or model.num_experts <= 1:
        return {}
    left_out = 0.0
    if predictor.about.get("params_kind") == "non_embedding" and model.params_embedding is not None:
        left_out = model.params_embedding
    return {"params_total": model.params_total - left_out}


def _settings(config: RunConfig, laws: Sequence[Law], warnings: list[str]) -> dict[str, float]:
    """Every other column that laws read: numbers as the plan states them, and its level of each category."""
    read: set[str] = set()
    tunable: set[str] = set()
    for law in laws:
        read |= {*law.columns, *law.optional}
        for term in law.terms:
            if term.tunes:
                tunable |= set(term.columns)

    found: dict[str, float] = {}
    tuned: list[str] = []
    for one in columns().values():
        if one.name not in read or one.name in _READ_APART:
            continue
        if one.value_in(config) is not None:
            found[one.name] = _as_read(one, config)
        elif one.name in tunable:
            tuned.append(str(one.place))
        elif isinstance(one.default, float):
            found[one.name] = one.default
        else:
            warnings.append(f"{one.place} is not stated: what it does to the loss is left out")
    if tuned:
        warnings.append(f"{' and '.join(tuned)} not stated: learning rate and batch are taken as tuned")

    for law in laws:
        for category, levels in law.levels.items():
            one = columns()[category]
            level = one.value_in(config) or one.default
            usual = next(
                (t.usual_baseline for t in law.terms if isinstance(t, OfLevels) and t.category == category), ""
            )
            if level is None and usual in levels:
                level = usual
                warnings.append(f"{one.place} is not stated: taken as {usual}")
            if level is not None:
                found[level_column(category, str(level))] = 1.0
    return found


def _as_read(one: Column, config: RunConfig) -> float:
    """What laws read of a number that the plan states."""
    value = float(one.value_in(config))
    if one.as_read is None:
        return value
    beside = None
    if one.beside is not None:
        stated = columns()[one.beside].value_in(config)
        if stated is not None:
            beside = np.array([float(stated)])
    return float(one.as_read(np.array([value]), beside)[0])


def _data_columns(config: RunConfig, laws: Sequence[Law], warnings: list[str]) -> dict[str, float]:
    """Shares of the mix and stocks of tokens, as far as some law reads them."""
    data = config.data
    found: dict[str, float] = {}
    stocks = data.distinct_tokens_by_domain
    mixed = any(law.domains for law in laws)
    if mixed and data.mix is not None:
        for domain, share in data.mix.items():
            found[mix_column(domain)] = share
    if mixed and stocks is not None:
        for domain, tokens in stocks.items():
            found[stock_column(domain)] = tokens

    repeated = data.epochs > 1.0
    if not repeated:
        return found
    if any("unique_tokens" in law.columns for law in laws):
        distinct = data.distinct_tokens()
        if distinct is not None:
            found["unique_tokens"] = distinct
    elif not mixed or stocks is None:
        remedy = "state data.unique_tokens_by_domain" if mixed else "--predictor repeats-c4 or web-text has them"
        warnings.append(
            f"the data are seen {data.epochs:.3g} times, but this predictor knows no repeats: its loss is "
            f"that of fresh tokens, so it is too low ({remedy})"
        )
    return found


def planned(
    config: RunConfig, model: LossModel, columns: Mapping[str, np.ndarray], joint: bool = False
) -> tuple[LossPrediction, Mapping[str, np.ndarray]]:
    """Predict one target of a planned run, with the effects of what it states and the law doesn't read.

    Args:
        config: The planned run.
        model: The fitted law of the target.
        columns: What `run_columns` made of the plan.
        joint: Whether the prediction has the correlation of the errors of several runs.

    Returns:
        The prediction, and the columns of known domains that stand for the plan.
    """
    if "unique_tokens" in model.fit.law.columns:  # repeats must not count twice, in total and by domain
        columns = {name: values for name, values in columns.items() if not name.startswith("unique_tokens.")}
    read, stated = split_columns(columns)
    where = "data.stages" if any(stage.mix for stage in config.data.stages) else "data.mix"
    prediction, known = predict_run(model, read, config.data.allow_new_domains, where, joint)
    return adjusted(prediction, effects(model, known, stated)), known


def split_columns(columns: Columns) -> tuple[Columns, Columns]:
    """What laws read of `run_columns`, and what else plans state."""
    stated = {name: values for name, values in columns.items() if is_stated(name)}
    return {name: values for name, values in columns.items() if name not in stated}, stated


def planned_loss(
    config: RunConfig, predictor: Predictor, target: str, columns: Mapping[str, np.ndarray], joint: bool = False
) -> LossPrediction:
    """Predict any target of a planned run, the mean of all domains among them; arguments as those of `planned`."""
    parts = predictor.parts(target)
    return predictor.mean({name: planned(config, model, columns, joint)[0] for name, model in parts.items()})


def predict_run(
    model: LossModel, columns: Columns, allow_new: bool = False, where: str = "mix", joint: bool = False
) -> tuple[LossPrediction, Columns]:
    """Predict one target of n runs.

    Runs with domains that are new to the law have two readings (`without_new_domains`). The centre is then halfway
    between the two in log loss, and half of what lies between them is added to the scale.

    Args:
        model: The fitted law of the target.
        columns: Columns of the runs, each `(n,)`.
        allow_new: Whether runs may have domains that no fitted run had.
        where: The place that an error names.
        joint: Whether the prediction has the correlation of the runs' errors.

    Returns:
        The prediction, and the columns of known domains that stand for the runs.

    Raises:
        InputError: As `check_domains` and `check_levels`.
    """
    has_new = bool(model.fit.law.domains) and bool(new_domains(model.fit, columns))
    if not (allow_new and has_new):
        plain = check_levels(model.fit, check_domains(model.fit, columns, where))
        return model.predict(plain, joint), plain

    worthless, average = without_new_domains(model.fit, columns, where)
    worthless = check_domains(model.fit, worthless, where)
    average = check_domains(model.fit, average, where)
    low = model.predict(average, joint)
    high = model.predict(worthless)
    half_distance = 0.5 * np.abs(high.log_loss - low.log_loss)
    halfway = replace(
        low,
        log_loss=0.5 * (high.log_loss + low.log_loss),
        scale=np.maximum(high.scale, low.scale) + half_distance,
        upper_share=None,
        extrapolation_decades=np.maximum(high.extrapolation_decades, low.extrapolation_decades),
    )
    return halfway, average


def _fitted_params(config: RunConfig, predictor: Predictor, warnings: list[str]) -> float:
    """N in the predictor's convention. A routed model counts by what a token uses; experts enter by their term."""
    kind = predictor.about.get("params_kind", "total")
    model = config.model
    if kind == "total" and any("num_experts" in one.fit.law.columns for one in predictor.models.values()):
        return model.params_total  # the law was fitted on the totals of routed runs
    if kind != "non_embedding":
        return model.params_active
    if model.params_embedding is None:
        warnings.append(
            "this predictor counts parameters without embeddings; model.params_embedding isn't stated: all are counted"
        )
        return model.params_active
    return model.params_active - model.params_embedding
