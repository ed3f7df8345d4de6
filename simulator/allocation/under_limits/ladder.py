"""Shapes of a plan's family from small to large, each trained on its machines for as long as the limits allow."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.errors import InfeasibleError, InputError
from ....core.model.architecture import Architecture
from ....core.model.shape_family import family_shape, params_range
from ....core.progress import Progress
from ...config.run_config import RunConfig
from ...forecast.law_inputs import run_columns
from ...predictor.prediction import LossPrediction
from ...predictor.predictor import Predictor
from ..compute_optimal.surface import LossSurface, tuned
from .affordable import Affordable, AffordableSteps, Limits, affordable, with_shape

__all__ = ["Ladder", "Rung", "climb", "plan_shape"]

_REACH, _COARSE, _FINE = 64.0, 13, 1.12
_MOST_MOVES = 4  # how often the ladder is moved on where its best rung is an end


@dataclass(frozen=True)
class Rung:
    """One shape with the tokens that it gets."""

    affordable: Affordable
    params_fitted: float
    """N as the law counts it."""

    @property
    def config(self) -> RunConfig:
        """The plan of this rung."""
        return self.affordable.config

    @property
    def tokens(self) -> float:
        """Training tokens."""
        return self.config.data.tokens

    @property
    def params(self) -> float:
        """All parameters."""
        return self.config.model.params_total


@dataclass(frozen=True)
class Ladder:
    """Rungs by rising size, what is predicted of each `(n,)`, and the shapes that can't be trained so, with reasons."""

    rungs: tuple[Rung, ...]
    prediction: LossPrediction
    draws: np.ndarray
    """Log loss by every draw of the law, `(K, n)`."""
    law: np.ndarray
    """Log loss by the law itself, `(n,)`."""
    left_out: dict[float, str]

    @property
    def best(self) -> int:
        """Place of the rung of the lowest predicted loss."""
        return int(self.prediction.log_loss.argmin())


def climb(
    config: RunConfig,
    predictor: Predictor,
    limits: Limits,
    steps: AffordableSteps,
    progress: Progress | None = None,
    near: float | None = None,
) -> Ladder:
    """The plan's family from 1/64 to 64 times its size, closer around the best; further out where the best is an end.

    With `near`, only sizes around that many parameters, and further where the best of them is an end. Raises
    InfeasibleError with the reason of the size nearest to the plan's where none can be trained within the limits.
    """
    base = plan_shape(config)
    surface = LossSurface.of(predictor, config)
    low, high = params_range(base)
    found: dict[Architecture, Rung] = {}
    left_out: dict[float, str] = {}

    def add(sizes: Iterable[float], done: float, upto: float) -> None:
        wanted = sorted({min(max(size, low), high) for size in sizes})
        for number, size in enumerate(wanted):
            shape = _shape(base, size)
            if shape not in found and float(shape.params_total) not in left_out:
                try:
                    run = affordable(_with_shape(config, base, shape), limits, steps)
                    found[shape] = Rung(run, float(run_columns(tuned(run.config), predictor, [])["params"][0]))
                except InfeasibleError as error:
                    left_out[float(shape.params_total)] = str(error).splitlines()[0]
            if progress is not None:
                progress(f"{size / 1e9:.3g}B parameters", done + (upto - done) * (number + 1) / len(wanted))

    own = float(base.params_total)
    step = (_REACH**2) ** (1 / (_COARSE - 1)) if near is None else _FINE**2
    add(
        own * np.geomspace(1 / _REACH, _REACH, _COARSE) if near is None else near * step ** np.arange(-2.0, 3.0), 0, 0.6
    )
    for _ in range(_MOST_MOVES):
        size, end = _end(surface, found, left_out)
        before = len(found)
        if end:
            add(size * step ** (end * np.array([1.0, 2.0])), 0.6, 0.6)
        if len(found) == before:
            break
    if not found:
        nearest = min(left_out, key=lambda size: abs(math.log(size / own)))
        raise InfeasibleError(left_out[nearest])
    best, _ = _end(surface, found, left_out)
    add(best * _FINE ** (np.arange(-6.0, 7.0) if near is None else np.array([-1.0, 1.0])), 0.6, 1.0)
    return _predicted(surface, found, left_out)


def plan_shape(config: RunConfig) -> Architecture:
    """The plan's architecture. InputError where it states counts only."""
    if config.model.architecture is None:
        raise InputError(
            "model.architecture: is missing; expected a shape (layers, width, heads, …), from which others are made"
        )
    return config.model.architecture


def _shape(base: Any, params: float) -> Architecture:
    """`family_shape`, whose cache asks for what can be hashed: frozen models can, though their class doesn't say so."""
    return family_shape(base, params)


def _with_shape(config: RunConfig, base: Architecture, shape: Architecture) -> RunConfig:
    return config if shape == base else with_shape(config, shape)


def _end(surface: LossSurface, found: dict[Architecture, Rung], left_out: dict[float, str]) -> tuple[float, int]:
    """The best size so far, and on which end it is: -1 the smallest, 1 the largest, 0 neither (or nothing found)."""
    if not found:
        return 0.0, 0
    made = _predicted(surface, found, left_out)
    size = made.rungs[made.best].params
    return size, -1 if made.best == 0 else int(made.best == len(made.rungs) - 1)


def _predicted(surface: LossSurface, found: dict[Architecture, Rung], left_out: dict[float, str]) -> Ladder:
    rungs = tuple(sorted(found.values(), key=lambda rung: rung.params))
    params, tokens = np.array([rung.params_fitted for rung in rungs]), np.array([rung.tokens for rung in rungs])
    return Ladder(
        rungs,
        surface.predict(params, tokens),
        surface.log_loss_draws(params, tokens),
        surface.log_loss(params, tokens),
        left_out,
    )
