"""`simulate track` as a pipeline meets it: verdicts, exit codes, files, and logs with everything that goes wrong."""

import csv
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

SHARED = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).parents[2].parent / "shared")) / "data" / "loss_curves"
GOLDEN = Path(__file__).parents[1] / "data" / "tensorboard.tfevents"
real = pytest.mark.skipif(not SHARED.is_dir(), reason="the public loss curves are not beside this checkout")
BATCH = 4096

# These names are a promise to whoever parses them: add, never rename.
KEYS = {
    "name", "verdict", "ok", "sentence", "z", "shift", "plan", "loss_nats", "perplexity", "difference_nats", "p_target",
    "branches", "step", "steps", "progress", "tokens", "points", "spikes", "last_loss_nats", "diverged_at_step", "log",
    "metric", "step_unit", "prior", "time", "notices", "config", "version",
}  # fmt: skip
TIME_KEYS = {
    "step_time_s", "tokens_per_s", "mfu", "elapsed_days", "lost_share", "days_left", "wall_clock_days", "finish",
    "deadline_days", "margin_days", "planned_step_time_s", "planned_wall_clock_days",
}  # fmt: skip


def write_plan(folder: Path, steps: int = 1000, target: float | None = 3.0, **optim) -> None:
    """`run.yaml`: a run of constant rate, or of what `optim` says."""
    plan = {
        "name": "small",
        "model": {"params": "10M"},
        "data": {"tokens": steps * BATCH},
        "optim": {"batch_tokens": BATCH, "lr": 1e-3, "schedule": "constant", "warmup_steps": 20, **optim},
        "targets": {} if target is None else {"loss_nats": target},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")


def loss(step: float) -> float:
    """A power law that ends at 3 nats after 1000 steps."""
    return 2.7 + 0.3 * (step / 1000) ** -0.5


def write_log(folder: Path, steps, change=lambda row: row, name: str = "metrics.jsonl") -> None:
    rows = [change({"step": s, "loss": loss(s) * (1 + 1e-3 * math.sin(7.0 * s))}) for s in steps]
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


STEPS = range(10, 601, 10)
TRACK = ("track", "--config", "run.yaml", "--log", "metrics.jsonl")


def test_on_track(run, tmp_path):
    write_plan(tmp_path)
    write_log(tmp_path, STEPS)
    done = run(*TRACK)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("small: step 600 of 1000 (60%), 2.46M of 4.10M tokens\n")
    assert "\non track at step 600 of 1000 (60%): final loss 3.0" in done.stdout
    assert done.stdout.endswith("planned 3\n")


@pytest.mark.parametrize(
    ("target", "change", "code", "said"),
    [
        (2.7, lambda row: row, 4, "behind at step 600"),
        (3.4, lambda row: row, 0, "ahead at step 600"),
        (3.0, lambda row: {**row, "loss": row["loss"] * (1.03 if row["step"] > 500 else 1)}, 4, "above its own past"),
        (3.0, lambda row: {**row, "loss": math.nan if row["step"] > 550 else row["loss"]}, 4, "since step 560"),
    ],
    ids=["behind", "ahead", "shifted", "diverged"],
)
def test_exit_codes_of_answers(call, tmp_path, target, change, code, said):
    write_plan(tmp_path, target=target)
    write_log(tmp_path, STEPS, change)
    done = call(*TRACK)
    assert (done.returncode, done.stderr) == (code, "")
    assert said in done.stdout.splitlines()[-1]
    as_json = call(*TRACK, "--json")
    assert as_json.returncode == code
    facts = json.loads(as_json.stdout, parse_constant=lambda text: pytest.fail(f"{text} is no JSON number"))
    assert facts["ok"] is (code == 0)
    assert facts["sentence"] == done.stdout.splitlines()[-1]


def test_json_keys_are_a_promise(call, tmp_path):
    write_plan(tmp_path)
    write_log(tmp_path, STEPS, lambda row: {**row, "timestamp": 1.7e9 + row["step"]})
    facts = json.loads(call(*TRACK, "--json").stdout)
    assert set(facts) == KEYS
    assert set(facts["time"]) == TIME_KEYS
    assert set(facts["loss_nats"]["intervals"]) == {"0.5", "0.8", "0.9", "0.95"}
    assert (facts["step"], facts["steps"], facts["points"], facts["notices"]) == (600, 1000, 60, [])
    low, high = facts["loss_nats"]["intervals"]["0.9"]
    assert low < 3 < high


@pytest.mark.parametrize(
    ("steps", "change", "said"),
    [
        ([*STEPS, *range(500, 651, 10)], dict, "falls back from 600 to 500, a restart from a checkpoint"),
        ([*STEPS, *range(10, 601, 10)], dict, "starts again at 10 after 600"),
        ([s for s in STEPS if not 200 < s < 400], dict, "no points from step 200 to 400"),
        (STEPS, lambda row: {**row, "step": row["step"] * BATCH}, "step counts tokens, 4096 to an optimizer step"),
        (STEPS, lambda row: {**row, "tokens": row["step"] * BATCH / 2}, "step counts micro-batches, 2 to an"),
        (STEPS, lambda row: {**row, "loss": math.exp(row["loss"])}, "loss is a perplexity"),
        (STEPS, lambda row: {**row, "lr": 1e-3 if row["step"] < 300 else 5e-4}, "schedule from step 300 on: 0.0005"),
        (STEPS, lambda row: {**row, "lr": 3e-3}, "the learning rate is 3 times the plan's all along"),
        (STEPS, lambda row: {**row, "loss": math.nan if row["step"] == 300 else row["loss"]}, "1 losses aren't finite"),
        (range(10, 1101, 10), dict, "10 points lie beyond the planned end, step 1000"),
    ],
    ids=["restart", "reset", "gap", "tokens", "micro", "perplexity", "schedule", "peak", "nan", "beyond"],
)  # fmt: skip
def test_what_is_odd_about_a_log_is_said(call, tmp_path, steps, change, said):
    write_plan(tmp_path)
    write_log(tmp_path, steps, change)
    done = call(*TRACK)
    assert (done.returncode, done.stderr) in ((0, ""), (4, ""))
    assert [line for line in done.stdout.splitlines() if line.startswith("! ") and said in line], done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "metrics.jsonl: there is no such file"),
        ("", "metrics.jsonl: is empty"),
        ("nothing\n", "metrics.jsonl: line 1: got 'nothing'; expected JSON lines, or CSV"),
        ('{"step": 1}\n', "metrics.jsonl: no loss among its keys (step)"),
        ('{"step": 1, "loss": -3}\n', "metrics.jsonl: line 1: loss: got -3; expected a cross-entropy above 0"),
        ('{"step": 1, "loss": NaN}\n', "metrics.jsonl: loss: no finite loss; the first is at step 1"),
        ('{"step": 777777, "loss": 3}\n', "metrics.jsonl: step runs to 777777, the plan to step 1000"),
    ],
)
def test_bad_logs_are_bad_input(call, tmp_path, text, said):
    write_plan(tmp_path)
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    done = call(*TRACK)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"simulate: {said}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("optim", "words", "code", "said"),
    [
        ({"schedule": None}, (), 3, "run.yaml: optim.schedule: is missing"),
        ({"batch_tokens": None}, (), 3, "run.yaml: optim.batch_tokens: is missing"),
        ({}, ("--step-unit", "epochs"), 2, "--step-unit: got 'epochs'; expected auto, steps, tokens, samples"),
        ({}, ("--metric", "nll"), 3, "metrics.jsonl: --metric: got 'nll'; expected one of its keys: step, loss"),
        ({}, ("--curves", "nowhere"), 3, "nowhere: there is no such folder"),
        ({}, ("--predictor", "nobody"), 3, "nobody"),
        ({}, ("--chart", "track.gif"), 2, "--chart track.gif: unknown format '.gif'"),
    ],
)  # fmt: skip
def test_bad_plans_and_options(call, tmp_path, optim, words, code, said):
    write_plan(tmp_path, **optim)
    write_log(tmp_path, STEPS)
    done = call(*TRACK, *words)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_target_the_plan_is_a_predictors(call, tmp_path):
    write_plan(tmp_path, target=None)
    write_log(tmp_path, STEPS)
    facts = json.loads(call(*TRACK, "--json").stdout)
    assert (facts["plan"]["source"], facts["p_target"]) == ("predictor", None)
    assert facts["plan"]["log_sd"] > 0.01


