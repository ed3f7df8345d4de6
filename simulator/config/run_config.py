"""`RunConfig`: the run to be predicted, read from YAML or JSON, overridden by `--set`, and checked as a whole.

Whatever is wrong comes as one `ConfigError` that lists each problem with its file, line, key, value and what would be
accepted. The sections are in `model_and_data`, `optimisation`, `hardware`, `operations` and `column_values`.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PrivateAttr, field_validator, model_validator

from ...core.errors import ConfigError
from ...core.reading.config_messages import Origins
from ...core.reading.config_reader import as_mapping, plain_schema, validated
from ...core.reading.fields import Day, FieldError, Frozen, Label, Whole, whole_schema
from ...core.reading.yaml_reader import load_document
from ...core.units import shown
from ...datasets.facts.prices import prices
from .after_pretraining.continued import ContinuedConfig
from .after_pretraining.feedback import FeedbackConfig
from .after_pretraining.oversight import OversightConfig
from .column_values import Cell, check_architecture, check_columns
from .hardware import HardwareConfig, LayoutConfig
from .model_and_data import DataConfig, ModelConfig, TargetConfig
from .operations import EnergyConfig, PricesConfig, ReliabilityConfig
from .optimisation import OptimConfig
from .other_files import refuse_other_files
from .overrides import merge_overrides
from .stages.batches import BatchPlan
from .stages.checks import check_contexts, check_optim_lengths, check_sequences

__all__ = [
    "DataConfig",
    "EnergyConfig",
    "HardwareConfig",
    "LayoutConfig",
    "ModelConfig",
    "OptimConfig",
    "PricesConfig",
    "ReliabilityConfig",
    "RunConfig",
    "TargetConfig",
    "apply_overrides",
]

_NEWER_KEYS = (
    ("optim", "master_weights", "fp32"),
    ("hardware", "fit_chance", 0.9),
    ("hardware", "compile", None),
    ("hardware", "dropout", None),
    ("hardware", "release", None),
)  # section, key, default


def _oversight(value: Any) -> Any:
    """No oversight where all that is said of it is how far it may go, as `--allow-extrapolation` says of any plan."""
    return None if isinstance(value, Mapping) and list(value) == ["allow_extrapolation"] else value


def _section(value: Any) -> Any:
    """Read a section of which every line is commented out, null in YAML, as one that says nothing."""
    return {} if value is None else value


class RunConfig(Frozen):
    """The configuration of one pretraining run, as read from YAML (`load`) or plain values (`from_mapping`).

    The sections `model` and `data` are required; `optim`, `hardware`, `reliability`, `prices`, `energy` and `targets`
    are optional, as are the other fields.

    >>> config = RunConfig.from_mapping({"model": {"params": "7B"}, "data": {"tokens": "2T"}})
    >>> config.training_flops
    8.4e+22
    """

    name: Label | None = Field(default=None, description="Name of the run, for reports.")
    seed: Annotated[Whole, Field(ge=0, le=2**32 - 1), whole_schema(0, 2**32 - 1)] = Field(
        default=0, description="Seed of the random numbers of the forecast."
    )
    model: ModelConfig
    data: DataConfig
    optim: Annotated[OptimConfig, BeforeValidator(_section)] = OptimConfig()
    hardware: Annotated[HardwareConfig, BeforeValidator(_section)] = HardwareConfig()
    layout: LayoutConfig | None = Field(
        default=None, description="Split over the accelerators (default: the fastest that fits is searched for)."
    )
    reliability: Annotated[ReliabilityConfig, BeforeValidator(_section)] = ReliabilityConfig()
    prices: Annotated[PricesConfig, BeforeValidator(_section)] = PricesConfig()
    energy: Annotated[EnergyConfig, BeforeValidator(_section)] = EnergyConfig()
    start: Day | None = Field(
        default=None, description="Day at whose beginning the run starts, such as 2026-12-01; dates need it."
    )
    targets: Annotated[TargetConfig, BeforeValidator(_section)] = TargetConfig()
    continued_pretraining: ContinuedConfig | None = Field(
        default=None,
        exclude_if=lambda stage: stage is None,
        description="What specialises the model after this run: more text, a share of it from one domain.",
    )
    post_training: FeedbackConfig | None = Field(
        default=None,
        exclude_if=lambda stage: stage is None,
        description="What the model learns from comparisons of its answers.",
    )
    oversight: Annotated[OversightConfig | None, BeforeValidator(_oversight)] = Field(
        default=None,
        exclude_if=lambda oversight: oversight is None,
        description="How weaker overseers watch the model, by published laws.",
    )
    known_runs: Label | None = Field(
        default=None,
        exclude_if=lambda path: path is None,
        description="Table of runs of your own that the forecast is to agree with, relative to the plan's folder.",
    )
    columns: Annotated[dict[Label, Cell], BeforeValidator(_section)] = Field(
        default={},
        exclude_if=lambda columns: not columns,
        description="Values of run-table columns that no other section states, such as {architecture: ssm}.",
    )

    _folder: Path | None = PrivateAttr(default=None)

    @classmethod
    def load(cls, path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Self:
        """Read a YAML or JSON file and apply overrides such as ``data.tokens=2T``. Raises `ConfigError`."""
        document = load_document(path)
        refuse_other_files(document.mapping, document.where, "run")
        mapping, overridden = merge_overrides(document.mapping, overrides, cls)
        config = validated(cls, mapping, Origins(document.where, document.lines, overridden))
        return config._in(Path() if os.fspath(path) == "-" else Path(path).parent)

    @classmethod
    def from_mapping(
        cls,
        mapping: Mapping[str, Any],
        where: str = "config",
        overrides: Sequence[str] = (),
        folder: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Check a mapping as YAML would give it. Raises `ConfigError`.

        Args:
            mapping: The plan.
            where: What stands for the file in messages.
            overrides: Changes such as ``data.tokens=2T``.
            folder: What a file that it names is relative to; without one no file is read for it, so that a mapping
                may come from anybody.
        """
        stated = as_mapping(mapping, where, "model and data")
        merged, overridden = merge_overrides(stated, overrides, cls)
        config = validated(cls, merged, Origins(where, overridden=overridden))
        return config._in(None if folder is None else Path(folder))

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON Schema of what `load` accepts, with descriptions and units."""
        schema = plain_schema(cls)
        schema["$defs"]["ModelConfig"]["anyOf"] = [{"required": ["architecture"]}, {"required": ["params"]}]
        return schema

    def to_mapping(self) -> dict[str, Any]:
        """Return plain data, complete with defaults, from which `from_mapping` makes an equal configuration."""
        return self.model_dump(mode="json", by_alias=True)

    def to_digest(self) -> dict[str, Any]:
        """Return what digests of studies are of: plain data, without newer keys where these change nothing.

        So a study of a version that lacked a key is known again, as long as the plan states no machines.
        """
        plain = self.to_mapping()
        plain.pop("known_runs", None)  # its runs are part of the predictor
        if self.hardware.accelerator is None:
            for section, key, default in _NEWER_KEYS:
                if plain[section][key] == default:
                    del plain[section][key]
        return plain

    @property
    def known_runs_path(self) -> Path | None:
        """The table that `known_runs` names; None where it names none. Raises `ConfigError` as `path_of` does."""
        return None if self.known_runs is None else self.path_of("known_runs", self.known_runs)

    def path_of(self, key: str, name: str) -> Path:
        """The file that a key of this plan names.

        Raises `ConfigError` for a plan that knows no folder, since it was made of a mapping.
        """
        if self._folder is None:
            raise ConfigError(
                f"{key}: got {shown(name)} in a plan that isn't a file, which names no other; expected "
                "RunConfig.load(path), or from_mapping(…, folder=…)"
            )
        return self._folder / name

    @property
    def training_flops(self) -> float:
        """FLOPs of the whole run: by the architecture where it is given, else 6 · active parameters · tokens."""
        if self.model.architecture is not None:
            return self.model.architecture.training_flops_per_token() * self.data.tokens
        # Kaplan et al. 2020 (arXiv:2001.08361), section 2.1: 2 FLOPs per parameter forward, 4 backward.
        return 6.0 * self.model.params_active * self.data.tokens

    @property
    def steps(self) -> int | None:
        """Optimizer steps of the whole run, the last one possibly short; None if the batch isn't stated."""
        return None if self.batches is None else self.batches.steps

    @property
    def batches(self) -> BatchPlan | None:
        """Tokens per optimizer step along the run; None if the batch isn't stated."""
        batch = self.optim.batch_tokens
        return None if batch is None else BatchPlan.of(self.optim.stages, batch, self.data.tokens)

    @property
    def deadline_s(self) -> float | None:
        """Seconds of wall clock from the start to the deadline; None if there is none."""
        deadline = self.targets.deadline
        if isinstance(deadline, datetime.date):
            assert self.start is not None  # by _check_deadline
            return (deadline - self.start).total_seconds()
        return deadline

    @property
    def usd_per_hour(self) -> float | None:
        """US dollars per accelerator and hour, as purchased; None if no price is stated."""
        return self.prices.usd_per_hour(self.hardware.price_usd_per_hour)

    def _in(self, folder: Path | None) -> Self:
        """The plan in its folder; plans that name no file are equal wherever they are."""
        if self.names_files:
            self._folder = folder
        return self

    @property
    def folder(self) -> Path | None:
        """What files that it names are relative to; None where it names none, or knows no folder."""
        return self._folder

    @property
    def names_files(self) -> bool:
        """Whether what it says depends on other files, which are relative to its folder."""
        laws = [self.continued_pretraining and self.continued_pretraining.law_file]
        laws += [self.post_training and self.post_training.law_file]
        return self.known_runs is not None or any(laws)

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, stated: dict[str, float | str]) -> dict[str, float | str]:
        return check_columns(stated)

    @model_validator(mode="after")
    def _check_across_sections(self) -> Self:
        tokens, optim = self.data.tokens, self.optim
        if optim.batch_tokens is not None and optim.batch_tokens > tokens:
            raise FieldError(
                "optim.batch_tokens", f"got {optim.batch_tokens:g}; expected at most data.tokens {tokens:g}"
            )
        if optim.stages:
            check_optim_lengths(optim.stages, tokens, optim.batch_tokens)
        if self.batches is not None:
            check_sequences(self.data.stages, max(max(one.first, one.last) for one in self.batches.stretches))
        if self.model.architecture is not None:
            check_contexts(self.data.stages, self.model.architecture)
            check_architecture(self.columns, self.model.architecture)
        if optim.warmup_tokens is not None and optim.warmup_tokens > tokens:
            raise FieldError(
                "optim.warmup_tokens", f"got {optim.warmup_tokens:g}; expected at most data.tokens {tokens:g}"
            )
        if optim.warmup_steps is not None and self.steps is not None and optim.warmup_steps > self.steps:
            raise FieldError("optim.warmup_steps", f"got {optim.warmup_steps}; expected at most {self.steps} steps")
        return self

    @model_validator(mode="after")
    def _check_deadline(self) -> Self:
        deadline = self.targets.deadline
        if not isinstance(deadline, datetime.date):
            return self
        if self.start is None:
            raise FieldError(
                "targets.deadline",
                f"got the date {deadline}, but start is missing; expected the day on which the run starts beside it "
                "(start: 2026-12-01), or a duration such as 30d",
            )
        if deadline <= self.start:
            raise FieldError(
                "targets.deadline",
                f"got {deadline}, which is past when the run starts on {self.start}; expected a later date",
            )
        return self

    @model_validator(mode="after")
    def _check_price_preset(self) -> Self:
        published, hardware = self.prices.published, self.hardware
        if published is None:
            return self
        if hardware.price_usd_per_hour is not None:
            raise FieldError(
                "hardware.price_usd_per_hour", "is given beside prices.preset; expected only one of the two"
            )
        if hardware.accelerator is not None and not published.is_of(hardware.accelerator):
            others = [one.name for one in prices().values() if one.is_of(hardware.accelerator)]
            of_this = f"a price of {hardware.accelerator.name}: {', '.join(others)}" if others else "none"
            raise FieldError(
                "prices.preset",
                f"got {published.name}, which is of {published.accelerator}; hardware.accelerator is "
                f"{hardware.accelerator.name}: expected {of_this}, or your own as hardware.price_usd_per_hour",
            )
        return self

    @model_validator(mode="after")
    def _check_spot(self) -> Self:
        if self.prices.purchase == "spot" and self.reliability.stated_preemptions_per_device_hour is None:
            raise FieldError(
                "reliability.preemptions_per_device_hour",
                "is missing; prices.purchase is spot, whose capacity is taken away now and then: expected how often, "
                "per accelerator and hour, such as 1e-4 (0 for never)",
            )
        return self


def apply_overrides(mapping: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy of a raw configuration with overrides such as ``data.tokens=2T`` applied, in order.

    Values are YAML: numbers, text, lists, mappings; sections that are absent are made. Raises `ConfigError` for a
    malformed override or an unknown key; values are checked later, by `RunConfig.from_mapping`.
    """
    return merge_overrides(mapping, overrides, RunConfig)[0]
