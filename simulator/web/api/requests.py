"""What requests hold: a plan or several as a YAML file states them, and what beside it the question needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ....core.errors import ConfigError, InputError
from ....core.reading.fields import Frozen, Label, PositiveCount, PositiveReal, Whole, whole_schema
from ....core.units import shown
from ...config.after_pretraining.law_names import PRIOR, PROXIES
from ...config.run_config import RunConfig
from ..offered import DEFAULT

__all__ = [
    "CompareRequest",
    "CurveRequest",
    "LayoutsRequest",
    "OptimizeRequest",
    "PredictRequest",
    "TrackRequest",
    "check_steps",
    "read_plan",
    "refuse_files",
]

_FILE_KEYS = ("known_runs", "anchor", "calibration", "curves")
"""Keys of a plan that name files, which a request can't."""
_SHIPPED_LAWS = {"continued_pretraining": (PROXIES,), "post_training": (PRIOR, PROXIES)}
"""Of each section whose law may be a file, those that ship."""
_MOST_LAYOUTS = 100


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"got {shown(value)}; expected a mapping")
    return dict(value)


Plan = Annotated[dict[str, Any], BeforeValidator(_mapping)]
"""A planned run, as a YAML file states it."""

_Predictor = Annotated[
    Label, Field(description="Name of the predictor: one that ships, or one that the server was started with.")
]


class PredictRequest(Frozen):
    """One plan to forecast."""

    plan: Plan = Field(description="The planned run, as a YAML file states it.")
    predictor: _Predictor = DEFAULT


class CompareRequest(Frozen):
    """Plans to compare with the first of them."""

    plans: list[Plan] = Field(min_length=2, description="The plans; the others are compared with the first.")
    predictor: _Predictor = DEFAULT


class LayoutsRequest(Frozen):
    """One plan whose parallel layouts are ranked."""

    plan: Plan = Field(description="The planned run, with its shape, batch and hardware; what its layout states stays.")
    top: Annotated[Whole, Field(ge=1, le=_MOST_LAYOUTS), whole_schema(1, _MOST_LAYOUTS)] = Field(
        default=10, description="How many layouts to rank."
    )


class CurveRequest(Frozen):
    """One plan whose loss is forecast step by step."""

    plan: Plan = Field(description="The planned run; optim states its learning rates.")
    curves: Label | None = Field(
        default=None, description="Name of a curve library that the server was started with (default: public curves)."
    )
    family: Label | None = Field(default=None, description="Which of the library's families, if it has several.")
    size: PositiveCount | None = Field(default=None, description="Parameters of the fitted curves to follow.")
    final_loss_nats: Annotated[PositiveReal, Field(le=100)] | None = Field(
        default=None, description="The run's final loss, taken as accurate to 0.2 %."
    )
    predictor: _Predictor | None = Field(
        default=None, description="Take the final loss from a predictor instead, with its uncertainty."
    )


class TrackRequest(Frozen):
    """A running job's log, held against its plan."""

    plan: Plan = Field(description="The plan of the run.")
    log: Annotated[str, Field(min_length=1)] = Field(
        description="The log so far, as text: JSON lines, CSV, or what the trainer prints."
    )
    metric: Label | None = Field(default=None, description="Name of the loss in the log, where there are several.")
    step_unit: Label = Field(default="auto", description="Unit of the log's steps: auto, steps, tokens, samples, …")
    predictor: _Predictor | None = Field(
        default=None, description="Predicts the final loss (default: the plan's target, or web-text)."
    )
    curves: Label | None = Field(default=None, description="Name of a curve library that the server was started with.")
    family: Label | None = Field(default=None, description="Family in curves that the run belongs to.")


class OptimizeRequest(Frozen):
    """A study to search a better plan in."""

    study: Plan = Field(
        description="The study, as a YAML file states it; its run is stated in place, and nothing is stored."
    )
    trials: Annotated[Whole, Field(ge=1, le=1_000_000), whole_schema(1, 1_000_000)] | None = Field(
        default=None, description="Plans to try (default: what the study says)."
    )
    predictor: _Predictor | None = Field(
        default=None, description="Name of the predictor (default: the study's, or web-text)."
    )


def read_plan(stated: Mapping[str, Any], where: str = "plan") -> RunConfig:
    """A plan of a request.

    Raises:
        ConfigError: Something is wrong with it.
        InputError: It names a file.
    """
    refuse_files(stated, where)
    return RunConfig.from_mapping(stated, where)


def refuse_files(stated: Mapping[str, Any], where: str) -> None:
    """Raise InputError where a mapping, such as a plan or what varies of it, has a key that names a file."""
    for key, value in stated.items():
        section = key.strip().partition(".")[0]
        if value is not None and section in _FILE_KEYS:
            raise InputError(
                f"{where}: {key}: got {shown(value)}; expected none: a request names no files of the server's. "
                "`simulate predict` takes a plan that does"
            )
        known = _SHIPPED_LAWS.get(section, ())
        for law in _laws(key, value) if known else ():
            if law not in known:
                raise InputError(
                    f"{where}: {section}.law: got {shown(law)}; expected {' or '.join(known)}: a request "
                    "names no files of the server's. `simulate predict` takes a plan that does"
                )


def _laws(key: str, value: Any, inside: bool = False) -> Iterator[Any]:
    """What stands for a law in a section, however its keys are written, or among the choices of one."""
    inside = inside or key.rpartition(".")[2].strip() == "law"
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _laws(str(name), inner, inside)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _laws("", inner, inside)
    elif inside and value is not None:
        yield value


def check_steps(run: RunConfig, most: int, where: str = "plan") -> None:
    """Raise InputError for a run of so many steps that its loss curve would take too much memory."""
    if run.steps is not None and run.steps > most:
        raise InputError(
            f"{where}: optim.batch_tokens: the run takes {run.steps:,} steps; expected at most {most:,} for a loss "
            "curve on this server"
        )
