"""The sections of a run configuration: model, data and targets, each a frozen model.

Optimisation is in `config_optim`, what is about the machines in `config_cluster`; `config.RunConfig` puts all
together. Field descriptions carry the unit and end up in the JSON Schema.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, StrictBool, field_validator, model_validator

from ...core.model.architecture import Architecture
from ...core.model.plausibility import LEAST_COUNT, count_slip
from ...core.reading.fields import (
    Deadline,
    FieldError,
    Frozen,
    Label,
    PositiveCount,
    PositiveReal,
    Real,
    Share,
    Whole,
    whole_schema,
)
from ...core.units import shown
from .stages.checks import check_data_stages
from .stages.spans import spans
from .stages.stage import DataStage, whole_mix
from .text.names import CorpusName, TokenizerName, corpus_text, tokenizer_text
from .text.selection import SelectionConfig
from .text.synthetic import SyntheticConfig

__all__ = ["DataConfig", "ModelConfig", "TargetConfig"]

# Published counts are rounded: "6.7B" for 6.74e9 is 0.6 % off, "7B" is 4 %. 2 % admits honest rounding only.
_COUNT_TOLERANCE = 0.02
_TARGET_TOLERANCE = 0.01

MOST_STAGES = 100
"""Stages that a run may have; a batch that grows step by step has some thirty."""

_UpToMillion = Annotated[Whole, Field(ge=1, le=10**6), whole_schema(1, 10**6)]
_UpToBillion = Annotated[Whole, Field(ge=1, le=10**9), whole_schema(1, 10**9)]


class ModelConfig(Frozen):
    """The model: an `architecture`, or parameter counts where the shape isn't known.

    With an architecture, the counts may be stated beside it but must agree with it (parameters within 2 %). Fields
    hold what was stated; read the properties, which put both together.
    """

    architecture: Architecture | None = Field(default=None, description="Shape of the transformer; gives exact counts.")
    stated_params: PositiveCount | None = Field(default=None, alias="params", description="All parameters, such as 7B.")
    stated_params_active: PositiveCount | None = Field(
        default=None, alias="params_active", description="Parameters that one token uses (default: all)."
    )
    stated_params_embedding: PositiveCount | None = Field(
        default=None,
        alias="params_embedding",
        description="Parameters in token and position tables and an untied output head.",
    )
    stated_num_experts: _UpToMillion | None = Field(
        default=None, alias="num_experts", description="Routed experts per mixture-of-experts layer."
    )
    stated_experts_per_token: _UpToMillion | None = Field(
        default=None, alias="experts_per_token", description="Routed experts that a token visits."
    )
    stated_vocab_size: _UpToBillion | None = Field(
        default=None, alias="vocab_size", description="Rows of the token embedding table."
    )
    stated_context_length: _UpToBillion | None = Field(
        default=None, alias="context_length", description="Tokens per training sequence."
    )

    @model_validator(mode="after")
    def _agree_with_architecture(self) -> Self:
        if self.architecture is None:
            return self
        for key in ("params", "params_active", "params_embedding"):
            stated, exact = getattr(self, f"stated_{key}"), getattr(self, "params_total" if key == "params" else key)
            if stated is not None and abs(stated - exact) > _COUNT_TOLERANCE * exact:
                expected = f"expected {exact:.4g} as model.architecture gives (within 2 %), or only one of the two"
                raise FieldError(key, f"got {stated:.4g}; {expected}")
        for key in ("num_experts", "experts_per_token", "vocab_size", "context_length"):
            stated, exact = getattr(self, f"stated_{key}"), getattr(self.architecture, key)
            if stated not in (None, exact):
                raise FieldError(
                    key, f"got {stated}; expected {exact} as in model.architecture, or only one of the two"
                )
        return self

    @model_validator(mode="after")
    def _check_counts(self) -> Self:
        if self.architecture is not None:
            return self
        if self.stated_params is None:
            raise FieldError("params", "is missing; expected a count such as 7B, or an architecture")
        _refuse_impossible("params", self.stated_params, "7B")
        for key in ("params_active", "params_embedding"):
            stated = getattr(self, f"stated_{key}")
            if stated is not None and stated > self.stated_params:
                raise FieldError(key, f"got {stated:.4g}; expected at most params {self.stated_params:.4g}")
        return self._check_experts()

    def _check_experts(self) -> Self:
        experts, visited = self.stated_num_experts, self.stated_experts_per_token
        if (experts is None) != (visited is None):
            keys = ("num_experts", "experts_per_token")
            key, missing = keys if visited is None else reversed(keys)
            raise FieldError(
                key, f"got {visited if experts is None else experts} without {missing}; expected both or neither"
            )
        if experts is not None and visited is not None and visited > experts:
            raise FieldError("experts_per_token", f"got {visited}; expected at most num_experts {experts}")
        if experts is not None and self.stated_params_active is None:
            raise FieldError("params_active", "is missing; a mixture of experts needs it beside params")
        return self

    @property
    def params_total(self) -> float:
        """All parameters."""
        if self.architecture is not None:
            return float(self.architecture.params_total)
        assert self.stated_params is not None  # by _check_counts
        return self.stated_params

    @property
    def params_active(self) -> float:
        """Parameters that one token uses, embeddings included; all of them unless stated otherwise."""
        if self.architecture is not None:
            return float(self.architecture.params_active)
        return self.params_total if self.stated_params_active is None else self.stated_params_active

    @property
    def params_embedding(self) -> float | None:
        """Parameters in token and position tables and an untied output head; None if not known."""
        return self.stated_params_embedding if self.architecture is None else float(self.architecture.params_embedding)

    @property
    def params_non_embedding(self) -> float | None:
        """All parameters less the embedding ones; None if those aren't known."""
        return None if self.params_embedding is None else self.params_total - self.params_embedding

    @property
    def num_experts(self) -> int | None:
        """Routed experts per mixture-of-experts layer; None for a dense model."""
        return self.stated_num_experts if self.architecture is None else self.architecture.num_experts

    @property
    def experts_per_token(self) -> int | None:
        """Routed experts that a token visits; None for a dense model."""
        return self.stated_experts_per_token if self.architecture is None else self.architecture.experts_per_token

    @property
    def vocab_size(self) -> int | None:
        """Rows of the token embedding table; None if not known."""
        return self.stated_vocab_size if self.architecture is None else self.architecture.vocab_size

    @property
    def context_length(self) -> int | None:
        """Tokens per training sequence; None if not known."""
        return self.stated_context_length if self.architecture is None else self.architecture.context_length


