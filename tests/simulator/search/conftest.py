"""A ladder of runs that could be trained, two planned ones beyond it, and what is believed of them before any run."""

from collections.abc import Callable

import numpy as np
import pytest
from foretrain.simulator.fitting import Observations, public_prior
from foretrain.simulator.laws import get_law
from foretrain.simulator.search import Candidates, LawBelief, Region


def _ladder() -> dict[str, np.ndarray]:
    params, ratio = np.meshgrid(np.geomspace(2e7, 6e8, 6), [5.0, 20.0, 80.0])
    return {"params": params.ravel(), "tokens": (params * ratio).ravel()}


@pytest.fixture(scope="package")
def columns() -> dict[str, np.ndarray]:
    """Eighteen runs: six sizes, each with 5, 20 and 80 tokens per parameter."""
    return _ladder()


@pytest.fixture(scope="package")
def region() -> Region:
    """Two planned runs, a decade in size beyond the ladder."""
    return Region({"params": np.array([3e9, 7e9]), "tokens": np.array([6e10, 1.4e11])})


@pytest.fixture(scope="package")
def candidates(columns) -> Candidates:
    """The ladder, at 6·N·D FLOPs a run."""
    return Candidates(columns, 6.0 * columns["params"] * columns["tokens"])


@pytest.fixture(scope="package")
def belief(columns, region) -> LawBelief:
    """Before any run."""
    return LawBelief.of(get_law("general"), public_prior(), region, columns)


@pytest.fixture(scope="package")
def observe() -> Callable[..., Observations]:
    """`observe(columns, noise=0.003, seed=0)`: the same runs with losses of a Chinchilla law."""

    def make(columns, noise: float = 0.003, seed: int = 0) -> Observations:
        loss = 1.7 + 480 * columns["params"] ** -0.35 + 2100 * columns["tokens"] ** -0.37
        luck = np.random.default_rng(seed).normal(0, noise, len(loss))
        return Observations.from_columns(columns, loss * np.exp(luck))

    return make
