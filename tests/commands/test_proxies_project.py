"""`simulate proxies design|train|status|table` as a user meets them: real training of tiny models."""

import json
import os
import re
import shlex
import shutil

import pandas as pd
import pytest
from foretrain.core.errors import CampaignError
from foretrain.proxies.project import Project
from foretrain.workflows.next_stage import next_stage
from foretrain.workflows.planned_run import StageBudget

# the project is trained once, for all of these
pytestmark = pytest.mark.xdist_group("proxies")

CORPORA = """
name: known
domains:
  a: {synthetic: {kind: zipf_markov, vocab_size: 64, branching: 4, tokens: 200k, seed: 1}}
  b: {synthetic: {kind: zipf_markov, vocab_size: 64, branching: 4, tokens: 200k, seed: 2}}
"""
SPACE = """
corpora: corpora.yaml
widths: [8, 16, 24]
depth: 1
head_width: 8
context_length: 32
tokens: [8k, 16k, 32k]
seeds: 2
lr: {low: 0.003, high: 0.03, points: 3}
mixes: {sample: 3, include: [single]}
engine: {compile: never, precision: fp32, eval_tokens: 4k}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory, run_in):
    """A folder with a space, trained to the end by one command in a process of its own."""
    folder = tmp_path_factory.mktemp("sitting")
    (folder / "corpora.yaml").write_text(CORPORA)
    (folder / "space.yaml").write_text(SPACE)
    done = run_in(folder, "proxies", "train", "space.yaml", "--workers", "2")
    assert done.returncode == 0, done.stderr
    return folder


def said(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_status_counts_every_run(call_in, project):
    status = said(call_in(project, "proxies", "status", "proxies", "--json"))
    # three sizes and two seeds, three sampled mixes and two single ones
    assert (status["total"], status["done"], status["complete"]) == (11, 11, True)
    assert status["stages"]["lr"]["done"] == 6
    assert "11" in call_in(project, "proxies", "status", "proxies").stdout


def test_the_time_that_training_took_is_accounted_for(call_in, project):
    spent = said(call_in(project, "proxies", "status", "proxies", "--json"))["time"]
    assert spent["worker_s"] == pytest.approx(2 * spent["wall_s"])
    assert sum(spent["seconds"].values()) == pytest.approx(spent["worker_s"], rel=0.01)
    assert min(spent["seconds"][kind] for kind in ("start", "steps", "evaluation", "idle")) > 0
    assert 0 < spent["outside_steps"] < 1
    shown = call_in(project, "proxies", "train", "proxies").stdout
    assert re.search(r"trained for \S+ on 2 workers: \d+ % training steps, \d+ % start and compilation, ", shown)


def test_the_table_is_one_that_fit_reads(call_in, project):
    facts = said(call_in(project, "proxies", "table", "proxies", "--out", "runs.csv", "--json"))
    table = pd.read_csv(project / "runs.csv")
    assert facts["rows"] == len(table) == 3 * 2 * 3 + 5
    assert set(facts["targets"]) == {"loss", "loss.a", "loss.b"}
    ladder = table[table.run_id.str.startswith("ladder")]
    mean = ladder.groupby("tokens").loss.mean()
    assert mean.is_monotonic_decreasing
    curve = pd.read_csv(project / "proxies/main/runs" / ladder.run_id.iloc[-1].partition("@")[0] / "curve.csv")
    assert list(curve) == ["step", "tokens", "loss_nats", "lr"]
    ladder.to_csv(project / "ladder.csv", index=False)
    assert said(call_in(project, "fit", "ladder.csv", "--out", "predictor", "--json"))["out"] == "predictor"
    plan = "model: {params: 20k, params_embedding: 1k}\ndata: {tokens: 64k, unique_tokens: 64k}\n"
    (project / "plan.yaml").write_text(plan)
    assert call_in(project, "predict", "--config", "plan.yaml", "--predictor", "predictor").returncode == 0


def test_its_curves_and_plans_are_ones_that_curve_and_track_read(call_in, project):
    facts = said(call_in(project, "proxies", "curves", "proxies", "--out", "curves", "--json"))
    assert (len(facts["runs"]), facts["left_out"]) == (11, [])
    again = call_in(project, "proxies", "curves", "proxies", "--out", "curves")
    track = next(line for line in again.stdout.splitlines() if line.startswith("simulate track"))
    assert facts["largest"] in track
    assert said(call_in(project, "curve", "fit", "curves", "--out", "law", "--json"))["out"] == "law"
    words = track.replace("--predictor predictor", "--family 'mix 1' --set targets.loss_nats=3 --json")
    tracked = call_in(project, *shlex.split(words)[1:])
    assert tracked.returncode in (0, 4), tracked.stderr
    found = json.loads(tracked.stdout)
    assert (found["step"], found["notices"]) == (found["steps"], [])
    assert call_in(project, "proxies", "curves", "proxies", "--out", "proxies").returncode == 3


def test_training_again_changes_nothing(call_in, project):
    results = {path: path.read_bytes() for path in (project / "proxies").rglob("result.json")}
    assert len(results) == 17
    assert said(call_in(project, "proxies", "train", "space.yaml", "--json"))["complete"]
    assert {path: path.read_bytes() for path in (project / "proxies").rglob("result.json")} == results


def test_a_changed_corpus_is_refused_and_nothing_is_lost(call_in, project):
    (project / "corpora.yaml").write_text(CORPORA.replace("seed: 2", "seed: 3"))
    before = sorted(os.listdir(project / "corpora.tokens"))
    done = call_in(project, "proxies", "train", "proxies")
    (project / "corpora.yaml").write_text(CORPORA)
    assert (done.returncode, done.stdout) == (3, "")
    assert "the text of b has changed" in done.stderr
    assert sorted(os.listdir(project / "corpora.tokens")) == before


def test_another_space_in_the_same_folder_is_refused(call_in, project):
    (project / "other.yaml").write_text(SPACE.replace("seeds: 2", "seeds: 1"))
    done = call_in(project, "proxies", "train", "other.yaml")
    assert (done.returncode, done.stdout) == (3, "")
    assert "--out" in done.stderr


def test_design_says_the_cost_before_anything_is_trained(call_in, project):
    plan = said(call_in(project, "proxies", "design", "space.yaml", "--out", "elsewhere", "--json"))
    assert (plan["stage"], plan["runs"]) == ("lr", 6)
    assert plan["training_flops"] > 0 < plan["wall_clock_s"]
    assert os.listdir(project / "elsewhere") == ["design.json"]
    shown = call_in(project, "proxies", "design", "space.yaml", "--out", "elsewhere").stdout
    assert "stage lr: 6 runs" in shown
    assert "simulate proxies train elsewhere" in shown


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        (("depth: 1", "time_budget: 1s\ndepth: 1"), 4, "too short"),
        (("tokens: [8k, 16k, 32k]", "tokens: [8k, none]"), 3, "space.yaml"),
        (("corpora: corpora.yaml", "corpora: absent.yaml"), 3, "absent.yaml"),
        (("mixes: {sample: 3, include: [single]}", "mix: {a: 0.5, b: 0.4}"), 3, "sums to"),
        (("mixes: {sample: 3, include: [single]}", "mix: {a: 0.5, c: 0.5}"), 3, "'c'"),
    ],
)
def test_a_space_that_cannot_be_trained_says_why(call, tmp_path, change, code, word):
    (tmp_path / "corpora.yaml").write_text(CORPORA)
    (tmp_path / "space.yaml").write_text(SPACE.replace(*change))
    done = call("proxies", "train", "space.yaml")
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert word in done.stderr.replace("sum to", "sums to")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "proxies").exists()


def test_more_epochs_than_allowed_are_refused(call, tmp_path):
    (tmp_path / "corpora.yaml").write_text(CORPORA.replace("seed: 2}", "seed: 2}, max_epochs: 0.05"))
    (tmp_path / "space.yaml").write_text(SPACE.replace("mixes: {sample: 3, include: [single]}", "mix: uniform"))
    done = call("proxies", "design", "space.yaml")
    assert done.returncode in (3, 4)
    assert "b" in done.stderr
    assert "epochs" in done.stderr


def test_folders_that_are_no_projects(call, tmp_path):
    for words in (["train", "."], ["status", "."], ["table", ".", "--out", "x.csv"]):
        done = call("proxies", *words)
        assert (done.returncode, done.stdout) == (3, "")
        assert "design.json" in done.stderr
    assert call("proxies", "train", ".", "--engine", "slurm").returncode == 2
    assert call("proxies", "train", ".", "--address", "auto").returncode == 2


# the planned run, trained to check its forecast

PLAN = """
name: next-size
model: {params: 8k}
data: {tokens: 64k, mix: {a: 0.5, b: 0.5}}
optim: {lr: 0.01, batch_tokens: 256}
"""

ODD_HEADS = "{layers: 1, width: 9, heads: 3, ffn_width: 8, vocab_size: 64, context_length: 32}"


@pytest.fixture(scope="module")
def checked(call_in, project):
    """The project after its plan was trained, and what the command said of it."""
    (project / "next.yaml").write_text(PLAN)
    return said(call_in(project, "proxies", "train", "--plan", "next.yaml", "--workers", 1, "--json"))


def test_the_run_of_a_plan_is_trained_and_scored_and_joins_no_table(call_in, checked, project):
    assert (checked["status"], checked["tokens"], checked["run"]["recipe"]["lr"]) == ("ok", 64_000, 0.01)
    assert checked["loss_nats"] == pytest.approx(sum(loss["mean_nats"] for loss in checked["losses"].values()) / 2)
    assert "states no shape" in " ".join(checked["notes"])
    assert said(call_in(project, "proxies", "table", "proxies", "--out", "all.csv", "--json"))["rows"] == 3 * 2 * 3 + 5
    assert said(call_in(project, "proxies", "design", "--after", "proxies", "--target", "params=200k,tokens=256k",
                        "--precision", "90%", "--json"))["stage"] == "next-1"  # fmt: skip
    call_in(project, "fit", "all.csv", "--law", "chinchilla", "--out", "check")
    scored = said(call_in(project, "score", "check", "planned.csv", "--json"))["targets"]["loss"]
    (run,) = scored["runs"]
    assert run["observed_nats"] == pytest.approx(checked["loss_nats"])
    assert run["predicted_nats"] == pytest.approx(run["observed_nats"], rel=0.2)
    shown = call_in(project, "score", "check", "planned.csv").stdout
    assert f"{run['observed_nats']:.4f}" in shown
    assert f"{run['predicted_nats']:.4f}" in shown


def test_a_plan_that_was_trained_is_not_trained_again(call_in, checked, project):
    (result,) = (project / "proxies/planned").rglob("result.json")
    before = result.stat().st_mtime_ns
    again = call_in(project, "proxies", "train", "proxies", "--plan", "next.yaml")
    assert again.returncode == 0, again.stderr
    assert f"{checked['loss_nats']:.4f}" in again.stdout
    assert "simulate score predictor planned.csv" in again.stdout
    assert result.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        (("params: 8k", "params: 7B"), 4, "expected at most 2h"),
        (("a: 0.5, b: 0.5", "a: 0.5, c: 0.5"), 3, "data.mix.c"),
        (("batch_tokens: 256", "batch_tokens: 250"), 3, "such as 256"),
        (("lr: 0.01", "optimizer: muon"), 3, "expected adamw"),
        (("lr: 0.01", "schedule: points, lr_points: {0: 0, 100%: 1e-3}"), 3, "optim.schedule"),
        (("params: 8k", f"architecture: {ODD_HEADS}"), 3, "model.architecture"),
        (("tokens: 64k,", "tokens: 64k, unique_tokens: 8k,"), 3, "unique_tokens_by_domain"),
        (("tokens: 64k,", "tokens: 64k, synthetic: {share: 0.3},"), 3, "the project's text is real"),
    ],
)  # fmt: skip
def test_a_plan_that_no_proxy_can_be_says_why(call_in, project, tmp_path, change, code, word):
    assert change[0] in PLAN
    (tmp_path / "odd.yaml").write_text(PLAN.replace(*change))
    done = call_in(project, "proxies", "train", "--plan", tmp_path / "odd.yaml")
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "odd.yaml: " in done.stderr
    assert word in done.stderr


def test_words_of_a_plan_need_one(call, tmp_path):
    for words in (["--budget", "1h"], ["--table", "x.csv"], ["--set", "data.tokens=1M"], []):
        assert call("proxies", "train", *words).returncode == 2
    assert call("proxies", "train", ".", "--plan", "x.yaml", "--table", "x.txt").returncode in (2, 3)


# the next stage

PLANNED = ("--target", "params=200k,tokens=256k")


def after(simulate, folder, *words):
    return simulate(folder, "proxies", "design", "--after", "proxies", *PLANNED, *words)


@pytest.fixture(scope="module")
def grown(tmp_path_factory, call_in, project):
    """A copy of the project to which a stage was added, with what the command said about it."""
    folder = tmp_path_factory.mktemp("grown") / "sitting"
    shutil.copytree(project, folder)
    return folder, said(after(call_in, folder, "--budget", "30s", "--json"))


def test_the_next_stage_narrows_the_forecast_within_the_budget(grown):
    folder, facts = grown
    assert (facts["stage"], facts["written"]) == ("next-1", True)
    assert 0 < facts["half_width_after"] < facts["half_width_before"]
    assert facts["wall_clock_s"] <= 0.9 * 30
    assert [run["half_width"] for run in facts["curve"]] == sorted(
        (run["half_width"] for run in facts["curve"]), reverse=True
    )
    assert facts["curve"][-1]["training_flops"] == pytest.approx(facts["training_flops"])
    assert len(facts["run_list"]) == facts["runs"] > 0
    assert max(run["shape"]["width"] for run in facts["run_list"]) > 24
    assert facts["planned"] == {"params": 2e5, "tokens": 256e3, "mix.a": 0.5, "mix.b": 0.5}
    campaign = json.loads((folder / "proxies/next-1/campaign.json").read_text())
    assert campaign["runs"] == facts["run_list"]


def test_another_budget_replaces_the_stage_and_train_goes_on_with_it(call_in, grown, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(grown[0], folder)
    few = said(after(call_in, folder, "--budget", "2e9FLOPs", "--json"))
    assert (few["stage"], few["written"]) == ("next-1", True)
    assert few["training_flops"] <= 2e9
    assert said(call_in(folder, "proxies", "train", "proxies", "--workers", 1, "--json"))["complete"]
    project = Project.open(folder / "proxies")
    assert {name: status.counts["done"] for name, status in project.statuses().items()} == {
        "lr": 6,
        "main": 11,
        "next-1": few["runs"],
    }
    table = project.table().frame
    assert table.run_id.is_unique
    assert table[["mix.a", "mix.b"]].sum(axis=1).round(6).eq(1).all()
    added = table.run_id.str.startswith("next-1-")
    assert added.sum() >= few["runs"]
    assert (~added).sum() == 3 * 2 * 3 + 5
    later = next_stage(project, {"params": 2e5, "tokens": 256e3}, StageBudget(), 1e-4)
    assert (later.stage, later.written, later.reached) == ("next-2", False, False)
    assert "can't be reached" in " ".join(later.notes)
    assert not later.folder.exists()


def test_the_same_question_gives_the_same_stage(grown):
    project = Project.open(grown[0] / "proxies")
    again = next_stage(project, {"params": 2e5, "tokens": 256e3}, StageBudget(wall_clock_s=30.0))
    assert [run.model_dump(mode="json") for run in again.runs] == grown[1]["run_list"]
    assert again.to_dict() | {"folder": ""} == grown[1] | {"folder": ""}


def test_the_answer_is_a_table_too(call_in, grown):
    done = call_in(grown[0], "proxies", "design", "--after", "proxies", "--target", "params=4k,tokens=20k",
                  "--precision", "90%")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "stage next-1: 0 runs" in done.stdout
    assert "is reached already" in done.stdout
    assert "within the fitted range" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "word"),
    [
        ((*PLANNED, "--budget", "1s"), 4, "cheapest run"),
        ((*PLANNED, "--budget", "10FLOPs"), 4, "cheapest"),
        (("--target", "params=100,tokens=100", "--budget", "1h"), 4, "smaller than every run"),
        (PLANNED, 2, "--budget is missing"),
        (("--budget", "1h"), 2, "which run is planned"),
        ((*PLANNED, "--config", "plan.yaml", "--budget", "1h"), 2, "one of the two"),
        (("--target", "params=1M,tokens=1M,mix.c=1", "--budget", "1h"), 2, "no domain 'c'"),
        ((*PLANNED, "--budget", "soon"), 2, "--budget"),
        ((*PLANNED, "--precision", "200%"), 2, "--precision"),
        ((*PLANNED, "--budget", "1h", "--out", "elsewhere"), 2, "--after goes with"),
    ],
)
def test_a_next_stage_that_cannot_be_says_why(call_in, project, words, code, word):
    done = call_in(project, "proxies", "design", "--after", "proxies", *words)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "proxies/next-1").exists()


def test_unfinished_stages_are_trained_first(call_in, project, tmp_path):
    shutil.copytree(project, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy/proxies/main/runs/ladder-n1912-d32000-s0")
    done = after(call_in, tmp_path / "copy", "--budget", "1h")
    assert (done.returncode, done.stdout) == (3, "")
    assert "10 of 11 runs are done" in done.stderr
    shutil.rmtree(tmp_path / "copy/proxies/main")
    with pytest.raises(CampaignError, match="nothing is trained yet"):
        next_stage(Project.open(tmp_path / "copy/proxies"), {"params": 2e5, "tokens": 256e3}, StageBudget())


def test_words_of_the_next_stage_need_after(call):
    assert call("proxies", "design").returncode == 2
    done = call("proxies", "design", "space.yaml", "--budget", "1h")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--after" in done.stderr
