"""The examples of pipelines, run as they would be: each trains for real, by a script that knows the law of its runs."""

import contextlib
import io
import json
import os
import runpy
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from foretrain.core.reading.yaml_reader import load_yaml
from foretrain.simulator.config.run_config import RunConfig

EXAMPLES = Path(__file__).parents[1] / "examples/pipeline"
STUDY = """
name: nightly
run: run.yaml
space:
  model.params: {low: 100M, high: 10B, log: true}
  data.tokens: {low: 2B, high: 200B, log: true}
objective: loss_nats
constraints: {training_flops: 1e21}
search: {trials: 20, sampler: tpe}
"""
TRAIN = """
import argparse, json, pathlib
options = argparse.ArgumentParser()
options.add_argument("--config"), options.add_argument("--out")
options = options.parse_args()
plan = json.loads(pathlib.Path(options.config).read_text())
params, tokens = plan["model"]["params"], plan["data"]["tokens"]
lines = []
for share in (0.5, 1.0):
    loss = 1.7 + 400 * params ** -0.34 + 1500 * (share * tokens) ** -0.34
    lines.append(json.dumps({"run_name": plan["name"], "tokens": share * tokens, "val_loss": loss}))
pathlib.Path(options.out, "metrics.jsonl").write_text("\\n".join(lines) + "\\n")
"""


@pytest.fixture
def workshop(tmp_path, write_runs) -> Path:
    """A folder with `study.yaml`, `run.yaml`, `runs.csv` and `train.py`."""
    rng = np.random.default_rng(7)
    params = 10 ** rng.uniform(7, 9, 14)
    write_runs(tmp_path / "runs.csv", params, params * 10 ** rng.uniform(0.7, 2, 14), 0.003)
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    (tmp_path / "run.yaml").write_text("model: {params: 1B}\ndata: {tokens: 20B}\n", encoding="utf-8")
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    return tmp_path


@pytest.fixture
def script(workshop, plain_environment):
    """`script(name, *words, **environment)`: an example, copied to the workshop, in a process of its own."""

    def run(name: str, *words: object, code: int = 0, **environment: str) -> subprocess.CompletedProcess:
        shutil.copy(EXAMPLES / name, workshop)
        done = subprocess.run(
            [sys.executable, "-W", "error", name, *map(str, words)],
            cwd=workshop,
            env={**plain_environment, **environment},
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )
        assert done.returncode == code, done.stderr
        return done

    return run


@pytest.fixture
def run_here(workshop, monkeypatch):
    """`run_here(name, *words, **environment)`: an example, run by this Python, which spares its start."""

    def run(name: str, *words: object, **environment: str) -> str:
        monkeypatch.chdir(workshop)
        monkeypatch.setattr("sys.argv", [name, *map(str, words)])
        out = io.StringIO()
        with monkeypatch.context() as patch, contextlib.redirect_stdout(out):
            for key, value in environment.items():
                patch.setenv(key, value)
            try:
                runpy.run_path(str(EXAMPLES / name), run_name="__main__")
            except SystemExit as stopped:
                if stopped.code:
                    raise
        return out.getvalue()

    return run


def test_the_dag_runs_as_a_script(script, run_here, workshop):
    # one day training fails; the next day the plans that were asked for then are trained
    with pytest.raises(subprocess.CalledProcessError, match="non-zero exit status 3"):
        run_here("airflow_dag.py", TRAIN=f"{sys.executable} -c exit(3)", LAW="chinchilla")
    train = f"{sys.executable} train.py --config {{config}} --out {{out}}"
    said = script("airflow_dag.py", TRAIN=train, LAW="chinchilla").stderr
    assert "nightly-0: loss" in said
    assert "best plan so far" in said
    names = [path.name for path in sorted((workshop / "work/results").iterdir())]
    assert names == ["nightly-0", "nightly-1"], "neither half a run nor a third plan"
    assert RunConfig.load(workshop / "work/best.yaml").training_flops <= 1e21


