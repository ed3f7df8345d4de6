"""Runs that checks of laws are made on: a table that varies every column well."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from ..core.columns import level_of
from ..simulator.laws import terms

__all__ = ["DOMAINS", "LEVELS", "runs"]

DOMAINS = ("a", "b", "c")
"""Training domains that laws of the mix are built for."""
LEVELS = ("x", "y", "z")
"""Levels that terms of a category are built for."""


def runs(
    names: Collection[str],
    n: int = 120,
    seed: int = 0,
    params: tuple[float, float] = (2e7, 5e9),
    ratio: tuple[float, float] = (5, 300),
) -> dict[str, np.ndarray]:
    """A table that varies every column well beside params and tokens; half of the runs see their data once.

    Args:
        names: Columns to return.
        n: Number of runs.
        seed: Seed of what is drawn.
        params: Range of parameters.
        ratio: Range of tokens per parameter.

    Returns:
        Arrays `(n,)` by column.
    """
    rng = np.random.default_rng(seed)
    size = _spread(rng, *params, n)
    tokens = size * _spread(rng, *ratio, n)
    epochs = np.where(rng.random(n) < 0.5, 1.0, _spread(rng, 1.0, 40, n))
    known = {
        "params": size,
        "tokens": tokens,
        "unique_tokens": tokens / epochs,
        "num_experts": 2.0 ** rng.integers(0, 8, n),
        "keep": np.random.default_rng(seed + 3).uniform(0.05, 1.0, n),
        "synthetic_share": np.random.default_rng(seed + 4).uniform(0.05, 1.0, n),
        "generation": np.random.default_rng(seed + 5).integers(0, 7, n).astype(float),
        "lr": 1e-3 * np.exp(rng.normal(0, 1.2, n)),
        "batch_tokens": 1e6 * np.exp(rng.normal(0, 1.2, n)),
    }
    shares = np.random.default_rng(seed + 1).dirichlet(np.ones(len(DOMAINS)), n).T
    known |= {f"mix.{domain}": share for domain, share in zip(DOMAINS, shares, strict=True)}
    has = _levels_of_runs(names, n, seed + 2)
    found = {}
    for name in names:
        level = level_of(name)
        if level is not None:
            found[name] = (has[level[0]] == level[1]).astype(float)
        else:
            found[name] = known[name] if name in known else np.exp(rng.normal(0, 1.0, n))
    return found


def _levels_of_runs(names: Iterable[str], n: int, seed: int) -> dict[str, np.ndarray]:
    """A level `(n,)` for each run of every category that some of the columns are of, by the category's column."""
    fixed = {category: levels for term in terms().values() for category, levels in term.further_levels.items()}
    found = {}
    for category in dict.fromkeys(level[0] for level in map(level_of, names) if level is not None):
        levels = np.array(fixed.get(category, LEVELS))
        drawn = np.random.default_rng(seed + 10 * (category in fixed)).integers(0, len(levels), n)
        found[category] = levels[drawn]
    return found


def _spread(rng: np.random.Generator, low: float, high: float, n: int) -> np.ndarray:
    """Numbers `(n,)` spread evenly in the logarithm."""
    return np.exp(rng.uniform(np.log(low), np.log(high), n))
