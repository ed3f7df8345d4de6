"""`simulate optimize` as a user meets it: the answer, JSON, files, exit codes, and what bad input gets."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from foretrain.simulator.config.run_config import RunConfig

STUDY = """
run:
  model:
    architecture: {layers: 16, width: 2048, heads: 16, ffn_width: 5632, vocab_size: 32000, context_length: 2048}
  data: {tokens: 100B}
  optim: {batch_tokens: 1M}
  hardware: {accelerator: H100-SXM-80, count: 64, price_usd_per_hour: 2.0}
space:
  model.params: {low: 300M, high: 5B, log: true}
  data.tokens: {low: 10B, high: 1T, log: true}
objective: {minimise: loss_nats}
constraints:
  cost_usd: {at_most: 30k, chance: 0.9}
search: {trials: 12, sampler: tpe, polish: false}
"""
WITHOUT_MACHINES = """
run: {model: {params: 1B}, data: {tokens: 20B}}
space:
  model.params: {low: 100M, high: 10B, log: true}
  data.tokens: {low: 2B, high: 200B, log: true}
objective: loss_nats
constraints: {training_flops: 1e21}
search: {trials: 12, sampler: tpe}
"""
KEYS = {
    "best", "alternatives", "loss_for_cost", "pareto", "baseline", "feasible", "trials", "study", "importances",
    "relaxations", "why", "notes", "version",
}  # fmt: skip
CANDIDATE_KEYS = {"trial", "origin", "values", "goals", "limits", "feasible", "why", "config", "forecast", "difference"}


@pytest.fixture
def study(tmp_path):
    """`study.yaml` in the test's own folder; `study(old, new)` changes its text."""
    path = tmp_path / "study.yaml"

    def write(old: str = "", new: str = "") -> str:
        assert old in STUDY
        path.write_text(STUDY.replace(old, new) if old else STUDY, encoding="utf-8")
        return "study.yaml"

    write()
    return write


