"""The commands of `simulate`: parse, call one library function, show what it returns. No logic lives here."""

from .cluster import cluster
from .curve import curve
from .data import data
from .fit import backtest, fit, score
from .init import init
from .optimal import optimal
from .optimize import optimize
from .planner import planner
from .predict import compare, predict, predictors
from .proxies import proxies
from .track import track

__all__ = ["COMMANDS"]

COMMANDS = (
    predict, compare, predictors, fit, score, backtest, cluster, optimize, planner, optimal, curve, track, data,
    proxies, init,
)  # fmt: skip
"""Every command and group of commands, in the order of the help."""
