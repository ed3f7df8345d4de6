"""A daily DAG for Apache Airflow that asks for plans, trains them, and tells what came of it; each day's are better.

The tasks are plain functions. `python airflow_dag.py` runs the same steps in order without Airflow:

    STUDY=study.yaml RUNS=runs.csv TRAIN="python train.py --config {config} --out {out}" python airflow_dag.py

Settings come from the environment, and `{config}` and `{out}` in TRAIN stand for the plan and the folder of its run's
results: a W&B or MLflow run, or a log of metrics (CSV, JSON lines) whose name or `foretrain_trial` is the proposal's.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

log = logging.getLogger("plans")

STUDY = os.environ.get("STUDY", "study.yaml")
RUNS = os.environ.get("RUNS", "runs.csv")
WORK = Path(os.environ.get("WORK", "work"))
STORAGE = os.environ.get("STORAGE", str(WORK / "plans.journal"))
"""A journal file on one machine; where tasks run on several, a database: postgresql+psycopg://…"""
TRAIN = os.environ.get("TRAIN", "python train.py --config {config} --out {out}")
LAW = os.environ.get("LAW", "auto")
COUNT = int(os.environ.get("COUNT", "2"))


def planner():
    """The planner as the last task left it."""
    import foretrain

    WORK.mkdir(parents=True, exist_ok=True)
    return foretrain.Planner(STUDY, RUNS, fit={"law": LAW}, storage=STORAGE)


def ask() -> list[str]:
    """Write plans to train as run configurations, and return their names; those left from a run that died first."""
    opened = planner()
    proposals = opened.waiting[:COUNT]
    if len(proposals) < COUNT:
        proposals += opened.ask(COUNT - len(proposals))
    for proposal in proposals:
        (WORK / "plans").mkdir(exist_ok=True)
        path = WORK / "plans" / f"{proposal.name}.json"  # a run configuration may be JSON
        path.write_text(json.dumps(proposal.config.to_mapping(), indent=2), encoding="utf-8")
        loss = proposal.forecast.headline.loss_nats
        log.info("%s: %.4f nats per token, 90 %% within %.4f to %.4f", proposal.name, loss.median, *loss.intervals[0.9])
    return [proposal.name for proposal in proposals]


def train(name: str) -> str:
    """Train one plan, here or wherever TRAIN sends it; one whose results are there already isn't trained again."""
    out = WORK / "results" / name
    if not out.exists():
        unfinished = out.with_name(f".{name}")  # a hidden folder isn't looked at
        unfinished.mkdir(parents=True, exist_ok=True)
        places = {"config": WORK / "plans" / f"{name}.json", "out": unfinished}
        subprocess.run([word.format(**places) for word in shlex.split(TRAIN)], check=True)
        unfinished.rename(out)
    return name


def tell() -> list[dict]:
    """Take every new result; the predictor is fitted anew."""
    lessons = planner().watch(WORK / "results", quiet_s=0)  # what is there is finished, see train
    for lesson in lessons:
        for target, loss in lesson.told.losses.items():
            log.info("%s: %s %.4f, expected %.4f", lesson.name, target, loss, lesson.before[target].median)
    return [lesson.to_dict() for lesson in lessons]


def report() -> dict:
    """The best plan by everything that is known now, written as best.yaml."""
    found = planner().best()
    found.save_best(WORK / "best.yaml")
    log.info("best plan so far: %s", dict(found.best.evaluation.values))
    return {"goals": list(found.best.evaluation.goals), "values": dict(found.best.evaluation.values)}


def dag():
    """The same steps as a DAG of Airflow 3: one training task for each plan, side by side."""
    from airflow import sdk

    @sdk.dag(schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1, tags=["foretrain"])
    def plans():
        trained = sdk.task(retries=2)(train).expand(name=sdk.task(ask)())
        told = sdk.task(trigger_rule="all_done")(tell)()  # also where a run failed: the others count
        sdk.chain(trained, told, sdk.task(report)())

    return plans()


def main() -> None:
    """Every step in order, in this process."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in ask():
        train(name)
    tell()
    report()


if __name__ == "__main__":
    main()
elif find_spec("airflow"):
    dag()
