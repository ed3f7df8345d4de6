"""Compute-optimal sizes: how far those of laws fitted on small runs are off, and Chinchilla's own.

    python benchmarks/optimum.py

1. On every public table, laws fitted below cuts in compute say where the optimum is at the largest compute of the
   table, and at ten times that; the law of the whole table is what they are held against. Their distance in log N, over
   what the draws of both leave open and a drift for each decade between, is where `DRIFT_PER_DECADE` comes from.
2. The shipped law of Chinchilla's runs at its 5.76e23 FLOPs, beside other fits of the same runs and the published
   sizes.
3. Closed form against numeric optimum over random laws.
"""

from __future__ import annotations

import math
import time
from collections import Counter

import numpy as np
from _tables import Task, tasks
from foretrain.simulator.allocation.compute_optimal.optimal import compute_optimal
from foretrain.simulator.allocation.compute_optimal.optimum import DRIFT_PER_DECADE, closed_form, numeric_optimum
from foretrain.simulator.allocation.compute_optimal.surface import LossSurface
from foretrain.simulator.allocation.figures import NORMAL, spread_of
from foretrain.simulator.fitting import Fit, fit_observations, public_prior
from foretrain.simulator.fitting.backtest import cuts
from foretrain.simulator.laws import Law, Reference, get_law
from foretrain.simulator.predictor.calibration import public_calibration
from foretrain.simulator.predictor.loss_model import LossModel
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load

CHINCHILLA_FLOPS = 5.76e23
DRIFTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
MOST_RUNS, DRAWS, TABLES_PER_SOURCE = 300, 100, 2
DECADES_BEYOND = (0.0, 1.0)


def surface_of(fit: Fit) -> LossSurface:
    """A fit as a surface of size and tokens; the calibration plays no part here."""
    return LossSurface(Predictor("law", {"loss": LossModel(fit, public_calibration(), {}, 0)}), "loss", "total")


def centre_and_spread(fit: Fit, flops: float) -> tuple[float, float]:
    """Log N* by the optimum of the fit, and the spread of its draws around that."""
    surface = surface_of(fit)
    centre = float(closed_form(surface, fit.theta[None], flops)[0])
    return centre, spread_of(closed_form(surface, fit.draws, flops), centre)


def distances(task: Task) -> list[tuple[float, float, float]]:
    """Decades from a cut to the compute asked for, distance in log N*, and what both fits' draws leave open."""
    law, prior = get_law("general", ()), public_prior()
    runs = task.observations.thinned(MOST_RUNS)
    whole, compute = fit_observations(law, runs, prior, draws=DRAWS), runs.compute
    found = []
    for train in cuts(law, runs):
        part = fit_observations(law, runs.take(train), prior, draws=DRAWS)
        for beyond in DECADES_BEYOND:
            flops = float(compute.max()) * 10.0**beyond
            (there, of_part), (right, of_whole) = centre_and_spread(part, flops), centre_and_spread(whole, flops)
            gap = math.log10(flops / compute[train].max())
            found.append((gap, there - right, math.hypot(of_part, of_whole)))
    return found


def drift_table(every: list[Task]) -> None:
    """Coverage of intervals of N* by the drift assumed; every source counts once."""
    seen: Counter[str] = Counter()
    rows, sources = [], []
    for task in every:
        seen[task.source] += 1
        if seen[task.source] <= TABLES_PER_SOURCE:
            new = distances(task)
            rows += new
            sources += [task.source] * len(new)
    gap, off, open_ = np.array(rows).T
    weight = np.array([1.0 / sources.count(source) for source in sources])
    weight /= weight.sum()
    best = {source: best_drift(gap, off, open_, weight * (np.array(sources) != source)) for source in sorted(seen)}
    print(f"{len(rows)} optima of {len(set(sources))} sources: coverage of intervals of N* by sd of log N per decade")
    print("drift " + "".join(f"{level:>8.0%}" for level in NORMAL) + "   log density")
    for drift in DRIFTS:
        sd = np.hypot(open_, drift * gap)
        shares = [float(weight[np.abs(off) <= width * sd].sum()) for width in NORMAL.values()]
        density = float(weight @ (-0.5 * (off / sd) ** 2 - np.log(sd)))
        mark = "  <- DRIFT_PER_DECADE" if drift == DRIFT_PER_DECADE else ""
        print(f"{drift:<6g}" + "".join(f"{share:>8.0%}" for share in shares) + f"{density:>14.3f}{mark}")
    print("best drift without each source: " + ", ".join(f"{name} {drift:.2f}" for name, drift in best.items()))


