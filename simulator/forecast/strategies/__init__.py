"""What a forecast says of the strategies that it rests on: how text was selected, say, and what proxies could show."""

from .comparison import undecided_notes
from .strategy import Strategy, strategies

__all__ = ["Strategy", "strategies", "undecided_notes"]