def _refuse_impossible(key: str, count: float, example: str) -> None:
    """Raise `FieldError` for a count that no run has."""
    if count < LEAST_COUNT:
        slip = count_slip(key, count)
        maybe = f" ({slip})" if slip else ""
        raise FieldError(key, f"got {count:g}, which is no run{maybe}; expected a plain count such as {example}")


class DataConfig(Frozen):
    """What the model is trained on."""

    tokens: PositiveCount = Field(description="Training tokens seen, such as 2T; repeats count.")
    unique_tokens: PositiveCount | None = Field(
        default=None, description="Distinct tokens in stock, before any selection (default: every token seen is new)."
    )
    mix: dict[Label, Share] | None = Field(
        default=None, description="Share of training tokens by domain; the shares sum to 1 within 0.01."
    )
    allow_new_domains: StrictBool = Field(
        default=False, description="Forecast mixes with domains that the predictor's runs never had, more widely."
    )
    unique_tokens_by_domain: dict[Label, PositiveCount] | None = Field(
        default=None,
        description="Distinct tokens in stock of each domain of the mix, before any selection (default: more than are "
        "seen).",
    )
    selection: SelectionConfig | None = Field(
        default=None,
        exclude_if=lambda selection: selection is None,  # digests of earlier studies stay what they are
        description="How the documents were selected; what is kept of the stocks follows.",
    )
    synthetic: SyntheticConfig | None = Field(
        default=None,
        exclude_if=lambda synthetic: synthetic is None,
        description="What share of the training tokens models wrote, and how (default: none); the rest is drawn from "
        "the stocks.",
    )
    corpus: CorpusName | None = Field(
        default=None,
        description="What is trained on: a corpus or kind of text by name, such as fineweb, or shares of several, "
        "such as {web: 0.8, code: 0.2}.",
    )
    evaluated_on: Label | None = Field(
        default=None,
        exclude_if=lambda text: text is None,  # digests of studies that were made before this key stay what they are
        description="Text that the loss is measured on: an evaluation set, a corpus or a kind of text, such as c4_en "
        "(default: the training mix).",
    )
    val_domain: Label | None = Field(
        default=None, description="Former name of evaluated_on, read as that.", json_schema_extra={"deprecated": True}
    )
    tokenizer: TokenizerName | None = Field(
        default=None,
        description="Tokenizer by name, such as llama3, or its vocab_size and bytes_per_token; losses per token "
        "depend on it.",
    )
    bytes_per_token: Annotated[PositiveReal, Field(ge=0.01, le=1000)] | None = Field(
        default=None,
        description="Bytes of text per token of the evaluated text, for bits per byte (default: what the tokenizer "
        "holds of that text).",
    )
    stages: Annotated[tuple[DataStage, ...], Field(max_length=MOST_STAGES)] = Field(
        default=(),
        exclude_if=lambda stages: not stages,
        description="Stretches of the run that are trained on texts of their own, in order; together the whole run.",
    )

    @model_validator(mode="before")
    @classmethod
    def _read_former_name(cls, stated: Any) -> Any:
        """`val_domain` is what `evaluated_on` was called."""
        if not isinstance(stated, Mapping) or stated.get("val_domain") is None:
            return stated
        former = stated["val_domain"]
        if stated.get("evaluated_on") not in (None, former):
            raise FieldError("val_domain", "is the former name of evaluated_on, which is stated too; expected one")
        return {**stated, "val_domain": None, "evaluated_on": former}

    @field_validator("mix")
    @classmethod
    def _renormalise(cls, mix: dict[str, float] | None) -> dict[str, float] | None:
        return None if mix is None else whole_mix(mix)

    @model_validator(mode="after")
    def _check_tokens(self) -> Self:
        _refuse_impossible("tokens", self.tokens, "2T")
        if self.unique_tokens is not None and self.unique_tokens < 1:
            raise FieldError("unique_tokens", f"got {self.unique_tokens:g}; expected one token at least, such as 200B")
        return self

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        if self.stages:
            check_data_stages(self.stages, self.tokens, self.mix, self.corpus)
        return self

    @model_validator(mode="after")
    def _check_stocks(self) -> Self:
        if self.unique_tokens_by_domain is None:
            return self
        if self.unique_tokens is not None:
            raise FieldError("unique_tokens", "is given beside unique_tokens_by_domain; expected only one of the two")
        for domain, stock in self.unique_tokens_by_domain.items():
            if stock < 1:
                raise FieldError("unique_tokens_by_domain", f"got {stock:g} of {shown(domain)}; expected one at least")
        mix = self.mix_of_tokens or {}
        unknown = [domain for domain in self.unique_tokens_by_domain if domain not in mix]
        if unknown:
            known = ", ".join(mix) or "a mix beside it"
            raise FieldError(
                "unique_tokens_by_domain", f"got {shown(unknown[0])}, which data.mix doesn't name; expected {known}"
            )
        return self

    @property
    def keep(self) -> float:
        """Share of the text that its selection keeps; 1 without one."""
        return 1.0 if self.selection is None else self.selection.keep

    @property
    def synthetic_share(self) -> float:
        """Share of the tokens trained on that models wrote, less what is detected and left out; 0 without any."""
        return 0.0 if self.synthetic is None else self.synthetic.trained_share

    @property
    def real_tokens(self) -> float:
        """Training tokens of real text, which alone is drawn from the stocks."""
        return self.tokens * (1.0 - self.synthetic_share)

    @property
    def kept_tokens(self) -> float | None:
        """Distinct tokens in stock of all text, after the selection; None where that stock isn't stated."""
        return None if self.unique_tokens is None else self.unique_tokens * self.keep

    @property
    def kept_tokens_by_domain(self) -> dict[str, float] | None:
        """Distinct tokens in stock of domains, after the selection; None where those stocks aren't stated."""
        stocks = self.unique_tokens_by_domain
        return None if stocks is None else {domain: stock * self.keep for domain, stock in stocks.items()}

    @property
    def distinct_tokens_by_domain(self) -> dict[str, float] | None:
        """Distinct tokens that there are of domains: what is kept of their stocks, and what models wrote of them.

        None where those stocks aren't stated. Models are taken to write as much of each domain as its share of the mix.
        """
        stocks, mix = self.kept_tokens_by_domain, self.mix_of_tokens or {}
        written = self.tokens * self.synthetic_share
        return (
            None if stocks is None else {name: stock + written * mix.get(name, 0.0) for name, stock in stocks.items()}
        )

    @property
    def domain_epochs(self) -> dict[str, float]:
        """How often the real text of each domain is seen whose stock is stated: its tokens over what is kept of it."""
        mix = self.mix_of_tokens or {}
        stocks = self.kept_tokens_by_domain or {}
        return {domain: self.real_tokens * mix.get(domain, 0.0) / stock for domain, stock in stocks.items()}

    def distinct_tokens(self, tokens: float | None = None) -> float | None:
        """Distinct tokens among those seen, or among `tokens` of them; None where no stock is stated.

        Synthetic tokens are distinct ones, beside those of the stocks.
        """
        tokens = self.tokens if tokens is None else tokens
        written = tokens * self.synthetic_share
        real = self._distinct_real(tokens - written)
        return None if real is None else written + real

    def _distinct_real(self, tokens: float) -> float | None:
        """Distinct ones among so many tokens of real text; None where no stock is stated."""
        mix = self.mix_of_tokens
        if self.unique_tokens_by_domain is None or mix is None:
            return None if self.kept_tokens is None else min(self.kept_tokens, tokens)
        stocks = self.kept_tokens_by_domain or {}
        return math.fsum(min(tokens * share, stocks.get(domain, math.inf)) for domain, share in mix.items())

    @property
    def mix_of_tokens(self) -> dict[str, float] | None:
        """Shares of all training tokens by domain, over all stages; None where no mix is stated."""
        if not any(stage.mix for stage in self.stages):
            return self.mix
        found, mix = dict[str, float](), self.mix
        for stage, span in zip(self.stages, spans(self.stages, self.tokens), strict=True):
            mix = stage.mix or mix
            for domain, share in (mix or {}).items():
                found[domain] = found.get(domain, 0.0) + share * span.tokens / self.tokens
        return found

    @property
    def corpus_text(self) -> str | None:
        """The corpus in one line, as a column of a run table holds it: its name, or `web:0.8+code:0.2`."""
        return corpus_text(self.corpus)

    @property
    def tokenizer_text(self) -> str | None:
        """The tokenizer in one line, as a column of a run table holds it."""
        return tokenizer_text(self.tokenizer)

    @property
    def epochs(self) -> float:
        """Tokens of real text over distinct ones of it; 1 where no stock is stated."""
        if self.unique_tokens_by_domain is None:
            return 1.0 if self.kept_tokens is None else self.real_tokens / self.kept_tokens
        distinct = self._distinct_real(self.real_tokens)
        return max(1.0, self.real_tokens / distinct) if distinct else 1.0


