"""What the benchmarks of proxies share: the public corpora, and a project trained on this machine, resumable."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from _tables import DATA
from foretrain.proxies.executors import get_executor
from foretrain.proxies.project import Project

CORPORA = DATA.parent / "corpora"
WORK = Path(__file__).resolve().parents[1] / "build" / "benchmarks"
"""Tokens, checkpoints and results of the benchmarks; not kept, but what makes them resumable."""


def corpora(domains: Sequence[str], **tokenizer: Any) -> dict[str, Any]:
    """A corpora.yaml over public domains; SystemExit where they are absent."""
    if not CORPORA.is_dir():
        raise SystemExit(f"{CORPORA} is absent: this benchmark reads the shared corpora in place")
    split = {name: {side: str(CORPORA / f"{name}.{side}.jsonl.gz") for side in ("train", "valid")} for name in domains}
    return {
        "name": "+".join(domains),
        "tokenizer": tokenizer or {"kind": "bytes"},
        "domains": {name: {"path": p["train"], "validation_path": p["valid"]} for name, p in split.items()},
    }


def train(folder: Path, corpus: Mapping[str, Any], space: Mapping[str, Any]) -> tuple[Project, float]:
    """Train a space to the end in `folder`, or go on there; return the project and the seconds of this call."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "corpora.yaml").write_text(yaml.safe_dump(dict(corpus)), encoding="utf-8")
    (folder / "space.yaml").write_text(yaml.safe_dump({"corpora": "corpora.yaml", **space}), encoding="utf-8")
    started = time.monotonic()
    project = Project.create(folder / "proxies", folder / "space.yaml")
    project.train(get_executor("local"), _progress)
    print(file=sys.stderr)
    return project, time.monotonic() - started


def _progress(text: str, share: float) -> None:
    print(f"\r{share:6.1%} {text:<100.100}", end="", file=sys.stderr, flush=True)
