"""Mixture of experts: how many dense parameters a routed model is worth."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from ._registry import register_term
from ._term import Effect, Parameter, Term, need


@register_term("experts")
class Experts(Term):
    """Clark et al. 2022 (arXiv 2202.01169), eq. 6-7, as effective parameters inside a law that has a loss floor.

    log N_eff = log N + (κ + ω·log(N/N₀))·(log Ê(E) - log Ê(1)), with the saturating expert count
    1/Ê = 1/(E - 1 + (1/E_start - 1/E_max)⁻¹) + 1/E_max. N is the parameters that one token sees; E = 1 is dense.
    Clark's own form is the same without the floor; the floor takes a −2 % bias away (fit ≤ 370M, larger runs).
    """

    columns = ("num_experts",)
    rank = 20
    parameters = (
        Parameter("expert_gain", 0.4, 0.3, -1.0, 2.0),
        Parameter("expert_gain_by_params", -0.03, 0.05, -0.5, 0.3),
        Parameter("log_experts_start", 0.7, 0.6, 1e-3, 4.0),
        Parameter("log_experts_max", 6.0, 1.0, 4.2, 12.0),
    )

    @override
    def prepare(self, columns, reference):
        experts = need(columns, "num_experts")
        return {"extra": experts - 1.0, "x": np.log(need(columns, "params")) - reference.log("params")}

    @override
    def identifiable(self, columns):
        reason = self.absent(columns)
        if reason:
            return reason
        kinds = np.unique(columns["num_experts"])
        if len(kinds) < 3:
            return f"column 'num_experts' takes {len(kinds)} value(s), {kinds[:2].tolist()}; 3 are needed"
        return None

    @override
    def rebase(self, theta, x, t, level):
        moved = theta.copy()
        moved[:, 0] += moved[:, 1] * x
        return moved

    @override
    def effect(self, theta, features):
        extra, x = features["extra"], features["x"]
        log_e, slopes = _log_saturating(extra, theta[:, 2:3], theta[:, 3:4])
        log_1, slopes_1 = _log_saturating(np.zeros(1), theta[:, 2:3], theta[:, 3:4])
        gained = log_e - log_1
        rate = theta[:, 0:1] + theta[:, 1:2] * x
        grad = np.empty((len(theta), 4, gained.shape[1]))
        grad[:, 0], grad[:, 1] = gained, gained * x
        grad[:, 2], grad[:, 3] = rate * (slopes[0] - slopes_1[0]), rate * (slopes[1] - slopes_1[1])
        return Effect(log_params=(rate * gained, grad))


def _log_saturating(extra, log_start, log_max):
    """log Ê `(K, n)` and its derivatives by log E_start and log E_max. `extra` = E - 1."""
    inv_start, inv_max = np.exp(-log_start), np.exp(-log_max)
    base = 1.0 / (inv_start - inv_max)
    count = extra + base
    inverse = 1.0 / count + inv_max
    by_base = (1.0 / count**2) / inverse  # d log Ê / d base
    return -np.log(inverse), (by_base * base**2 * inv_start, -by_base * base**2 * inv_max + inv_max / inverse)
