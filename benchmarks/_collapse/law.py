"""The law of synthetic text: what the first generations foretell of later ones, and which form the long run has.

Must reach: fitted on generations 0 to 3, the law foretells the rise at generation 5 of every chain but `fresh` within
20 %, and inside its 90 % interval; chains of 12 generations or more decide between an unbounded and a bounded rise. Of
a table of fewer generations the last one is foretold from those before it, and nothing must be reached.

    python benchmarks/collapse.py law [--table runs.csv]... [--seeds 2]

`--table` reads run tables that `ngrams --csv` or `proxies --out` wrote; by default the chains of n-grams are trained
(once, where `ngrams` is asked for too). Fits and intervals are those of `simulate fit` and `simulate predict`: the same
size and length in all runs, whatever else a table holds. The generations of a chain count as one run of a bootstrap,
since they share its luck; chains of a seed share their real text beside that, which isn't counted.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from foretrain import Predictor, RunTable
from foretrain.core.errors import DataWarning
from foretrain.simulator.fitting import known_columns
from foretrain.simulator.laws import LEVEL

from .forms import FORMS, evidence

__all__ = ["main"]

FIRST, AT = 3, 5
NEAR = 0.2  # of the measured rise
LONG = 12  # generations
DECIDED = 10.0  # of a difference of AIC
SURE = 0.95  # of the draws of κ
_NAMES = {"log_harm": "c", "share_power": "p", "growth": "ν", "memory": "m", "decay": "κ"}


def main(options: list[str]) -> list[str]:
    """Print the tables; return what was missed."""
    parser = argparse.ArgumentParser(prog="collapse.py law")
    parser.add_argument("--table", type=Path, action="append", help="a run table of chains; may be given again")
    parser.add_argument("--seeds", type=int, default=2, help="of the chains of n-grams, where no table is given")
    given = parser.parse_args(options)
    with tempfile.TemporaryDirectory() as scratch:
        files = given.table or [_of_ngrams(Path(scratch) / "ngrams.csv", given.seeds)]
        tables = [(file.stem, pd.read_csv(file)) for file in files]
    missed: list[str] = []
    for name, frame in tables:
        texts = frame["corpus"] if "corpus" in frame else pd.Series("", frame.index)
        for corpus, part in frame.groupby(texts):
            missed += _judged(f"{name} {corpus}".strip(), part.reset_index(drop=True))
    return missed


def _of_ngrams(path: Path, seeds: int) -> Path:
    from .ngrams import LONG_GENERATIONS, write_chains

    write_chains(path, seeds, LONG_GENERATIONS)
    return path


def _judged(name: str, frame: pd.DataFrame) -> list[str]:
    """What the chains of one text must reach."""
    last = int(frame["generation"].max())
    print(f"\n{name}: {frame['seed'].nunique()} seeds, generations 0 to {last}")
    if last < 2:
        raise SystemExit(f"law: {name} has {last} generations; expected 2 or more")
    first, at = (FIRST, AT) if last >= AT else (last - 1, last)
    of_first = _fitted(frame[frame["generation"] <= first])
    print("\n".join(_parameters(of_first, frame, f"generations 0 to {first}")))
    rises = list(_foretold(of_first, frame, at))
    print(f"{f'rise at generation {at}':24s}{'nats (seeds)':26s}law    off      90 % interval")
    for rise in rises:
        print(rise)
    missed = [f"{name}: {fault}" for rise in rises for fault in rise.faults] if at >= AT else []
    if last != at:
        print("\n".join(_parameters(_fitted(frame), frame, f"all {last} generations")))
    if last >= LONG:
        missed += _long_run(name, frame)
    return missed


def _fitted(frame: pd.DataFrame) -> Predictor:
    """The predictor of some chains, as `simulate fit` makes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # that size and length are the same everywhere
        return Predictor.fit(RunTable.from_frame(frame), "general+synthetic", prior="public")


def _parameters(predictor: Predictor, frame: pd.DataFrame, what: str) -> Iterator[str]:
    """c in nats, p, ν, m, κ with 90 % intervals, of the regimes that the runs have."""
    fit = next(iter(predictor.models.values())).fit
    regimes = set(frame["regime"])
    yield f"law of {what} (median, 90 %)"
    for place, name in enumerate(fit.law.names):
        kind, _, regime = name.removeprefix("synthetic_").partition(".")
        if kind not in _NAMES or (regime and regime not in regimes):
            continue
        draws = fit.draws[:, place]
        if kind == "log_harm":
            draws = np.exp(draws + fit.draws[:, LEVEL])
        low, middle, high = np.quantile(draws, (0.05, 0.5, 0.95))
        yield f"  {_NAMES[kind]} {regime:17s}{middle:7.3f}  {low:.3f} to {high:.3f}"


