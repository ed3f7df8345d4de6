"""One stage of a run, as a plan states it: of the data, or of the optimisation.

A stage inherits what it doesn't state from the one before it, and the first one from the section that it stands in.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, WithJsonSchema, field_validator, model_validator
from pydantic.functional_validators import BeforeValidator

from ....core.errors import ConfigError
from ....core.reading.fields import (
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
from ....core.units import COUNT_PATTERN, SHARE_PATTERN, parse_count, parse_share, shown
from ..text.names import SHARES_TOLERANCE, CorpusName

__all__ = ["DataStage", "OptimStage", "Stage", "StageForm", "whole_mix"]

StageForm = Literal["linear", "cosine", "exponential", "sqrt"]
"""How the rate of a stage gets from `lr` to `lr_final`; as the decays of `optim.schedule`."""

_MAX_DOMAINS = 1_000
_MAX_STEPS = 10**12


def whole_mix(mix: dict[str, float]) -> dict[str, float]:
    """Shares of domains that sum to 1; ValueError where those that are stated are further than 0.01 from it."""
    if len(mix) > _MAX_DOMAINS:
        raise ValueError(f"got {len(mix)} domains; expected at most {_MAX_DOMAINS}")
    total = math.fsum(mix.values())
    # The slack keeps 1.01, whose float is a trifle more, on the right side.
    if abs(total - 1) > SHARES_TOLERANCE + 1e-9:
        hint = f" (token counts? divide by {total:.6g})" if total > 100 else ""
        raise ValueError(
            f"got {shown(mix)}, which sums to {total:.6g}{hint}; expected shares that sum to 1 within 0.01"
        )
    # A sum that is 1 but for rounding is left alone, so that writing and reading back changes no bit.
    return mix if abs(total - 1) < 1e-12 else {domain: share / total for domain, share in mix.items()}


def _start(value: Any) -> str | float:
    """Read where a stage starts: tokens ("800B"), or a share of the run ("80%")."""
    try:
        if isinstance(value, str) and value.strip().endswith("%"):
            return f"{100 * parse_share(value):g}%"
        tokens = parse_count(value)
    except ValueError:
        tokens = -1.0
    if tokens < 0:
        raise ConfigError(f"got {shown(value)}; expected tokens such as 800B, or a share of the run such as 80%")
    return tokens


_Start = Annotated[
    str | float,
    BeforeValidator(_start),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": COUNT_PATTERN},
                {"type": "string", "pattern": SHARE_PATTERN},
            ]
        }
    ),
]
_Rate = Annotated[Real, Field(ge=0, le=100)]


class Stage(Frozen):
    """Where a stage lies in its run: how long it is, in tokens or as a share; one stage may leave that out."""

    name: Label | None = Field(default=None, description="Name of the stage, for reports.")
    tokens: PositiveCount | None = Field(default=None, description="Tokens of the stage, such as 200B.")
    share: Annotated[Share, Field(gt=0)] | None = Field(
        default=None, description="Share of the run's tokens, such as 10%, instead of tokens (default: the rest)."
    )
    start: _Start | None = Field(
        default=None,
        description="Where it starts: tokens such as 800B, or a share of the run such as 80% (default: where the one "
        "before it ends).",
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.tokens is not None and self.share is not None:
            raise FieldError("share", "is given beside tokens; expected only one of the two")
        return self

    def start_tokens(self, total: float) -> float | None:
        """Where it starts by its own word in a run of `total` tokens; None where it doesn't say."""
        if isinstance(self.start, str):
            return parse_share(self.start) * total
        return self.start

    def length_tokens(self, total: float) -> float | None:
        """Its length by its own word in a run of `total` tokens; None where it doesn't say."""
        return self.tokens if self.share is None else self.share * total


class DataStage(Stage):
    """A stretch of the run that is trained on a text of its own, or on longer sequences."""

    mix: dict[Label, Share] | None = Field(
        default=None, description="Share of its tokens by domain; the shares sum to 1 within 0.01."
    )
    corpus: CorpusName | None = Field(default=None, description="What it is trained on, as data.corpus.")
    context_length: Annotated[Whole, Field(ge=1, le=10**9), whole_schema(1, 10**9)] | None = Field(
        default=None, description="Tokens per training sequence (default: that of the model)."
    )

    @field_validator("mix")
    @classmethod
    def _whole(cls, mix: dict[str, float] | None) -> dict[str, float] | None:
        return None if mix is None else whole_mix(mix)


class OptimStage(Stage):
    """A stretch of the run with rates or a batch of its own: a warm-up of the batch, a cooldown, a restart."""

    lr: Annotated[PositiveReal, Field(le=100)] | None = Field(
        default=None, description="Learning rate at its start, after its warm-up (default: where the one before ended)."
    )
    lr_final: _Rate | None = Field(default=None, description="Learning rate at its end (default: as at its start).")
    form: StageForm | None = Field(
        default=None, description="How the rate gets from lr to lr_final: linear, cosine, exponential or sqrt (linear)."
    )
    warmup_steps: Annotated[Whole, Field(ge=0, le=_MAX_STEPS), whole_schema(0, _MAX_STEPS)] | None = Field(
        default=None, description="Steps of linear warm-up to lr at its start."
    )
    warmup_tokens: PositiveCount | None = Field(default=None, description="Tokens of it, instead of steps.")
    lr_initial: _Rate | None = Field(
        default=None,
        description="Rate at which its warm-up begins: 0 where the optimizer starts afresh (default: where the stage "
        "before ended).",
    )
    batch_tokens: PositiveCount | None = Field(default=None, description="Tokens per optimizer step.")
    batch_tokens_final: PositiveCount | None = Field(
        default=None, description="Tokens per step at its end, towards which the batch grows evenly with tokens."
    )
    branch: StrictBool = Field(
        default=False,
        description="A run of its own that leaves the main one here, such as an earlier cooldown: its tokens don't "
        "count in data.tokens, and the next stage goes on from where it left.",
    )

    @property
    def stated_rates(self) -> list[str]:
        """Keys by which it states learning rates."""
        keys = ("lr", "lr_final", "form", "warmup_steps", "warmup_tokens", "lr_initial")
        return [key for key in keys if getattr(self, key) is not None]

    @property
    def warms_up(self) -> bool:
        """Whether it states a warm-up."""
        return bool(self.warmup_steps) or self.warmup_tokens is not None

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.warmup_steps is not None and self.warmup_tokens is not None:
            raise FieldError("warmup_tokens", "is given beside warmup_steps; expected only one of the two")
        if self.form is not None and self.lr_final is None:
            raise FieldError("form", "goes with lr_final, which is missing; expected the rate at the stage's end, too")
        if self.form == "exponential" and self.lr_final == 0:
            raise FieldError("lr_final", "got 0, which an exponential decay never reaches; expected a rate above 0")
        if self.lr_initial is not None and not self.warms_up:
            raise FieldError("lr_initial", "goes with warmup_steps or warmup_tokens; expected one of them beside it")
        for key in ("batch_tokens", "batch_tokens_final"):
            batch = getattr(self, key)
            if batch is not None and batch < 1:
                raise FieldError(key, f"got {batch:g}; expected one token at least, such as 4M")
        if self.branch and self.start is not None:
            raise FieldError(
                "start", "is of no use to a branch, which leaves where the stage before it ends; expected none"
            )
        if self.branch and self.tokens is None and self.share is None:
            raise FieldError("tokens", "is missing; a branch is no part of the run: expected its tokens, such as 200B")
        return self
