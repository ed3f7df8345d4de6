"""`simulate planner` as a pipeline meets it: each command's output, JSON and exit codes, and what bad input gets."""

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from foretrain.simulator.config.run_config import RunConfig

pytestmark = pytest.mark.usefixtures("fit_once")

STUDY = """
run: {model: {params: 1B}, data: {tokens: 20B}}
space:
  model.params: {low: 100M, high: 10B, log: true}
  data.tokens: {low: 2B, high: 200B, log: true}
objective: loss_nats
constraints: {training_flops: 1e21}
search: {trials: 25, sampler: tpe}
"""
OPTIONS = ("--config", "study.yaml", "--runs", "runs.csv", "--storage", "plans.journal", "--law", "chinchilla")


def law(config: dict) -> float:
    """The law of `write_runs`."""
    return 1.7 + 400 * config["model"]["params"] ** -0.34 + 1500 * config["data"]["tokens"] ** -0.34


@pytest.fixture(scope="module")
def workshop(write_runs, tmp_path_factory):
    """A folder with `study.yaml` and `runs.csv`."""
    folder = tmp_path_factory.mktemp("workshop")
    rng = np.random.default_rng(7)
    params = 10 ** rng.uniform(7, 9, 14)
    write_runs(folder / "runs.csv", params, params * 10 ** rng.uniform(0.7, 2, 14), 0.003)
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    return folder


@pytest.fixture
def planner(call, workshop, tmp_path):
    """`planner("ask", …)`: the command in this test's own copy of the workshop."""
    shutil.copytree(workshop, tmp_path, dirs_exist_ok=True)
    return lambda word, *more: call("planner", word, *OPTIONS, *more)


@pytest.fixture(scope="module")
def waiting(call_in, workshop, tmp_path_factory):
    """Such a folder in which one plan was asked for, for commands that are refused."""
    folder = shutil.copytree(workshop, tmp_path_factory.mktemp("waiting") / "copy")
    assert call_in(folder, "planner", "ask", *OPTIONS).returncode == 0
    return folder


def parsed(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_pipeline_from_plan_to_plan(planner, tmp_path):
    asked = parsed(planner("ask", "--count", 2, "--json"))
    assert (asked["name"], asked["storage"]) == ("study", "plans.journal")
    first, second = asked["proposals"]
    assert set(first) == {"trial", "name", "values", "config", "forecast"}
    assert RunConfig.from_mapping(first["config"]).name == first["name"] == "study-0"
    told = parsed(planner("tell", "--trial", 0, "--loss", law(first["config"]), "--json"))
    (lesson,) = told["lessons"]
    assert set(lesson) == {
        "trial", "name", "status", "observed_nats", "before_nats", "quantiles", "after_nats", "news", "notes", "told",
    }  # fmt: skip
    assert told["rows"] == 15
    assert lesson["before_nats"]["loss"]["median"] == pytest.approx(first["forecast"]["loss_nats"]["median"])
    (tmp_path / "export.csv").write_text(f"name,state,val_loss\nrun,finished,{law(second['config'])}\n")
    assert parsed(planner("tell", "--trial", 1, "--from", "export.csv", "--json"))["rows"] == 16
    status = parsed(planner("status", "--json"))
    assert [one["trial"] for one in status["history"]] == [0, 1]
    assert status["waiting"] == []
    assert status["table"] == {"where": "runs.csv", "rows": 14, "told": 2}
    best = parsed(planner("best", "--out", "best.yaml", "--json"))
    assert best["best"]["forecast"]["predictor"]["rows"] == 16
    assert RunConfig.load(tmp_path / "best.yaml").training_flops <= 1e21


def test_the_tables_show_the_same_facts(planner, tmp_path):
    shown = planner("ask", "--count", 2)
    assert (shown.returncode, shown.stdout.splitlines()[0]) == (0, "study: 2 plans to train")
    waiting = parsed(planner("status", "--json"))["waiting"]
    assert all(f"{one['forecast']['loss_nats']['median']:.4f}" in shown.stdout for one in waiting)
    shown = planner("tell", "--trial", 0, "--loss", 3.5)
    assert "3.5000" in shown.stdout
    assert "! study-0: loss is far above what was forecast, beyond the 99 % interval" in shown.stdout
    planner("tell", "--trial", 1, "--status", "diverged")
    shown = planner("status").stdout
    assert shown.startswith("study: 0 plans waiting, 2 results told\n")
    assert "diverged" in shown
    (tmp_path / "results").mkdir()
    assert planner("tell", "--watch", "results").stdout == "study: nothing new was told\n"
    assert planner("best").stdout.count("25 plans tried") == 1


def test_watching(planner, tmp_path):
    proposal = parsed(planner("ask", "--json"))["proposals"][0]
    log = tmp_path / "results/study-0"
    log.mkdir(parents=True)
    row = {"run_name": "study-0", "tokens": proposal["config"]["data"]["tokens"], "val_loss": law(proposal["config"])}
    (log / "log.jsonl").write_text(json.dumps({**row, "tokens": 1e9, "val_loss": 4.0}) + "\n")
    assert parsed(planner("tell", "--watch", "results", "--json"))["lessons"] == [], "it isn't over"
    with (log / "log.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    assert [one["trial"] for one in parsed(planner("tell", "--watch", "results", "--json"))["lessons"]] == [0]


def test_giving_up(planner):
    planner("ask")
    assert parsed(planner("tell", "--trial", 0, "--give-up", "no machines", "--json"))["lessons"] == []
    assert parsed(planner("status", "--json"))["given_up"] == {"0": "no machines"}


def test_a_study_from_standard_input(planner, call, monkeypatch):
    for words in (["planner", "ask", *OPTIONS[2:]], ["optimize"]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(STUDY.encode())))
        facts = parsed(call(*words, "--config", "-", "--json"))
        assert facts.get("name") == "study" or facts["study"]["name"] == "study"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe")))
    done = call("optimize", "--config", "-")
    assert (done.returncode, done.stdout) == (3, "")
    assert "standard input: isn't UTF-8 text" in done.stderr
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"run: {}\nobjectiv: x\n")))
    done = call("optimize", "--config", "-")
    assert done.returncode == 3
    assert "standard input:2: " in done.stderr


