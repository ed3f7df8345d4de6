"""The section `data.synthetic` of a run: how much of its text models wrote, which ones, and over how many generations.

A generation is a model that is trained, then writes text that the next one is trained on. Generation 1 is trained on
text of models that saw real text alone. The regime says what a generation's corpus is made of:

- `replace`: text of the generation before, and real text for the rest;
- `accumulate`: real text and that of all generations before, each as much; training grows with it;
- `accumulate_fixed`: the same corpus, trained on with as many tokens as the first generation was;
- `subsample`: as many tokens drawn from that corpus as the real text had;
- `fresh`: new real text each time, which is the control.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from ....core.reading.fields import FieldError, Frozen, Label, Share
from ....datasets.provenance.regimes import HUMAN, REAL, Regime

__all__ = ["HUMAN", "REAL", "Regime", "SyntheticConfig"]

_MOST_GENERATIONS = 1_000


class SyntheticConfig(Frozen):
    """The synthetic part of the text.

    >>> SyntheticConfig(share=0.3).generation
    1
    """

    share: Share = Field(description="Share of the training tokens that models wrote, such as 0.3; 0 for none.")
    generation: int = Field(
        default=1,
        ge=0,
        le=_MOST_GENERATIONS,
        strict=True,
        description="Generations of models between real text and this run: 1 where the writers saw real text alone.",
    )
    regime: Regime = Field(default="replace", description="What a generation is trained on.")
    generator: Label = Field(default="self", description="What wrote it, as runs and laws know it, such as self.")
    detected: Share = Field(
        default=0.0, description="Share of the synthetic text that is found, by its watermark say, and left out."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.generation == 0 and self.share > 0:
            raise FieldError("generation", f"got 0 with a share of {self.share:g}; expected 1 or more, or share 0")
        return self