class TargetConfig(Frozen):
    """What the run must reach."""

    perplexity: Annotated[Real, Field(gt=1, le=1e9)] | None = Field(
        default=None, description="At most this perplexity."
    )
    loss_nats: Annotated[PositiveReal, Field(le=100)] | None = Field(
        default=None, description="At most this cross-entropy, nats per token."
    )
    deadline: Deadline | None = Field(
        default=None, description="Wall clock, such as 30d or 1d12h, or the day by whose beginning the run must end."
    )
    budget_usd: PositiveCount | None = Field(default=None, description="US dollars, such as 2M.")

    @property
    def loss_nats_wanted(self) -> float | None:
        """The loss that is asked for, nats per token, stated as itself or as a perplexity; None if neither is."""
        if self.loss_nats is not None or self.perplexity is None:
            return self.loss_nats
        return math.log(self.perplexity)

    @property
    def perplexity_wanted(self) -> float | None:
        """The same as a perplexity."""
        return self.perplexity if self.loss_nats is None else math.exp(self.loss_nats)

    @model_validator(mode="after")
    def _one_loss(self) -> Self:
        if self.perplexity is not None and self.loss_nats is not None:
            implied = math.log(self.perplexity)
            if abs(self.loss_nats - implied) > _TARGET_TOLERANCE:
                expected = f"expected {implied:.4g} as perplexity {self.perplexity:g} implies, or only one of the two"
                raise FieldError("loss_nats", f"got {self.loss_nats:g}; {expected}")
        return self
