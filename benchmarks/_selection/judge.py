"""A judge distilled from a few hundred labels: how well it tells clean documents of the noisy pool from others.

Labels say clean or noise of documents drawn at random; all other documents test it. Must reach: an AUC of .9 with 200
labels, on every seed. Each seed makes a pool, labels, and folds anew. Wrong labels stand for a judge that errs.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from foretrain.datasets.facts.selection import selection_facts
from foretrain.datasets.selection.registry import steps
from foretrain.datasets.selection.selection import select
from sklearn.metrics import roc_auc_score

from .pool import NOISE, Pool, make_pool

__all__ = ["main"]

LEAST_AUC, LABELS = 0.9, 200
CASES = ((50, 0.0), (100, 0.0), (LABELS, 0.0), (LABELS, 0.1), (LABELS, 0.2), (800, 0.0))
"""Labels, and the share of them that is wrong."""
BYTES_PER_TOKEN = 4.0
DEAR = "ask-llm"  # the published judge whose cost is set beside it


def main(options: list[str]) -> list[str]:
    """Print the table; return what was missed."""
    parser = argparse.ArgumentParser(prog="selection.py judge")
    parser.add_argument("--seeds", type=int, default=3)
    words = parser.parse_args(options)
    found: dict[tuple[int, float], list[dict[str, Any]]] = {case: [] for case in CASES}
    size = 0
    for seed in range(words.seeds):
        with tempfile.TemporaryDirectory(prefix="selection-") as folder:
            pool = make_pool(Path(folder), seed)
            size = int(pool.sizes_bytes.sum())
            for labels, wrong in CASES:
                found[labels, wrong].append(_tried(pool, labels, wrong, seed))
    print(
        f"Judge distilled from labels, half of a pool of {size / 1e6:.1f} MB kept; mean of {words.seeds} seeds, lowest "
        "AUC in brackets"
    )
    titles = "".join(f"{f'AUC {kind}':>17s}" for kind in ("all", *NOISE))
    print(f"{'labels':>7s}{'wrong, %':>9s}{titles}{'held out':>10s}{'noise left, %':>15s}{'CPU s':>8s}{'s/MB':>7s}")
    for (labels, wrong), rows in found.items():
        line = f"{labels:7d}{100 * wrong:9.0f}"
        for kind in ("all", *NOISE):
            areas = [row[kind] for row in rows]
            line += f"{np.mean(areas):9.3f} ({min(areas):.3f})"
        left, held, cpu_s = (np.mean([row[key] for row in rows]) for key in ("noise_left", "held_out", "cpu_s"))
        print(f"{line}{held:10.3f}{100 * left:15.1f}{cpu_s:8.1f}{cpu_s / size * 1e6:7.2f}")
    print(_cost(size))
    lowest = min(row["all"] for row in found[LABELS, 0.0])
    missed = f"AUC {lowest:.3f} with {LABELS} labels; expected {LEAST_AUC} at least"
    return [] if lowest >= LEAST_AUC else [missed]


def _tried(pool: Pool, labels: int, wrong: float, seed: int) -> dict[str, Any]:
    """What a judge from so many labels is worth on the other documents."""
    rng = np.random.default_rng([seed, labels])
    clean = pool.noise == "clean"
    known = np.sort(rng.choice(len(clean), labels, replace=False))
    said = clean[known] ^ (rng.random(labels) < wrong)
    with open(pool.corpus.folder / "labels.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("document", "label"), *zip(known.tolist(), said.astype(int).tolist(), strict=True)]
        )
    started = time.process_time()
    step = steps()["judge"].model_validate({"labels": "labels.csv", "keep": 0.5, "seed": seed})
    selection = select(pool.corpus, "pool", [step])
    (outcome,) = selection.outcomes
    others = np.setdiff1d(np.arange(len(clean)), known)
    areas: dict[str, Any] = {"cpu_s": time.process_time() - started, "noise_left": pool.noise_left(selection.kept)}
    areas["held_out"] = outcome.chosen.facts["auc_held_out"]
    for kind in ("all", *NOISE):
        asked = others if kind == "all" else others[clean[others] | (pool.noise[others] == kind)]
        areas[kind] = float(roc_auc_score(clean[asked], outcome.chosen.scores[asked]))
    return areas


def _cost(size_bytes: int) -> str:
    """What the published judge would take, by two FLOPs per parameter and token (Kaplan et al. 2020)."""
    params = selection_facts().judge_params([DEAR])
    if params is None:
        return f"(no published judge called {DEAR})"
    flops = 2 * params * size_bytes / BYTES_PER_TOKEN
    share = LABELS * 1_200 / size_bytes  # documents of the pool have about 1.2 kB
    return (
        f"Beside it, a judge of {params / 1e9:.0f}B parameters reads the pool in {flops:.2g} FLOPs, {LABELS} documents "
        f"to distil from in {share * flops:.2g}"
    )
