"""The commands of `simulate`: parse, call one library function, show what it returns. No logic lives here."""

from .cluster import cluster
from .curve import curve
from .data import data
from .optimal import optimal
from .optimizing import optimize
from .planning import planner
from .predicting import backtest, fit, predict, score
from .proxies import proxies
from .starting import init
from .tracking import track

__all__ = ["COMMANDS"]

COMMANDS = (predict, fit, score, backtest, cluster, optimize, planner, optimal, curve, track, data, proxies, init)
"""Every command and group of commands, in the order of the help."""
