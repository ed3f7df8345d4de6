"""`ProxyRun`: one proxy to train, complete: shape, data, optimisation, seed. Two equal runs give equal losses."""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from ..core.model.architecture import Architecture
from ..core.model.schedules import Schedule, ScheduleName
from ..core.reading.fields import (
    Count,
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
from ..datasets.provenance.regimes import Regime
from .subset import Subset

__all__ = ["Chain", "GroupKey", "ProxyRun", "Recipe", "Start"]

_MIX_TOLERANCE = 0.01
_UpToMillion = Annotated[Whole, Field(ge=1, le=10**6), whole_schema(1, 10**6)]


class Recipe(Frozen):
    """How a proxy is optimised: AdamW with decoupled decay, clipped gradients, averaged weights.

    `lr` is the peak learning rate of a model of width 64; the engine scales each kind of weight from there, so that
    one value serves a whole ladder of widths (`ProxyModel.learning_rate_scale`).
    """

    lr: Annotated[PositiveReal, Field(le=100)] = Field(default=0.005, description="Peak learning rate at width 64.")
    schedule: ScheduleName = Field(default="constant", description="Shape of the learning rate after warm-up.")
    lr_final: Annotated[Real, Field(ge=0, le=100)] | None = Field(
        default=None,
        description="Learning rate where the run ends, at width 64 (default: a tenth of lr; constant: not used).",
    )
    warmup_tokens: Count = Field(
        default=50_000, description="Tokens of linear warm-up; at most a fifth of the run is used for it."
    )
    weight_decay: Annotated[Real, Field(ge=0, le=100)] = Field(default=0.1, description="Decoupled weight decay.")
    beta1: Annotated[Share, Field(lt=1)] = Field(default=0.9, description="Decay of AdamW's first moment per step.")
    beta2: Annotated[Share, Field(lt=1)] = Field(default=0.95, description="Decay of AdamW's second moment per step.")
    clip_norm: PositiveReal = Field(default=1.0, description="Norm that gradients are clipped to.")
    averaging: Share = Field(
        default=0.1, description="Validate weights averaged over about this last share of the run so far; 0: the last."
    )
    subset: Subset | None = Field(
        default=None,
        description="Draw from a subset of the windows, the most important, chosen anew on the way (default: all).",
        exclude_if=lambda subset: subset is None,  # files from before this key stay what they are
    )

    @model_validator(mode="after")
    def _check_lr(self) -> Self:
        if self.lr_final is not None and self.lr_final > self.lr:
            raise FieldError("lr_final", f"got {self.lr_final:g}; expected at most lr {self.lr:g}")
        return self


class Chain(Frozen):
    """Which generation of which chain a run is (`proxies.generations`), as run tables state it."""

    generator: Label = Field(description="What wrote the text of the generations before, such as self.")
    regime: Regime = Field(description="What a generation's corpus is made of.")
    real_share: Share = Field(default=0.0, description="Share of real text put into every generation's corpus.")
    generation: Annotated[Whole, Field(ge=1, le=10_000), whole_schema(1, 10_000)] = Field(
        description="Generations of models between real text and the run."
    )
    detected: Share = Field(
        default=0.0,
        exclude_if=lambda share: not share,
        description="Share of what generators wrote that a filter found; real text stands in its place.",
    )
    temperature: Annotated[Real, Field(ge=0, le=100)] = Field(
        default=1.0, exclude_if=lambda value: value == 1, description="Temperature at which models were sampled."
    )
    top_p: Share = Field(
        default=1.0, exclude_if=lambda value: value == 1, description="Share of each distribution that was sampled."
    )


class Start(Frozen):
    """The trained weights that a run starts from, in the place of random ones."""

    run_id: Label = Field(description="Run that ended with them.")
    tokens: PositiveCount = Field(description="Tokens that they were trained on, in all runs before.")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the weights, as `RunWeights.digest`.")


class GroupKey(NamedTuple):
    """What runs must share to be trained together."""

    model: str
    shape: Architecture
    steps: int
    batch_sequences: int
    evaluate_steps: tuple[int, ...]
    subset: Subset | None = None


class ProxyRun(Frozen):
    """One proxy to train. The mix's shares sum to 1 within 0.01; a domain that isn't named has none."""

    run_id: Label = Field(description="Unique name within a campaign.")
    model: Label = Field(default="transformer", description="Kind of model, by its name in proxies/models.")
    shape: Architecture = Field(description="Shape of the model: exact parameter and FLOP counts.")
    recipe: Recipe = Field(default=Recipe(), description="Optimisation.")
    tokens: PositiveCount = Field(description="Training tokens; rounded up to whole steps.")
    evaluate_at: tuple[PositiveCount, ...] = Field(
        default=(), description="Token counts at which the model is validated on the way, each a row of the run table."
    )
    batch_sequences: _UpToMillion = Field(default=8, description="Sequences of context_length tokens per step.")
    mix: dict[Label, Share] = Field(description="Share of training tokens by domain.")
    texts: dict[Label, Share] = Field(
        default={},
        exclude_if=lambda texts: not texts,
        description="Share of training tokens by further text of the token store; the mix is that of the rest.",
    )
    unique_tokens: dict[Label, PositiveCount] = Field(
        default={}, description="Restricts a domain or text to this many distinct tokens, to study repetition."
    )
    selection: Label | None = Field(
        default=None,
        exclude_if=lambda key: key is None,  # campaigns that were made before this key stay as they are
        description="Key of the selection of training text in the token store (default: text as it is).",
    )
    chain: Chain | None = Field(
        default=None,
        exclude_if=lambda chain: chain is None,
        description="Its place in a chain of generations (default: none, a run on real text).",
    )
    seed: Annotated[Whole, Field(ge=0, le=2**32 - 1), whole_schema(0, 2**32 - 1)] = Field(
        default=0, description="Seed of initial weights and of the order of the data."
    )
    start: Start | None = Field(
        default=None,
        exclude_if=lambda start: start is None,  # campaigns that were made before this key stay as they are
        description="Trained weights that it starts from (default: none, random ones). All else here is of this run "
        "alone, without what came before.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        total = math.fsum(self.mix.values())
        if abs(total - 1) > _MIX_TOLERANCE + 1e-9:
            raise FieldError("mix", f"got shares that sum to {total:.6g}; expected 1 within 0.01")
        if (of_texts := math.fsum(self.texts.values())) > 1 + 1e-9:
            raise FieldError("texts", f"got shares that sum to {of_texts:.6g}; expected 1 at most")
        if late := [tokens for tokens in self.evaluate_at if tokens > self.tokens]:
            raise FieldError("evaluate_at", f"got {late[0]:g}; expected at most tokens {self.tokens:g}")
        if self.recipe.subset is not None and self.steps < 2:
            raise FieldError("recipe.subset", "got it for a run of 1 step; expected more tokens, or no subset")
        return self

    @property
    def batch_tokens(self) -> int:
        """Training tokens per step."""
        return self.batch_sequences * self.shape.context_length

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return math.ceil(self.tokens / self.batch_tokens)

    @property
    def evaluate_steps(self) -> tuple[int, ...]:
        """Steps after which the model is validated, ascending; the last one is the end of the run."""
        on_the_way = {max(1, round(tokens / self.batch_tokens)) for tokens in self.evaluate_at}
        return tuple(sorted({min(step, self.steps) for step in on_the_way} | {self.steps}))

    @property
    def data_seed(self) -> int:
        """Seed of the order of the data: of a run that starts from trained weights another one than theirs was.

        With the same, it would begin with the very windows that they were trained on first.
        """
        if self.start is None:
            return self.seed
        return int(np.random.SeedSequence([self.seed, int(self.start.tokens)]).generate_state(1)[0])

    @property
    def training_flops(self) -> float:
        """FLOPs of training: 3 × forward, by the architecture; validation isn't counted.

        Scoring for a subset of the text is, as far as no stock is smaller than what would be scored of it; the rows of
        a run table have what it was.
        """
        trained = self.shape.training_flops_per_token() * self.steps * self.batch_tokens
        subset = self.recipe.subset
        if subset is None:
            return trained
        scored_tokens = subset.most_scored(self.steps, self.batch_sequences) * self.shape.context_length
        return trained + self.shape.forward_flops_per_token() * scored_tokens

    @property
    def schedule(self) -> Schedule:
        """The learning rate along the run, as a share of the peak."""
        recipe = self.recipe
        final = 0.1 if recipe.lr_final is None else recipe.lr_final / recipe.lr
        warmup = min(round(recipe.warmup_tokens / self.batch_tokens), self.steps // 5)
        return Schedule(name=recipe.schedule, steps=self.steps, warmup_steps=warmup, final=final)

    @property
    def shared(self) -> GroupKey:
        """What must be equal for runs to be trained together."""
        steps, subset = self.evaluate_steps, self.recipe.subset
        return GroupKey(self.model, self.shape, self.steps, self.batch_sequences, steps, subset)