def best_drift(gap: np.ndarray, off: np.ndarray, open_: np.ndarray, weight: np.ndarray) -> float:
    """The drift under which the distances are likeliest."""
    grid = np.arange(0.0, 0.4, 0.005)
    sd = np.hypot(open_, grid[:, None] * gap)
    return float(grid[np.argmax((weight * (-0.5 * (off / sd) ** 2 - np.log(sd))).sum(axis=1))])


def chinchilla_table(every: list[Task]) -> None:
    """N* and D* at Chinchilla's compute by the shipped law and by other fits of the same runs."""
    runs = next(task for task in every if task.table == "chinchilla").observations
    print(f"\nChinchilla, {CHINCHILLA_FLOPS:.3g} FLOPs: parameters and tokens, 90 % interval of parameters")
    best = compute_optimal(load("chinchilla-massivetext"), CHINCHILLA_FLOPS)
    (low, high), (least, most) = best.params.intervals[0.9], best.params.intervals[0.95]
    print(f"  shipped law            {best.params.median / 1e9:6.1f}B {best.tokens.median / 1e12:5.2f}T", end="")
    print(f"  {low / 1e9:.1f}B to {high / 1e9:.1f}B (95 %: {least / 1e9:.1f}B to {most / 1e9:.1f}B)")
    for label, law, prior in (
        ("general, public prior", "general", public_prior()),
        ("general, no prior", "general", None),
        ("chinchilla, no prior", "chinchilla", None),
    ):
        fit = fit_observations(get_law(law, ()), runs, prior, draws=DRAWS)
        x, sd = centre_and_spread(fit, CHINCHILLA_FLOPS)
        params = math.exp(x)
        ends = [math.exp(x + sign * NORMAL[0.9] * sd) / 1e9 for sign in (-1, 1)]
        tokens = CHINCHILLA_FLOPS / 6.0 / params
        print(f"  {label:<22} {params / 1e9:6.1f}B {tokens / 1e12:5.2f}T  {ends[0]:.1f}B to {ends[1]:.1f}B, draws only")
    print("  as trained               70.0B  1.40T  (Hoffmann et al. 2022, arXiv:2203.15556)")
    # Besiroglu et al. 2024, arXiv:2404.10102: A 482.01, B 2085.43, alpha 0.3478, beta 0.3658, by eq. 4 of the former
    ratio = (0.3478 * 482.01 / (0.3658 * 2085.43)) ** (1 / (0.3478 + 0.3658))
    params = ratio * (CHINCHILLA_FLOPS / 6) ** (0.3658 / (0.3478 + 0.3658))
    print(f"  law refitted           {params / 1e9:6.1f}B {CHINCHILLA_FLOPS / 6 / params / 1e12:5.2f}T  ", end="")
    print("(Besiroglu et al. 2024, arXiv:2404.10102)")


def agreement(laws: int = 2000) -> None:
    """The largest relative difference of N* between closed form and numeric optimum."""
    rng = np.random.default_rng(0)
    law, reference = Law(get_law("general", ()).member), Reference({"params": 1e9, "tokens": 2e10})
    worst, start = 0.0, time.perf_counter()
    for _ in range(laws):
        shape = [rng.uniform(0.5, 1.5), rng.uniform(-2, 2), rng.uniform(-2, 2), *rng.uniform(0.1, 0.8, 2)]
        theta = np.array([*shape, rng.uniform(-1.2, 0.7)])
        flops = 10.0 ** rng.uniform(18, 26)
        surface = surface_of(Fit(law, reference, theta, theta[None], 0.0, 0.0))
        closed = math.exp(float(closed_form(surface, theta[None], flops)[0]))
        if 1e4 < closed < flops / 6e4:
            worst = max(worst, abs(numeric_optimum(surface, flops).params / closed - 1.0))
    took = (time.perf_counter() - start) / laws
    print(
        f"\nclosed form and numeric optimum of {laws} random laws: at most {worst:.1e} apart, {took * 1e3:.1f} ms each"
    )


if __name__ == "__main__":
    TASKS = tasks()
    drift_table(TASKS)
    chinchilla_table(TASKS)
    agreement()
