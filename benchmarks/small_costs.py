"""Costs that must stay small, each as a ratio to plain NumPy or pandas on as much data, in the same run.

    python benchmarks/small_costs.py

Best of many turns, interleaved, as other work on the machine is no fault of this code. Exit code 1 if a cost is beyond
its bound.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from foretrain.core.model.architecture import Architecture
from foretrain.datasets.corpus.synthetic import SyntheticConfig, build_source
from foretrain.datasets.facts.accelerators import accelerator
from foretrain.datasets.runs.run_table import RunTable
from foretrain.datasets.tokens.mixture import Mixture
from foretrain.datasets.tokens.store import Windows
from foretrain.simulator.cluster.memory.memory import memory
from foretrain.simulator.cluster.step_time.steps import Steps, layouts, machine, model

TURNS = 15
CONTEXT, SEQUENCES = 128, 64
SHAPE = Architecture(
    layers=80, width=8192, heads=64, kv_heads=8, ffn_width=28672, vocab_size=32000, context_length=4096
)


class Store:
    """Twelve domains of tokens in memory, as a mixture asks for them."""

    digest = "0" * 64
    domains = tuple(f"d{k}" for k in range(12))

    def count(self, domain: str, split: str) -> int:
        """Tokens of a domain."""
        return 900_000

    def windows(self, domain: str, split: str, context_length: int) -> Windows:
        """Its sequences, in two shards."""
        tokens = np.arange(900_000)
        return Windows([tokens[:300_000], tokens[300_000:]], context_length)


def batch() -> tuple[Callable[[], object], Callable[[], object]]:
    """One step's data of eight small runs, against gathering as many tokens."""
    store = Store()
    shares = dict.fromkeys(store.domains, 1 / len(store.domains))
    mixture = Mixture(store, shares, CONTEXT, SEQUENCES * 200, 0, {"d0": 100_000})  # type: ignore[arg-type]
    tokens, place = np.arange(900_000), np.random.default_rng(0).integers(0, 800_000, (SEQUENCES, 1))
    return lambda: mixture.rows(SEQUENCES, 2 * SEQUENCES), lambda: tokens[place + np.arange(CONTEXT + 1)]


def sampling() -> tuple[Callable[[], object], Callable[[], object]]:
    """A million tokens of a synthetic source, against as many random numbers."""
    source, rng = build_source(SyntheticConfig(kind="zipf_markov", vocab_size=2048)), np.random.default_rng(0)
    return lambda: source.sample(rng, 1_000_000), lambda: rng.random(1_000_000)


def table(folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """A table of 20,000 runs, read and checked, against reading it."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"x{i}": rng.uniform(size=20_000) for i in range(9)})
    frame = frame.assign(N=[f"{n:.3f}B" for n in rng.uniform(1, 9, 20_000)], D=2e10, loss=rng.uniform(2, 3, 20_000))
    path = folder / "runs.csv"
    frame.to_csv(path, index=False)
    return lambda: RunTable.read(path), lambda: pd.read_csv(path)


def memories() -> tuple[Callable[[], object], Callable[[], object]]:
    """The memory of 100,000 layouts, against as many exponentials and a sort."""
    rng = np.random.default_rng(1)
    columns = {name: 2.0 ** rng.integers(0, 4, 100_000) for name in ("tp", "pp", "dp", "micro_batch", "accumulation")}
    steps = Steps(model(SHAPE), machine(accelerator("H100"), "bf16", devices=4096), layouts(**columns))
    values = rng.random(100_000)
    return lambda: memory(steps), lambda: np.sort(np.exp(values))


def main() -> None:
    """Print a line for each cost."""
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        costs = {
            "a step's data / gathering its tokens": (batch(), 80.0),
            "a synthetic source / random numbers": (sampling(), 60.0),
            "reading a run table / pandas.read_csv": (table(Path(folder)), 25.0),
            "memory of layouts / exp and sort of as many": (memories(), 60.0),
        }
        for name, ((ours, plain), bound) in costs.items():
            took = [(seconds(ours), seconds(plain)) for _ in range(TURNS)]
            mine, theirs = (min(column) for column in zip(*took, strict=True))
            ratio = mine / theirs
            missed += [name] if ratio > bound else []
            verdict = "met   " if ratio <= bound else "MISSED"
            print(f"{verdict} {name}: {1e3 * mine:.3g} ms / {1e3 * theirs:.3g} ms = {ratio:.3g}, at most {bound:g}")
    sys.exit(1 if missed else 0)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes once."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
