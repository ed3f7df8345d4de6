"""Learning rate and batch size: a bowl around an optimum that moves with N and D."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from ._registry import register_term
from ._settings import SettingsTerm
from ._term import Columns, Effect, Parameter, Reference, need

# Generic prior for how the optimum moves, DeepSeek LLM (arXiv 2401.02954), eq. 1: lr* ∝ C^-0.125, batch* ∝ C^0.3271.
_LR_SLOPE, _BATCH_SLOPE = -0.125, 0.3271


_MOST_HARM = 5.0  # a uniform guess is this many times the reducible loss above the best of a mid-sized run


def log_size(columns: Columns, reference: Reference) -> np.ndarray:
    """log N/N₀ by which the best learning rate and batch move, `(n,)`: all parameters, experts included.

    By those of one token StepLaw's rule misses the best runs of routed models by 1.0 % of their loss, by all of them by
    .16 % (Li et al. 2025, arXiv 2503.04715, section 5; dense runs fit both).
    """
    name = "params_total" if "params_total" in columns else "params"
    return np.log(need(columns, name)) - reference.log("params")


def _bowl(z, height, left, right):
    """B = h·[(e^{rz} - 1)/r + (e^{-lz} - 1)/l], as B/(1 + B/5), with h, l, r from their logs.

    Zero and flat at z = 0, steeper on each side, and never more than five times the reducible loss: far off, a run
    diverges or learns nothing, and its loss no longer grows. Returns the value and its derivatives by z, log h, log l,
    log r, each `(K, n)`.
    """
    h, a, b = np.exp(height), np.exp(left), np.exp(right)
    up, down = np.exp(np.clip(b * z, -40, 40)), np.exp(np.clip(-a * z, -40, 40))
    value = h * ((up - 1) / b + (down - 1) / a)
    by_right = h * (up * z - (up - 1) / b)
    by_left = h * (-down * z - (down - 1) / a)
    slope = 1.0 / (1.0 + value / _MOST_HARM)
    bent = slope**2
    return value * slope, h * (up - down) * bent, value * bent, by_left * bent, by_right * bent


class _Bowl(SettingsTerm):
    """Shared by both members: reading logs, centring, and how much a column must vary.

    The bowl stretches the reducible loss, so it flattens in nats as runs grow: on StepLaw's table this does as well
    as heights with free exponents in N and D, with four parameters fewer.
    """

    deviates = True
    tunes = True
    optional = ("params_total",)
    describes = "learning rate"
    only_first = True  # lr alone is for tables where the batch size says nothing

    @override
    def prepare(self, columns, reference):
        out = {
            "x": log_size(columns, reference),
            "t": np.log(need(columns, "tokens")) - reference.log("tokens"),
        }
        for name in self.columns:
            out[name] = np.log(need(columns, name)) - reference.log(name)
        return out


@register_term("lr")
class LearningRate(_Bowl):
    """A bowl in log lr around log lr* = l₀ + l_N·log N + l_D·log D; the loss at the optimum is the law without it."""

    columns = ("lr",)
    rank = 32
    parameters = (
        Parameter("lr_centre", 0.0, 1.0, -8.0, 8.0),
        Parameter("lr_by_params", _LR_SLOPE, 0.3, -2.0, 2.0),
        Parameter("lr_by_tokens", _LR_SLOPE, 0.3, -2.0, 2.0),
        Parameter("lr_log_height", -4.0, 1.5, -14.0, 3.0),
        Parameter("lr_log_left", 0.0, 0.5, -3.0, 2.0),
        Parameter("lr_log_right", 0.0, 0.5, -3.0, 2.0),
    )

    @override
    def rebase(self, theta, x, t, level):
        moved = theta.copy()
        moved[:, 0] += moved[:, 1] * x + moved[:, 2] * t
        return moved

    @override
    def offsets(self, theta, features):
        x, t = features["x"], features["t"]
        return {"log_lr_offset": features["lr"] - (theta[0] + theta[1] * x + theta[2] * t)}

    @override
    def effect(self, theta, features):
        x, t = features["x"], features["t"]
        z = features["lr"] - (theta[:, 0:1] + theta[:, 1:2] * x + theta[:, 2:3] * t)
        value, by_z, by_h, by_l, by_r = _bowl(z, theta[:, 3:4], theta[:, 4:5], theta[:, 5:6])
        grad = np.stack([-by_z, -by_z * x, -by_z * t, by_h, by_l, by_r], axis=1)
        return Effect(stretch=(value, grad))


@register_term("lr_batch")
class LearningRateBatch(_Bowl):
    """Two bowls: batch around log b* = b₀ + b_N·log N + b_D·log D, lr around an optimum that also follows the batch."""

    columns = ("lr", "batch_tokens")
    rank = 31
    parameters = (
        *LearningRate.parameters,
        Parameter("lr_by_batch", 0.3, 0.3, -2.0, 2.0),
        Parameter("batch_centre", 0.0, 1.0, -8.0, 8.0),
        Parameter("batch_by_params", _BATCH_SLOPE, 0.3, -2.0, 2.0),
        Parameter("batch_by_tokens", _BATCH_SLOPE, 0.3, -2.0, 2.0),
        Parameter("batch_log_height", -4.0, 1.5, -14.0, 3.0),
        Parameter("batch_log_left", 0.0, 0.5, -3.0, 2.0),
        Parameter("batch_log_right", 0.0, 0.5, -3.0, 2.0),
    )

    @override
    def rebase(self, theta, x, t, level):
        moved = theta.copy()
        moved[:, 0] += moved[:, 1] * x + moved[:, 2] * t
        moved[:, 7] += moved[:, 8] * x + moved[:, 9] * t
        return moved

    @override
    def offsets(self, theta, features):
        x, t = features["x"], features["t"]
        batch = features["batch_tokens"] - (theta[7] + theta[8] * x + theta[9] * t)
        lr = features["lr"] - (theta[0] + theta[1] * x + theta[2] * t + theta[6] * batch)
        return {"log_lr_offset": lr, "log_batch_offset": batch}

    @override
    def effect(self, theta, features):
        x, t = features["x"], features["t"]
        zb = features["batch_tokens"] - (theta[:, 7:8] + theta[:, 8:9] * x + theta[:, 9:10] * t)
        z = features["lr"] - (theta[:, 0:1] + theta[:, 1:2] * x + theta[:, 2:3] * t + theta[:, 6:7] * zb)
        lr, by_z, by_h, by_l, by_r = _bowl(z, theta[:, 3:4], theta[:, 4:5], theta[:, 5:6])
        batch, by_b, by_bh, by_bl, by_br = _bowl(zb, theta[:, 10:11], theta[:, 11:12], theta[:, 12:13])
        moves = -by_z * -theta[:, 6:7] - by_b  # b* moves both bowls
        grad = [-by_z, -by_z * x, -by_z * t, by_h, by_l, by_r, -by_z * zb]
        grad += [moves, moves * x, moves * t, by_bh, by_bl, by_br]
        return Effect(stretch=(lr + batch, np.stack(grad, axis=1)))
