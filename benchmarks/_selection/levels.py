"""Levels of a category whose effects are known: how often do intervals hold what is true, and is the spread learned?

Each table has runs of four sizes and three lengths by three seeds for every level, with 1 % of noise. Levels differ in
offset and slope of log N_eff and log D_eff and in the floor, all drawn; half of the tables have levels that are alike.
Asked are runs with 3 to 30 times the parameters and tokens of the largest, of every level and of one that no run had,
and the difference of each to the baseline.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
from foretrain.simulator.fitting import Observations, public_prior
from foretrain.simulator.laws import CORE
from foretrain.simulator.laws.strategies.variant import KINDS
from foretrain.simulator.predictor.fit.loss_fit import fit_loss_model

__all__ = ["main"]

_SIZES, _RATIOS, _SEEDS, _NOISE = (1e5, 3e5, 1e6, 3e6), (4.0, 12.0, 36.0), 3, 0.01
_SPREAD = {"alike": (0.02, 0.005, 0.04, 0.005, 0.002), "unlike": (0.2, 0.03, 0.4, 0.03, 0.02)}
"""Sd of the true effects, in the order of KINDS."""
_FURTHER = ((1e7, 1.2e8), (3e7, 4e8), (1e8, 1e9))
"""Parameters and tokens of the runs that are asked."""
_NEW = "new"
_LEAST_COVERED = 0.85
"""Of 90 % intervals: a table's questions share their errors, so that 40 tables tell a rate to within .05."""


def main(options: list[str]) -> list[str]:
    """Print how often intervals hold the truth, by number of levels; return what is missed."""
    parser = argparse.ArgumentParser(prog="selection.py levels", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="tables for each number of levels and each spread")
    seeds = parser.parse_args(options).seeds
    started = time.process_time()
    missed: list[str] = []
    print(f"tables of {len(_SIZES) * len(_RATIOS) * _SEEDS} runs a level, {seeds} seeds each; 90 % intervals that hold")
    print(
        "levels  spread   params  loss  difference  loss, new level  width, nats: known  new   log spread found  cpu s"
    )
    every: dict[str, list[float]] = {}
    tau: dict[str, list[float]] = {kind: [] for kind in _SPREAD}
    for count in (2, 3, 4, 6):
        for spread in _SPREAD:
            began = time.process_time()
            found = [_table(count, spread, seed) for seed in range(seeds)]
            means = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
            tau[spread].append(means["tau"])
            for name in ("params", "loss", "difference", "new"):
                every.setdefault(name, []).extend(one[name] for one in found)
            print(
                f"{count:6}  {spread:7}  {means['params']:6.0%}  {means['loss']:4.0%}  {means['difference']:10.0%}  "
                f"{_or_dash(means['new'], '9.0%')}  {means['width']:16.3f}  {_or_dash(means['width_new'], '5.3f')}  "
                f"{means['tau']:16.2f}  {time.process_time() - began:5.0f}"
            )
    for name, shares in every.items():
        covered = float(np.nanmean(shares))
        print(f"{name}: {covered:.1%} of all")
        if covered < _LEAST_COVERED:
            missed.append(f"90 % intervals of {name} hold {covered:.0%}; at least {_LEAST_COVERED:.0%} expected")
    if not np.mean(tau["alike"]) < np.mean(tau["unlike"]) - 0.5:
        missed.append("the spread of unlike levels isn't found to be wider")
    print(f"{time.process_time() - started:.0f} CPU seconds")
    return missed


def _table(count: int, spread: str, seed: int) -> dict[str, float]:
    """Fit one table and ask; the shares of 90 % intervals that hold, mean widths, and the spread found (of tokens)."""
    rng = np.random.default_rng([count, list(_SPREAD).index(spread), seed])
    levels = ["none", *(f"v{number}" for number in range(1, count))]
    effects = {level: _SPREAD[spread] * rng.standard_normal(len(KINDS)) for level in (*levels[1:], _NEW)}
    grid = [(n, n * r, level) for level in levels for n in _SIZES for r in _RATIOS for _ in range(_SEEDS)]
    runs = _columns(grid, levels)
    loss = _loss(grid, effects) * np.exp(rng.normal(0.0, _NOISE, len(grid)))
    observations = Observations.from_columns(runs, loss)
    model = fit_loss_model(observations, "general+selection", public_prior(), seed=seed)

    fit, found = model.fit, {}
    _, place = fit.law.places[0]
    drawn, true = [], []
    for level in levels[1:]:
        for kind, name in enumerate(KINDS):
            where = place.start + fit.law.names[place].index(f"selection_{name}.{level}")
            drawn.append(fit.draws[:, where] * np.exp(fit.draws[:, len(CORE) + kind]))
            true.append(effects[level][kind])
    low, high = np.quantile(drawn, [0.05, 0.95], axis=1)
    found["params"] = float(np.mean((low <= true) & (np.array(true) <= high)))
    found["tau"] = float(np.log(np.median(np.exp(fit.draws[:, len(CORE) + KINDS.index("tokens")]))))

    asked = [(n, d, level) for n, d in _FURTHER for level in levels]
    truth = _loss(asked, effects) * np.exp(rng.normal(0.0, _NOISE, len(asked)))
    prediction = model.predict(_columns(asked, levels), joint=True)
    low, high = prediction.interval(0.9)
    found["loss"] = float(np.mean((low <= truth) & (truth <= high)))
    found["width"] = float(np.mean(high - low))
    inside = []
    exact = _loss(asked, effects)
    for at, (_, _, level) in enumerate(asked):
        if level != "none":
            base = at - levels.index(level)
            pair = _columns([asked[base], asked[at]], levels)
            of_level = prediction.loss_nats[at] * model.sd_between(pair)
            ends = replace(prediction.difference(at, base), scale_nats=of_level).interval(0.9)
            inside.append(ends[0] <= exact[at] - exact[base] <= ends[1])
    found["difference"] = float(np.mean(inside))

    found["new"] = found["width_new"] = float("nan")
    if count > 2:
        asked = [(n, d, _NEW) for n, d in _FURTHER]
        truth = _loss(asked, effects) * np.exp(rng.normal(0.0, _NOISE, len(asked)))
        low, high = model.predict(_columns(asked, [*levels, _NEW])).interval(0.9)
        found["new"] = float(np.mean((low <= truth) & (truth <= high)))
        found["width_new"] = float(np.mean(high - low))
    return found


def _or_dash(value: float, form: str) -> str:
    return "–".rjust(int(form.split(".")[0])) if np.isnan(value) else format(value, form)


def _columns(grid: list[tuple[float, float, str]], levels: list[str]) -> dict[str, np.ndarray]:
    columns = {"params": np.array([row[0] for row in grid]), "tokens": np.array([row[1] for row in grid])}
    for level in levels:
        columns[f"selection={level}"] = np.array([float(row[2] == level) for row in grid])
    return columns


def _loss(grid: list[tuple[float, float, str]], effects: dict[str, np.ndarray]) -> np.ndarray:
    """True losses, nats."""
    params, tokens = (np.array([row[at] for row in grid]) for at in (0, 1))
    every = np.array([effects.get(row[2], np.zeros(len(KINDS))) for row in grid]).T
    params = params * np.exp(every[0] + every[1] * np.log(params / _SIZES[-1]))
    tokens = tokens * np.exp(every[2] + every[3] * np.log(tokens / (_SIZES[-1] * _RATIOS[-1])))
    return np.exp(every[4]) + 3.0 * (params / 1e5) ** -0.3 + 3.5 * (tokens / 1e6) ** -0.3
