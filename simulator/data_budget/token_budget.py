"""The budget of distinct tokens of one domain of a plan, or of all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .public_stocks import PublicUse

__all__ = ["TokenBudget"]


@dataclass(frozen=True)
class TokenBudget:
    """Tokens of one domain of a plan, or of all of it; what isn't known, for want of a stated stock, is None."""

    name: str
    share: float
    tokens: float
    unique_tokens: float | None
    """Distinct tokens: of a domain those that are kept of its stock, of several stocks together those that are seen."""
    effective_tokens: float
    """The equivalent number of fresh tokens: U·(1 + R*·(1 - exp(-R/R*))) for R repeats of U distinct tokens, and all
    synthetic ones, whatever these are worth beside real text."""
    tokens_beyond: float
    """Tokens seen after the most epochs."""
    max_tokens: float | None
    """Tokens of the whole plan, at this share, at which this stock has been seen the most epochs."""
    public: PublicUse | None = None
    """The public stock, less what the plan's selection leaves of it, and what the plan draws of it: its real text, and
    that of continued pretraining."""
    stock_tokens: float | None = None
    """Distinct tokens of the stock before the plan's selection; None where they aren't stated."""
    synthetic_tokens: float = 0.0
    """Of the tokens those that models wrote: distinct ones, which aren't drawn from the plan's own stock."""

    @property
    def real_tokens(self) -> float:
        """Tokens that are drawn from the stock."""
        return self.tokens - self.synthetic_tokens

    @property
    def epochs(self) -> float | None:
        """Tokens drawn from the stock over its distinct ones: 4 is four times, 0.2 a fifth of the stock."""
        if self.unique_tokens is None or self.real_tokens == 0.0:
            return None if self.unique_tokens is None else 0.0
        return self.real_tokens / self.unique_tokens

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "share": self.share,
            "tokens": self.tokens,
            "synthetic_tokens": self.synthetic_tokens,
            "stock_tokens": self.stock_tokens,
            "unique_tokens": self.unique_tokens,
            "epochs": self.epochs,
            "effective_tokens": self.effective_tokens,
            "tokens_beyond": self.tokens_beyond,
            "max_tokens": self.max_tokens,
            "public": None if self.public is None else self.public.to_dict(),
        }