@pytest.fixture(scope="module")
def finished(tmp_path_factory, call_in):
    """A folder with `study.yaml` and the files of one search of 22 plans; what the search said."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "study.yaml").write_text(STUDY.replace("trials: 12", "trials: 22"), encoding="utf-8")
    words = ("--json", "--out", "best.yaml", "--chart", "study.html")
    return folder, call_in(folder, "optimize", "--config", "study.yaml", *words)


def test_json_has_its_keys_and_the_best_plan_predicts_the_same(call_in, finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == KEYS
    assert set(found["best"]) == CANDIDATE_KEYS
    assert all(set(one) == CANDIDATE_KEYS for one in found["pareto"])
    assert found["feasible"] is True
    assert found["trials"]["complete"] == 22
    assert found["best"]["limits"]["cost_usd"] <= 30_000
    assert (folder / "study.html").read_text(encoding="utf-8").lstrip().startswith("<")
    written = RunConfig.load(folder / "best.yaml").to_mapping()
    assert written.pop("name").endswith(" best")
    assert written == {key: value for key, value in found["best"]["config"].items() if key != "name"}
    assert "null" not in (folder / "best.yaml").read_text()
    again = json.loads(call_in(folder, "predict", "--config", "best.yaml", "--json").stdout)
    assert again["loss_nats"] == found["best"]["forecast"]["loss_nats"]
    assert found["best"]["goals"] == [pytest.approx(again["loss_nats"]["median"])]
    assert again["cost_usd"] == found["best"]["forecast"]["cost_usd"]


def test_the_table_shows_best_limits_and_what_mattered(call_in, finished):
    done = call_in(finished[0], "optimize", "--config", "study.yaml")
    assert done.returncode == 0, done.stderr
    for text in ("22 plans tried", "as it is", "best", "90 % interval", "cost_usd", "kept", "PED-ANOVA"):
        assert text in done.stdout


def test_a_front_and_its_chart(call, study, tmp_path):
    """Off a terminal its rows once ended in ten thousand blanks."""
    two = study("{minimise: loss_nats}", "[loss_nats, cost_usd]")
    done = call("optimize", "--config", two, "--chart", "front.png")
    assert done.returncode == 0, done.stderr
    assert "no plan here is better than another in every goal" in done.stdout
    assert [line for line in done.stdout.split("\n") if line != line.rstrip()] == []
    assert (tmp_path / "front.png").stat().st_size > 5_000


def test_nothing_feasible_exits_4_with_what_would_do(call, tmp_path):
    """With polish; on a study whose plans state no machines, which are judged eight times as fast."""

    def write(flops: str) -> None:
        (tmp_path / "study.yaml").write_text(WITHOUT_MACHINES.replace("1e21", flops), encoding="utf-8")

    write("1e15")
    done = call("optimize", "--config", "study.yaml", "--json", "--out", "best.yaml")
    assert done.returncode == 4
    assert "smallest relaxation: training_flops at_most" in done.stderr
    found = json.loads(done.stdout)
    assert found["feasible"] is False
    assert not (tmp_path / "best.yaml").exists()
    write(str(found["relaxations"][0]["limits"][0]["needed"]))
    done = call("optimize", "--config", "study.yaml", "--trials", "40", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["trials"]["polished"] > 0


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("low: 300M", "low: 30B", 9, "space.model.params.high: got 5e+09; expected more than low"),
        ("data.tokens: {low", "data.tokns: {low", 10, "unknown key; did you mean data.tokens"),
        ("low: 10B", "lwo: 10B", 10, "unknown key; did you mean low?"),
        ("low: 10B", "low: .nan", 10, "expected a finite number"),
        ("minimise: loss_nats", "minimise: los", 11, "expected one of loss_nats"),
        ("cost_usd: {at_most", "cost: {at_most", 13, "got 'cost'"),
        ("at_most: 30k", "at_most: -3", 13, "expected a number above 0"),
        ("chance: 0.9", "chance: 9", 13, "chance"),
        ("trials: 12", "trials: none", 14, "trials"),
        ("sampler: tpe", "sampler: fast", 14, "sampler"),
        ("count: 64", "count: 0", 2, "run: hardware.count: got 0; expected a number of at least 1"),
        ("search:", "serach:", 14, "did you mean search"),
        ("space:\n", "space:\n  data.mix: {simplex: {a: {min: 0.7}, b: {min: 0.7}}}\n", 9, "minima sum to 1.4"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_studies_exit_3_with_the_place(call, study, old, new, line, message):
    done = call("optimize", "--config", study(old, new))
    assert done.returncode == 3
    assert message in done.stderr
    assert f"study.yaml:{line}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("--chart", "x.gif"), ("--out", "none/best.yaml")], ids=["format", "folder"])
def test_files_that_cant_be_written_are_refused_at_once(call, study, words):
    done = call("optimize", "--config", study("trials: 12", "trials: 900000"), *words)
    assert done.returncode == 2
    assert words[1] in done.stderr


def test_files_that_are_missing_are_named(call, study, tmp_path):
    assert "nowhere.yaml" in call("optimize", "--config", "nowhere.yaml").stderr
    text = STUDY[STUDY.index("space:") :]
    (tmp_path / "study.yaml").write_text(f"run: missing.yaml\n{text}", encoding="utf-8")
    done = call("optimize", "--config", "study.yaml")
    assert (done.returncode, "missing.yaml" in done.stderr) == (3, True)
    done = call("optimize", "--config", study("search:", "predictor: nobodys\nsearch:"))
    assert (done.returncode, "nobodys" in done.stderr) == (3, True)


def test_a_run_file_is_found_beside_the_study(call, tmp_path):
    folder = tmp_path / "plans"
    folder.mkdir()
    run, rest = STUDY[: STUDY.index("space:")], STUDY[STUDY.index("space:") :]
    lines = run.splitlines()[2:]
    (folder / "run.yaml").write_text("\n".join(line[2:] for line in lines) + "\n", encoding="utf-8")
    (folder / "study.yaml").write_text(f"run: run.yaml\n{rest}", encoding="utf-8")
    words = ("--trials", "4", "--set", "hardware.price_usd_per_hour=4", "--json")
    done = call("optimize", "--config", "plans/study.yaml", *words)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["best"]["config"]["hardware"]["price_usd_per_hour"] == 4
    assert found["study"]["name"] == "study"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: run\n", "isn't a journal"),
        (b'{"op_code": 0\n{"op_code": 1}\n', "line 1: isn't whole"),
        (b"\x00\xff" * 50, "journal"),
    ],
    ids=["yaml", "damaged", "binary"],
)
def test_a_storage_that_is_something_else_is_left_alone(call, study, tmp_path, content, message):
    path = tmp_path / "study.journal"
    path.write_bytes(content)
    done = call("optimize", "--config", study(), "--storage", "study.journal")
    assert done.returncode == 3
    assert message in done.stderr
    assert path.read_bytes() == content


def test_a_study_of_other_limits_isnt_mixed_in(call, study):
    assert call("optimize", "--config", study(), "--storage", "s.journal", "--trials", "3").returncode == 0
    done = call("optimize", "--config", study("at_most: 30k", "at_most: 20k"), "--storage", "s.journal")
    assert done.returncode == 3
    assert "take another name or another storage" in done.stderr


def test_the_same_command_goes_on_in_the_studys_own_journal(call, study, tmp_path):
    words = ("--trials", "3", "--json")
    first, again = (json.loads(call("optimize", "--config", study(), *words).stdout) for _ in range(2))
    assert (first["trials"]["earlier"], again["trials"]["earlier"]) == (0, 3)
    assert first["best"]["values"] == again["best"]["values"]
    (journal,) = (tmp_path / "studies").iterdir()
    assert first["study"]["storage"] == f"studies/{journal.name}"
    done = call("optimize", "--config", study("search: {", "search: {seed: 1, "), *words)
    assert json.loads(done.stdout)["trials"]["earlier"] == 0
    done = call("optimize", "--config", study("at_most: 30k", "at_most: 20k"), *words, "--storage", "memory")
    assert json.loads(done.stdout)["study"]["storage"] is None
    assert len(list((tmp_path / "studies").iterdir())) == 2


def test_a_folder_of_studies_that_cant_be_made_is_refused(call, study, tmp_path):
    (tmp_path / "studies").write_text("a file", encoding="utf-8")
    done = call("optimize", "--config", study())
    assert done.returncode == 3
    assert "--storage memory keeps nothing" in done.stderr


def test_several_processes_need_a_storage_and_share_it(call, study, monkeypatch):
    done = call("optimize", "--config", study(), "--processes", "2", "--storage", "memory")
    assert done.returncode == 2
    assert "--storage" in done.stderr
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(STUDY.encode())))
    done = call("optimize", "--config", "-", "--processes", "2", "--storage", "other.journal")
    assert (done.returncode, "standard input" in done.stderr) == (2, True)
    done = call("optimize", "--config", study(), "--processes", "2", "--storage", "s.journal", "--json")
    assert done.returncode == 0, done.stderr
    assert 12 <= json.loads(done.stdout)["trials"]["complete"] <= 13


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_leaves_a_study_that_goes_on(call, study, plain_environment, restore_ctrl_c, tmp_path):
    journal = tmp_path / "s.journal"
    words = ["optimize", "--config", study(), "--storage", "s.journal", "--trials", "2000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "foretrain", *words],
        cwd=tmp_path,
        env=plain_environment,
        stderr=subprocess.PIPE,
        preexec_fn=restore_ctrl_c,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not journal.exists() or journal.read_bytes().count(b"\n") < 60):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    done = call(*words[:-1], "1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"]["complete"] >= 1
