"""Published and plain baselines for losses of unseen mixes, each `(shares, loss, unseen shares) -> predicted loss`.

Shares are `(n, domains)` with rows that sum to 1, losses `(n,)` in nats. Every choice a baseline needs (rounds, ridge
strength) is made by cross-validation inside the runs it is given.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import least_squares

if TYPE_CHECKING:
    from lightgbm import Booster

Baseline = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

# Settings of regression_fitting/regression.ipynb, github sail-sg/regmix at 1678465 (Liu et al. 2024, arXiv 2407.01492);
# everything else is LightGBM's default. Its early stopping looks at the test table, which ours replaces by five folds.
REGMIX = {"objective": "regression", "learning_rate": 1e-2, "seed": 42, "verbosity": -1, "num_threads": 1}
REGMIX_ROUNDS = 1000
_FOLDS = 5
_SMALLEST_SHARE = 1e-3  # the RegMix table rounds shares to three decimals
_STARTS = 5


def regmix_trees(features: np.ndarray, loss: np.ndarray) -> Booster:
    """LightGBM as RegMix sets it; the number of rounds is that with the least squared error over five folds."""
    import lightgbm

    data = lightgbm.Dataset(features, loss, free_raw_data=False)
    found = lightgbm.cv(REGMIX, data, REGMIX_ROUNDS, nfold=_FOLDS, stratified=False, seed=42, metrics="l2")
    rounds = 1 + int(np.argmin(found["valid l2-mean"]))
    return lightgbm.train(REGMIX, lightgbm.Dataset(features, loss), rounds)


def lightgbm_regmix(shares: np.ndarray, loss: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """`regmix_trees` on the shares."""
    return np.asarray(regmix_trees(shares, loss).predict(unseen))


def ridge_weights(shares: np.ndarray, loss: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Ridge on the shares, its strength by leave-one-out: RegMix's linear baseline."""
    return _ridge(shares, loss, unseen)


def ridge_curved(shares: np.ndarray, loss: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Ridge on shares, their logarithms (with an offset) and their square roots."""
    return _ridge(_curved(shares), loss, _curved(unseen))


def exponential_law(shares: np.ndarray, loss: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Ye et al. 2024 (arXiv 2403.16952), eq. 1: L = c + k·exp(Σ_s t_s·w_s), by least squares from several starts."""

    def predict(theta, w):
        return np.exp(theta[0]) + np.exp(theta[1] + w @ theta[2:])

    def jacobian(theta, w):
        part = np.exp(theta[1] + w @ theta[2:])
        return np.column_stack([np.full(len(w), np.exp(theta[0])), part, part[:, None] * w])

    low, spread = float(loss.min()), float(np.std(loss))

    def start(rng, scale):
        return np.concatenate([[np.log(low * scale), np.log(max(spread, 1e-3))], rng.normal(0.0, 0.5, shares.shape[1])])

    return _best_fit(predict, jacobian, start, shares, loss, unseen)


def effective_tokens(shares: np.ndarray, loss: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """L = E + B·(Σ_s T_s·w_s)^-β with T ≥ 0: a row of a transfer matrix and a power law, by least squares.

    The scale of T is B's, so B is 1 and T = exp(τ).
    """

    def predict(theta, w):
        return np.exp(theta[0]) + (w @ np.exp(theta[2:]) + 1e-9) ** -np.exp(theta[1])

    def jacobian(theta, w):
        worth, beta = np.exp(theta[2:]), np.exp(theta[1])
        tokens = w @ worth + 1e-9
        power = tokens**-beta
        by_tau = (-beta * power / tokens)[:, None] * w * worth
        return np.column_stack([np.full(len(w), np.exp(theta[0])), -power * beta * np.log(tokens), by_tau])

    low = float(loss.min())

    def start(rng, scale):
        return np.concatenate([[np.log(low * scale), np.log(0.3)], rng.normal(-1.0, 1.0, shares.shape[1])])

    return _best_fit(predict, jacobian, start, shares, loss, unseen)


def gaussian_process(shares: np.ndarray, loss: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """scikit-learn's Gaussian process: one length scale per domain, Matérn 5/2 on log shares with a fixed offset."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
    from threadpoolctl import threadpool_limits

    scales = np.full(shares.shape[1], 5.0)
    kernel = ConstantKernel(1.0) * Matern(scales, (0.05, 200.0), nu=2.5) + WhiteKernel(1e-3, (1e-6, 1.0))
    model = GaussianProcessRegressor(kernel, normalize_y=True)
    with warnings.catch_warnings(), threadpool_limits(1):  # small matrices: threads of BLAS wait for each other
        warnings.simplefilter("ignore")  # a length scale at its bound says that a domain doesn't matter
        return model.fit(np.log(shares + 0.01), loss).predict(np.log(unseen + 0.01))


MIXES: dict[str, Baseline] = {
    "LightGBM as RegMix": lightgbm_regmix,
    "ridge on shares": ridge_weights,
    "ridge, logs, roots": ridge_curved,
    "exponential law": exponential_law,
    "effective tokens": effective_tokens,
    "plain Gaussian process": gaussian_process,
}
"""Baselines by the name they have in the tables."""


def _curved(shares: np.ndarray) -> np.ndarray:
    return np.hstack([shares, np.log(shares + _SMALLEST_SHARE), np.sqrt(shares)])


def _ridge(features: np.ndarray, loss: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-6, 3, 28)))
    return model.fit(features, loss).predict(unseen)


def _best_fit(predict, jacobian, start, shares, loss, unseen) -> np.ndarray:
    """The prediction of the best of a few seeded starts, with a ridge weak enough to hold only what runs don't tell."""
    rng = np.random.default_rng(0)
    weak = 1e-3 * np.std(loss) * np.sqrt(len(loss))

    def residual(theta):
        return np.concatenate([predict(theta, shares) - loss, weak * 0.1 * theta])

    def slope(theta):
        return np.vstack([jacobian(theta, shares), weak * 0.1 * np.eye(len(theta))])

    found = []
    with np.errstate(over="ignore", invalid="ignore"):
        for scale in np.linspace(0.5, 0.95, _STARTS):
            found.append(least_squares(residual, start(rng, scale), slope, max_nfev=400))
        return predict(min(found, key=lambda f: f.cost).x, unseen)
