"""The section `post_training` of a plan: learning from comparisons, and how far the policy is moved by them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ....core.reading.fields import (
    FieldError,
    Frozen,
    Label,
    PositiveCount,
    PositiveReal,
    PositiveShare,
    Real,
    Whole,
    whole_schema,
)
from .law_names import PRIOR, PROXIES

__all__ = ["METHODS", "FeedbackConfig", "Method"]

Method = Literal["best_of_n", "ppo", "dpo"]
METHODS: tuple[Method, ...] = ("best_of_n", "ppo", "dpo")
"""How a policy is moved towards higher reward."""


_MOST_SAMPLES = 10**9


class FeedbackConfig(Frozen):
    """How a model learns from comparisons of its answers.

    >>> FeedbackConfig(method="best_of_n", comparisons="30k", samples=16).samples
    16
    """

    method: Method = Field(
        description="best_of_n (no training: the best of n answers by the reward model), ppo or dpo."
    )
    comparisons: PositiveCount = Field(description="Comparisons that the reward is learned from, such as 30k.")
    kl_nats: PositiveReal | None = Field(
        default=None,
        description="KL divergence of the new policy from the old, nats per answer (default: where the expected gain "
        "is largest).",
    )
    samples: Annotated[Whole, Field(ge=2, le=_MOST_SAMPLES), whole_schema(2, _MOST_SAMPLES)] | None = Field(
        default=None, description="Answers of which the best is taken, instead of kl_nats; best_of_n alone."
    )
    reward_params: PositiveCount | None = Field(
        default=None, description="Parameters of the reward model (default: as many as the model itself)."
    )
    label_usd: Annotated[Real, Field(ge=0)] | None = Field(
        default=None, description="US dollars per comparison (default: 1.6, within a factor of 3)."
    )
    label_minutes: Annotated[Real, Field(ge=0)] | None = Field(
        default=None, description="Minutes of work per comparison (default: 3, within a factor of 2.5)."
    )
    labellers: PositiveReal | None = Field(
        default=None, description="People who label at once, 30 hours a week each (default: labels take no wall clock)."
    )
    answer_tokens: PositiveCount = Field(default=512.0, description="Tokens of an answer with its prompt.")
    episodes: PositiveCount | None = Field(
        default=None, description="Answers that ppo samples and learns from (default: 256k)."
    )
    efficiency: PositiveShare = Field(
        default=0.25, description="Share of the accelerators' peak that this stage reaches, sampling included."
    )
    law: Label = Field(
        default=PRIOR,
        description="The law of gain by KL: prior (wide: nothing is measured), proxies (fitted to small models, "
        "shipped), or the file that `simulate feedback fit --out` wrote, relative to the plan's folder.",
    )

    @model_validator(mode="after")
    def _one_distance(self) -> Self:
        if self.samples is None:
            return self
        if self.method != "best_of_n":
            raise FieldError("samples", f"goes with method best_of_n; got method {self.method}: expected kl_nats")
        if self.kl_nats is not None:
            raise FieldError("samples", "is given beside kl_nats; expected only one of the two")
        return self

    @property
    def law_file(self) -> str | None:
        """The file that its law is read from; None for one that ships."""
        return None if self.law in (PRIOR, PROXIES) else self.law
