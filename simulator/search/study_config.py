"""`StudyConfig`: a `study.yaml`, what to search, for what, within which limits. `study` makes a `Study` of it.

run: run.yaml
predictor: web-text
space:
  model.params: {low: 1B, high: 30B, log: true}
  data.tokens: {low: 100B, high: 10T, log: true}
  hardware.count: {low: 64, high: 1024, step: 64}
objective: {minimise: loss_nats}
constraints:
  cost_usd: {at_most: 2M, chance: 0.9}
  wall_clock_days: {at_most: 60d}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StrictBool, field_validator, model_validator

from ...core.errors import ConfigError
from ...core.reading.fields import Duration, FieldError, Frozen, Label, PositiveReal, Share, Whole, whole_schema
from ...core.units import parse_count, parse_duration_s, parse_share, shown
from .serving import ServingConfig

__all__ = ["Goal", "Limit", "SearchOptions", "StudyConfig"]

_DAY_S = 86_400.0
_MOST_TRIALS = 1_000_000
_MOST_GOALS = 10


_Quantile = Annotated[Share, Field(ge=0.005, le=0.995)]
"""A share such as 0.9 or "90%"."""


class Goal(Frozen):
    """One thing to minimise or maximise."""

    minimise: Label | None = Field(default=None, description="What should be small, such as loss_nats or cost_usd.")
    maximise: Label | None = Field(default=None, description="What should be large, such as goodput.")
    quantile: _Quantile = Field(
        default=0.5, description="Quantile of the forecast that counts: 0.5 the median, 0.9 a cautious choice."
    )
    weights: dict[Label, PositiveReal] | None = Field(
        default=None, description="loss_nats or perplexity of several domains: the weight of each."
    )

    @model_validator(mode="before")
    @classmethod
    def _spelling(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"minimise": value}
        if not isinstance(value, Mapping):
            return value
        other = {"minimize": "minimise", "maximize": "maximise"}
        return {other.get(key, key): entry for key, entry in value.items()}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.minimise is None) == (self.maximise is None):
            raise FieldError("minimise", "expected either minimise or maximise, with what is to be judged")
        if self.weights is not None and not self.weights:
            raise FieldError("weights", "got none; expected the weight of each domain that counts")
        if self.weights is not None and self.name not in ("loss_nats", "perplexity"):
            raise FieldError("weights", f"goes with loss_nats or perplexity; got {self.name}")
        return self

    @property
    def name(self) -> str:
        """The measure's name."""
        return self.minimise or self.maximise or ""

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """As Optuna spells it."""
        return "minimize" if self.maximise is None else "maximize"


def _bound(value: Any) -> float:
    """A number, a count such as "2M", a share such as "90%", or a duration such as "30d", which is read as days."""
    if isinstance(value, bool):
        raise ConfigError(f"got {shown(value)}; expected a number")
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:  # an integer of hundreds of digits
            raise ConfigError(f"got {shown(value)}; expected a finite number") from None
    if isinstance(value, str) and value.strip().endswith("%"):
        return parse_share(value)
    try:
        return parse_count(value)
    except ConfigError:
        try:
            return parse_duration_s(value) / _DAY_S
        except ConfigError:
            expected = "a number, a count such as 2M, or a duration such as 30d"
            raise ConfigError(f"got {shown(value)}; expected {expected}") from None


def _is_duration(value: Any) -> bool:
    """Whether a bound is text that is a duration and no count."""
    if not isinstance(value, str):
        return False
    for parse, found in ((parse_count, False), (parse_duration_s, True)):
        try:
            parse(value)
        except ConfigError:
            continue
        return found
    return False


_Bound = Annotated[float, BeforeValidator(_bound)]


class Limit(Frozen):
    """A limit that a plan must keep to, with some chance at least."""

    at_most: _Bound | None = Field(default=None, description="The most, such as 2M or 30d.")
    at_least: _Bound | None = Field(default=None, description="The least.")
    chance: _Quantile = Field(
        default=0.8, description="How likely the limit must be kept, where the forecast is uncertain."
    )

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return {"at_most": value} if isinstance(value, int | float | str) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.at_most is None and self.at_least is None:
            raise FieldError("at_most", "is missing; expected at_most or at_least, or both")
        for key in ("at_most", "at_least"):
            bound = getattr(self, key)
            if bound is not None and bound <= 0:
                raise FieldError(key, f"got {bound:g}; expected a number above 0")
        if self.at_most is not None and self.at_least is not None and self.at_least > self.at_most:
            raise FieldError("at_least", f"got {self.at_least:g}; expected at most at_most {self.at_most:g}")
        return self


