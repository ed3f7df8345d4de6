"""Faults of a search: four processes work on one study, one of them is killed at a random moment, 20 times per storage.

Afterwards the study must be readable and go on, hold every trial that any process reported as finished, use no number
twice, and have tried again what the killed process was at. Exits with 1 where it doesn't. Ends by itself, and so does
every process that it starts.

python benchmarks/search_faults.py [--rounds 20] [--seed 0] [--storage journal|postgresql] [--url URL] [--json]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import secrets
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import optuna
import psycopg  # noqa: F401  (imported before anybody is forked)
from foretrain.core.errors import DataWarning
from foretrain.simulator.search.storage.leases import RETRY_OF, WHY, WORKER
from foretrain.simulator.search.storage.opening import open_storage, open_study
from foretrain.simulator.search.storage.trials import run_trials

_WORKERS = 4
_TRIALS = 40
_MORE = 6  # trials by which a study must still grow afterwards
_STAMP = {"format": 1, "version": "0", "digest": "faults"}
_MUST_BE_ZERO = (
    "lost trials",
    "doubled numbers",
    "unreadable studies",
    "others' trials failed",
    "not tried again",
    "too many trials",
)
# Forked from here, where everything is imported, a process spends its life on trials, and that is when it is killed.
_FORK = multiprocessing.get_context("fork")


def main() -> None:
    """Print one line per storage."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--storage", choices=("journal", "postgresql"), help="one of them only")
    parser.add_argument("--url", help="a PostgreSQL server that runs already")
    parser.add_argument("--json", action="store_true")
    words = parser.parse_args()
    found = {}
    if words.storage != "postgresql":
        with _folder() as home:
            found["journal"] = rounds(lambda: str(home / f"{secrets.token_hex(4)}.log"), words.rounds, words.seed)
    if words.storage != "journal":
        with contextlib.nullcontext(words.url) if words.url else _server() as url:
            found["postgresql"] = rounds(lambda: url, words.rounds, words.seed)
    print(json.dumps(found) if words.json else table(found))
    sys.exit(any(counts[name] for counts in found.values() for name in _MUST_BE_ZERO))


def table(found: dict[str, Counter[str]]) -> str:
    """One column per storage."""
    names = list(dict.fromkeys(name for counts in found.values() for name in counts))
    lines = [f"{'':28s}" + "".join(f"{storage:>12s}" for storage in found)]
    for name in names:
        must = "  (must be 0)" if name in _MUST_BE_ZERO else ""
        lines.append(f"{name:28s}" + "".join(f"{counts[name]:12d}" for counts in found.values()) + must)
    return "\n".join(lines)


def rounds(new_storage, count: int, seed: int) -> Counter[str]:
    """Play until `count` processes were killed at work, each in a study of its own; return what happened."""
    rng, total = random.Random(seed), Counter(dict.fromkeys(_MUST_BE_ZERO, 0))
    with _folder() as home:
        open_storage(f"sqlite:///{home / 'imports'}")  # imports what a database needs, before anybody is forked
        play(home / "first", new_storage(), None, rng, total)  # makes a database's tables, which takes long
        life_s = play(home / "calm", new_storage(), None, rng, total)
        for turn in range(5 * count):
            if total["killed processes"] == count:
                break
            play(home / str(turn), new_storage(), rng.uniform(0, life_s), rng, total)
    return total


def play(home: Path, where: str, kill_after_s: float | None, rng: random.Random, total: Counter[str]) -> float:
    """Let four processes work on one study, kill one, take the study up again, and add to the counts.

    Returns how long the processes lived, seconds; `None` kills nobody.
    """
    home.mkdir()
    name = secrets.token_hex(4)
    began = time.monotonic()
    workers = [_start(_work, where, name, home / f"{n}.reported", n) for n in range(_WORKERS)]
    victim = None
    if kill_after_s is not None:
        victim = rng.choice(workers)
        victim.join(kill_after_s)
        if victim.exitcode is None:
            victim.kill()
            total["killed processes"] += 1
        else:
            victim = None  # it was done already
    for worker in workers:
        worker.join()
    lived_s = time.monotonic() - began
    total["rounds"] += 1
    total["unreadable studies"] += sum(worker.exitcode != 0 for worker in workers if worker is not victim)
    auditor = _start(_audit, where, name, home / "trials")
    auditor.join()
    if auditor.exitcode:
        total["unreadable studies"] += 1
    else:
        reported = [line.split() for path in home.glob("*.reported") for line in path.read_text().splitlines()]
        trials = json.loads((home / "trials").read_text())
        total.update(count(trials, [(int(number), float(value)) for number, value in reported], victim))
    return lived_s


