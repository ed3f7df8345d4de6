"""The commands of `simulate`: parse, call one library function, show what it returns. No logic lives here."""

from .forecasting.curve import curve
from .forecasting.predict import compare, predict
from .forecasting.report import report
from .forecasting.serve import serve
from .forecasting.track import track
from .learning.continued import continued
from .learning.data import data
from .learning.feedback import feedback
from .learning.fit import backtest, fit, score
from .learning.generations import generations
from .learning.proxies import proxies
from .planning.cluster import cluster
from .planning.optimal import optimal
from .planning.optimize import optimize
from .planning.planner import planner
from .starting.init import init
from .starting.listing import listing, predictors

__all__ = ["COMMANDS"]

proxies.add_command(generations)

COMMANDS = (
    predict, compare, report, serve, listing, predictors, fit, score, backtest, cluster, optimize, planner, optimal,
    curve, track, data, proxies, feedback, continued, init,
)  # fmt: skip
"""Every command and group of commands, in the order of the help."""