class SearchOptions(Frozen):
    """How to search."""

    trials: Annotated[Whole, Field(ge=1, le=_MOST_TRIALS), whole_schema(1, _MOST_TRIALS)] = Field(
        default=200, description="Plans to try, over all processes and sessions of the study."
    )
    seed: Annotated[Whole, Field(ge=0, le=2**32 - 1), whole_schema(0, 2**32 - 1)] = Field(
        default=0, description="Seed of the sampler."
    )
    sampler: Literal["auto", "gp", "tpe", "nsga", "random"] = Field(
        default="auto",
        description="auto: nsga for three or more objectives, gp for few continuous trials, else multivariate tpe.",
    )
    storage: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(
        default=None,
        description="A journal file, the URL of a database such as postgresql://…, or memory (default: for the command "
        "a journal of the study's own under studies/, in Python memory).",
    )
    timeout: Duration | None = Field(default=None, description="Stop after this wall clock, such as 10min.")
    polish: StrictBool = Field(
        default=True, description="Improve the best trials by gradients; it takes some of the trials."
    )
    warm_start: StrictBool = Field(
        default=True, description="Try the run as it is, the compute-optimal point and natural mixes first."
    )


class StudyConfig(Frozen):
    """A search as it is written down."""

    name: Label | None = Field(default=None, description="Name of the study (default: that of the file).")
    run: Label | dict[str, Any] = Field(description="The run configuration, as a file beside this one or in place.")
    predictor: Label = Field(default="web-text", description="A predictor's name, or its folder.")
    calibration: Label | None = Field(
        default=None, description="Step times of your cluster, by `simulate cluster calibrate`."
    )
    space: dict[str, Any] = Field(description="What may change: paths of the run with their ranges.")
    objectives: tuple[Goal, ...] = Field(alias="objective", description="What to minimise: one goal, or a list.")
    constraints: dict[Label, Limit] = Field(default={}, description="Limits by what they limit.")
    serving: ServingConfig = Field(default=ServingConfig(), description="How much the trained model will be used.")
    search: SearchOptions = Field(default=SearchOptions(), description="How to search.")

    @model_validator(mode="before")
    @classmethod
    def _either_spelling(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and "objectives" in value:
            if "objective" in value:
                raise FieldError("objectives", "is given beside objective; expected only one of the two")
            return {("objective" if key == "objectives" else key): entry for key, entry in value.items()}
        return value

    @field_validator("run", mode="before")
    @classmethod
    def _file_or_mapping(cls, value: Any) -> Any:
        if not isinstance(value, str | Mapping) or not value:
            raise ConfigError(f"got {shown(value)}; expected the path of a run configuration, or one in place")
        return value

    @field_validator("space", mode="before")
    @classmethod
    def _something_varies(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or not value:
            example = "data.tokens: {low: 1T, high: 4T, log: true}"
            raise ConfigError(f"got {shown(value)}; expected paths of the run with their ranges, such as {example}")
        return value

    @field_validator("objectives", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        goals = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not 1 <= len(goals) <= _MOST_GOALS or None in goals:
            raise ConfigError(
                f"got {shown(value)}; expected a goal such as {{minimise: loss_nats}}, or 2 to 10 of them"
            )
        return goals

    @field_validator("constraints", mode="before")
    @classmethod
    def _chance_to_fit(cls, value: Any) -> Any:
        """A chance to fit is a limit from below, where no side is stated."""
        stated = value.get("p_fit") if isinstance(value, Mapping) else None
        if stated is None or isinstance(stated, Mapping):
            return value
        return {**value, "p_fit": {"at_least": stated}}

    @field_validator("constraints", mode="before")
    @classmethod
    def _durations_in_days(cls, value: Any) -> Any:
        for name, limit in value.items() if isinstance(value, Mapping) else ():
            sides = limit if isinstance(limit, Mapping) else {"at_most": limit}
            for side in ("at_most", "at_least"):
                if name != "wall_clock_days" and _is_duration(sides.get(side)):
                    raise FieldError(
                        f"{name}.{side}",
                        f"got {shown(sides[side])}; expected a number: only wall_clock_days takes a duration",
                    )
        return value

    @field_validator("constraints", "serving", "search", mode="before")
    @classmethod
    def _nothing_said(cls, value: Any) -> Any:
        return {} if value is None else value
