"""Fitting speed: ours against the reference way, L-BFGS from the 4500-point grid of Hoffmann et al., same objective.

    python benchmarks/fit_speed.py [--inits 60]

The reference is timed on a random sample of its 4500 starting points and scaled up; the sample's best objective is a
lower bound on its quality. Both run in this process, one after the other, on the same data.
"""

from __future__ import annotations

import resource
import sys
import time
from itertools import product

import numpy as np
from _tables import read
from foretrain.simulator.fitting import DELTA, fit_law, weak_prior
from foretrain.simulator.laws import get_law
from scipy.optimize import minimize

GRID = list(
    product(range(0, 30, 5), range(0, 30, 5), np.arange(-1, 1.5, 0.5), np.arange(0, 2.5, 0.5), np.arange(0, 2.5, 0.5))
)
"""Hoffmann et al. 2022, appendix D.2: log A, log B in {0, …, 25}, log E in {-1, …, 1}, α, β in {0, …, 2}."""


def reference_objective(x: np.ndarray, log_n: np.ndarray, log_d: np.ndarray, log_loss: np.ndarray) -> float:
    """Huber sum of the log-sum-exp form, as in the paper. `x` = (log A, log B, log E, α, β)."""
    a, b, e, alpha, beta = x
    terms = np.stack([a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)])
    residual = np.abs(np.logaddexp.reduce(terms) - log_loss)
    return float(np.where(residual <= DELTA, 0.5 * residual**2, DELTA * (residual - 0.5 * DELTA)).sum())


def best_time(run, repeats: int) -> float:
    """Smallest wall time of several runs, seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def chinchilla_table() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The 240 points that Epoch AI fits."""
    table = read("chinchilla/runs.csv")
    table = table[table.outlier_dropped_by_epoch == 0]
    return {c: table[c].to_numpy(float) for c in ("params", "tokens")}, table.loss.to_numpy(float)


def compare(inits: int) -> None:
    """One fit against the sampled reference grid."""
    columns, loss = chinchilla_table()
    logs = np.log(columns["params"]), np.log(columns["tokens"]), np.log(loss)
    law = get_law("chinchilla")
    fit = fit_law(law, columns, loss)
    ours_s = best_time(lambda: fit_law(law, columns, loss), 10)
    rng = np.random.default_rng(0)
    found, start = [], time.perf_counter()
    for k in rng.choice(len(GRID), inits, replace=False):
        found.append(minimize(reference_objective, np.array(GRID[k], float), args=logs, method="L-BFGS-B").fun)
    sample_s = time.perf_counter() - start
    full_s = sample_s * len(GRID) / inits
    print(f"reference grid: {inits} of {len(GRID)} L-BFGS starts in {sample_s:.2f} s, so {full_s:.0f} s for all; "
          f"best of the sample {min(found):.13f}")  # fmt: skip
    print(f"ours:           {1e3 * ours_s:.1f} ms, objective {fit.objective:.13f}, {full_s / ours_s:.0f} times faster")
    bootstraps_s = best_time(lambda: fit_law(law, columns, loss, draws=4000), 2) - ours_s
    print(f"4000 bootstraps: {bootstraps_s:.2f} s")


def scaling() -> None:
    """Time and memory against the number of rows."""
    columns, loss = chinchilla_table()
    truth = fit_law(get_law("general"), columns, loss, prior=weak_prior())
    rng = np.random.default_rng(0)
    for rows in (1_000, 10_000, 100_000):
        pick = rng.integers(0, len(loss), rows)
        many = {c: v[pick] * np.exp(rng.normal(0, 0.1, rows)) for c, v in columns.items()}
        observed = np.exp(truth.log_loss(many) + rng.normal(0, 0.01, rows))
        took = best_time(lambda c=many, y=observed: fit_law(get_law("general"), c, y, prior=weak_prior(), draws=200), 1)
        peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{rows:7d} rows: {took:6.2f} s with 200 draws, peak memory of the process {peak_gib:.2f} GiB")
    rate = rows / best_time(lambda: truth.log_loss(many), 5)
    print(f"prediction: {rate / 1e6:.1f} million rows per second")


def main() -> None:
    """Print the comparison."""
    inits = int(sys.argv[sys.argv.index("--inits") + 1]) if "--inits" in sys.argv else 60
    compare(inits)
    scaling()


if __name__ == "__main__":
    main()
