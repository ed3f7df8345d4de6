"""A ladder on a source whose entropy is known exactly: does the fitted E find it?

    python benchmarks/known_entropy.py

Four sizes learn a Markov source over 64 symbols; its entropy rate follows from its transition table, and no model can
do better. Trains for some three minutes on two cores; interrupted, the same command goes on.
"""

from __future__ import annotations

import numpy as np
from _proxies import WORK, train
from foretrain.simulator.predictor.predictor import Predictor

SOURCE = {"kind": "zipf_markov", "vocab_size": 64, "branching": 16, "tokens": "5M", "seed": 1}
SPACE = {
    "widths": [8, 16, 24, 40],
    "depth": 2,
    "tokens": ["0.125M", "0.25M", "0.5M", "1M", "2M"],
    "context_length": 128,
    "lr": 0.005,
    "engine": {"compile": "always", "eval_tokens": 131072},
}


def main() -> None:
    """Train, fit, compare."""
    corpus = {"name": "known-entropy", "domains": {"chain": {"synthetic": SOURCE}}}
    project, seconds = train(WORK / "known_entropy", corpus, SPACE)
    table = project.table()
    exact = project.store().entropy_nats("chain")
    assert exact is not None
    loss, params = table.column("loss"), table.column("params")
    best = np.sort([loss[params == size].min() for size in set(params)])[::-1]
    print(f"{len(table)} rows in {seconds / 60:.1f} min (of this call); exact entropy {exact:.4f} nats per token")
    print("lowest loss by size, ascending: " + " ".join(f"{value:.4f}" for value in best))
    for law in ("auto", "chinchilla"):
        fitted = Predictor.fit(table, law=law).models["loss"].parameters["E"]
        print(f"fitted E, law {law:<12}{fitted:.4f}  ({100 * (fitted / exact - 1):+.2f} %)")


if __name__ == "__main__":
    main()
