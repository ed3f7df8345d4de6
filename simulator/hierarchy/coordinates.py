"""The coordinates in which tables are compared: seven numbers at one fixed point, which mean the same everywhere.

At N = 1e9 parameters and D = 1e11 tokens a table is described by

    level           log of the loss in nats per token (in bits per byte: less the log of ln 2 times bytes per token)
    reducible       logit of the share of the loss that more compute could remove
    capacity        logit of the part of that share which belongs to size
    params, tokens  log of the exponents that a run limited by size or by data alone would show
    gamma           log of the exponent that joins both (see `foretrain.simulator.laws`)
    unfinished      a run at t of its T planned tokens lies above a finished one by this times √(1 - t/T), in log loss

The first six are those of the general law, with exponents in logs.
"""

from __future__ import annotations

import numpy as np

from ..laws import PARAMS_EXPONENT, TOKENS_EXPONENT, Columns, Reference, get_law

NAMES = ("level", "reducible", "capacity", "params", "tokens", "gamma", "unfinished")
"""The coordinates' names, in their order."""
LEVEL, REDUCIBLE, CAPACITY, PARAMS, TOKENS, GAMMA, UNFINISHED = range(len(NAMES))
SIZE = len(NAMES)
REFERENCE = Reference({"params": 1e9, "tokens": 1e11})
"""The fixed point."""
LAW = get_law("general")
_EXPONENTS = [PARAMS_EXPONENT, TOKENS_EXPONENT]
_BOX = np.array([[-6.0, 6.0], [-6.0, 8.0], [-12.0, 12.0], [-5.0, 1.0], [-5.0, 1.0], [-3.0, 3.0], [-1.0, 2.0]]).T


def to_law(theta: np.ndarray) -> np.ndarray:
    """The general law's parameters `(K, 6)` at `REFERENCE` of coordinates `(K, 7)`."""
    parameters = theta[:, :UNFINISHED].copy()
    parameters[:, _EXPONENTS] = np.exp(parameters[:, _EXPONENTS])
    return parameters


def from_law(parameters: np.ndarray, reference: Reference) -> np.ndarray:
    """The first six coordinates of the general law's parameters `(6,)` at a reference point of their own."""
    x = REFERENCE.log("params") - reference.log("params")
    t = REFERENCE.log("tokens") - reference.log("tokens")
    log_level, logit_reducible, logit_capacity, a, b, log_gamma = parameters
    gamma = np.exp(log_gamma)
    of_size = -np.logaddexp(0.0, -logit_capacity) - a / gamma * x
    of_data = -np.logaddexp(0.0, logit_capacity) - b / gamma * t
    log_reducible = log_level - np.logaddexp(0.0, -logit_reducible) + gamma * np.logaddexp(of_size, of_data)
    log_floor = log_level - np.logaddexp(0.0, logit_reducible)
    level = np.logaddexp(log_reducible, log_floor)
    return np.array([level, log_reducible - log_floor, of_size - of_data, np.log(a), np.log(b), log_gamma])


def clipped(theta: np.ndarray) -> np.ndarray:
    """Coordinates `(…, 7)` kept where the arithmetic is finite."""
    return np.clip(theta, *_BOX)


def log_loss(theta: np.ndarray, columns: Columns, unfinished: np.ndarray | None = None) -> np.ndarray:
    """Log of the predicted loss, nats per token `(K, n)`.

    Args:
        theta: Coordinates, `(K, 7)`.
        columns: `params` and `tokens` of the runs, each `(n,)`.
        unfinished: √(1 - t/T) of the runs `(n,)`; None for finished ones.

    >>> theta = np.array([[1.0, -0.6, 0.0, -1.0, -1.0, -0.2, 0.05]])
    >>> at_reference = {name: np.array([value]) for name, value in REFERENCE.values.items()}
    >>> round(float(log_loss(theta, at_reference)[0, 0]), 6)
    1.0
    """
    value = np.log(LAW.loss(to_law(theta), LAW.prepare(columns, REFERENCE)))
    if unfinished is not None:
        value = value + theta[:, UNFINISHED, None] * unfinished
    return value


def linearised(theta: np.ndarray, columns: Columns, unfinished: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log loss and its derivatives at one vector of coordinates.

    Args:
        theta: The coordinates, `(7,)`.
        columns: `params` and `tokens` of the runs, each `(n,)`.
        unfinished: √(1 - t/T) of the runs, `(n,)`.

    Returns:
        Log loss, nats per token, `(n,)`, and its derivatives by the coordinates, `(n, 7)`.
    """
    parameters = to_law(theta[None])
    value, gradient = LAW.loss(parameters, LAW.prepare(columns, REFERENCE), gradient=True)
    slope = np.empty((len(unfinished), SIZE))
    slope[:, :UNFINISHED] = (gradient[0] / value[0]).T
    slope[:, _EXPONENTS] *= parameters[0, _EXPONENTS]  # the coordinate is the log of the exponent
    slope[:, UNFINISHED] = unfinished
    return np.log(value[0]) + theta[UNFINISHED] * unfinished, slope
