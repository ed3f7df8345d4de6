"""One campaign of proxies for each mixer: the same sizes, tokens, seeds and text, each with a learning rate of its own.

Every campaign is a project in build/benchmarks/architectures, resumable; the run table of all of them goes to
benchmarks/results/architectures.csv, where the column `architecture` tells them apart.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from _proxies import WORK, corpora
from foretrain.datasets.runs.run_table import RunTable
from foretrain.proxies.executors import get_executor
from foretrain.proxies.project import Project

RESULTS = Path(__file__).resolve().parents[1] / "results" / "architectures.csv"
DOMAINS = ("arxiv_math", "books", "code_cpp", "dialogue", "law_german")
TOKENS = {"transformer": "8M"}
"""How far each mixer is trained; the others to OTHERS_TO."""
OTHERS_TO = "2M"
BUDGETS = ("0.25M", "0.5M", "1M", "2M", "4M", "8M")
SLOW_LEARNERS = ("mlp_mixer", "hyper_mixer")
"""Their best learning rate lies lower."""
MIXERS = ("transformer", "hyena", "dynamic_conv", "h3", "hyper_mixer", "kernel_conv", "mlp_mixer")


def space(name: str) -> dict[str, Any]:
    """The space of a mixer's campaign."""
    last = BUDGETS.index(TOKENS.get(name, OTHERS_TO))
    low, high = (0.001, 0.008) if name in SLOW_LEARNERS else (0.002, 0.016)
    written: dict[str, Any] = {
        "corpora": "../corpora.yaml",
        "sizes": ["30k", "60k", "125k", "250k"],
        "tokens": list(BUDGETS[: last + 1]),
        "seeds": 2,
        "mix": "uniform",
        "lr": {"low": low, "high": high, "points": 4, "sizes": ["60k"], "tokens": "0.5M"},
        "engine": {"eval_tokens": 32_768},
    }
    return written if name == "transformer" else {**written, "mixer": name}


def train(name: str, workers: int | None = None) -> None:
    """Train a mixer's campaign to its end, or go on with it, `workers` groups at once; print what it took."""
    folder = WORK / "architectures" / name
    folder.mkdir(parents=True, exist_ok=True)
    shared = folder.parent / "corpora.yaml"
    if not shared.is_file():
        shared.write_text(yaml.safe_dump(corpora(DOMAINS)), encoding="utf-8")
    (folder / "space.yaml").write_text(yaml.safe_dump(space(name)), encoding="utf-8")
    started = time.monotonic()
    project = Project.create(folder / "proxies", folder / "space.yaml", workers)
    project.train(get_executor("local", workers))
    choice = project.learning_rate()
    reason = choice.reason if choice else "fixed lr"
    print(f"{name}: {len(project.table())} rows, {(time.monotonic() - started) / 60:.1f} min of this call; {reason}")


def collect() -> RunTable:
    """Write the run table of the campaigns that are done; what others left in the results stays."""
    kept = RunTable.read(RESULTS).to_frame() if RESULTS.is_file() else pd.DataFrame()
    return kept
