"""Small transformers trained on several selections of a pool through the whole pipeline: space.yaml to run table."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from foretrain.proxies.executors import get_executor
from foretrain.proxies.project import Project

from .pool import SHARES, Pool

__all__ = ["Ladder", "paired", "train", "write_clean"]

_CLEAN_FILE = "clean.csv"


@dataclass(frozen=True)
class Ladder:
    """Widths, token counts and seeds that every selection is trained with, and the schedule of the learning rate."""

    widths: Sequence[int]
    tokens: Sequence[float]
    seeds: int
    workers: int
    schedule: str = "constant"


def train(
    pool: Pool, selections: Sequence[tuple[str, list[dict[str, Any]]]], ladder: Ladder
) -> tuple[pd.DataFrame, float]:
    """Train the ladder with each selection, a kind and steps; one without steps is text as it is.

    Everything is written beside the pool's `corpora.yaml`.

    Returns:
        The run table with the columns `natural` and `even`, means over topics as `Loss` has them, and the seconds that
        training took, all workers added.
    """
    folder = pool.corpus.folder
    entries = [{"name": name, "select": steps} if steps else "none" for name, steps in selections]
    space = {
        "corpora": "corpora.yaml",
        "widths": [*ladder.widths],
        "tokens": [*ladder.tokens],
        "seeds": ladder.seeds,
        "recipe": {"schedule": ladder.schedule},
        "mix": {"pool": 1.0},
        "selections": entries,
    }
    (folder / "space.yaml").write_text(json.dumps(space))  # JSON is YAML
    project = Project.create(folder / "project", folder / "space.yaml", workers=ladder.workers)
    started = time.monotonic()
    project.train(get_executor("local", ladder.workers))
    seconds = (time.monotonic() - started) * ladder.workers
    frame = project.table().frame
    natural = sum(share * frame[f"loss.{topic}"] for topic, share in SHARES.items())
    even = sum(frame[f"loss.{topic}"] for topic in SHARES) / len(SHARES)
    return frame.assign(natural=natural, even=even), seconds


def write_clean(pool: Pool) -> str:
    """Write scores that are 1 for clean documents and 0 for noise, and return the file's name."""
    rows = "".join(f"{number},{int(kind == 'clean')}\n" for number, kind in enumerate(pool.noise))
    Path(pool.corpus.folder, _CLEAN_FILE).write_text(f"document,score\n{rows}")
    return _CLEAN_FILE


def paired(frame: pd.DataFrame, column: str, name: str, against: str) -> np.ndarray:
    """Differences between two selections `(seeds,)`, run by run, of runs that are alike but for it."""
    by_seed = frame.set_index(["selection", "seed"])[column]
    return (by_seed[name] - by_seed[against]).to_numpy()