@dataclass(frozen=True)
class _Rise:
    """A chain's rise by seed, nats, and what was foretold: the median and the ends of its 90 % interval."""

    chain: str
    by_seed: np.ndarray
    foretold: float
    low: float
    high: float

    @property
    def measured(self) -> float:
        return float(self.by_seed.mean())

    @property
    def faults(self) -> list[str]:
        found = []
        if abs(self.foretold / self.measured - 1.0) > NEAR:
            found.append(f"{self.chain} rises by {self.measured:.3f}, {self.foretold:.3f} was foretold")
        if not self.low <= self.measured <= self.high:
            found.append(f"{self.chain} rises by {self.measured:.3f}, outside {self.low:.3f} to {self.high:.3f}")
        return found

    def __str__(self) -> str:
        seeds = " ".join(f"{rise:.3f}" for rise in self.by_seed)
        off = f"{100 * (self.foretold / self.measured - 1.0):+.0f} %"
        measured = f"{self.measured:.3f} ({seeds})"
        return f"  {self.chain:22s}{measured:26s}{self.foretold:.3f} {off:>6s}     {self.low:.3f} to {self.high:.3f}"


def _foretold(predictor: Predictor, frame: pd.DataFrame, at: int) -> Iterator[_Rise]:
    """The rise of every chain that harms, at a generation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        table = RunTable.from_frame(frame)
    columns, runs = known_columns(table), table.frame
    model = next(iter(predictor.models.values()))
    real = (runs["generation"] == 0).to_numpy()
    loss = table.column(table.loss_columns[0])
    harmed = runs[(runs["generation"] == at) & (runs["synthetic_share"] > 0)]
    for (regime, real_share), rows in harmed.groupby(["regime", "real_share"]):
        numbers = rows.index.to_numpy()
        of_seed = [loss[real & (runs["seed"] == runs["seed"][number]).to_numpy()].mean() for number in numbers]
        pair = [int(np.flatnonzero(real)[0]), int(numbers[0])]
        both = model.predict({name: values[pair] for name, values in columns.items()}, joint=True)
        difference = both.difference(1).summary()
        low, high = difference.intervals[0.9]
        chain = f"{regime}, {real_share:g} real" if real_share else str(regime)
        yield _Rise(chain, loss[numbers] - np.array(of_seed), difference.median, low, high)


def _long_run(name: str, frame: pd.DataFrame) -> list[str]:
    """Which form the rise of each chain that accumulates has: by the law's κ, and by the evidence for each form."""
    last = int(frame["generation"].max())
    fit = next(iter(_fitted(frame).models.values())).fit
    missed = []
    for regime in sorted(set(frame["regime"]) & {"accumulate", "accumulate_fixed", "subsample"}):
        decay = fit.draws[:, fit.law.names.index(f"synthetic_decay.{regime}")]
        low, middle, high = np.quantile(decay, (0.05, 0.5, 0.95))
        bounded = float(np.mean(decay > 1.0))
        rises = _rises_by_seed(frame, regime)
        interval = f"κ {middle:.2f} ({low:.2f} to {high:.2f}), bounded in {bounded:.0%} of draws"
        print(f"{regime} over {last} generations: {interval}")
        found = sorted((evidence(form, rises, FIRST) for form in FORMS), key=lambda one: one.aic)
        for one in found:
            print(f"  {one.form:8s} c {one.scale:.3f}, rmse {one.rmse_nats:.4f} nats, AIC {one.aic:.1f}")
        lead = found[1].aic - found[0].aic
        by_law, by_evidence = max(bounded, 1.0 - bounded) >= SURE, lead >= DECIDED
        verdict = "decided" if by_evidence else "undecided"
        print(f"  {verdict}: {found[0].form} before {found[1].form} by {lead:.1f} of AIC")
        if not by_law and not by_evidence:
            missed.append(f"{name}: {regime}: {last} generations don't decide the form")
    return missed


def _rises_by_seed(frame: pd.DataFrame, regime: str) -> np.ndarray:
    """Rises over generation 0 `(seeds, generations)`, nats."""
    rows = frame[(frame["regime"] == regime) | (frame["generation"] == 0)]
    by_seed = rows.pivot_table("loss", "seed", "generation").to_numpy()
    return by_seed[:, 1:] - by_seed[:, :1]
