"""Runs from a known law, shared by the tests of this folder."""

from collections.abc import Callable

import numpy as np
import pytest

Runs = tuple[dict[str, np.ndarray], np.ndarray]


def _loss(columns) -> np.ndarray:
    """A Chinchilla law with typical coefficients, in nats."""
    return 1.7 + 480 * columns["params"] ** -0.35 + 2100 * columns["tokens"] ** -0.37


@pytest.fixture(scope="package")
def true_loss() -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    return _loss


@pytest.fixture(scope="package")
def simulate() -> Callable[..., Runs]:
    """`simulate(n, noise, seed)`: params, tokens and loss of n runs between 2e7 and 3e9 parameters."""

    def make(n: int, noise: float = 0.0, seed: int = 0) -> Runs:
        rng = np.random.default_rng(seed)
        params = np.exp(rng.uniform(np.log(2e7), np.log(3e9), n))
        tokens = params * np.exp(rng.uniform(np.log(5), np.log(300), n))
        columns = {"params": params, "tokens": tokens}
        return columns, _loss(columns) * np.exp(rng.normal(0, noise, n))

    return make


@pytest.fixture(scope="package")
def grow() -> Callable[..., dict[str, np.ndarray]]:
    """`grow(columns, factor)`: the same runs with `factor` times the parameters and the tokens."""
    return lambda columns, factor=4.0: {key: values * factor for key, values in columns.items()}
