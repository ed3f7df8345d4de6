"""Learning rate and batch size: a bowl around an optimum that moves with N and D."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from ._registry import register_term
from ._term import Columns, Effect, Parameter, Reference, Term, geometric_means, need

# Generic prior for how the optimum moves, DeepSeek LLM (arXiv 2401.02954), eq. 1: lr* ∝ C^-0.125, batch* ∝ C^0.3271.
_LR_SLOPE, _BATCH_SLOPE = -0.125, 0.3271


_MOST_HARM = 5.0  # a uniform guess is this many times the reducible loss above the best of a mid-sized run
_NEIGHBOURS, _APART, _SHARE_OF_RUNS, _MOST_RUNS = 3, 0.2, 0.5, 600


def _left_by_size(columns: Columns, name: str) -> float:
    """Spread of log `name` around the power law in params and tokens that fits it best."""
    logs = [np.log(np.asarray(columns[c], dtype=float)) for c in ("params", "tokens", name)]
    design = np.stack([np.ones(len(logs[0])), *logs[:2]], axis=1)
    return float(np.std(logs[2] - design @ np.linalg.lstsq(design, logs[2], rcond=None)[0]))


def _own_variation(columns: Columns, name: str) -> float:
    """Share of runs with a neighbour in (log N, log D) whose `name` differs by more than 0.2 in log.

    A learning rate that is set by size says nothing of its own effect, however much it varies over the table.
    """
    every = np.linspace(0, len(columns["params"]) - 1, min(_MOST_RUNS, len(columns["params"]))).round().astype(int)
    place = np.stack([np.log(np.asarray(columns[c], dtype=float))[every] for c in ("params", "tokens")], axis=1)
    distance = ((place[:, None] - place[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1, kind="stable")[:, :_NEIGHBOURS]
    values = np.log(np.asarray(columns[name], dtype=float))[every]
    return float((np.abs(values[near] - values[:, None]) > _APART).any(axis=1).mean())


def settings_reason(columns: Columns, names: Sequence[str]) -> str | None:
    """None if each of these settings varies by itself, beside params and tokens; else the reason, naming the column."""
    for name in names:
        left = _left_by_size(columns, name)
        if left < _APART:
            return (
                f"column {name!r} varies too little beside params and tokens "
                f"(its log strays by {left:.2f} from a power law in them; {_APART} is needed)"
            )
        share = _own_variation(columns, name)
        if share < _SHARE_OF_RUNS:
            return (
                f"column {name!r} varies too little among runs of like params and tokens "
                f"({share:.0%} of the runs have such a neighbour; {_SHARE_OF_RUNS:.0%} are needed)"
            )
    return None


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


class _Bowl(Term):
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

    @override
    def centre(self, columns, rows):
        return geometric_means(columns, self.columns, rows)

    @override
    def identifiable(self, columns):
        reason = self.absent(columns)
        if reason:
            return reason
        if len(columns["params"]) < 3 * len(self.parameters):
            return f"{len(columns['params'])} runs are too few for {len(self.parameters)} parameters of {self.name!r}"
        return settings_reason(columns, self.columns)


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