def test_the_kubeflow_step_runs_as_a_script(script, run_here, workshop):
    words = ("--study", "study.yaml", "--runs", "runs.csv", "--storage", "plans.journal", "--results", "results")
    words += ("--plan", "next.json", "--law", "chinchilla")
    first = json.loads(script("kubeflow_step.py", *words).stdout)
    assert first == {"name": "nightly-0", "plan": "next.json"}
    assert json.loads(run_here("kubeflow_step.py", *words)) == first, "a retried step asks for nothing new"
    out = workshop / "results/nightly-0"
    out.mkdir(parents=True)
    train = [sys.executable, "train.py", "--config", "next.json", "--out", str(out)]
    subprocess.run(train, cwd=workshop, check=True, timeout=60)
    assert json.loads(run_here("kubeflow_step.py", *words))["name"] == "nightly-1"
    plan = RunConfig.load(workshop / "next.json")
    assert (plan.name, plan.training_flops <= 1e21) == ("nightly-1", True)
    wrong = script("kubeflow_step.py", *words[:2], "--runs", "absent.csv", *words[4:], code=3)
    assert "absent.csv" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_the_kubeflow_step_has_types_that_kfp_reads():
    """kfp refused the component while its annotations were text."""
    step = runpy.run_path(str(EXAMPLES / "kubeflow_step.py"))["next_plan"]
    assert set(step.__annotations__.values()) == {str}


def shim(folder: Path, name: str, line: str) -> None:
    """A command of this test's own, in place of one that the runner would have."""
    (folder / name).write_text(f'#!/bin/sh\n{line} "$@"\n', encoding="utf-8")
    (folder / name).chmod(stat.S_IRWXU)


def act(workshop: Path, environment: dict[str, str]) -> list[tuple[str, int, str]]:
    """Run the steps of the workflow as GitHub would: name, exit code and what was said of each that ran."""
    folder = workshop / "commands"
    folder.mkdir(exist_ok=True)
    shim(folder, "pip", "echo pip")
    shim(folder, "simulate", f"exec {sys.executable} -m foretrain")
    shim(folder, "python", f"exec {sys.executable}")
    path = f"{folder}{os.pathsep}{environment['PATH']}"
    steps = load_yaml(EXAMPLES / "github-action.yaml")["jobs"]["plan"]["steps"]
    ends: list[tuple[str, int, str]] = []
    for step in steps:
        failed = any(code for _, code, _ in ends)
        if "run" not in step or (failed and step.get("if") != "always()"):
            continue
        done = subprocess.run(
            ["bash", "-e", "-c", step["run"]],
            cwd=workshop,
            env={**environment, "PATH": path, "GITHUB_STEP_SUMMARY": str(workshop / "summary.md")},
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )
        ends.append((step["name"], done.returncode, done.stdout + done.stderr))
    return ends


@pytest.mark.skipif(shutil.which("bash") is None, reason="the workflow's steps are lines of bash")
def test_the_action_searches_and_fails_where_no_plan_is_feasible(workshop, plain_environment):
    study = STUDY.replace("run.yaml", "run.yaml\npredictor: olmo-c4")
    (workshop / "study.yaml").write_text(study, encoding="utf-8")
    ends = act(workshop, plain_environment)
    assert [code for _, code, _ in ends] == [0, 0, 0], ends
    found = json.loads((workshop / "optimization.json").read_text())
    summary = (workshop / "summary.md").read_text()
    assert "### nightly: the best of 20 plans keeps every limit" in summary
    assert f"| loss_nats | {found['baseline']['goals'][0]:.5g} | {found['best']['goals'][0]:.5g} |" in summary
    assert RunConfig.load(workshop / "best.yaml").training_flops <= 1e21

    (workshop / "study.yaml").write_text(study.replace("1e21", "1e15"), encoding="utf-8")
    (workshop / "summary.md").unlink()
    ends = act(workshop, plain_environment)
    assert [code for _, code, _ in ends] == [0, 4, 0], ends
    assert "smallest relaxation" in ends[1][2]
    assert "A plan would be feasible with training_flops" in (workshop / "summary.md").read_text()


def test_the_action_can_do_no_harm():
    workflow = load_yaml(EXAMPLES / "github-action.yaml")
    assert workflow["permissions"] == {"contents": "read"}
    assert list(workflow["on"]) == ["pull_request"], "code of a stranger's fork must not run with this one's rights"
    assert "secrets" not in json.dumps(workflow)
