"""Learning rate and batch size: what goes wrong with each, as a sum of powers, above its own minimum.

Four things can be wrong with a run's settings: too few steps, steps too small, steps too noisy, steps too large to be
stable. Each costs a power of learning rate, batch, tokens and parameters, and the costs add up: a posynomial, which is
convex in the logs, so its minimum over learning rate and batch is unique. A run that states no settings is taken to be
at that minimum: well tuned.

Unlike the bowls of `learning_rate`, whose harm is a share of the reducible loss, its flanks fade with size and data at
rates of their own: on StepLaw's five largest cells (fitted on the others) the mean error falls from 0.9 % to 0.4 %.
"""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from ._registry import register_term
from ._settings import SettingsTerm
from ._term import Effect, Parameter, need
from .learning_rate import log_size

_BY = ("lr", "batch", "tokens", "params")
_KINDS = {"short": (0, 1, -1, 0), "slow": (-1, 0, 0, 0), "noisy": (1, -1, 0, 0), "unstable": (2, 0, 0, 1)}
"""Centres of the exponents of lr, batch, tokens and params: steps = tokens / batch, lr, lr / batch, lr²·params."""
_LARGEST = 1.0  # log of the largest cost, in loss levels: what diverged that far no longer grows
_SMALLEST = -40.0
_BEND = 2e-5  # a bowl |u|² this flat keeps the minimum finite where the costs alone would let it run away
_FARTHEST, _STRIDE, _STEPS, _SETTLED = 8.0, 1.5, 60, 1e-9


@register_term("lr_batch_posynomial")
class Posynomial(SettingsTerm):
    """P(u) = Σ_k exp(c_k + w_k·[u, log D, log N]) at u = (log lr, log batch), as a share of the loss level."""

    columns = ("lr", "batch_tokens")
    optional = ("params_total",)
    describes = "learning rate"
    rank = 30
    only_first = True
    rebases_exactly = False  # the cap on its harm is a share of the loss level
    tunes = True
    speaks_always = True
    runs_per_parameter = 4
    parameters = tuple(
        parameter
        for kind, powers in _KINDS.items()
        for parameter in (
            Parameter(f"{kind}_log_height", -5.0, 3.0, -20.0, 3.0),
            *(Parameter(f"{kind}_by_{by}", float(p), 1.0, -6.0, 6.0) for by, p in zip(_BY, powers, strict=True)),
        )
    )

    @override
    def prepare(self, columns, reference):
        stated = self.columns if all(name in columns for name in self.columns) else ()
        out = {name: np.log(need(columns, name)) - reference.log(name) for name in ("tokens", *stated)}
        out["params"] = log_size(columns, reference)
        # the minimum depends on size and data alone, and most tables have many runs of each
        cells = np.stack([out["params"], out["tokens"]], axis=1).round(12)
        return out | {"cell": np.unique(cells, axis=0, return_inverse=True)[1].ravel()}

    @override
    def rebase(self, theta, x, t, level):
        moved = theta.copy()
        moved[:, ::5] += moved[:, 3::5] * t + moved[:, 4::5] * x - np.reshape(level, (-1, 1))
        return moved

    @override
    def tuned(self, features):
        return {name: values for name, values in features.items() if name not in self.columns}

    @override
    def offsets(self, theta, features):
        if "lr" not in features:
            return {}
        best = self._best(theta[None], features)[0]
        return {"log_lr_offset": features["lr"] - best[0], "log_batch_offset": features["batch_tokens"] - best[1]}

    @override
    def effect(self, theta, features):
        if "lr" in features:
            u = np.stack([features["lr"], features["batch_tokens"]])[None]
        else:
            u = self._best(theta, features)  # at a minimum the derivative is the partial one (envelope theorem)
        return Effect(penalty=_costs(theta, u, features))

    def _best(self, theta, features) -> np.ndarray:
        """u at the minimum of each run's size and data, `(K, 2, n)`: damped Newton, cell by cell."""
        _, first, back = np.unique(features["cell"], return_index=True, return_inverse=True)
        cells = {name: features[name][first] for name in ("params", "tokens")}
        u = np.zeros((len(theta), 2, len(first)))
        for _ in range(_STEPS):
            step = _newton_step(theta, u, cells)
            u = np.clip(u + step, -_FARTHEST, _FARTHEST)
            if np.abs(step).max() < _SETTLED:
                break
        return u[:, :, back]


def _exponents(theta, u, features):
    """Log cost of each kind, `(K, 4, n)`. `theta: (K, 20)`, `u: (K or 1, 2, n)`."""
    own = theta.reshape(len(theta), len(_KINDS), 5)
    fixed = own[:, :, 0:1] + own[:, :, 3:4] * features["tokens"] + own[:, :, 4:5] * features["params"]
    return fixed + own[:, :, 1:2] * u[:, None, 0] + own[:, :, 2:3] * u[:, None, 1]


def _costs(theta, u, features):
    """Sum of the costs `(K, n)` and its derivatives by the parameters `(K, 20, n)`, u held fixed."""
    exponent = _exponents(theta, u, features)
    inside = (exponent > _SMALLEST) & (exponent < _LARGEST)
    cost = np.exp(np.clip(exponent, _SMALLEST, _LARGEST))
    total = cost.sum(axis=1) + _BEND * (u**2).sum(axis=1)
    slope = cost * inside
    ones = np.ones_like(total)
    by = [ones, u[:, 0] * ones, u[:, 1] * ones, features["tokens"] * ones, features["params"] * ones]
    grad = slope[:, :, None] * np.stack(by, axis=1)[:, None]
    return total, grad.reshape(len(theta), -1, total.shape[1])


def _newton_step(theta, u, cells):
    """A Newton step towards the minimum of the costs, at most 1.5 in either log, `(K, 2, m)`."""
    own = theta.reshape(len(theta), len(_KINDS), 5)
    cost = np.exp(np.clip(_exponents(theta, u, cells), _SMALLEST, -_SMALLEST))
    by_lr, by_batch = own[:, :, 1:2], own[:, :, 2:3]
    slope = np.stack([(cost * by_lr).sum(1), (cost * by_batch).sum(1)], axis=1) + 2 * _BEND * u
    a, b = (cost * by_lr**2).sum(1) + 2 * _BEND, (cost * by_lr * by_batch).sum(1)
    d = (cost * by_batch**2).sum(1) + 2 * _BEND
    # at the edge of the search, the other setting has a best of its own
    held = (np.abs(u) >= _FARTHEST) & (slope * u < 0)
    slope, b = np.where(held, 0.0, slope), np.where(held.any(axis=1), 0.0, b)
    determinant = np.maximum(a * d - b * b, 1e-30)
    step = np.stack([d * slope[:, 0] - b * slope[:, 1], a * slope[:, 1] - b * slope[:, 0]], axis=1)
    step /= -determinant[:, None]
    longest = np.abs(step).max(axis=1, keepdims=True)
    return step * np.minimum(1.0, _STRIDE / np.maximum(longest, 1e-300))
