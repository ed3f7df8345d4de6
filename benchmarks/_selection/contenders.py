"""The selections that are compared, as `corpora.yaml` states them, and what each keeps of a pool."""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from foretrain.datasets.selection.reading import Steps
from foretrain.datasets.selection.selection import Selection, select
from foretrain.datasets.selection.step import Step
from pydantic import TypeAdapter, ValidationError

from .losses import drawn
from .pool import Pool

__all__ = ["CONTENDERS", "LABELS", "MissingStepError", "Screened", "judged", "screened", "write_labels"]

KEEP = 0.5
LABELS = 200
_LABELS_FILE = "labels.csv"
_JUDGE = {"labels": _LABELS_FILE}
# After a judge, each stratum keeps its share of what the judge let pass: the judge chooses within topics only.
_AS_THEY_ARE = {"clusters": 32, "quotas": "proportional"}
_EQUAL = {"clusters": 32, "quotas": "equal"}
CONTENDERS: dict[str, list[dict[str, Any]] | None] = {
    "random": [],
    "clean only": None,
    "dedup, exact": [{"dedup": {"kind": "exact"}}],
    "dedup, minhash": [{"dedup": {"kind": "minhash"}}],
    "dedup, semantic .9": [{"dedup": {"kind": "semantic", "threshold": 0.9}}],
    "density, tuned": [{"density": {"keep": KEEP}}],
    "density, wrong": [{"density": {"keep": KEEP, "bandwidth": 0.8}}],
    "judge": [{"judge": {**_JUDGE, "keep": KEEP}}],
    "judge, keep .7": [{"judge": {**_JUDGE, "keep": 0.7}}],
    "perplexity band": [{"perplexity": {"keep": KEEP}}],
    "lowest perplexity": [{"perplexity": {"band": [0, KEEP]}}],
    "strata 32, equal": [{"strata": {**_EQUAL, "keep": KEEP}}],
    "judge + strata, equal": [{"judge": {**_JUDGE, "keep": 0.7}}, {"strata": {**_EQUAL, "keep": KEEP / 0.7}}],
    "judge + strata": [{"judge": {**_JUDGE, "keep": 0.7}}, {"strata": {**_AS_THEY_ARE, "keep": KEEP / 0.7}}],
    "dedup + judge": [{"dedup": {"kind": "minhash"}}, {"judge": {**_JUDGE, "keep": 0.6}}],
    "dedup + judge + strata": [
        {"dedup": {"kind": "minhash"}},
        {"judge": {**_JUDGE, "keep": 0.75}},
        {"strata": {**_AS_THEY_ARE, "keep": 0.8}},
    ],
}
"""Selections by name; None stands for the documents whose labels say that they are clean. Where one keeps more than
half of the bytes, half is drawn from what it keeps."""


class MissingStepError(Exception):
    """A contender needs a step, or a kind of one, that isn't there."""


@dataclass(frozen=True)
class Screened:
    """What a contender keeps: half of the bytes or more.

    `kept` says it of each document `(n,)`; `selection` is None where no step ran; `cpu_s` is the seconds of CPU taken.
    """

    kept: np.ndarray
    selection: Selection | None
    cpu_s: float

    def half(self, pool: Pool, rng: np.random.Generator) -> np.ndarray:
        """Draw documents of half the pool's bytes from what is kept; return their numbers `(k,)`."""
        return drawn(self.kept, pool.sizes_bytes, KEEP * pool.sizes_bytes.sum(), rng)


def screened(pool: Pool, name: str, seed: int) -> Screened:
    """Run a contender on a pool.

    Raises:
        MissingStepError: A step isn't there.
        AssertionError: It keeps less than half of the bytes.
    """
    config = CONTENDERS[name]
    started, selection = time.process_time(), None
    kept = np.ones(len(pool.texts), bool) if config is not None else pool.noise == "clean"
    if config:
        write_labels(pool, seed)
        selection = select(pool.corpus, "pool", _steps(config, seed))
        kept = selection.kept
    cpu_s = time.process_time() - started
    share = pool.sizes_bytes[kept].sum() / pool.sizes_bytes.sum()
    assert share > KEEP - 0.005, f"{name} keeps {share:.1%} of the bytes; expected {KEEP:.0%} or more"
    return Screened(kept, selection, cpu_s)


def judged(pool: Pool, seed: int) -> np.ndarray:
    """The scores of all documents of a pool by a judge distilled from labels `(n,)`.

    Raises:
        MissingStepError: There is no judge.
    """
    write_labels(pool, seed)
    (outcome,) = select(pool.corpus, "pool", _steps([{"judge": {**_JUDGE, "keep": 1}}], seed)).outcomes
    return outcome.chosen.scores


def _steps(config: list[dict[str, Any]], seed: int) -> tuple[Step, ...]:
    """Steps as `corpora.yaml` states them, with a seed."""
    seeded = [{name: {**settings, "seed": seed} for name, settings in step.items()} for step in config]
    try:
        return TypeAdapter(Steps).validate_python(seeded)
    except ValidationError as error:
        raise MissingStepError(error.errors()[0]["msg"]) from None


def write_labels(pool: Pool, seed: int, count: int = LABELS) -> None:
    """Write labels of some documents, 1 for clean and 0 for noise, beside the pool's `corpora.yaml`."""
    chosen = np.random.default_rng([seed, 2]).choice(len(pool.texts), count, replace=False)
    with open(pool.corpus.folder / _LABELS_FILE, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["document", "label"])
        rows.writerows([number, int(pool.noise[number] == "clean")] for number in np.sort(chosen))
