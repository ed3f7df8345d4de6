"""Selections at scale: documents a second, seconds, and the most memory, of each step on a million documents of 1 kB.

Documents are sentences of the shared corpora, of one topic each, put together anew; one in twenty is a copy of another,
one in twenty a near-copy (a word in fifty changed). Each step runs alone, in a process of its own, on one core. It must
stay under 2 GiB; `exact` must find all copies, `minhash` 95 % of the near-copies.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from foretrain.core.units import format_count, parse_count
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.selection.registry import steps
from foretrain.datasets.selection.selection import select

from .pool import CORPORA, SHARES

STEPS: dict[str, dict[str, Any]] = {
    "exact": {"dedup": {"kind": "exact"}},
    "minhash": {"dedup": {"kind": "minhash"}},
    "semantic": {"dedup": {"kind": "semantic"}},
    "density": {"density": {}},
    "strata": {"strata": {}},
    "perplexity": {"perplexity": {}},
    "judge": {"judge": {"labels": "labels.csv"}},
}
MOST_GIB = 2.0
FILES = 4
SIZE_BYTES = 1_000  # of a document, about
COPIES = ("copy", "near")
COPIES_SHARE = 0.05  # of each kind
LABELS = 200  # which the judge is distilled from: it tells the topics
REMEMBERED = 10_000  # documents that copies are made of
CHANGED_WORDS = 0.02
FOUND = {"exact": ("copy", 1.0), "minhash": ("near", 0.95)}


def main(options: list[str]) -> list[str]:
    """Print the table; return what was missed."""
    parser = argparse.ArgumentParser(prog="selection.py scale", description=__doc__)
    parser.add_argument("--documents", default="1M", help="how many, such as 100k (default 1M)")
    parser.add_argument("--steps", default=",".join(STEPS), help=f"which, of {','.join(STEPS)} (default all)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(options)
    count = int(parse_count(args.documents))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        kinds = write_documents(folder, count, args.seed)
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(f"{format_count(count)} documents, {size / 1e9:.2f} GB of JSON lines, seed {args.seed}", end=", ")
        print(f"written in {time.perf_counter() - started:.0f} s; each step in one process of one thread")
        print(
            f"{'step':12s} {'seconds':>8s} {'CPU s':>8s} {'documents/s':>12s} {'GiB':>6s} {'kept':>6s}  left of",
            end=" ",
        )
        print("copies, near-copies, others")
        missed = []
        for step in args.steps.split(","):
            missed += show(step, in_own_process(folder, STEPS[step]), kinds)
    return missed


def show(step: str, result: tuple[np.ndarray, dict[str, Any]], kinds: np.ndarray) -> list[str]:
    """Print the line of a step; return what it missed. `kinds: (n,)`, of each document."""
    kept, figures = result
    left = {kind: float(kept[kinds == kind].mean()) for kind in (*COPIES, "new")}
    print(
        f"{step:12s} {figures['seconds']:8.0f} {figures['cpu_s']:8.0f} {len(kept) / figures['seconds']:12,.0f} "
        f"{figures['gib']:6.2f} {figures['share']:6.3f}  " + " ".join(f"{share:.3f}" for share in left.values()),
        flush=True,
    )
    missed = []
    if figures["gib"] >= MOST_GIB:
        missed.append(f"{step} takes {figures['gib']:.2f} GiB; at most {MOST_GIB} are allowed")
    if step in FOUND:
        kind, least = FOUND[step]
        if 1 - left[kind] < least:
            missed.append(f"{step} finds {1 - left[kind]:.3f} of what is a {kind}; {least} are asked")
    return missed


def in_own_process(folder: Path, step: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """Run a step in a fresh process, whose memory is its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run, folder, step).result()


def run(folder: Path, step: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """Which documents a step keeps `(n,)`, and what that took: seconds, CPU seconds, GiB at most, share of bytes."""
    domain = {"path": "*.jsonl", "select": [step]}
    corpus = Corpus.from_mapping({"validation_share": 0, "domains": {"web": domain}}, folder=folder)
    steps()
    started = time.perf_counter()
    found = select(corpus, "web")
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    return found.kept, {
        "seconds": seconds,
        "cpu_s": used.ru_utime + used.ru_stime,
        "gib": used.ru_maxrss / 2**20,  # kilobytes on Linux
        "share": found.kept_share,
    }


def write_documents(folder: Path, count: int, seed: int) -> np.ndarray:
    """Write documents into a few files, and labels of some; return what each is, new, copy or near `(n,)`."""
    made = documents(seed)
    kinds, labels = [], ["document,label"]
    for number in range(FILES):
        with (folder / f"{number}.jsonl").open("w") as file:
            for _ in range(count * number // FILES, count * (number + 1) // FILES):
                kind, topic, text = next(made)
                if len(labels) <= LABELS:
                    labels.append(f"{len(kinds)},{int(topic == 0)}")
                kinds.append(kind)
                file.write(json.dumps({"text": text}) + "\n")
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    return np.array(kinds)


def documents(seed: int) -> Iterator[tuple[str, int, str]]:
    """Documents without end: what each is, the number of its topic, and its text."""
    rng = random.Random(seed)
    topics = [sentences(topic) for topic in SHARES]
    recent: list[tuple[int, str]] = []
    for number in range(10**9):
        kind = rng.choices((*COPIES, "new"), (COPIES_SHARE, COPIES_SHARE, 1 - 2 * COPIES_SHARE))[0] if recent else "new"
        if kind == "new":
            (topic,) = rng.choices(range(len(topics)), list(SHARES.values()))
            text = put_together(topics[topic], rng)
            recent[number % REMEMBERED : number % REMEMBERED + 1] = [(topic, text)]
        else:
            topic, text = rng.choice(recent)
            text = changed(text, rng) if kind == "near" else text
        yield kind, topic, text


def sentences(topic: str) -> list[str]:
    """The sentences of a topic, of 20 to 400 characters."""
    path = CORPORA / f"{topic}.train.jsonl.gz"
    if not path.exists():
        raise SystemExit(f"{path} is absent: this benchmark reads the shared corpora in place")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    return [part for text in texts for part in text.replace("\n", " ").split(". ") if 20 <= len(part) <= 400]


def put_together(parts: list[str], rng: random.Random) -> str:
    text = ""
    while len(text) < SIZE_BYTES:
        text += rng.choice(parts) + ". "
    return text


def changed(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    for place in rng.sample(range(len(words)), max(1, round(CHANGED_WORDS * len(words)))):
        words[place] = rng.choice(words)
    return " ".join(words)
