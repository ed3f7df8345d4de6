"""What the table says: gold against learned reward, where gold turns, both laws, and what a KL penalty moves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from _proxies import WORK
from foretrain.simulator.after_pretraining.feedback.law import FeedbackLaw

from .law import averaged, fitted, half_width, held_out, misfit
from .picture import REACH_NATS, draw
from .plan import Plan
from .table import BEST_OF_N, REINFORCE, read

__all__ = ["main"]

FITTED_N = 256
"""The largest n that the held-out check fits on."""


def main(plan: Plan) -> None:
    """Print the report and draw the picture."""
    table = read(plan)
    best, trained = table[table["method"] == BEST_OF_N], table[table["method"] == REINFORCE]
    for params, rows in best.groupby("reward_params"):
        print(
            f"\nBest of n, reward models of {params:,} parameters, {rows['seed'].nunique()} seeds; in sd over samples"
        )
        _best_of_n(rows)
        _turns(rows)
        _laws(rows)
        _held_out(rows, min(FITTED_N, plan.most_n // 8))
    if len(trained):
        _reinforce(trained)
    path = plan.folder / "feedback.svg" if plan.folder.name != "feedback" else WORK / "feedback.svg"
    draw(table, path)
    print(f"\n{path}")


def _by_comparisons(rows: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    for comparisons, its in rows.groupby("comparisons"):
        yield int(str(comparisons)), its


def _best_of_n(rows: pd.DataFrame) -> None:
    ns = sorted(set(rows["n"]))
    print(f"{'gold, comparisons':>18s}", *(f"{f'n = {n:.0f}':>9s}" for n in ns))
    for comparisons, its in _by_comparisons(rows):
        print(f"{comparisons:18,d}", *(f"{value:+9.3f}" for value in averaged(its)["gold"]))
    print(f"{'standard error':>18s}")
    for comparisons, its in _by_comparisons(rows):
        print(f"{comparisons:18,d}", *(f"{value:9.3f}" for value in averaged(its)["gold_se"]))
    print(f"{'learned reward':>18s}")
    for comparisons, its in _by_comparisons(rows):
        print(f"{comparisons:18,d}", *(f"{value:+9.3f}" for value in averaged(its)["proxy"]))


def _turns(rows: pd.DataFrame) -> None:
    """Where the mean over seeds is highest, and how much less the largest n has, each seed against itself."""
    print("where gold turns: n of its highest mean, and what the largest n has more than that, ± 90 % over seeds")
    for comparisons, its in _by_comparisons(rows):
        by_seed = its.pivot_table(index="seed", columns="n", values="gold")
        peak, last = by_seed.mean().idxmax(), max(by_seed.columns)
        if peak == last:
            print(f"{comparisons:18,d}  no turn up to n = {last:.0f}")
            continue
        change = (by_seed[last] - by_seed[peak]).to_numpy()
        print(f"{comparisons:18,d}  n = {peak:.0f}, {change.mean():+.3f} ± {float(half_width(change)):.3f}")


def _laws(rows: pd.DataFrame) -> None:
    print("gold = d (α − β d), d = √KL; median (90 %) of the mean of reward models alike")
    for comparisons, its in _by_comparisons(rows):
        print(f"{comparisons:18,d}  {_of_law(fitted(its))}")


def _of_law(law: FeedbackLaw) -> str:
    alpha, beta = law.coefficients({}, None)
    peak = law.form.peak(alpha, beta) ** 2
    parts = (("α", alpha), ("β", beta), ("highest at", peak))
    said = []
    for name, values in parts:
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95], method="nearest")
        said.append(f"{name} {middle:.2f} ({low:.2f} to {high:.2f})")
    return f"{', '.join(said)} nats"


def _held_out(rows: pd.DataFrame, most_n: int) -> None:
    print(f"fitted on n ≤ {most_n}, foretold of one more reward model: median (90 %), measured mean, sets inside")
    inside, means, sets = 0, [], 0
    for comparisons, its in _by_comparisons(rows):
        each = []
        for held in held_out(its, most_n):
            middle, low, high = held.foretold
            inside, sets = inside + held.inside, sets + len(held.measured)
            means.append(held.mean_inside)
            count = f"{held.inside}/{len(held.measured)}"
            each.append(
                f"n = {held.n}: {middle:+.2f} ({low:+.2f} to {high:+.2f}), {held.measured.mean():+.2f}, {count}"
            )
        print(f"{comparisons:18,d}  {'; '.join(each)}")
    print(f"{sum(means)} of {len(means)} means inside, {inside} of {sets} sets")


def _reinforce(rows: pd.DataFrame) -> None:
    print("\nREINFORCE; means over seeds: the end of training, and the highest gold on the way")
    print(" comparisons  penalty  KL, nats  learned    gold  highest gold      at")
    for (comparisons, penalty), its in rows.groupby(["comparisons", "kl_penalty"]):
        by_step = its.groupby("step")[["kl_nats", "proxy", "gold"]].mean()
        end, peak = by_step.iloc[-1], by_step.loc[by_step["gold"].idxmax()]
        print(
            f"{comparisons:12,d} {penalty:8g} {end['kl_nats']:9.2f} {end['proxy']:+8.2f} {end['gold']:+7.2f} "
            f"{peak['gold']:+13.2f} {peak['kl_nats']:7.2f}"
        )
    near = rows[rows["kl_nats"] <= REACH_NATS]
    print(f"gold = d (α − β log d), all penalties together, up to {REACH_NATS:.1f} nats; median (90 %)")
    for comparisons, its in _by_comparisons(near):
        print(f"{comparisons:12,d}  {_of_law(fitted(its))}")
    print("how far both forms are from what was measured, root mean square in sd: d (α − β log d), d (α − β d)")
    for comparisons, its in _by_comparisons(near):
        found = (misfit(its, fitted(its, form)) for form in (None, BEST_OF_N))
        print(f"{comparisons:12,d}  {', '.join(f'{value:.2f}' for value in found)}")
    print("gold above that of all penalties at equal KL, where all of them have been, ± standard error over runs")
    for comparisons, its in _by_comparisons(rows):
        each = (f"{penalty:g}: {mean:+.3f} ± {error:.3f}" for penalty, mean, error in _off_frontier(its))
        print(f"{comparisons:12,d}  {'; '.join(each)}")


def _off_frontier(rows: pd.DataFrame) -> Iterator[tuple[float, float, float]]:
    """For each penalty: how much more gold its runs have than a common curve, a cubic in √KL, at equal KL.

    Only rows up to the KL that every run has been at count, so that no penalty is judged where others have not been.
    """
    reach = rows.groupby(["kl_penalty", "seed"])["kl_nats"].max().min()
    near = rows[rows["kl_nats"] <= reach]
    distance = np.sqrt(near["kl_nats"].to_numpy())
    powers = np.stack([distance, distance**2, distance**3], axis=1)
    common = powers @ np.linalg.lstsq(powers, near["gold"].to_numpy(), rcond=None)[0]
    off = near.assign(off=near["gold"] - common).groupby(["kl_penalty", "seed"])["off"].mean()
    for penalty, its in off.groupby("kl_penalty"):
        error = its.std(ddof=1) / np.sqrt(len(its)) if len(its) > 1 else np.nan
        yield float(str(penalty)), float(its.mean()), float(error)
