"""The optimisation of a run: optimizer, learning rate and its schedule, batch."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from ...core.errors import ConfigError
from ...core.model.plausibility import MOST_LR
from ...core.reading.fields import (
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
from ...core.units import parse_whole, shown
from ...datasets.facts.optimizers import ADAMW, OPTIMIZERS, meant_optimizer
from .stages.checks import check_optim_stages, states_rates
from .stages.stage import OptimStage

__all__ = ["OptimConfig", "step_of"]

_MAX_MOMENTS = 10_000  # entries of lr_steps and lr_points
_MAX_STAGES = 100  # a batch that grows step by step has some thirty
_MAX_STEPS = 10**12
_PERCENT = re.compile(r"\s*([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%\s*", re.ASCII)
_PEAK_TOLERANCE = 0.01  # a stated peak and the highest of lr_points may differ by rounding

_Steps = Annotated[Whole, Field(ge=0, le=_MAX_STEPS), whole_schema(0, _MAX_STEPS)]
_Rate = Annotated[Real, Field(ge=0, le=100)]


def _moment(value: Any) -> str:
    """Read a moment of a run, a step ("8000", "8k") or a share ("80%"), in its plainest spelling."""
    text = str(value)
    found = _PERCENT.fullmatch(text)
    if found and float(found[1]) <= 100:
        return f"{float(found[1]):g}%"
    try:
        step = parse_whole(value if isinstance(value, int) else text)
    except ConfigError:
        step = -1
    if found or not 0 <= step <= _MAX_STEPS:
        raise ConfigError(f"got {shown(value)}; expected a step such as 8000, or a share of the run such as 80%")
    return str(step)


def _optimizer(name: str) -> str:
    """Refuse a slip of a known optimizer's name; names of others are taken as they are."""
    meant = meant_optimizer(name)
    if meant is not None:
        known = ", ".join(dict.fromkeys(one.name for one in OPTIMIZERS.values()))
        raise ConfigError(
            f"got {shown(name)}; did you mean {meant}? expected one of {known}, or the name of another optimizer, "
            "whose states are counted as adamw's"
        )
    return name


_Moment = Annotated[str, BeforeValidator(_moment), WithJsonSchema({"type": "string"})]


def step_of(moment: str, steps: int) -> int:
    """The step that a key of `lr_steps` or `lr_points` means in a run of `steps` steps.

    >>> step_of("80%", 1000), step_of("300", 1000)
    (800, 300)
    """
    return round(float(moment[:-1]) * steps / 100) if moment.endswith("%") else int(moment)


