"""Laws of known policies and of known runs of continued pretraining."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from foretrain.simulator.after_pretraining.continued.law import continued_ratio
from foretrain.simulator.after_pretraining.continued.runs import ContinuedRuns

DOMAIN = np.array([*np.log([0.65, 0.01, 0.3, 0.10, 0.3, 0.12, 0.3, 0.05]), -0.1])
GENERAL = np.array([*np.log([0.80, 0.01, 0.3, 0.10, 0.3, 0.05, 0.3, 0.05]), 0.3])
BEFORE = {3e5: (2.6, 2.3), 1e6: (2.4, 2.1), 3e6: (2.25, 1.95)}
_PARAMS, _TOKENS = 6e5, 1e6


def _truth(params, tokens, share) -> tuple[np.ndarray, np.ndarray]:
    n, d, share = np.asarray(params) / _PARAMS, np.asarray(tokens) / _TOKENS, np.asarray(share, dtype=float)
    return continued_ratio(DOMAIN, n, d, share), continued_ratio(GENERAL, n, d, 1 - share)


@pytest.fixture(scope="session")
def true_ratios() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """`true_ratios(params, tokens, share)`: both losses over the general one before, by a known law."""
    return _truth


@pytest.fixture(scope="session")
def make_runs() -> Callable[..., ContinuedRuns]:
    """`make_runs(seed, noise, sizes, budgets, shares, seeds)`: runs of the known law."""

    def make(
        seed: int = 0,
        noise: float = 0.003,
        sizes=(3e5, 1e6),
        budgets=(5e5, 1e6, 2e6),
        shares=(0.0, 0.25, 0.5, 0.75, 1.0),
        seeds: int = 2,
    ) -> ContinuedRuns:
        rng = np.random.default_rng(seed)
        n, d, r, s = np.array(list(product(sizes, budgets, shares, range(seeds)))).T
        before = np.array([(size, *BEFORE[size]) for size in sizes])
        place = np.searchsorted(before[:, 0], n)
        losses: list[Any] = []
        for ratio in _truth(n, d, r):
            losses.append(before[place, 2] * ratio * np.exp(noise * rng.standard_normal(len(n))))
        return ContinuedRuns("law", n, d, r, losses[0], losses[1], s, before, 2e7)

    return make
