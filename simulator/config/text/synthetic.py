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

from typing import Annotated, Self

from pydantic import Field, model_validator

from ....core.reading.fields import (
    FieldError,
    Frozen,
    Label,
    PositiveCount,
    PositiveShare,
    Real,
    Share,
    Whole,
    whole_schema,
)
from ....datasets.provenance.regimes import HUMAN, REAL, Regime

__all__ = ["HUMAN", "REAL", "GeneratingConfig", "Regime", "SyntheticConfig"]

_MOST_GENERATIONS = 1_000
_MOST_TEMPERATURE = 100.0
_SLACK = 0.01
"""By which a share may miss the one that a regime implies, since it is rounded."""


class GeneratingConfig(Frozen):
    """The model that writes the synthetic text for this run; its inference is part of what the run costs."""

    params: PositiveCount | None = Field(
        default=None,
        description="Parameters of the model that writes, such as 8B (default: the plan's own size where the generator "
        "is self).",
    )
    efficiency: PositiveShare | None = Field(
        default=None, description="Share of the accelerators' peak that its inference reaches (default: 0.05)."
    )


class SyntheticConfig(Frozen):
    """The synthetic part of the text.

    >>> found = SyntheticConfig(share=0.3, detected=0.9)
    >>> found.generation, round(found.trained_share, 3)
    (1, 0.041)
    """

    share: Share = Field(
        description="Share of the training tokens that models wrote, such as 0.3; 0 for none. What is detected is left "
        "out of it, and other text taken instead."
    )
    generation: Annotated[Whole, Field(ge=0, le=_MOST_GENERATIONS), whole_schema(0, _MOST_GENERATIONS)] = Field(
        default=1,
        description="Generations of models between real text and this run: 1 where the writers saw real text alone.",
    )
    regime: Regime = Field(default="replace", description="What a generation is trained on.")
    generator: Label = Field(default="self", description="What wrote it, as runs and laws know it, such as self.")
    detected: Share = Field(
        default=0.0, description="Share of the synthetic text that is found, by its watermark say, and left out."
    )

    temperature: Annotated[Real, Field(ge=0, le=_MOST_TEMPERATURE)] = Field(
        default=1.0,
        exclude_if=lambda temperature: temperature == 1.0,
        description="Temperature at which it was sampled; below 1 rare text is lost.",
    )
    top_p: Share = Field(
        default=1.0,
        exclude_if=lambda share: share == 1.0,
        description="Share of each token's probability that was sampled from; below 1 rare text is lost.",
    )
    generating: GeneratingConfig | None = Field(
        default=None,
        exclude_if=lambda generating: generating is None,
        description="What writes it for this run, where that costs something worth naming.",
    )

    @model_validator(mode="after")
    def _check_share(self) -> Self:
        if self.generation == 0 and self.share > 0:
            raise FieldError("generation", f"got 0 with a share of {self.share:g}; expected 1 or more, or share 0")
        if self.regime == "fresh" and self.share > 0:
            raise FieldError(
                "share",
                f"got {self.share:g} under regime fresh, which is real text alone; expected 0, or another regime",
            )
        most = self.most_share
        if self.share > most + _SLACK:
            raise FieldError(
                "share",
                f"got {self.share:g} under regime {self.regime}, whose corpus keeps the real text: of generation "
                f"{self.generation} models wrote {self.generation} of {self.generation + 1} parts; expected at most "
                f"{most:.3g}, or regime replace",
            )
        return self

    @model_validator(mode="after")
    def _check_sampling(self) -> Self:
        if self.temperature == 0.0 and self.top_p == 0.0:
            raise FieldError("top_p", "got 0 beside temperature 0; expected one of the two above 0")
        return self

    @model_validator(mode="after")
    def _check_detected(self) -> Self:
        if self.detected > 0 and self.share == 0:
            raise FieldError(
                "detected", f"got {self.detected:g} of text without a synthetic part; expected 0, or a share above 0"
            )
        if self.detected == 1.0 and self.share == 1.0:
            raise FieldError("detected", "got 1 with a share of 1, which leaves no text; expected one of them below 1")
        return self

    @property
    def most_share(self) -> float:
        """The largest share that the regime allows: under those that keep the real text n of n + 1 parts."""
        return 1.0 if self.regime in ("replace", "fresh") else self.generation / (self.generation + 1)

    @property
    def trained_share(self) -> float:
        """Share of the tokens trained on that models wrote: s·(1 − d)/(1 − s·d) where of a share s a part d is found.

        >>> SyntheticConfig(share=0.5, detected=1.0).trained_share
        0.0
        """
        return self.share * (1.0 - self.detected) / (1.0 - self.share * self.detected)

    @property
    def written_share(self) -> float:
        """Tokens that models wrote, what is found and left out included, over the tokens trained on.

        >>> SyntheticConfig(share=0.5, detected=1.0).written_share
        1.0
        """
        return self.share / (1.0 - self.share * self.detected)
