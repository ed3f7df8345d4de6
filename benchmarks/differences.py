"""Differences of two runs: error, coverage and width, on pairs of the largest runs of every shared table.

    python benchmarks/differences.py

Compared are the largest quarter of a table's runs (at most 12 of those, none under-trained), each pair of them, by what
is known of the table: nothing but its labels, one finished run a decade below, all runs at least a decade or half a
decade below. Each time the model over tables has not seen the source. Last comes a law of a table's own (as tables with
terms get it), whose prior and public scores have not seen the source either.

The independent difference, which widths are compared with, adds the squares of both runs' own half-widths. The centre
that is used is the difference of the two medians; beside it stands the median of the law's draws' differences.
The constants of `predictor/prediction.py` and the share and length of the misfit of `fitting/backtest.py` were chosen
on the tables that this prints.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from _families import Family, families
from _tables import tasks
from facts_laws import leave_one_out_priors, public_scores
from foretrain.core.quantity import LEVELS
from foretrain.simulator.fitting import Observations
from foretrain.simulator.hierarchy.shipped import population
from foretrain.simulator.predictor.calibration import Calibration
from foretrain.simulator.predictor.fit.loss_fit import fit_loss_model
from foretrain.simulator.predictor.fit.posterior_model import posterior_model
from foretrain.simulator.predictor.loss_model import LossModel

KNOWN = {"no run": None, "one run": 1.0, "a decade below": 1.0, "half a decade below": 0.5}
PROMISED = ("chinchilla", "olmo_ladder", "steplaw")
COVERS, FITTED_RATIO, FEW_RATIO = (0.85, 0.95), 0.7, 0.5
FEWEST, MOST_ROWS, MOST_LARGE = 6, 100, 12
_TRAINED_OUT = 5.0  # tokens per parameter; below, forecasts warn
_FEW_TARGETS = {"overtraining": ("c4_val", "paloma_code")}  # of sixteen that are much alike


@dataclass(frozen=True)
class Pairs:
    """True differences of pairs of runs and errors of the predicted ones, nats, each `(m,)`; `inside` by level."""

    true: np.ndarray
    error: np.ndarray
    draws_error: np.ndarray
    inside: Mapping[float, np.ndarray]
    draws_inside: np.ndarray
    width: np.ndarray
    ratio: np.ndarray


def largest(observations: Observations) -> np.ndarray:
    """Places of the runs that are compared: the largest quarter, evenly thinned, without under-trained ones."""
    compute = observations.compute
    able = np.flatnonzero(observations.columns["tokens"] >= _TRAINED_OUT * observations.columns["params"])
    able = able[np.argsort(compute[able], kind="stable")]
    found = able[-max(4, len(compute) // 4) :]
    return found[np.unique(np.linspace(0, len(found) - 1, min(MOST_LARGE, len(found))).round().astype(int))]


def judged(model: LossModel, large: Observations) -> Pairs:
    """Every pair of the large runs, predicted together."""
    prediction = model.predict(large.columns, joint=True)
    drawn = np.exp(model.fit.log_loss_draws(large.columns))
    low, high = prediction.interval(0.9)
    half = (high - low) / 2
    found: dict[str, list] = {name: [] for name in ("true", "error", "draws_error", "draws_inside", "width", "ratio")}
    inside: dict[float, list[bool]] = {level: [] for level in LEVELS}
    for one in range(len(large)):
        for other in range(one):
            true = large.loss[one] - large.loss[other]
            difference = prediction.difference(one, other)
            of_draws = drawn[:, one] - drawn[:, other]
            ends = np.quantile(of_draws, [0.05, 0.95])
            for level in LEVELS:
                least, most = difference.interval(level)
                inside[level].append(bool(least <= true <= most))
            least, most = difference.interval(0.9)
            found["true"].append(true)
            found["error"].append(difference.nats - true)
            found["draws_error"].append(float(np.median(of_draws)) - true)
            found["draws_inside"].append(bool(ends[0] <= true <= ends[1]))
            found["width"].append(most - least)
            found["ratio"].append((most - least) / (2.0 * float(np.hypot(half[one], half[other]))))
    of_levels = {level: np.array(held) for level, held in inside.items()}
    return Pairs(inside=of_levels, **{name: np.array(values) for name, values in found.items()})


def below(observations: Observations, chosen: np.ndarray, decades: float) -> np.ndarray:
    """Places of the runs that are so many decades of compute below all that are compared."""
    compute = observations.compute
    return np.flatnonzero(compute <= compute[chosen].min() / 10**decades)


def of_family(family: Family, known: str) -> Pairs | None:
    """A table by the model over the other sources' tables; None where it has too few runs."""
    runs = family.runs.take(family.runs.unfinished == 0)
    observations = Observations.from_columns(runs.columns, np.exp(runs.log_loss))
    if len(observations) < FEWEST:
        return None
    chosen = largest(observations)
    decades, small = KNOWN[known], None
    if decades is not None:
        places = below(observations, chosen, decades)
        if known == "one run":
            places = places[np.argsort(observations.compute[places])][-1:]
        if len(places) < (1 if known == "one run" else FEWEST):
            return None
        small = observations.take(places)
    model = posterior_model(family.labels, small, tables=population().without(family.source))
    return judged(model, observations.take(chosen)) if len(chosen) > 1 else None