def test_tensorboard(call, tmp_path):
    write_plan(tmp_path)
    folder = tmp_path / "events"
    folder.mkdir()
    (folder / "events.out.tfevents.1.host").write_bytes(GOLDEN.read_bytes())
    done = call("track", "--config", "run.yaml", "--log", "events", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["step"], facts["metric"], facts["last_loss_nats"], facts["verdict"]) == (
        300, "train/loss", 3.25, "too early"
    )  # fmt: skip
    assert facts["time"]["step_time_s"] == pytest.approx(0.01)


@pytest.mark.parametrize("name", ["track.svg", "track.html"])
def test_charts(call, tmp_path, name):
    write_plan(tmp_path)
    write_log(tmp_path, STEPS, lambda row: {**row, "loss": row["loss"] * (1.03 if row["step"] > 500 else 1)})
    done = call(*TRACK, "--chart", name)
    assert done.returncode == 4, done.stderr
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert "loss, nats per token" in text
    assert re.search(r"Jumped by \d[.]\d % at step \d+: will end near", text)
    assert "http" not in text or name.endswith("svg") or "<script src" not in text


HEAVY = {"torch", "sklearn", "lightgbm", "optuna", "pandas", "pyarrow", "scipy", "vl_convert"}
PROGRAM = """
import sys
from foretrain.cli import main
try:
    main(sys.argv[1:])
finally:
    print("\\n", *{name.split(".")[0] for name in sys.modules})
"""