def count(trials: list[dict], reported: list[tuple[int, float]], victim: BaseProcess | None) -> Counter[str]:
    """What one study holds against what its processes said."""
    kept = {trial["number"]: trial["value"] for trial in trials if trial["state"] == "COMPLETE"}
    numbers, said = Counter(trial["number"] for trial in trials), Counter(number for number, _ in reported)
    again = {trial["retry_of"] for trial in trials if trial["state"] == "COMPLETE"}
    unfinished = [trial for trial in trials if trial["state"] != "COMPLETE"]
    killed = [trial for trial in unfinished if victim is not None and trial["pid"] in (victim.pid, None)]
    found = Counter[str]()
    found["trials"] = len(trials)
    found["reported"] = len(reported)
    found["lost trials"] = sum(kept.get(number) != value for number, value in reported)
    found["doubled numbers"] = sum(n - 1 for n in (numbers + Counter()).values()) + sum(n - 1 for n in said.values())
    found["others' trials failed"] = len(unfinished) - len(killed)
    found["killed trials"] = len(killed)
    found["  before any parameter"] = sum(not trial["params"] for trial in killed)
    found["  tried again, complete"] = sum(trial["number"] in again for trial in killed)
    found["not tried again"] = sum(bool(trial["params"]) and trial["number"] not in again for trial in killed)
    # each process but the last may be at one when the last that is wanted ends
    found["too many trials"] = max(0, len(kept) - _TRIALS - _MORE - (_WORKERS - 1))
    return found


# what the processes do


def _work(where: str, name: str, reported: Path, seed: int) -> None:
    descriptor = os.open(reported, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def report(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if trial.state == optuna.trial.TrialState.COMPLETE:
            os.write(descriptor, f"{trial.number} {trial.value!r}\n".encode())

    run_trials(_study(where, name, seed), _objective, _TRIALS, callbacks=[report])


def _audit(where: str, name: str, out: Path) -> None:
    study = _study(where, name, 99)
    before = sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.get_trials())
    run_trials(study, _objective, before + _MORE)
    trials = _study(where, name, 99).get_trials()
    found = [
        {
            "number": trial.number,
            "state": trial.state.name,
            "value": trial.value if trial.state == optuna.trial.TrialState.COMPLETE else None,
            "params": trial.params,
            "pid": trial.user_attrs.get(WORKER, {}).get("pid"),
            "why": trial.user_attrs.get(WHY),
            "retry_of": trial.user_attrs.get(RETRY_OF),
        }
        for trial in trials
    ]
    out.write_text(json.dumps(found))


def _study(where: str, name: str, seed: int) -> optuna.Study:
    storage = open_storage(where, heartbeat_s=1, grace_s=3)
    return open_study(storage, name, ["minimize"], _STAMP, optuna.samplers.RandomSampler(seed=seed))


def _objective(trial: optuna.Trial) -> tuple[float]:
    x, y, z = (trial.suggest_float(name, -1, 1) for name in "xyz")
    trial.set_user_attr("sum", x + y + z)
    trial.set_constraint("sum", x + y + z - 1)
    time.sleep(random.uniform(0.001, 0.008))
    return (x * x + y * y + z * z,)


def _start(function, *words: object) -> BaseProcess:
    process = _FORK.Process(target=function, args=words)
    process.start()
    return process


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="faults"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _server() -> contextlib.AbstractContextManager[str]:
    from _postgresql import server

    return server()


if __name__ == "__main__":
    warnings.simplefilter("ignore", DataWarning)  # a torn line that was cut: it is what we provoke
    main()
