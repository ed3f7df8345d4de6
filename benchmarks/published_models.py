"""Published large runs, each predicted by a model over tables that has seen no run of its family but those named.

    python benchmarks/published_models.py

Families whose members share corpus and evaluation text: Llama 2, GPT-3, OPT, Pythia, Cerebras-GPT; of curves the ends
of runs count. `none`: corpus kinds, tokenizer and evaluation set are stated; `one`: one other member is known, each in
turn; `smaller`: all smaller members; `others`: all other members.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from _families import Family, families
from foretrain.simulator.hierarchy.errors import Runs
from foretrain.simulator.hierarchy.labels import UNKNOWN
from foretrain.simulator.hierarchy.population import Population
from foretrain.simulator.hierarchy.shipped import population
from foretrain.simulator.predictor.fit.posterior_model import given_runs

SOURCES = ("llama2", "gpt3", "opt", "pythia", "cerebras_gpt", "gptj", "gptneo", "olmo1", "olmo2", "olmo3", "marin_8b",
           "marin_32b", "bloom")  # fmt: skip
LEVELS = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Forecast:
    """One run predicted: the error in log loss, which intervals hold it, and how wide that of the perplexity is."""

    family: Family
    known: str
    params: float
    error: float
    inside: tuple[bool, ...]
    width: float


def ends(runs: Runs) -> Runs:
    """The last point of every run, as finished ones."""
    last = [np.flatnonzero(runs.run == run)[np.argmax(runs.tokens[runs.run == run])] for run in np.unique(runs.run)]
    taken = runs.take(np.array(last))
    return replace(taken, unfinished=np.zeros(len(taken)))


def cases(members: Runs) -> Iterator[tuple[str, int, Runs]]:
    """What is known, of which run the forecast is, and the known runs."""
    for number in range(len(members)):
        others = [other for other in range(len(members)) if other != number]
        smaller = [other for other in others if members.params[other] < members.params[number]]
        yield "none", number, Runs.none()
        for other in others:
            yield "one", number, members.take(np.array([other]))
        if smaller:
            yield "smaller", number, members.take(np.array(smaller))
        if others:
            yield "others", number, members.take(np.array(others))


def forecasts(tables: Population) -> Iterator[Forecast]:
    """All cases of all families."""
    for family in families():
        if family.source not in SOURCES:
            continue
        members = ends(family.runs)
        others = tables.without(family.source)
        labels = family.labels.of_source(UNKNOWN)
        for known, number, own in cases(members):
            target = members.take(np.array([number]))
            prediction = given_runs(labels, own, others).predict(target.columns)
            loss = float(np.exp(target.log_loss[0]))
            intervals = [prediction.interval(level) for level in LEVELS]
            low, high = intervals[2]
            yield Forecast(
                family,
                known,
                float(target.params[0]),
                float(prediction.log_loss[0] - target.log_loss[0]),
                tuple(bool(a[0] <= loss <= b[0]) for a, b in intervals),
                float(np.exp(high[0] - low[0])),
            )


def _line(name: str, found: list[Forecast]) -> str:
    error = np.array([100 * abs(np.expm1(one.error)) for one in found])
    by_family: dict[str, list[float]] = {}
    for one, size in zip(found, error, strict=True):
        by_family.setdefault(one.family.source, []).append(float(size))
    of_families = np.median([np.median(values) for values in by_family.values()])
    covers = " ".join(f"{100 * np.mean([one.inside[place] for one in found]):4.0f}" for place in range(len(LEVELS)))
    width = np.median([one.width for one in found])
    return f"{name:34s}{len(found):6d}{np.median(error):9.2f}{of_families:9.2f}   {covers:24s}×{width:.2f}"


def main() -> None:
    """Judge and print."""
    warnings.simplefilter("ignore")
    found = list(forecasts(population()))
    print(f"{'known members':34s}{'cases':>6s}{'median':>9s}{'families':>9s}   {'covers 50/80/90/95 %':24s}width")
    for known in ("none", "one", "smaller", "others"):
        print(_line(known, [one for one in found if one.known == known]))
    named = {"pile_test", "pile", "c4_en", "dolma_wiki"}
    of_none = [one for one in found if one.known == "none"]
    print(_line("none, on a named set", [one for one in of_none if one.family.labels.evaluated_on in named]))
    print(_line("none, on other text", [one for one in of_none if one.family.labels.evaluated_on not in named]))
    print()
    for one in found:
        if one.known in ("none", "smaller"):
            print(f"{one.family.name:60s}{one.params:9.2e} {one.known:8s}{100 * one.error:+7.2f} %  ×{one.width:.2f}"
                  f"{'' if one.inside[2] else '  outside 90 %'}")  # fmt: skip


if __name__ == "__main__":
    main()
