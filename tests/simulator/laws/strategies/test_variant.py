"""The effects of a category's levels: how strict a selection is, what the runs say of the spread between levels."""

from __future__ import annotations

import numpy as np
import pytest
from foretrain.simulator.fitting import Observations, candidates, fit_observations, public_prior
from foretrain.simulator.laws import CORE, Reference, build_term
from foretrain.simulator.laws.strategies.variant import KINDS

LEVELS = ("none", "a", "b", "c")
N0, D0 = 3e6, 3.6e7


def effects(seed: int, spread: float) -> dict[str, np.ndarray]:
    """True effects of each level, in the order of KINDS."""
    rng = np.random.default_rng(seed)
    scale = spread * np.array([0.2, 0.03, 0.4, 0.03, 0.02])
    return {level: scale * rng.standard_normal(len(KINDS)) for level in LEVELS[1:]}


def observed(of_levels: dict[str, np.ndarray], seed: int) -> Observations:
    """Runs of four sizes, three lengths and two seeds for each level, 1 % of noise."""
    rng = np.random.default_rng([seed, 1])
    grid = [(n, n * r, v) for v in LEVELS for n in (1e5, 3e5, 1e6, 3e6) for r in (4, 12, 36) for _ in range(2)]
    params, tokens = (np.array([row[k] for row in grid]) for k in (0, 1))
    levels = np.array([row[2] for row in grid])
    every = np.array([of_levels.get(level, np.zeros(len(KINDS))) for level in levels]).T
    eff_params = params * np.exp(every[0] + every[1] * np.log(params / N0))
    eff_tokens = tokens * np.exp(every[2] + every[3] * np.log(tokens / D0))
    loss = np.exp(every[4]) + 3.0 * (eff_params / 1e5) ** -0.3 + 3.5 * (eff_tokens / 1e6) ** -0.3
    columns = {"params": params, "tokens": tokens}
    columns |= {f"selection={level}": (levels == level).astype(float) for level in LEVELS}
    return Observations.from_columns(columns, loss * np.exp(rng.normal(0, 0.01, len(loss))))


def test_strictness_is_none_where_all_is_kept_and_whole_where_nothing_is():
    term = build_term("selection", levels={"selection": LEVELS})
    n = 5
    columns = {"params": np.full(n, 1e6), "tokens": np.full(n, 1e7), "keep": np.array([1.0, 0.5, 1e-9, np.nan, 1.0])}
    columns |= {f"selection={level}": np.full(n, float(level == "b")) for level in LEVELS}
    columns["selection=b"][-1], columns["selection=none"][-1] = 0.0, 1.0
    theta = np.array([[parameter.mean for parameter in term.parameters]])
    theta[:, term.effects_of("b")] = 1.0
    fitted = Reference({"params": 1e6, "tokens": 1e7, **term.centre(columns, np.arange(n))})
    without = Reference({"params": 1e6, "tokens": 1e7})
    value, whole = (term.effect(theta, term.prepare(columns, one)).log_tokens[0][0] for one in (fitted, without))
    assert value[0] == value[-1] == whole[-1] == 0.0
    assert value[1] == pytest.approx(0.5 * whole[0])  # s = 1
    assert value[2] == pytest.approx(whole[0])
    assert value[3] == whole[0]
    all_kept = columns | {"keep": np.ones(n)}
    assert not term.centre(all_kept, np.arange(n))  # then strictness says nothing of the levels


def test_levels_are_known_by_their_names_not_by_their_order():
    own = build_term("selection", levels={"selection": ("dedup", "none")})
    assert (own.baseline, own.variants) == ("none", ("dedup",))
    other = build_term("selection", levels={"selection": ("dedup", "judge")})
    assert (other.baseline, other.variants) == ("dedup", ("judge",))


def test_a_level_with_too_few_runs_is_no_reason_for_the_term():
    runs = observed({}, 0)
    assert candidates(runs)[0][0] == "general+selection"
    plain = runs.columns["selection=none"] == 1.0
    few = plain | (np.cumsum(runs.columns["selection=a"]) <= 2) & (runs.columns["selection=a"] == 1.0)
    names, left_out = candidates(runs.take(few))
    assert not any("selection" in name for name in names)
    counted = left_out["selection"].rpartition("there are ")[2]
    assert sorted(counted.split(", ")) == ["a 2", "none 24"]
    names, left_out = candidates(runs.take(plain))
    assert names[0] == "general"
    assert left_out["selection"] == "column 'selection' takes one value, none"


def test_the_spread_between_levels_is_learned():
    """Found with the effects themselves a spread never falls below its prior: levels that are alike said nothing."""
    tau = {}
    for spread in (0.0, 2.0):
        runs = observed(effects(0, spread), 0)
        fit = fit_observations(runs.law("general+selection"), runs, public_prior())
        tau[spread] = np.exp(fit.theta[len(CORE) + KINDS.index("tokens")])
    assert tau[0.0] < 0.2 < 0.3 < tau[2.0]