def of_own_law(decades: float) -> Iterator[tuple[str, Pairs]]:
    """Tables by a law of their own."""
    found = [task for task in tasks() if task.target in _FEW_TARGETS.get(task.source, (task.target,))]
    priors = leave_one_out_priors(found)
    scores = public_scores(found, priors)
    for task in found:
        chosen = largest(task.observations)
        small = task.observations.take(below(task.observations, chosen, decades))
        if len(small) >= FEWEST and len(chosen) > 1:
            public = Calibration.pooled({name: its for name, its in scores.items() if name != task.source})
            model = fit_loss_model(small.thinned(MOST_ROWS), "general", priors[task.source], public=public)
            yield task.source, judged(model, task.observations.take(chosen))


def show(title: str, found: Mapping[str, list[Pairs]], promised: float) -> None:
    """A row for each source, sources together, and whether the promise is kept."""
    print(f"\n{title}\n{'':16s}{'pairs':>6s} | {'|error|, mnats':>15s} | {'covers at 50, 80, 90, 95 %':>28s} | "
          f"{'90 % width, mnats':>17s}{'ratio':>7s} | draws alone")  # fmt: skip
    for source, parts in found.items():
        errors, by_draws = (
            1e3 * np.median(np.abs(np.concatenate([getattr(part, name) for part in parts])))
            for name in ("error", "draws_error")
        )
        covers = " ".join(f"{_mean(part.inside[level] for part in parts):6.0%}" for level in LEVELS)
        width = 1e3 * np.median(np.concatenate([part.width for part in parts]))
        ratio = np.median(np.concatenate([part.ratio for part in parts]))
        pairs = sum(len(part.error) for part in parts)
        print(f"{source:16s}{pairs:6d} | {errors:7.1f}{by_draws:8.1f} | {covers:>28s} | {width:17.1f}{ratio:7.2f} | "
              f"{_mean(part.draws_inside for part in parts):6.0%}")  # fmt: skip
    for name, sources in (("promised", [s for s in found if s in PROMISED]), ("all sources", list(found))):
        covered = np.mean([_mean(part.inside[0.9] for part in found[source]) for source in sources])
        ratio = np.median(np.concatenate([part.ratio for source in sources for part in found[source]]))
        kept = COVERS[0] <= covered <= COVERS[1] and ratio <= promised
        print(f"{name}, each source once: 90 % covers {covered:.1%}, median ratio {ratio:.2f}; promised "
              f"{COVERS[0]:.0%} to {COVERS[1]:.0%}, at most {promised}: {'kept' if kept else 'NOT KEPT'}")  # fmt: skip
    slopes = [np.median([_slope(parts, name) for parts in found.values()]) for name in ("error", "draws_error")]
    print(
        f"true difference for a predicted one of 1, median of sources: {slopes[0]:.2f}; by the draws: {slopes[1]:.2f}"
    )


def _slope(parts: list[Pairs], name: str) -> float:
    """By least squares through 0: what of a predicted difference comes true."""
    true = np.concatenate([part.true for part in parts])
    predicted = true + np.concatenate([getattr(part, name) for part in parts])
    return float(predicted @ true / (predicted @ predicted))


def _mean(parts: Iterator[np.ndarray]) -> float:
    return float(np.mean(np.concatenate(list(parts))))


def main() -> None:
    """Print the tables."""
    warnings.simplefilter("ignore")
    print("|error|: of the difference of medians, and of the median of the law's draws; ratio: width over independent")
    every = families()
    for known in KNOWN:
        found: dict[str, list[Pairs]] = {}
        for family in every:
            pairs = of_family(family, known)
            if pairs is not None:
                found.setdefault(family.source, []).append(pairs)
        show(f"known: {known}", found, FEW_RATIO if "run" in known else FITTED_RATIO)
    own: dict[str, list[Pairs]] = {}
    for source, pairs in of_own_law(0.5):
        own.setdefault(source, []).append(pairs)
    show("a law of one's own, half a decade below", own, FITTED_RATIO)


if __name__ == "__main__":
    main()
