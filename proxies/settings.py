"""How proxies are computed: device, number format, compilation, validation and checkpoints; not which proxies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..core.reading.fields import Frozen, PositiveCount, PositiveReal, Whole, whole_schema

__all__ = ["EngineSettings"]


class EngineSettings(Frozen):
    """Settings that a campaign fixes for all of its runs; `auto` is resolved on the machine and recorded."""

    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where proxies are trained.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="Number format of the matrix products; master weights are fp32 (auto: bf16 where fast).",
    )
    compile: Literal["auto", "always", "never"] = Field(
        default="auto", description="Compile the model (auto: where a compiler is found and the group is long enough)."
    )
    group_size: Annotated[Whole, Field(ge=1, le=1024), whole_schema(1, 1024)] = Field(
        default=4, description="At most this many proxies of one shape are trained together."
    )
    eval_tokens: PositiveCount = Field(default=65_536, description="Validation tokens per domain, at most.")
    checkpoint_every_s: Annotated[PositiveReal, Field(le=60)] = Field(
        default=30.0, description="Seconds between checkpoints; what a fault can cost."
    )