class OptimConfig(Frozen):
    """How the model is trained. What is left out is unknown to the forecast, except for the optimizer."""

    optimizer: Annotated[Label, AfterValidator(_optimizer)] = Field(
        default=ADAMW, description="Optimizer by name, such as adamw or muon; memory counts its states."
    )
    master_weights: Literal["fp32", "none"] = Field(
        default="fp32",
        description="32-bit copy of narrower weights that the optimizer changes; none: weights, gradients and states "
        "are kept in the weights' own format.",
    )
    lr: Annotated[PositiveReal, Field(le=100)] | None = Field(default=None, description="Peak learning rate.")
    lr_final: _Rate | None = Field(default=None, description="Learning rate of the last step.")
    batch_tokens: PositiveCount | None = Field(default=None, description="Tokens per optimizer step, such as 4M.")
    schedule: (
        Literal["cosine", "linear", "wsd", "constant", "inverse_sqrt", "multistep", "piecewise", "points"] | None
    ) = Field(default=None, description="Shape of the learning rate after warm-up.")
    warmup_steps: _Steps | None = Field(default=None, description="Steps of linear warm-up.")
    warmup_tokens: PositiveCount | None = Field(default=None, description="Tokens of linear warm-up, instead of steps.")
    decay_share: Annotated[Share, Field(gt=0)] | None = Field(
        default=None, description="wsd: part of the run, at its end, in which the rate decays (default: 0.2)."
    )
    decay_form: Literal["linear", "exponential", "sqrt"] | None = Field(
        default=None, description="wsd: how the rate decays (default: linear)."
    )
    lr_steps: Annotated[dict[_Moment, _Rate], Field(min_length=1, max_length=_MAX_MOMENTS)] | None = Field(
        default=None, description="piecewise: the rate from a step (8000) or a share of the run (80%) on."
    )
    lr_points: Annotated[dict[_Moment, _Rate], Field(min_length=2, max_length=_MAX_MOMENTS)] | None = Field(
        default=None, description="points: rates by step or share of the run, warm-up included; straight lines between."
    )
    weight_decay: Annotated[Real, Field(ge=0, le=100)] | None = Field(
        default=None, description="Decoupled weight decay."
    )
    stages: Annotated[tuple[OptimStage, ...], Field(max_length=_MAX_STAGES)] = Field(
        default=(),
        exclude_if=lambda stages: not stages,
        description="Stretches of the run with rates or batches of their own, in order; together the whole run. Those "
        "with rates take the place of schedule.",
    )

    @model_validator(mode="after")
    def _check_lr_and_warmup(self) -> Self:
        if self.lr is not None and self.lr > MOST_LR:
            raise FieldError("lr", f"got {self.lr:g}, which is no learning rate; expected one such as 3e-4")
        if self.lr is not None and self.lr_final is not None and self.lr_final > self.lr:
            raise FieldError("lr_final", f"got {self.lr_final:g}; expected at most lr {self.lr:g}")
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise FieldError("batch_tokens", f"got {self.batch_tokens:g}; expected one token at least, such as 4M")
        if self.warmup_steps is not None and self.warmup_tokens is not None:
            raise FieldError("warmup_tokens", "is given beside warmup_steps; expected only one of the two")
        return self

    @property
    def staged_rates(self) -> bool:
        """Whether stages state the learning rates, in place of a schedule."""
        return states_rates(self.stages)

    @property
    def staged_batches(self) -> bool:
        """Whether stages state batches, one of which is `batch_tokens`: it can't be changed alone."""
        return any(one.batch_tokens or one.batch_tokens_final for one in self.stages)

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        warmup = "warmup_steps" if self.warmup_steps else None if self.warmup_tokens is None else "warmup_tokens"
        check_optim_stages(self.stages, self.lr, self.lr_final, self.schedule, self.batch_tokens, warmup)
        return self

    @model_validator(mode="after")
    def _check_schedule(self) -> Self:
        owners = {"decay_share": "wsd", "decay_form": "wsd", "lr_steps": "piecewise", "lr_points": "points"}
        for key, owner in owners.items():
            if getattr(self, key) is not None and self.schedule != owner:
                raise FieldError(key, f"goes with schedule: {owner}; got schedule: {self.schedule or 'none'}")
        if self.schedule == "piecewise" and (self.lr_steps is None or self.lr is None):
            missing = "lr_steps" if self.lr_steps is None else "lr"
            raise FieldError(missing, "is missing; schedule: piecewise needs lr: 3e-4 and lr_steps: {80%: 3e-5}")
        if self.decay_form == "exponential" and self.lr_final == 0:
            raise FieldError("lr_final", "got 0, which an exponential decay never reaches; expected a rate above 0")
        return self if self.schedule != "points" else self._check_points()

    def _check_points(self) -> Self:
        if self.lr_points is None:
            raise FieldError("lr_points", "is missing; schedule: points needs it, such as {0: 0, 2000: 3e-4, 100%: 0}")
        highest = max(self.lr_points.values())
        if not highest > 0:
            raise FieldError("lr_points", "are all 0; expected some rate above 0")
        if self.lr is not None and abs(self.lr / highest - 1) > _PEAK_TOLERANCE:
            raise FieldError("lr", f"got {self.lr:g}; expected {highest:g}, the highest of lr_points, or no lr")
        return self
