"""What labels cost: money and minutes of a comparison. Orders of magnitude, recalled rather than read, and so wide."""

from __future__ import annotations

import math

__all__ = ["EPISODES", "LABEL_LOG_SD", "LABEL_MINUTES", "LABEL_MINUTES_LOG_SD", "LABEL_USD", "WEEKLY_HOURS"]

LABEL_USD = 1.6
"""US dollars per comparison by people: the geometric mean of $0.5 and $5, the ends of its 90 % interval (recalled)."""
LABEL_LOG_SD = math.log(10.0) / (2 * 1.6449)
LABEL_MINUTES = 3.0
"""Minutes to compare two answers: 1.2 to 7.5 (90 %), a judgement."""
LABEL_MINUTES_LOG_SD = math.log(2.5) / 1.6449
WEEKLY_HOURS = 30.0
"""Hours in a week that a labeller labels."""
EPISODES = 256e3
"""Answers that PPO samples: InstructGPT's episodes (Ouyang et al. 2022, arXiv:2203.02155, appendix C.4; recalled)."""
