"""Is a planned change of a run called a regression, and is a regression beside it still found? On real curves.

The shared curves of 25M and 100M (nine schedules each) get the level of another text from 60 % of the run on, as a run
of two mixes has it. The plan states that change (`data.stages`), or doesn't. From what is logged up to 80 %: is a
regression reported, and how far off is the forecast of the end? Then a true regression comes on top at 70 %. A real
two-stage mix with its plan is in no public table: the levels are made. Last, a constant run that is seen up to step
20,000 and a cooldown that leaves it there, which is another real run: how far off is the forecast of its end?

    python benchmarks/planned_changes.py
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from _tables import DATA
from foretrain.simulator.curve.law.prior import generic_prior
from foretrain.simulator.curve.law.transfer import Library
from foretrain.simulator.curve.library import Curve
from foretrain.simulator.curve.prefix import Z, condition
from foretrain.simulator.curve.rates.changes import PlannedChange
from foretrain.simulator.curve.rates.planned_changes import TEXT_LOG_SD
from foretrain.simulator.curve.reading import read_curves
from foretrain.simulator.curve.tracking import first_shift

CHANGE, REGRESSION, SEEN = 0.6, 0.7, 0.8  # shares of the run
LEVELS = (-0.10, -0.03, 0.0, 0.03, 0.10)
"""Log loss by which the other text lies elsewhere."""
RISES = (0.01, 0.02, 0.04)
TEXT_SHARE = 0.4  # of the tokens that are other text after the change, as the plan has it


def changed(curve: Curve, level: float, rise: float = 0.0) -> Curve:
    """The curve on another text after the change, and worse after the regression."""
    loss = curve.loss * np.exp(np.where(curve.step > CHANGE * curve.path.steps, level, 0.0))
    return replace(curve, loss=loss * np.exp(np.where(curve.step > REGRESSION * curve.path.steps, rise, 0.0)))


def stating(curve: Curve) -> Curve:
    """The curve whose plan states the change."""
    change = PlannedChange(CHANGE * curve.path.steps, "another text", 0.0, TEXT_LOG_SD * TEXT_SHARE)
    return replace(curve, path=replace(curve.path, changes=(change,)))


def alarm(curve: Curve) -> bool:
    """Whether a regression is reported from what is logged so far."""
    seen = curve.until(SEEN * curve.path.steps)
    prior = generic_prior(float(seen.loss[-1]))
    return first_shift(seen.path, prior, seen.step, seen.loss, since=0.5 * seen.path.steps) is not None


def final_error(curve: Curve) -> tuple[float, bool]:
    """Error of the forecast final loss, a share of it, and whether the 90 % interval holds the truth."""
    seen = curve.until(SEEN * curve.path.steps)
    end = condition(seen.path, generic_prior(float(seen.loss[-1])), seen.step, seen.loss).final(curve.step[-3:])
    low, high = end.interval(0.9)
    return abs(float(end.loss[0]) / curve.final_loss - 1), bool(low[0] <= curve.final_loss <= high[0])


def main() -> None:
    """Print the two tables."""
    curves = [one for name, one in read_curves(DATA / "loss_curves").items() if name.startswith("mpl_")]
    print(f"{len(curves)} curves; another text from {CHANGE:.0%} on, seen up to {SEEN:.0%}\n")
    print("level of it     plan states it: alarms   final error  in 90 %   plan doesn't: alarms   final error  in 90 %")
    for level in LEVELS:
        cells = []
        for of_plan in (stating, lambda one: one):
            runs = [of_plan(changed(one, level)) for one in curves]
            errors, inside = zip(*(final_error(one) for one in runs), strict=True)
            alarms = np.mean([alarm(one) for one in runs])
            cells.append(f"{alarms:20.0%} {np.mean(errors):15.2%} {np.mean(inside):8.0%}")
        print(f"{np.expm1(level):+9.1%}     {'  '.join(cells)}", flush=True)
    some = [one for one in curves if "100m" in one.run_id]
    print(f"\na regression at {REGRESSION:.0%} ({len(some)} curves)   found beside a planned +10 %   without any")
    for rise in RISES:
        found = np.mean([alarm(stating(changed(one, 0.10, rise))) for one in some])
        plain = np.mean([alarm(changed(one, 0.0, rise)) for one in some])
        print(f"{rise:18.0%} {found:36.0%} {plain:20.0%}", flush=True)
    _cooldowns({one.run_id: one for one in curves})


def _cooldowns(curves: dict[str, Curve]) -> None:
    """The end of cooldowns foretold from the run that they leave."""
    print("\ncooldowns that leave a constant run at step 20,000, from that run: error of their end, 90 % interval")
    for size, other in (("25m", "100m"), ("100m", "25m")):
        main = curves[f"mpl_{size}_constant_72000"]
        seen = main.until(20_000)
        now = float(seen.loss[-1])
        relatives = Library([one for name, one in curves.items() if f"_{other}_" in name])
        for form, name in (("exponential", "wsd_20000_24000"), ("linear", "wsdld_20000_24000")):
            end = curves[f"mpl_{size}_{name}"]
            said = []
            for prior in (generic_prior(now), relatives.prior(main.family, main.size, main.path, now)):
                found = condition(main.path, prior, seen.step, seen.loss).end_of(end.path)
                low, high = found.interval(0.9)
                held = "holds" if low[0] <= end.final_loss <= high[0] else "misses"
                error, width = found.loss[0] / end.final_loss - 1, Z[0.9] * found.log_sd[0]
                said.append(f"{prior.name} {error:+.2%} ± {width:.2%} {held}")
            print(f"{size:>5} {form:12} {'   '.join(said)}")


if __name__ == "__main__":
    main()