def test_two_processes_at_once(planner, plain_environment, tmp_path):
    planner("status")  # so that both do the same
    words = [sys.executable, "-m", "foretrain", "planner", "ask", *OPTIONS, "--count", "2", "--json"]
    started = [
        subprocess.Popen(
            words, cwd=tmp_path, env=plain_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    ends = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], ends
    proposals = [one for out, _ in ends for one in json.loads(out)["proposals"]]
    assert len({one["trial"] for one in proposals}) == len({one["config"]["data"]["tokens"] for one in proposals}) == 4


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("tell", "--trial", "9", "--loss", "2"), 3, "trial 9: study has no such proposal; expected one that waits: 0"),
        (("tell", "--loss", "2"), 2, "expected --trial N"),
        (("tell", "--trial", "0"), 2, "expected exactly one of --loss, --status, --give-up, --from and --watch"),
        (("tell", "--trial", "0", "--loss", "2", "--status", "failed"), 2, "expected exactly one of"),
        (("tell", "--trial", "0", "--watch", "x"), 2, "--watch finds the proposals by itself"),
        (("tell", "--trial", "0", "--loss", "two"), 2, "--loss: got 'two'; expected nats per token"),
        (("tell", "--trial", "0", "--loss", "2", "--loss", "3"), 2, "--loss: got"),
        (("tell", "--trial", "0", "--loss", "loss.web=2"), 3, "got a loss of 'loss.web'; expected loss"),
        (("tell", "--from", "absent.csv"), 3, "absent.csv"),
        (("tell", "--watch", "absent"), 3, "absent: there is no such folder"),
        (("ask", "--explore", "2"), 2, "explore: got 2.0; expected a quantile"),
        (("ask", "--runs", "."), 2, "expected the table of runs"),
        (("ask", "--runs", "absent.csv"), 3, "absent.csv"),
        (("ask", "--config", "absent.yaml"), 3, "absent.yaml: there is no such file"),
        (("ask", "--storage", "runs.csv"), 3, "runs.csv"),
        (("ask", "--law", "newton"), 3, "newton"),
    ],
)
def test_bad_input(call_in, waiting, words, code, message):
    done = call_in(waiting, "planner", words[0], *OPTIONS, *words[1:])
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_no_feasible_plan_and_no_storage(planner, call, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY.replace("1e21", "1e15"), encoding="utf-8")
    done = planner("ask")
    assert (done.returncode, done.stdout) == (4, "")
    assert "smallest relaxation" in done.stderr
    done = call("planner", "status", *OPTIONS[:4], "--law", "chinchilla")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--storage: is missing" in done.stderr
