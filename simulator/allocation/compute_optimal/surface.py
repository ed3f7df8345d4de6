"""The loss of one target as a function of size and tokens alone: all else about the run stays as it is.

Compute is C = 6·N·D FLOPs (Kaplan et al. 2020, arXiv:2001.08361, section 2.1), with N as the law counts it. Where that
is all parameters of a dense model, they are the active ones too; where a law counts the totals of routed models, C has
the plan's share of active parameters in it. Learning rate and batch are taken as tuned at every size where a law reads
them, and where the best size is asked for. Else the batch is the plan's, and its learning rate moves with size as the
best one does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ....core.errors import InputError
from ....core.units import shown
from ...config.run_config import RunConfig
from ...fitting import Fit, extrapolation_decades
from ...forecast.adjustments import carried, is_stated, stated_columns
from ...forecast.for_plan import for_plan
from ...forecast.law_inputs import planned_loss, run_columns
from ...laws import Columns
from ...predictor.domains import check_domains, new_domains, without_new_domains
from ...predictor.levels import check_levels
from ...predictor.loss_model import LossModel
from ...predictor.prediction import LossPrediction
from ...predictor.predictor import Predictor

__all__ = ["LossSurface", "tuned"]

FLOPS_PER_PARAM_TOKEN = 6.0
_TUNED = ("lr", "batch_tokens")
_DENSE = RunConfig.from_mapping({"model": {"params": 1e9}, "data": {"tokens": 1e9}})


@dataclass(frozen=True)
class LossSurface:
    """One target's loss over params (as its law counts them) and tokens, each `(n,)`, with all else held."""

    predictor: Predictor
    """With the text that the plan names."""
    target: str
    params_kind: str
    """What N counts: total, active or non_embedding."""
    fixed: Mapping[str, float] = field(default_factory=dict)
    """Further columns that the law reads: shares of a mix, stocks of its domains, experts."""
    config: RunConfig = _DENSE
    """The plan that the rest comes from."""
    stock: float | None = None
    """Distinct tokens, where they aren't the plan's; None for those of the plan."""
    active_share: float = 1.0
    """Active parameters over those that the law counts."""
    stated: Mapping[str, float] = field(default_factory=dict)
    """What the plan states and no law reads, by its place in the plan, with the plan's own params and tokens."""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, predictor: Predictor, config: RunConfig | None = None, unique_tokens: float | None = None
    ) -> LossSurface:
        """The main target of a predictor (that of the plan's `data.evaluated_on`), for a plan or a plain dense model.

        `unique_tokens` is a stock that replaces the plan's. InputError where the law reads what isn't stated (a mix),
        or doesn't know how the loss changes with size or with tokens.
        """
        if config is not None:
            predictor = for_plan(config, predictor)
        name = cls.target_of(predictor, config)
        plan = _DENSE if config is None else tuned(config)
        warnings: list[str] = []
        columns = run_columns(plan, predictor, warnings)
        if config is None:
            warnings = []  # about a plan that nobody stated
        warnings = [text for text in warnings if not text.startswith("optim.")]
        models = predictor.parts(name).values()
        for model in models:
            _require_both(model, predictor.name)
        law_names = ", ".join(dict.fromkeys(model.fit.law.name for model in models))
        repeats = any("unique_tokens" in model.fit.law.columns for model in models)
        stated = {} if config is None else stated_columns(config, predictor)
        gone = ("params", "tokens", "unique_tokens", *_TUNED, *stated)
        fixed = {key: float(value[0]) for key, value in columns.items() if key not in gone}
        if stated:
            stated |= {name: float(columns[name][0]) for name in ("params", "tokens")}
        kind = str(predictor.about.get("params_kind", "total"))
        share = 1.0
        if config is not None and kind == "total":
            share = config.model.params_active / float(columns["params"][0])
        if repeats:  # they must not count twice, in total and by domain
            fixed = {key: value for key, value in fixed.items() if not key.startswith("unique_tokens.")}
        elif unique_tokens is not None:
            raise InputError(
                f"unique tokens: got {unique_tokens:.3g}, but the law of {predictor.name} "
                f"({law_names}) knows no repeats; expected a predictor with repetition, such as web-text"
            )
        surface = cls(predictor, name, kind, fixed, plan, unique_tokens, min(share, 1.0), stated, tuple(warnings))
        surface.log_loss(np.array([1e9]), np.array([2e10]))  # a mix that isn't stated is said now
        return surface

    @staticmethod
    def target_of(predictor: Predictor, config: RunConfig | None) -> str:
        """The target that a plan is about; the predictor's main one without a plan."""
        if config is None:
            return predictor.main_loss
        return predictor.main_loss_on(config.data.evaluated_on, config.data.corpus_text)

    @cached_property
    def models(self) -> tuple[LossModel, ...]:
        """The models whose mean loss this is: one, or that of every domain."""
        return tuple(self.predictor.parts(self.target).values())

    @property
    def fit(self) -> Fit:
        """The fitted law, of one model."""
        (model,) = self.models
        return model.fit

    @property
    def law_name(self) -> str:
        """The law's name; of several models, their laws' names."""
        return ", ".join(dict.fromkeys(model.fit.law.name for model in self.models))

    def fitted_range(self, name: str) -> tuple[float, float]:
        """Lowest and highest value of a column over the fitted runs."""
        ends = [model.fitted_ranges.get(name, (0.0, math.inf)) for model in self.models]
        return min(low for low, _ in ends), max(high for _, high in ends)

    def decades_beyond(self, columns: Columns) -> np.ndarray:
        """How far runs lie beyond the fitted ones, in decades `(n,)`: of several models the furthest."""
        gaps = [extrapolation_decades(dict(model.fitted_ranges), columns) for model in self.models]
        return np.max(gaps, axis=0)

    @property
    def _repeats(self) -> bool:
        return any("unique_tokens" in model.fit.law.columns for model in self.models)

    def compute(self, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Training FLOPs."""
        return FLOPS_PER_PARAM_TOKEN * self.active_share * params * tokens

    def tokens_for(self, flops: float | np.ndarray, params: float | np.ndarray) -> np.ndarray:
        """Tokens that `flops` are enough for at a size."""
        return np.asarray(flops / (FLOPS_PER_PARAM_TOKEN * self.active_share * params), dtype=float)

    def distinct(self, tokens: np.ndarray) -> np.ndarray | None:
        """Distinct tokens among those seen; None where no stock is stated."""
        written = tokens * self.config.data.synthetic_share
        real = self._distinct_real(tokens - written)
        return None if real is None else written + real

    def _distinct_real(self, tokens: np.ndarray) -> np.ndarray | None:
        """Distinct ones among so many tokens of real text; None where no stock is stated."""
        data = self.config.data
        if self.stock is not None:
            return np.minimum(self.stock * data.keep, tokens)
        if data.distinct_tokens() is None:
            return None
        if data.kept_tokens is not None:
            return np.minimum(data.kept_tokens, tokens)
        stocks = data.kept_tokens_by_domain or {}
        seen = [np.minimum(tokens * share, stocks.get(domain, np.inf)) for domain, share in (data.mix or {}).items()]
        return np.sum(seen, axis=0)

    @property
    def kinks(self) -> list[float]:
        """Tokens at which some stock is used up: there the loss may have a corner."""
        data = self.config.data
        if not self._repeats and not any("unique_tokens." in key for key in self.fixed):
            return []
        real = 1.0 - data.synthetic_share
        if real == 0.0:
            return []
        if self.stock is not None or data.kept_tokens is not None:
            return [(float(data.kept_tokens or 0.0) if self.stock is None else self.stock * data.keep) / real]
        shares, stocks = data.mix or {}, data.kept_tokens_by_domain or {}
        return sorted({stock / shares[name] / real for name, stock in stocks.items() if shares.get(name, 0.0) > 0})

    def columns(self, params: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of runs of these sizes, `(n,)` each."""
        params, tokens = np.asarray(params, dtype=float), np.asarray(tokens, dtype=float)
        found = {"params": params, "tokens": tokens}
        found |= {name: np.full(len(params), value) for name, value in self.fixed.items()}
        distinct = self.distinct(tokens) if self._repeats else None
        if distinct is not None and np.any(distinct < tokens):
            found["unique_tokens"] = distinct
        return found

    def known_columns(self, fit: Fit, params: np.ndarray, tokens: np.ndarray) -> Columns:
        """The same, of domains that a law knows. InputError for new ones, unless the plan allows them."""
        columns: Columns = self.columns(params, tokens)
        allowed = self.config.data.allow_new_domains and bool(fit.law.domains)
        if allowed and new_domains(fit, columns):
            columns = without_new_domains(fit, columns, "data.mix")[1]
        return check_levels(fit, check_domains(fit, columns, "data.mix"))

    def log_loss(self, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Log of the law's loss `(n,)`, without what was learned on top of it."""
        return _log_mean([one.fit.log_loss(self.known_columns(one.fit, params, tokens)) for one in self.models])

    def log_loss_draws(self, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The same by every draw of the law's parameters, `(K, n)`.

        Draws of one number reweigh the runs in the same way for every domain, so what domains share stays shared.
        """
        drawn = [one.fit.log_loss_draws(self.known_columns(one.fit, params, tokens)) for one in self.models]
        fewest = min(map(len, drawn))
        return _log_mean([draws[:fewest] for draws in drawn])

    def predict(self, params: np.ndarray, tokens: np.ndarray, joint: bool = False) -> LossPrediction:
        """The whole prediction, calibrated, with what was learned on top of the law; `joint` to compare the runs."""
        return planned_loss(self.config, self.predictor, self.target, self.whole_columns(params, tokens), joint)

    def whole_columns(self, params: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """`columns`, and what the plan states and no law reads, carried over to these sizes."""
        columns = self.columns(params, tokens)
        return columns | carried(self.stated, columns)

    def as_tuned(self) -> LossSurface:
        """The same with batch, rate and optimizer as tuned in every run: where a size is asked for, they follow it.

        The text stays selected, and as synthetic, as it is, and the model keeps its mixer.
        """
        of_text = {name for name in self.stated if name.startswith(("data.selection", "data.synthetic", "model."))}
        if not any(is_stated(name) for name in self.stated.keys() - of_text):
            return self
        note = "batch, learning rate and optimizer are taken as tuned in every run but the plan's own"
        kept = {name: value for name, value in self.stated.items() if name in of_text or not is_stated(name)}
        return replace(self, stated=kept if of_text else {}, notes=(note, *self.notes))

    @property
    def of_settings(self) -> str:
        """How learning rate and batch enter, in words."""
        if any("lr" in model.fit.law.columns for model in self.models):
            return "learning rate and batch are taken as tuned in every run"
        return "every run has the plan's batch, and its learning rate as it moves with size where it is tuned"

    def with_rate(self, config: RunConfig, params: float) -> RunConfig:
        """A plan of another size with the learning rate that it is predicted with; as it is where a law reads rates."""
        rate = carried(self.stated, self.columns(np.array([params]), np.array([config.data.tokens]))).get("optim.lr")
        if rate is None or config.optim.lr is None:
            return config
        lr = float(f"{rate[0]:.3g}")
        update = {"lr": lr}
        if config.optim.lr_final is not None:
            update["lr_final"] = config.optim.lr_final * lr / config.optim.lr
        return config.model_copy(update={"optim": config.optim.model_copy(update=update)})

    @property
    def plain(self) -> bool:
        """Whether this is one law, and its core alone here: no term of it has anything to say."""
        if len(self.models) > 1:
            return False
        columns = self.known_columns(self.fit, np.array([1e9]), np.array([1e30]))  # beyond any stock
        return not any(self.fit.law.prepare(columns, self.fit.reference)[1:])


def tuned(config: RunConfig) -> RunConfig:
    """The plan without a stated learning rate: laws then take it, and the batch, as tuned to the size."""
    return config.model_copy(update={"optim": config.optim.model_copy(update=dict.fromkeys(_TUNED))})


def _log_mean(log_losses: Sequence[np.ndarray]) -> np.ndarray:
    """Log of the mean of losses; of one, that one to the bit."""
    if len(log_losses) == 1:
        return log_losses[0]
    return np.log(np.mean(np.exp(log_losses), axis=0))


def _require_both(model: LossModel, name: str) -> None:
    for column in ("params", "tokens"):
        if column not in model.fit.law.member.uses:
            raise InputError(
                f"predictor {shown(name)}: its law {model.fit.law.name} doesn't know how the loss changes with "
                f"{column}, so it has no optimum; expected a predictor fitted on runs in which params and tokens vary"
            )
