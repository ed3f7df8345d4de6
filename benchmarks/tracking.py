"""Does `simulate track` call the end of real runs, and notice when one goes wrong? Through its own code, from logs.

Every curve of the shared loss_curves becomes a plan and a log in JSON lines that ends at 20, 30, 50 and 70 % of the
run. What is known beforehand: the other runs of its recipe, itself left out ("relatives": --curves DIR), or nothing
("nothing": the default, the laws of the public curves, here those of other makers alone). Then runs of sizes that
nobody has run: every size of the OLMo ladder from the others or from smaller ones, 25M and 100M from each other, and
each maker's runs from the laws of the others. Final losses are means of the last three points, as in the shared table.
Exit status 1 if a target is missed.

    python benchmarks/tracking.py [--synthetic N]
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from _public_curves import recipes
from _synthetic_curves import KINDS, synthetic
from _tables import DATA
from foretrain.core.units import format_count
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.curve.law.prior import CurvePrior, generic_prior
from foretrain.simulator.curve.law.public import public_laws
from foretrain.simulator.curve.law.transfer import Library
from foretrain.simulator.curve.library import Curve
from foretrain.simulator.curve.prefix import Z, condition
from foretrain.simulator.curve.reading import read_curves
from foretrain.simulator.curve.tracking import first_shift
from foretrain.simulator.tracking.relatives import prior_from
from foretrain.simulator.tracking.track import Tracking, track

FOLDER = DATA / "loss_curves"
SHARES = (0.2, 0.3, 0.5, 0.7)
LARGEST_ERROR = (0.6, 0.45, 0.3, 0.2)
"""The targets of the mean error at SHARES, %."""
LARGEST_ERROR_NEXT = (0.45, 0.4, 0.33, 0.28)
"""Those of the OLMo ladder's 1B from its sizes up to 760M."""
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
        result = tracked(curve, plan, library if known == "relatives" else unrelated(curve), folder, share)
        assert result.loss_nats is not None, "a forecast that rests on the plan knows the answer"
        end = result.belief.final(curve.step[-LAST:])
        yield float(np.log(end.loss[0] / curve.final_loss)), float(end.log_sd[0]), result.verdict


def sizes_table() -> bool:
    """Final losses of sizes that weren't run before, and of makers that weren't known."""
    print("\nsizes that weren't run: mean |error| %, 90 % interval covers, at 20, 30, 50, 70 % of the run")
    known = {recipe.name: recipe.curves for recipe in recipes()}
    mpl, ladder = known["mpl"], known["olmo-ladder"]
    sizes = sorted({curve.size for curve in ladder})
    cases = [("100M from 25M", mpl, [25e6], 1e8), ("25M from 100M", mpl, [1e8], 25e6)]
    for size in sizes:
        others = [one for one in sizes if one != size]
        cases.append((f"OLMo ladder, {format_count(size)} from the three others", ladder, others, size))
    cases += [(f"OLMo ladder, {format_count(size)} from two", ladder, sizes[:2], size) for size in sizes[2:]]
    rows = {}
    for name, curves, of, size in cases:
        library = Library([curve for curve in curves if curve.size in of])
        rows[name] = print_ends(name, [c for c in curves if c.size == size], prior_of(library))
    each = [
        print_ends(f"{name}, each run left out", curves, lambda c, rest=curves: prior_of(without(rest, c))(c))
        for name, curves in (("25M and 100M", mpl), ("OLMo ladder", ladder))
    ]
    for name, tables in (("all sizes that weren't run", list(rows.values())), ("all runs left out", each)):
        errors, covered = (np.concatenate([t[i] for t in tables], axis=1) for i in range(2))
        print(f"{name:44s} {ends_text(errors, covered)}")
    print("\nmakers that aren't known, from the laws of the others")
    sources: dict[str, list[Curve]] = {}
    for recipe in recipes():
        sources.setdefault(recipe.source, []).extend(recipe.curves)
    for source, curves in sources.items():
        laws = [law for law in public_laws() if law.source != source]
        print_ends(source, curves, prior_of(Library([], laws=laws)))
    last = rows[f"OLMo ladder, {format_count(sizes[-1])} from the three others"][0].mean(axis=1)
    met = bool((last <= LARGEST_ERROR_NEXT).all())
    print(f"the OLMo ladder's largest from the others, {LARGEST_ERROR_NEXT}: {'met' if met else 'MISSED'}")
    return met


def without(curves: list[Curve], curve: Curve) -> Library:
    """The library of all curves but one."""
    return Library([other for other in curves if other is not curve])


def prior_of(library: Library) -> Callable[[Curve], Callable[[float], CurvePrior]]:
    """The prior of a curve from a library, given its current loss."""
    return lambda c: lambda loss: library.prior(c.family, c.size, c.path, loss)


def print_ends(
    name: str, curves: list[Curve], priors: Callable[[Curve], Callable[[float], CurvePrior]]
) -> tuple[np.ndarray, np.ndarray]:
    """One line; returns errors of the final loss, %, and whether the 90 % interval holds it, `(shares, runs)` each."""
    errors, covered = np.zeros((len(SHARES), len(curves))), np.zeros((len(SHARES), len(curves)), bool)
    for j, curve in enumerate(curves):
        prior = priors(curve)
        for i, share in enumerate(SHARES):
            seen = curve.until(share * curve.step[-1])
            belief = condition(curve.path, prior(float(seen.loss[-1])), seen.step, seen.loss)
            end = belief.final(curve.step[-LAST:])
            miss = np.log(end.loss[0] / curve.final_loss)
            errors[i, j], covered[i, j] = 100 * abs(miss), abs(miss) < Z[0.9] * end.log_sd[0]
    print(f"{name:44s} {ends_text(errors, covered)}", flush=True)
    return errors, covered


def ends_text(errors: np.ndarray, covered: np.ndarray) -> str:
    """Mean errors and coverage by share."""
    return "   ".join(f"{e:.2f} {c:4.0%}" for e, c in zip(errors.mean(axis=1), covered.mean(axis=1), strict=True))


def shifts_table(runs: list, folder: Path) -> bool:
    """Regressions noticed and false alarms on the shared curves."""
    print(f"\na loss {REGRESSION:.0%} too high from half-run on: noticed within {NOTICED_WITHIN:.0%} of the run")
    met = True
    for known in ("relatives", "nothing"):
        noticed, false = [], 0
        for curve, plan, library in runs:
            library = library if known == "relatives" else unrelated(curve)
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
        runs.append(
            (curve, plan_of(plans[curve.run_id], curve.final_loss), Library(others) if others else unrelated(curve))
        )
    with tempfile.TemporaryDirectory() as folder:
        met = ends_table(runs, Path(folder))
        met &= sizes_table()
        met &= shifts_table(runs, Path(folder))
    if wanted.synthetic:
        met &= synthetic_table(wanted.synthetic)
    print(f"\ntook {time.perf_counter() - start:.0f} s; targets {'met' if met else 'MISSED'}")
    return 0 if met else 1


def unrelated(curve: Curve) -> Library:
    """The library that ships, without the laws of the curve's maker."""
    maker = "mpl" if curve.family == "MultiPowerLaw" else "nanogpt"
    return Library([], laws=[law for law in public_laws() if law.source != maker])


def _may_know(curve: Curve, other: Curve) -> bool:
    """The 124M runs share a family but hardly a recipe: five optimizers. They are told by nothing."""
    return curve.family == other.family == "MultiPowerLaw"


if __name__ == "__main__":
    sys.exit(main())
