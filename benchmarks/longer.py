"""Runs far longer than the fitted ones: the highest tokens per parameter of every shared table, from its other runs.

    python benchmarks/longer.py

A table is fitted on its runs a decade and a half of tokens per parameter below the highest ratio (a decade where that
leaves fewer than six), and judged on finished runs at least half a decade above the fitted ones: longer by that much
at any size. Each source is left out of the model over tables and of the public prior and scores. Tables of one source
count equally, sources count once.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from _families import families
from _tables import read, tasks
from facts_laws import GENERAL, groups, leave_one_out_priors, public_scores
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import LawPrior, Observations, learn_prior, public_prior
from foretrain.simulator.hierarchy.shipped import population
from foretrain.simulator.predictor.calibration import Calibration
from foretrain.simulator.predictor.fit.loss_fit import fit_loss_model
from foretrain.simulator.predictor.fit.posterior_model import given_runs
from foretrain.simulator.predictor.prediction import LossPrediction

LEVELS = (0.5, 0.8, 0.9, 0.95)
_DECADES = (1.5, 1.0)
_AT_LEAST = 0.5
_FEWEST = 6
_FINISHED = 0.02  # √(1 - t/T) up to which a point of a curve counts as the end of its run


@dataclass(frozen=True)
class Judged:
    """Longer runs of one table: `error` of log loss `(m,)`, whether each interval of LEVELS holds, `(4, m)`, widths."""

    source: str
    table: str
    fitted: int
    error: np.ndarray
    inside: np.ndarray
    width: np.ndarray
    """Full width of the 90 % interval over the loss, `(m,)`."""

    @classmethod
    def of(cls, source: str, table: str, fitted: int, prediction: LossPrediction, loss: np.ndarray) -> Judged:
        """A prediction against what was measured, nats `(m,)`."""
        ends = [prediction.interval(level) for level in LEVELS]
        inside = np.array([(low <= loss) & (loss <= high) for low, high in ends])
        low, high = ends[LEVELS.index(0.9)]
        return cls(source, table, fitted, prediction.log_loss - np.log(loss), inside, (high - low) / loss)


def split(params: np.ndarray, tokens: np.ndarray, finished: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Masks `(n,)` of the runs to fit and of the far longer ones to judge; None where too few are left."""
    ratio = np.log10(tokens / params)
    for decades in _DECADES:
        fitted = ratio <= ratio[finished].max() - decades if finished.any() else finished
        if fitted.sum() < _FEWEST or np.ptp(np.log(params[fitted])) < 0.1:
            continue
        judged = finished & (ratio >= ratio[fitted].max() + _AT_LEAST)
        if judged.any():
            return fitted, judged
    return None


def plain() -> Iterator[Judged]:
    """Tables of sizes and tokens, with what is known of their text."""
    tables = population()
    priors = leave_one_out_priors(tasks())
    for family in families():
        runs = family.runs
        parts = split(runs.params, runs.tokens, runs.unfinished <= _FINISHED)
        if parts is None:
            continue
        small, longer = (runs.take(rows) for rows in parts)
        prior = priors.get(family.source, public_prior())
        model = given_runs(family.labels, small, tables.without(family.source), law_prior=prior)
        prediction = model.predict(longer.columns)
        yield Judged.of(family.source, family.name, len(small), prediction, np.exp(longer.log_loss))


def with_terms() -> Iterator[Judged]:
    """Tables whose columns identify terms: repeats, learning rate and batch."""
    found = tasks()
    repeats = read("datablations/runs.csv")
    repeats = repeats[repeats.diverged_or_overfit == 0]
    steps = read("steplaw/dense_runs.csv")
    steps = steps[steps.diverged == 0]
    for source, label, frame, columns in (
        ("datablations", "datablations, repeats", repeats, ["unique_tokens"]),
        ("steplaw", "steplaw, rates and batches", steps, ["lr", "batch_tokens"]),
    ):
        frame = frame[["params", "tokens", *columns, "loss"]].astype(float).reset_index(drop=True)
        parts = split(frame.params.to_numpy(), frame.tokens.to_numpy(), np.ones(len(frame), dtype=bool))
        if parts is None:
            continue
        small, longer = (_observed(frame[rows]) for rows in parts)
        prior, public = _without(found, source)
        model = fit_loss_model(small, "auto", prior, public=public, tables=population().without(source))
        yield Judged.of(source, label, len(small), model.predict(longer.columns), longer.loss)


def _observed(frame) -> Observations:
    return Observations.from_table(RunTable.from_frame(frame.reset_index(drop=True)), "loss")


def _without(found, source: str) -> tuple[LawPrior, Calibration]:
    """The public prior and scores without a source."""
    prior = learn_prior(GENERAL, groups(found, source))
    scores = public_scores(found, leave_one_out_priors(found))
    return prior, Calibration.pooled({name: values for name, values in scores.items() if name != source})


def report(results: list[Judged]) -> None:
    """Print a row for each table, and the mean over sources."""
    head = "covers 50/80/90/95 %"
    print(f"{'table':52s}{'fitted':>7s}{'judged':>7s}{'error, %':>10s}{'bias':>7s}   {head:22s}{'width, %':>9s}")
    for one in results:
        print(f"{one.table:52s}{one.fitted:7d}{len(one.error):7d}{_figures([one])}")
    sources = list(dict.fromkeys(one.source for one in results))
    for source in sources:
        of_source = [one for one in results if one.source == source]
        print(f"{source:52s}{'':7s}{sum(len(one.error) for one in of_source):7d}{_figures(of_source)}")
    by_source = [_numbers([one for one in results if one.source == source]) for source in sources]
    print(f"{f'mean of {len(sources)} sources':66s}{_line(np.mean(by_source, axis=0))}")


def _numbers(of_source: list[Judged]) -> np.ndarray:
    """Error, bias, coverages, width: medians (shares) of each table, averaged over tables."""
    rows = []
    for one in of_source:
        error = [np.median(np.abs(np.expm1(one.error))), np.median(one.error)]
        rows.append([*error, *one.inside.mean(axis=1), np.median(one.width)])
    return 100 * np.mean(rows, axis=0)


def _figures(of_source: list[Judged]) -> str:
    return _line(_numbers(of_source))


def _line(numbers: np.ndarray) -> str:
    error, bias, *covers, width = numbers
    covered = " ".join(f"{share:4.0f}" for share in covers)
    return f"{error:10.2f}{bias:+7.2f}   {covered:22s}{width:9.1f}"


def main() -> None:
    """Judge and print."""
    warnings.simplefilter("ignore")
    print("sizes and tokens")
    report(list(plain()))
    print("\nwith terms")
    report(list(with_terms()))


if __name__ == "__main__":
    main()
