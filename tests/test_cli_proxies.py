"""`simulate proxies design|train|status|table` as a user meets them: the real command, real training, tiny models."""

import json
import os

import pandas as pd
import pytest

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
    """A folder with a space, trained to the end by one command."""
    folder = tmp_path_factory.mktemp("sitting")
    (folder / "corpora.yaml").write_text(CORPORA)
    (folder / "space.yaml").write_text(SPACE)
    done = run_in(folder, "proxies", "train", "space.yaml", "--workers", "2")
    assert done.returncode == 0, done.stderr
    return folder


def said(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_status_counts_every_run(run_in, project):
    status = said(run_in(project, "proxies", "status", "proxies", "--json"))
    # three sizes and two seeds, three sampled mixes and two single ones
    assert (status["total"], status["done"], status["complete"]) == (11, 11, True)
    assert status["stages"]["lr"]["done"] == 6
    assert "11" in run_in(project, "proxies", "status", "proxies").stdout


def test_the_table_is_one_that_fit_reads(run_in, project):
    facts = said(run_in(project, "proxies", "table", "proxies", "--out", "runs.csv", "--json"))
    table = pd.read_csv(project / "runs.csv")
    assert facts["rows"] == len(table) == 3 * 2 * 3 + 5
    assert set(facts["targets"]) == {"loss", "loss.a", "loss.b"}
    ladder = table[table.run_id.str.startswith("ladder")]
    mean = ladder.groupby("tokens").loss.mean()
    assert mean.is_monotonic_decreasing
    curve = pd.read_csv(project / "proxies/main/runs" / ladder.run_id.iloc[-1].partition("@")[0] / "curve.csv")
    assert list(curve) == ["step", "tokens", "loss_nats", "lr"]
    ladder.to_csv(project / "ladder.csv", index=False)
    assert said(run_in(project, "fit", "ladder.csv", "--out", "predictor", "--json"))["out"] == "predictor"
    plan = "model: {params: 20k, params_embedding: 1k}\ndata: {tokens: 64k, unique_tokens: 64k}\n"
    (project / "plan.yaml").write_text(plan)
    assert run_in(project, "predict", "--config", "plan.yaml", "--predictor", "predictor").returncode == 0


def test_training_again_changes_nothing(run_in, project):
    results = {path: path.read_bytes() for path in (project / "proxies").rglob("result.json")}
    assert len(results) == 17
    assert said(run_in(project, "proxies", "train", "space.yaml", "--json"))["complete"]
    assert {path: path.read_bytes() for path in (project / "proxies").rglob("result.json")} == results


def test_a_changed_corpus_is_refused_and_nothing_is_lost(run_in, project):
    (project / "corpora.yaml").write_text(CORPORA.replace("seed: 2", "seed: 3"))
    before = sorted(os.listdir(project / "corpora.tokens"))
    done = run_in(project, "proxies", "train", "proxies")
    (project / "corpora.yaml").write_text(CORPORA)
    assert (done.returncode, done.stdout) == (3, "")
    assert "the text of b has changed" in done.stderr
    assert sorted(os.listdir(project / "corpora.tokens")) == before


def test_another_space_in_the_same_folder_is_refused(run_in, project):
    (project / "other.yaml").write_text(SPACE.replace("seeds: 2", "seeds: 1"))
    done = run_in(project, "proxies", "train", "other.yaml")
    assert (done.returncode, done.stdout) == (3, "")
    assert "--out" in done.stderr


def test_design_says_the_cost_before_anything_is_trained(run_in, project):
    plan = said(run_in(project, "proxies", "design", "space.yaml", "--out", "elsewhere", "--json"))
    assert (plan["stage"], plan["runs"]) == ("lr", 6)
    assert plan["training_flops"] > 0 < plan["wall_clock_s"]
    assert os.listdir(project / "elsewhere") == ["design.json"]
    shown = run_in(project, "proxies", "design", "space.yaml", "--out", "elsewhere").stdout
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
def test_a_space_that_cannot_be_trained_says_why(run, tmp_path, change, code, word):
    (tmp_path / "corpora.yaml").write_text(CORPORA)
    (tmp_path / "space.yaml").write_text(SPACE.replace(*change))
    done = run("proxies", "train", "space.yaml")
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert word in done.stderr.replace("sum to", "sums to")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "proxies").exists()


def test_more_epochs_than_allowed_are_refused(run, tmp_path):
    (tmp_path / "corpora.yaml").write_text(CORPORA.replace("seed: 2}", "seed: 2}, max_epochs: 0.05"))
    (tmp_path / "space.yaml").write_text(SPACE.replace("mixes: {sample: 3, include: [single]}", "mix: uniform"))
    done = run("proxies", "design", "space.yaml")
    assert done.returncode in (3, 4)
    assert "b" in done.stderr
    assert "epochs" in done.stderr


def test_folders_that_are_no_projects(run, tmp_path):
    for words in (["train", "."], ["status", "."], ["table", ".", "--out", "x.csv"]):
        done = run("proxies", *words)
        assert (done.returncode, done.stdout) == (3, "")
        assert "design.json" in done.stderr
    assert run("proxies", "train", ".", "--engine", "slurm").returncode == 2
    assert run("proxies", "train", ".", "--address", "auto").returncode == 2
