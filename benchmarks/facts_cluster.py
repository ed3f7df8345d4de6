"""Make datasets/facts/step_time.json from the measured runs: efficiencies, residual trees, widths of intervals.

    python benchmarks/facts_cluster.py            write the file (about a minute)
    python benchmarks/facts_cluster.py --check    make it again and compare

What is written are parameters and trees; no row of a table. Widths come from sources left out, one at a time.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from _cluster import RUNS, SMALL, fit_model, left_out, measured, small_part, spread_widths
from foretrain.core.files import sha256_file
from foretrain.simulator.cluster.step_time.step_model import Spread, StepTimeModel
from foretrain.simulator.fitting import one_thread

TARGET = Path(__file__).resolve().parents[1] / "datasets" / "facts" / "step_time.json"


def made() -> StepTimeModel:
    """The model fitted to every row (a fifth of the small ones), with widths measured on sources left out."""
    data, _ = measured()
    standardised, source = [], []
    for name, rows, model in left_out(data):
        if name == SMALL:
            continue  # a fifth of them was seen
        part = data.take(rows)
        z = np.log(part.step_time_s / model.predict(part.steps).total_s) / model.log_sd(part.steps)
        standardised.append(z)
        source.append(part.source)
    kept = data.take(np.flatnonzero((data.source != SMALL) | small_part(data)))
    model, _ = fit_model(kept)
    widths = spread_widths(np.concatenate(standardised), np.concatenate(source))
    names, counts = np.unique(kept.source, return_counts=True)
    provenance = {
        "command": "python benchmarks/facts_cluster.py",
        "table": RUNS.name,
        "digest": sha256_file(RUNS),
        "rows": len(kept),
        "sources": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        "published_by": "mosaicml/llm-foundry, VIA-Research/vTrain, bigscience-workshop, NVIDIA-NeMo/Megatron-Bridge, "
        "NVIDIA/Megatron-LM, MooreThreads/SimuMax, AI-Hypercomputer/maxtext, arXiv:2104.04473, arXiv:2402.16819",
    }
    spread = Spread(model.spread.noise_sd, model.spread.noise_sd_experts, widths)
    return replace(model, spread=spread, provenance=provenance)


def main() -> None:
    """Write the file, or compare."""
    with one_thread():
        model = made()
    if "--check" not in sys.argv[1:]:
        model.save(TARGET)
        print(f"{TARGET.name}: {model.provenance['rows']} rows, widths {model.spread.quantiles}")
        return
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / TARGET.name
        model.save(again)
        same = again.read_bytes() == TARGET.read_bytes()
    print("the same" if same else "differs")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
