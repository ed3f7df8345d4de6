"""How a proxy is sampled: watermark, temperature and nucleus, without importing torch."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from ...core.reading.fields import FieldError, Frozen, PositiveShare, Real
from ...datasets.watermark.green import Watermark

__all__ = ["SamplingSettings"]

_COLDEST = 1e-3
"""Below it scores of one fp32 step leave what an exponential can tell apart: ask for 0, the best token."""


class SamplingSettings(Frozen):
    """How the next token is drawn from a model's scores, in this order: watermark, temperature, nucleus, draw.

    >>> SamplingSettings(temperature=0.8, top_p=0.95).top_p
    0.95
    """

    temperature: Annotated[Real, Field(ge=0, le=100)] = Field(
        default=1.0, description="Scores are divided by it; 0 takes the best token always, of equals the first."
    )
    top_p: PositiveShare = Field(
        default=1.0,
        description="Draw from the most probable tokens that have this share together, 1: from all "
        "(Holtzman et al. 2020, arXiv:1904.09751).",
    )
    watermark: Watermark | None = Field(
        default=None,
        exclude_if=lambda watermark: watermark is None,
        description="What is added to the scores of green tokens, once a whole context was written (default: nothing).",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if 0 < self.temperature < _COLDEST:
            raise FieldError("temperature", f"got {self.temperature:g}; expected {_COLDEST:g} to 100, or 0: greedy")
        return self
