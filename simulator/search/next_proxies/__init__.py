"""Optimal design: which proxy runs are most informative about the planned runs, for their cost."""

from .active import Selection, choose_in_rounds, choose_runs
from .posterior import JointPosterior, LawPosterior, SurrogatePosterior
from .region import Candidates, Region
from .width import LEVEL, Width

__all__ = [
    "LEVEL",
    "Candidates",
    "JointPosterior",
    "LawPosterior",
    "Region",
    "Selection",
    "SurrogatePosterior",
    "Width",
    "choose_in_rounds",
    "choose_runs",
]
