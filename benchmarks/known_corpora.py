"""What a run of one's own is worth: the largest runs of every shared table from none, one, two, … and all smaller ones.

    python benchmarks/known_corpora.py

Each source is left out of the model over tables; its runs at least a decade of compute below the largest are what a
user would have, and the largest half decade is predicted. Every table of a source counts equally, every source once.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from _families import Family, families, learn_population
from foretrain.simulator.hierarchy.errors import Runs
from foretrain.simulator.hierarchy.population import Population
from foretrain.simulator.hierarchy.shipped import error_quantiles
from foretrain.simulator.hierarchy.shipped import population as shipped
from foretrain.simulator.predictor.calibration import GRID, weighted_quantiles
from foretrain.simulator.predictor.fit.posterior_model import given_runs

LEVELS = (0.5, 0.8, 0.9, 0.95)
KNOWN = ("0", "1 largest", "1 smallest", "2", "4", "8", "all")
_TOP = 10**0.5
_BELOW = 10.0
_FINISHED = 0.02  # √(1 - t/T) up to which a point of a curve counts as the end of its run


@dataclass(frozen=True)
class Judged:
    """Largest runs of one table, predicted from some of its smaller ones; all arrays are `(m,)`."""

    family: Family
    known: str
    error: np.ndarray
    z: np.ndarray
    """|error| over what counts as one: the s of the prediction, times the widening by the table's own back-test."""
    inside: np.ndarray
    """Whether each interval of LEVELS holds the run, `(4, m)`."""
    width: np.ndarray
    """Ratio of the ends of the 90 % interval of the perplexity."""


def split(runs: Runs) -> tuple[Runs, Runs] | None:
    """Runs that one has and runs to predict; None where there is nothing to have or to predict."""
    top = (runs.compute > runs.compute.max() / _TOP) & (runs.unfinished <= _FINISHED)
    if not top.any():
        return None
    below = runs.compute < runs.compute[top].max() / _BELOW
    if not below.any():
        return None
    return runs.take(below), runs.take(top)


def subsets(runs: Runs) -> Iterator[tuple[str, Runs]]:
    """The runs that a user may have, by name."""
    finished = np.flatnonzero(runs.unfinished <= _FINISHED)
    if not len(finished):
        finished = np.arange(len(runs))
    order = finished[np.argsort(runs.compute[finished])]
    yield "0", Runs.none()
    yield "1 largest", runs.take(order[-1:])
    yield "1 smallest", runs.take(order[:1])
    for count in (2, 4, 8):
        if len(order) >= count:
            yield str(count), runs.take(order[np.linspace(0, len(order) - 1, count).round().astype(int)])
    yield "all", runs


def judged(found: Sequence[Family], tables: Population, known: Sequence[str] = KNOWN) -> Iterator[Judged]:
    """Every table that can be split, by every set of runs that one may have of it."""
    for family in found:
        parts = split(family.runs) if len(family.runs) > 3 else None
        if parts is None:
            continue
        others = tables.without(family.source)
        for name, own in subsets(parts[0]):
            if name in known:
                yield _judge(family, name, own, parts[1], others)


def _judge(family: Family, name: str, own: Runs, top: Runs, others: Population) -> Judged:
    model = given_runs(family.labels, own, others)
    prediction = model.predict(top.columns)
    loss = np.exp(top.log_loss)
    inside = []
    for level in LEVELS:
        low, high = prediction.interval(level)
        inside.append((low <= loss) & (loss <= high))
    low, high = prediction.interval(0.9)
    error = prediction.log_loss - top.log_loss
    widening = model.calibration.quantiles[-1] / error_quantiles()[-1]
    return Judged(
        family, name, error, np.abs(error) / prediction.scale / widening, np.array(inside), np.exp(high - low)
    )


def quantiles(results: Sequence[Judged]) -> np.ndarray:
    """Quantiles of z on the calibration's grid: sources, tables of a source and sets of known runs count equally."""
    count: dict[tuple[str, str], int] = {}
    for one in results:
        count[one.family.source, one.known] = count.get((one.family.source, one.known), 0) + 1
    values = np.concatenate([one.z for one in results])
    weights = np.concatenate(
        [np.full(len(one.z), 1.0 / len(one.z) / count[one.family.source, one.known]) for one in results]
    )
    return weighted_quantiles(values, weights, GRID)


def by_source(results: Sequence[Judged], measure) -> dict[str, float]:
    """A measure of each table, averaged over the tables of a source."""
    values: dict[str, list[float]] = {}
    for one in results:
        values.setdefault(one.family.source, []).append(float(measure(one)))
    return {source: float(np.mean(of_source)) for source, of_source in values.items()}


def report(results: Sequence[Judged]) -> None:
    """Print the table by number of runs, and by source with none, one and all."""
    print(f"{'own runs':12s}{'sources':>8s}{'error, %':>10s}{'median':>8s}   {'covers 50/80/90/95 %':24s}{'width':>7s}")
    for name in KNOWN:
        of_name = [one for one in results if one.known == name]
        errors = by_source(of_name, lambda one: 100 * np.median(np.abs(np.expm1(one.error))))
        width = by_source(of_name, lambda one: np.log(np.median(one.width)))
        covers = [
            np.mean(list(by_source(of_name, lambda one, place=place: one.inside[place].mean()).values()))
            for place in range(len(LEVELS))
        ]
        covered = " ".join(f"{100 * share:4.0f}" for share in covers)
        values = list(errors.values())
        print(
            f"{name:12s}{len(values):8d}{np.mean(values):10.2f}{np.median(values):8.2f}   {covered:24s}"
            f"{'×':>3s}{np.exp(np.mean(list(width.values()))):.2f}"
        )
    print()
    names = ("0", "1 largest", "4", "all")
    print(f"{'source: error, % (bias), covers 90 %':26s}" + "".join(f"{name:>24s}" for name in names))
    for source in dict.fromkeys(one.family.source for one in results):
        cells = []
        for name in names:
            here = [one for one in results if one.family.source == source and one.known == name]
            if not here:
                cells.append(f"{'–':>24s}")
                continue
            error = np.mean([100 * np.median(np.abs(np.expm1(one.error))) for one in here])
            bias = np.mean([100 * np.median(one.error) for one in here])
            inside = np.mean([one.inside[2].mean() for one in here])
            cells.append(f"{error:12.2f} ({bias:+.1f}) {inside:4.0%}".rjust(24))
        print(f"{source:26s}" + "".join(cells))


def main() -> None:
    """Judge and print."""
    warnings.simplefilter("ignore")
    found = families()
    tables = learn_population(found) if "--learn" in sys.argv[1:] else shipped()
    report(list(judged(found, tables)))


if __name__ == "__main__":
    main()
