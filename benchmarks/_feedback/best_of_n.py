"""Best of n by its exact expectation over a pool: no draw of n samples is made.

Of all sets of n among N samples, the one of rank i by the learned reward, 1 the lowest, is the best of C(i − 1, n − 1),
so that the expected gold reward of the best is Σ C(i − 1, n − 1) / C(N, n) · gold of rank i: the estimator of Nakano et
al. 2021 (WebGPT, arXiv:2112.09332), section 3.2, which Gao et al. 2022 use too.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

__all__ = ["BLOCKS", "by_blocks", "expected_best", "kl_nats"]

BLOCKS = 20
"""Equal parts of the pool, each an estimate of its own: their spread is the standard error."""


def kl_nats(n: int) -> float:
    """KL of best of n from the policy, nats: log n − (n − 1) / n.

    An upper bound that is tight where all samples differ (Beirami et al. 2024, arXiv:2401.01879).

    >>> kl_nats(1)
    0.0
    """
    return float(np.log(n) - (n - 1) / n)


def expected_best(proxy: np.ndarray, values: np.ndarray, ns: list[int]) -> np.ndarray:
    """The expected values of the sample of the highest `proxy` among n: (N,) and (k, N) to (k, len(ns))."""
    size = len(proxy)
    ordered = values[:, np.argsort(proxy, kind="stable")]
    ranks = np.arange(1, size + 1)
    found = []
    for n in ns:
        inside = ranks >= n
        logs = _log_choose(ranks[inside] - 1, n - 1) - _log_choose(size, n)
        found.append(ordered[:, inside] @ np.exp(logs))
    return np.stack(found, axis=1)


def by_blocks(proxy: np.ndarray, gold: np.ndarray, ns: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expected gold, its standard error over the pool, and expected learned reward: (len(ns),) each."""
    both = np.stack([gold, proxy])
    whole = expected_best(proxy, both, ns)
    parts = [
        expected_best(proxy[block], both[:, block], ns)[0] for block in np.array_split(np.arange(len(proxy)), BLOCKS)
    ]
    return whole[0], np.std(parts, axis=0, ddof=1) / np.sqrt(BLOCKS), whole[1]


def _log_choose(size: np.ndarray | int, of: int) -> np.ndarray:
    return gammaln(np.asarray(size) + 1.0) - gammaln(of + 1.0) - gammaln(np.asarray(size) - of + 1.0)
