"""From a planned run to the columns that a predictor's laws read, and the prediction of one target from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..config.run_config import RunConfig
from ..fitting import Fit, sparsity
from ..laws import Columns, Law, mix_column, stock_column
from ..predictor.domains import check_domains, new_domains, without_new_domains
from ..predictor.loss_model import LossModel
from ..predictor.prediction import LossPrediction
from ..predictor.predictor import Predictor


def run_columns(config: RunConfig, predictor: Predictor, warnings: list[str]) -> dict[str, np.ndarray]:
    """The columns that the predictor's laws read, `(1,)` each; appends to `warnings` what is assumed or left out."""
    laws = [model.fit.law for model in predictor.models.values()]
    reads = {column for law in laws for column in law.columns}
    columns = {"params": _fitted_params(config, predictor, warnings), "tokens": config.data.tokens}
    columns |= _data_columns(config, laws, warnings)
    experts = config.model.num_experts
    if experts is not None and experts > 1:
        if "num_experts" in reads:
            visited = np.array([float(config.model.experts_per_token or 1)])
            columns["num_experts"] = float(sparsity(np.array([float(experts)]), visited)[0])
            warnings.append("the effect of experts comes from routed models of at most 370M parameters per token")
        else:
            warnings.append(
                "this predictor knows dense models only: the forecast is that of a dense model of the active size, "
                "so it is too high (--predictor web-text has experts)"
            )
    for name in ("lr", "batch_tokens"):
        stated = getattr(config.optim, name)
        if name in reads and stated is not None:
            columns[name] = stated
    missing = [n for n in ("lr", "batch_tokens") if n in reads and n not in columns]
    if missing:
        warnings.append(f"optim.{' and optim.'.join(missing)} not stated: learning rate and batch are taken as tuned")
    return {name: np.array([float(value)]) for name, value in columns.items()}


def _data_columns(config: RunConfig, laws: Sequence[Law], warnings: list[str]) -> dict[str, float]:
    """Shares of the mix and stocks of tokens, as far as some law reads them."""
    data = config.data
    columns: dict[str, float] = {}
    mixed = any(law.domains for law in laws)
    distinct, stocks = data.distinct_tokens(), data.unique_tokens_by_domain
    if mixed and data.mix is not None:
        columns |= {mix_column(domain): share for domain, share in data.mix.items()}
    if mixed and stocks is not None:
        columns |= {stock_column(domain): stock for domain, stock in stocks.items()}
    if not data.epochs > 1.0:
        return columns
    total = any("unique_tokens" in law.columns for law in laws)
    if total and distinct is not None:
        columns["unique_tokens"] = distinct
    if not total and not (mixed and stocks is not None):
        remedy = "state data.unique_tokens_by_domain" if mixed else "--predictor repeats-c4 or web-text has them"
        warnings.append(
            f"the data are seen {data.epochs:.3g} times, but this predictor knows no repeats: its loss is "
            f"that of fresh tokens, so it is too low ({remedy})"
        )
    return columns


def planned(
    config: RunConfig, model: LossModel, columns: Mapping[str, np.ndarray]
) -> tuple[LossPrediction, Mapping[str, np.ndarray]]:
    """Predict one target from `run_columns`, and the columns of known domains that stand for the plan."""
    if "unique_tokens" in model.fit.law.columns:  # repeats must not count twice, in total and by domain
        columns = {name: v for name, v in columns.items() if not name.startswith("unique_tokens.")}
    return predict_run(model, columns, config.data.allow_new_domains, "data.mix")


def predict_run(
    model: LossModel, columns: Columns, allow_new: bool = False, where: str = "mix"
) -> tuple[LossPrediction, Columns]:
    """Predict runs `(n,)`, and the columns of known domains that stand for them; with `allow_new`, also new domains.

    Then the centre is halfway, in log loss, between the two readings of `without_new_domains`, and half of what lies
    between them is added to the scale. InputError as `check_domains`.
    """
    if not (allow_new and _has_new(model.fit, columns)):
        plain = check_domains(model.fit, columns, where)
        return model.predict(plain), plain
    worthless, average = (check_domains(model.fit, c, where) for c in without_new_domains(model.fit, columns, where))
    low, high = model.predict(average), model.predict(worthless)
    distance = 0.5 * np.abs(high.log_loss - low.log_loss)
    centre = 0.5 * (high.log_loss + low.log_loss)
    scale = np.maximum(high.scale, low.scale) + distance
    return replace(
        low,
        log_loss=centre,
        scale=scale,
        extrapolation_decades=np.maximum(high.extrapolation_decades, low.extrapolation_decades),
    ), average


def _has_new(fit: Fit, columns: Columns) -> bool:
    """Does the law read shares, and do these runs have a domain that is new to it?"""
    return bool(fit.law.domains) and bool(new_domains(fit, columns))


def _fitted_params(config, predictor, warnings):
    """N in the predictor's convention. A routed model counts by what a token uses; experts enter by their term."""
    kind = predictor.about.get("params_kind", "total")
    model = config.model
    if kind == "total" and any("num_experts" in m.fit.law.columns for m in predictor.models.values()):
        return model.params_total  # the law was fitted on the totals of routed runs
    if kind != "non_embedding":
        return model.params_active
    if model.params_embedding is None:
        warnings.append(
            "this predictor counts parameters without embeddings; model.params_embedding isn't stated: all are counted"
        )
        return model.params_active
    return model.params_active - model.params_embedding