def test_it_starts_without_libraries_that_it_does_not_need(tmp_path):
    write_plan(tmp_path)
    write_log(tmp_path, STEPS)
    words = [sys.executable, "-c", PROGRAM, *TRACK, "--json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "numpy" in loaded
    assert not loaded & HEAVY


# real curves


def plan_and_log(folder: Path, run_id: str, share: float, rise: float = 0.0) -> None:
    """The plan of a public run, and its log up to a share of it, `rise` higher from half-run on."""
    with (SHARED / "runs.csv").open(newline="", encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["run_id"] == run_id)
    with (SHARED / "curves" / f"{run_id}.csv").open(newline="", encoding="utf-8") as file:
        points = [(int(p["step"]), float(p["loss"]), p["lr"]) for p in csv.DictReader(file)]
    steps = int(row["total_steps"])
    optim = {"lr": float(row["lr_peak"]), "warmup_steps": int(row["warmup_steps"]), "schedule": row["schedule"]}
    if row["schedule"] == "cosine":
        optim["lr_final"] = float(row["lr_final"])
    write_plan(folder, steps, sum(p[1] for p in points[-3:]) / 3, **optim)
    lines = [f"{s},{v * (1 + rise * (s > steps / 2))},{lr}" for s, v, lr in points if s <= share * steps]
    (folder / "log.csv").write_text("\n".join(["step,loss,lr", *lines]) + "\n", encoding="utf-8")


REAL = ("track", "--config", "run.yaml", "--log", "log.csv", "--json")


@real
@pytest.mark.parametrize("share", [0.2, 0.5, 0.7])
@pytest.mark.parametrize("run_id", ["mpl_25m_cosine_72000", "mpl_100m_cosine_24000", "mpl_100m_constant_72000"])
def test_real_runs_are_on_the_way_to_where_they_ended(call, tmp_path, run_id, share):
    plan_and_log(tmp_path, run_id, share)
    done = call(*REAL)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["verdict"], facts["shift"], facts["notices"]) == ("on track", None, [])
    assert facts["loss_nats"]["median"] == pytest.approx(facts["plan"]["loss_nats"], rel=0.016)
    low, high = facts["loss_nats"]["intervals"]["0.95"]
    assert low < facts["plan"]["loss_nats"] < high


@real
@pytest.mark.parametrize("run_id", ["mpl_25m_cosine_72000", "mpl_100m_cosine_24000"])
def test_a_regression_of_a_real_run_is_noticed(call, tmp_path, run_id):
    plan_and_log(tmp_path, run_id, 0.6, rise=0.02)
    done = call(*REAL)
    assert done.returncode == 4, done.stderr
    shift = json.loads(done.stdout)["shift"]
    steps = json.loads(done.stdout)["steps"]
    assert 0.48 * steps < shift["since_step"] <= 0.52 * steps
    assert shift["size_share"] == pytest.approx(0.02, abs=0.005)


@real
def test_curves_of_a_smaller_size_narrow_the_forecast(call, tmp_path):
    train = "mpl_25m_cosine_72000,mpl_25m_constant_24000,mpl_25m_wsdcon_9"
    assert call("curve", "fit", SHARED, "--train", train, "--out", "curves").returncode == 0
    plan_and_log(tmp_path, "mpl_100m_cosine_72000", 0.3)
    config = yaml.safe_load((tmp_path / "run.yaml").read_text(encoding="utf-8"))
    config["model"]["params"] = "100M"
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    plain, told = (json.loads(call(*REAL, *more).stdout) for more in ((), ("--curves", "curves")))
    assert (plain["prior"], told["prior"]) == ("public curves", "other sizes")
    widths = [facts["loss_nats"]["intervals"]["0.9"] for facts in (plain, told)]
    assert widths[1][1] - widths[1][0] < 0.7 * (widths[0][1] - widths[0][0])
    assert widths[1][0] < told["plan"]["loss_nats"] < widths[1][1]
    wrong = call(*REAL, "--curves", "curves", "--family", "nobody")
    assert (wrong.returncode, wrong.stderr) == (2, "simulate: --family: got 'nobody'; curves holds MultiPowerLaw\n")
    recipe = json.loads(call(*REAL, "--family", "mpl").stdout)
    assert recipe["prior"] == "other sizes"
    wrong = call(*REAL, "--family", "nobody")
    assert (wrong.returncode, wrong.stderr[:56]) == (2, "simulate: --family: got 'nobody'; the public curves have")
