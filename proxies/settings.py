"""How proxies are computed: device, number format, compilation, validation and checkpoints; not which proxies."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, StrictBool, Tag

from ..core.errors import ConfigError
from ..core.reading.fields import Frozen, PositiveCount, PositiveReal, Whole, whole_schema
from ..core.units import shown

__all__ = ["EngineSettings"]


def _auto_or_number(value: Any) -> Any:
    """Name both forms where text is neither."""
    if isinstance(value, str) and not any(character.isdigit() for character in value):
        raise ConfigError(f"got {shown(value)}; expected 'auto' or a whole number from 1 to 1024")
    return value


_Size = Annotated[Whole, Field(ge=1, le=1024), BeforeValidator(_auto_or_number), whole_schema(1, 1024)]


def _form(value: Any) -> Literal["[name]", "[number]"]:
    """Which member of a union is meant; messages leave these tags out."""
    return "[name]" if value == "auto" else "[number]"


class EngineSettings(Frozen):
    """Settings that a campaign fixes for all of its runs; `auto` is resolved on the machine and recorded."""

    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where proxies are trained.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="Number format of the matrix products; master weights are fp32 (auto: bf16 where measured fast).",
    )
    compile: Literal["auto", "always", "never"] = Field(
        default="auto", description="Compile the model (auto: where a compiler is found and the group is long enough)."
    )
    group_size: Annotated[
        Annotated[Literal["auto"], Tag("[name]")] | Annotated[_Size, Tag("[number]")], Discriminator(_form)
    ] = Field(
        default="auto",
        description="At most this many proxies of one shape are trained together (auto: as pays for the shape).",
    )
    eval_tokens: PositiveCount = Field(default=65_536, description="Validation tokens per domain, at most.")
    checkpoint_every_s: Annotated[PositiveReal, Field(le=60)] = Field(
        default=30.0, description="Seconds between checkpoints; what a fault can cost."
    )
    keep_weights: StrictBool = Field(
        default=False,
        exclude_if=lambda keep: not keep,  # campaigns that were made before this key stay as they are
        description="Keep the weights that each run ends with, in its folder, to sample or score text with.",
    )
