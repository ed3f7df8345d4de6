"""Laws of known policies and of known runs of continued pretraining."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from foretrain.simulator.post_training.continued.law import dcpt_ratio
from foretrain.simulator.post_training.continued.runs import ContinuedRuns

DOMAIN = np.log([0.65, 0.04, 0.3, 0.10, 0.4, 0.3, 0.12, 0.05, 0.35])
GENERAL = np.log([0.80, 0.03, 0.3, 0.10, 0.4, 0.3, 0.05, 0.05, 0.50])
BEFORE = {3e5: (2.6, 2.3), 1e6: (2.4, 2.1), 3e6: (2.25, 1.95)}
_PARAMS, _TOKENS = 6e5, 1e6


def _truth(params, tokens, share) -> tuple[np.ndarray, np.ndarray]:
    n, d, share = np.asarray(params) / _PARAMS, np.asarray(tokens) / _TOKENS, np.asarray(share, dtype=float)
    return dcpt_ratio(DOMAIN, n, d, share), dcpt_ratio(GENERAL, n, d, 1 - share)


@pytest.fixture(scope="session")
def true_ratios() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """`true_ratios(params, tokens, share)`: the domain's and the general loss over those before, by a known law."""
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
        for column, ratio in enumerate(_truth(n, d, r), start=1):
            losses.append(before[place, column] * ratio * np.exp(noise * rng.standard_normal(len(n))))
        return ContinuedRuns("law", n, d, r, losses[0], losses[1], s, before, 2e7)

    return make
