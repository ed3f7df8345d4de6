"""The section `continued_pretraining` of a plan: the same weights go on, with a share of their text from one domain."""

from __future__ import annotations

from pydantic import Field

from ....core.reading.fields import Frozen, Label, PositiveCount, Share
from .law_names import PROXIES

__all__ = ["ContinuedConfig"]


class ContinuedConfig(Frozen):
    """How a model is specialised after pretraining.

    >>> ContinuedConfig(domain="law", tokens="10B", share=0.3).share
    0.3
    """

    domain: Label = Field(description="The domain that the model is to be specialised in, as the mix names it.")
    tokens: PositiveCount = Field(description="Tokens of continued pretraining, such as 10B, after data.tokens.")
    share: Share | None = Field(
        default=None,
        description="Share of them from the domain, the rest as before (default: the largest that keeps the general "
        "loss within most_general_rise).",
    )
    most_general_rise: Share = Field(
        default=0.01,
        description="How far the general loss may rise over that of going on without the domain, such as 1%.",
    )
    law: Label = Field(
        default=PROXIES,
        description="The law of losses by share: proxies (fitted to small models, shipped), or the file that "
        "`simulate continued fit --out` wrote, relative to the plan's folder.",
    )

    @property
    def law_file(self) -> str | None:
        """The file that its law is read from; None for the one that ships."""
        return None if self.law == PROXIES else self.law
