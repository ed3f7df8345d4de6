"""Does `simulate track` call the end of real runs, and notice when one goes wrong? Through its own code, from logs.

Every shared curve becomes a plan and a log in JSON lines that ends at 20, 30, 50 and 70 % of the run. What is known
beforehand: the other runs of its recipe, itself left out ("relatives": --curves DIR), or nothing at all ("nothing": the
default). Final losses are means of the last three points, as in the shared table. Exit status 1 if a target is missed.

    python benchmarks/tracking.py [--synthetic N]
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _synthetic_curves import KINDS, synthetic
from _tables import DATA
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.curve.law.prior import generic_prior
from foretrain.simulator.curve.law.transfer import Library
from foretrain.simulator.curve.library import Curve
from foretrain.simulator.curve.prefix import Z
from foretrain.simulator.curve.reading import read_curves
from foretrain.simulator.curve.tracking import first_shift
from foretrain.simulator.tracking.relatives import prior_from
from foretrain.simulator.tracking.track import Tracking, track

FOLDER = DATA / "loss_curves"
SHARES = (0.2, 0.3, 0.5, 0.7)
LARGEST_ERROR = (1.2, 0.9, 0.5, 0.4)
"""The targets of the mean error at SHARES, %."""
LEAST_COVERED, MOST_FALSE, REGRESSION, NOTICED_WITHIN = 0.85, 0.05, 0.02, 0.1
BATCH = 2**19  # tokens to a step; any would do
LAST = 3  # points whose mean is the final loss


def plan_of(row: dict[str, str], final_loss: float) -> RunConfig:
    """The plan of a row of the shared table, whose target is the loss that it reached."""
    steps, kind = int(row["total_steps"]), row["schedule"]
    optim = {"batch_tokens": BATCH, "warmup_steps": int(row["warmup_steps"] or 0), "lr": float(row["lr_peak"])}
    if kind == "two_stage":
        start = str(int(float(row["decay_start"])))
        optim |= {"schedule": "piecewise", "lr_steps": {start: float(row["lr_final"])}}
    elif kind.startswith("wsd"):
        form = {"exp": "exponential"}.get(kind[4:], kind[4:])
        share = 1 - int(float(row["decay_start"])) / steps
        optim |= {"schedule": "wsd", "decay_form": form, "decay_share": share, "lr_final": float(row["lr_final"])}
    else:
        optim |= {"schedule": kind, **({} if kind == "constant" else {"lr_final": float(row["lr_final"])})}
    return RunConfig.from_mapping(
        {
            "name": row["run_id"],
            "model": {"params": row["size_label"]},
            "data": {"tokens": steps * BATCH},
            "optim": optim,
            "targets": {"loss_nats": final_loss},
        }
    )


def tracked(curve: Curve, plan: RunConfig, library: Library, folder: Path, until: float, rise: float = 0.0) -> Tracking:
    """What is said of a run whose log ends at a share `until` of it, `rise` added to its log loss from half-run on."""
    loss = curve.loss * np.exp(np.where(curve.step > 0.5 * curve.path.steps, np.log1p(rise), 0.0))
    seen = curve.step <= until * curve.step[-1]
    log = folder / "log.jsonl"
    rows = zip(curve.step[seen].tolist(), loss[seen].tolist(), strict=True)
    log.write_text("".join(json.dumps({"step": s, "loss": v}) + "\n" for s, v in rows), encoding="utf-8")
    return track(plan, log, curves=prior_from(library, plan, curve.family))


def ends_table(runs: list, folder: Path) -> bool:
    """Errors of the final loss and what intervals cover; whether the targets are met by what relatives tell."""
    print("final loss from a log that ends early: mean |error| %, largest, 90 % interval covers, verdicts")
    met = True
    for known in ("relatives", "nothing"):
        found = {share: list(ends(runs, known, share, folder)) for share in SHARES}
        for (share, rows), limit in zip(found.items(), LARGEST_ERROR, strict=True):
            error, sd = np.array([row[:2] for row in rows]).T
            covered = float(np.mean(np.abs(error) < Z[0.9] * sd))
            mean = 100 * float(np.abs(error).mean())
            verdicts = ", ".join(f"{sum(row[2] == v for row in rows)} {v}" for v in dict.fromkeys(r[2] for r in rows))
            good = mean <= limit and covered >= LEAST_COVERED
            mark = f"target {limit}, 85 %: {'met' if good else 'MISSED'}" if known == "relatives" else ""
            met &= good or known != "relatives"
            largest = 100 * np.abs(error).max()
            print(f"{known:9s} {share:4.0%}  {mean:.2f}  {largest:.2f}  {covered:4.0%}  {verdicts}  {mark}")
        error, sd = np.array([row[:2] for rows in found.values() for row in rows]).T
        all_levels = ", ".join(f"{level:.0%} {np.mean(np.abs(error) < z * sd):.0%}" for level, z in Z.items())
        print(f"{known:9s} all shares: intervals cover {all_levels}; 90 % half-width {164.5 * np.median(sd):.2f} %")
    return met


def ends(runs: list, known: str, share: float, folder: Path) -> Iterator[tuple[float, float, str]]:
    """Error of log final loss, its forecast standard deviation and the verdict of each run."""
    for curve, plan, library in runs:
        result = tracked(curve, plan, library if known == "relatives" else Library([]), folder, share)
        assert result.loss_nats is not None, "a forecast that rests on the plan knows the answer"
        end = result.belief.final(curve.step[-LAST:])
        yield float(np.log(end.loss[0] / curve.final_loss)), float(end.log_sd[0]), result.verdict


def shifts_table(runs: list, folder: Path) -> bool:
    """Regressions noticed and false alarms on the shared curves."""
    print(f"\na loss {REGRESSION:.0%} too high from half-run on: noticed within {NOTICED_WITHIN:.0%} of the run")
    met = True
    for known in ("relatives", "nothing"):
        noticed, false = [], 0
        for curve, plan, library in runs:
            library = library if known == "relatives" else Library([])
            false += tracked(curve, plan, library, folder, 1.0).shift is not None
            shift = tracked(curve, plan, library, folder, 0.5 + NOTICED_WITHIN, REGRESSION).shift
            if shift is not None and shift.noticed > 0.5 * curve.path.steps:
                noticed.append(shift.noticed / curve.path.steps - 0.5)
        good = len(noticed) == len(runs) and false <= MOST_FALSE * len(runs)
        mark = f"target all, 5 %: {'met' if good else 'MISSED'}" if known == "relatives" else ""
        met &= good or known != "relatives"
        print(
            f"{known:9s} {len(noticed)} of {len(runs)} noticed, after {np.mean(noticed):.1%} of the run; "
            f"{false} of {len(runs)} unharmed runs raise an alarm  {mark}"
        )
    return met


def synthetic_table(count: int) -> bool:
    """False alarms on runs that behave: a law of the generic prior, strays and noise of several kinds."""
    print(f"\nsynthetic runs that behave, {count} of each kind: false alarms")
    total = 0
    for rho, sd in KINDS:
        rng = np.random.default_rng(1)
        runs = [synthetic(rng, rho=rho, sd=sd) for _ in range(count)]
        false = sum(
            first_shift(c.path, generic_prior(float(np.median(c.loss))), c.step, c.loss) is not None for c in runs
        )
        total += false
        print(f"noise {100 * sd:g} %, neighbours' correlation {rho:<4g}  {false} of {count}", flush=True)
    good = total <= MOST_FALSE * count * len(KINDS)
    print(f"all {total} of {count * len(KINDS)}  target 5 %: {'met' if good else 'MISSED'}")
    return good


def main() -> int:
    """Print the tables; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--synthetic", type=int, default=40, metavar="N", help="synthetic runs of each kind (0: none)")
    wanted = parser.parse_args()
    if not FOLDER.exists():
        raise SystemExit(f"{FOLDER} is absent: this benchmark reads the shared curves in place")
    start = time.perf_counter()
    curves = read_curves(FOLDER)
    with (FOLDER / "runs.csv").open(newline="", encoding="utf-8") as file:
        plans = {row["run_id"]: row for row in csv.DictReader(file)}
    runs = []
    for curve in curves.values():
        others = [other for other in curves.values() if other is not curve and _may_know(curve, other)]
        runs.append((curve, plan_of(plans[curve.run_id], curve.final_loss), Library(others)))
    with tempfile.TemporaryDirectory() as folder:
        met = ends_table(runs, Path(folder))
        met &= shifts_table(runs, Path(folder))
    if wanted.synthetic:
        met &= synthetic_table(wanted.synthetic)
    print(f"\ntook {time.perf_counter() - start:.0f} s; targets {'met' if met else 'MISSED'}")
    return 0 if met else 1


def _may_know(curve: Curve, other: Curve) -> bool:
    """The 124M runs share a family but hardly a recipe: five optimizers. They are told by nothing."""
    return curve.family == other.family == "MultiPowerLaw"


if __name__ == "__main__":
    sys.exit(main())
