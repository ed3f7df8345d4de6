"""A campaign over five selections that is killed: SIGKILL at random moments, from reading the pool to the last run.

Each time the whole process group is gone at once. The campaign goes on when it is started again, and must end with the
losses of the same campaign left alone, bit for bit; what the selections keep is compared by digest.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from foretrain.proxies.project import Project

from .contenders import write_labels
from .pool import make_pool

__all__ = ["main"]

PATIENCE_S = 600
SELECTIONS: dict[str, list[dict[str, Any]]] = {
    "random": [{"sample": {"keep": 0.5}}],
    "dedup": [{"dedup": {"kind": "minhash"}}],
    "judge": [{"judge": {"labels": "labels.csv", "keep": 0.5}}],
    "density": [{"density": {"keep": 0.5}}],
    "strata": [{"strata": {"clusters": 8, "keep": 0.5}}],
}
SPACE = {
    "corpora": "corpora.yaml",
    "widths": [16],
    "tokens": [100_000, 300_000],
    "seeds": 2,
    "mix": {"pool": 1.0},
    "selections": ["none", *({"name": name, "select": steps} for name, steps in SELECTIONS.items())],
    # What is measured on the spot may come out otherwise in another project, and bits with it.
    "engine": {"device": "cpu", "precision": "fp32", "eval_tokens": 4_096, "checkpoint_every_s": 0.2},
}


def main(options: list[str]) -> list[str]:
    """Print what happened; return what was missed."""
    parser = argparse.ArgumentParser(prog="selection.py survival")
    parser.add_argument("--kills", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args(options)
    rng = random.Random(words.seed)
    with tempfile.TemporaryDirectory(prefix="selection-") as folder:
        alone, killed = (_written(Path(folder) / name) for name in ("alone", "killed"))
        seconds = _seconds(alone)
        expected = Project.open(alone / "project")
        moments = []
        for number in range(words.kills):  # the first third anywhere from the start, the others while it trains
            from_start = number < words.kills // 3
            after_s = rng.uniform(0, seconds / 2 if from_start else 3)
            moments.append(_killed(killed, after_s, from_start))
        _seconds(killed)
        found = Project.open(killed / "project")
        missed = _differences(expected, found)
        runs = len(found.table().frame)
    print(f"{runs} rows over {len(SELECTIONS)} selections and all text, {seconds:.0f} s left alone; killed while")
    print("  " + ", ".join(moments))
    print("  the same bits" if not missed else f"  {len(missed)} differences")
    return missed


def _written(folder: Path) -> Path:
    """A pool of 300 kB with its space, in a new folder."""
    folder.mkdir()
    pool = make_pool(folder, 0, 300_000)
    write_labels(pool, 0)
    (folder / "space.yaml").write_text(json.dumps(SPACE))  # JSON is YAML
    return folder


def _started(folder: Path) -> subprocess.Popen[bytes]:
    words = ["-m", "foretrain", "proxies", "train", str(folder / "space.yaml"), "--workers", "2"]
    command = [sys.executable, *words, "--out", str(folder / "project")]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _seconds(folder: Path) -> float:
    """Train to the end and return how long it took."""
    began, process = time.monotonic(), _started(folder)
    _, errors = process.communicate(timeout=PATIENCE_S)
    if process.returncode:
        raise SystemExit(f"the campaign ended with {process.returncode}: {errors.decode()[-2_000:]}")
    return time.monotonic() - began


def _killed(folder: Path, after_s: float, from_start: bool) -> str:
    """Start, kill everything some seconds after the start, or after training began, and say what it was doing."""
    began, process = time.time(), _started(folder)
    while not from_start and process.poll() is None:
        if any(_modified(path) > began for path in folder.glob("project/main/groups/*/progress.json")):
            break
        time.sleep(0.02)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    main_stage = folder / "project" / "main"
    if process.returncode != -signal.SIGKILL:
        return "over"
    if not main_stage.is_dir():
        return "preparing" if not (folder / "corpora.tokens" / "tokens.json").exists() else "designing"
    done = len([*main_stage.glob("runs/*/result.json")])
    return f"training ({done} runs done)"


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _differences(expected: Project, found: Project) -> list[str]:
    """What isn't the same to the last bit."""
    missed = []
    for key in expected.store().selections:
        if expected.store().selection_digest(key) != found.store().selection_digest(key):
            missed.append(f"the selection {key} keeps other text")
    tables = [project.table().frame.set_index("run_id").sort_index() for project in (expected, found)]
    losses = [column for column in tables[0].columns if column.startswith("loss")]
    for run_id, row in tables[0][losses].iterrows():
        if run_id not in tables[1].index or not _equal(row, tables[1].loc[run_id, losses]):
            missed.append(f"the run {run_id} ended with other losses")
    return missed


def _equal(one: pd.Series, other: pd.Series) -> bool:
    return one.to_numpy(float).tobytes() == other.to_numpy(float).tobytes()
