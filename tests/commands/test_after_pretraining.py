"""Stages after pretraining as a user meets them: fitted, in a forecast, in a search."""

import json

import numpy as np
import pytest

PLAN = """\
name: specialised
model:
  architecture: {layers: 32, width: 4096, heads: 32, ffn_width: 11008, vocab_size: 32000, context_length: 4096}
data: {tokens: 2T}
optim: {batch_tokens: 4M}
hardware: {accelerator: H100-SXM-80, count: 512, price_usd_per_hour: 2}
layout: {tp: 1, pp: 1}
post_training: {method: best_of_n, comparisons: 10k, kl_nats: 2, law: laws/feedback.json, labellers: 20}
continued_pretraining: {domain: law, tokens: 20B, share: 0.3, law: laws/continued.json}
"""
OVERSIGHT = "oversight: {kind: debate, elo_gap: 300}\n"
STUDY = """\
run: run.yaml
space:
  post_training.kl_nats: {low: 0.5, high: 6, log: true}
  post_training.comparisons: {low: 1k, high: 100k, log: true}
  continued_pretraining.share: {low: 0, high: 1}
objective: [{maximise: feedback_gain}, specialist_loss_nats, total_cost_usd]
constraints: {specialist_general_ratio: {at_most: 1.02}}
search: {trials: 8, polish: false, sampler: random}
"""


@pytest.fixture
def folder(tmp_path, call, continued_law):
    """A plan, its study, and laws in a folder beside them."""
    (tmp_path / "run.yaml").write_text(PLAN + OVERSIGHT, encoding="utf-8")
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    (tmp_path / "laws").mkdir()
    rng = np.random.default_rng(0)
    rows = ["method,comparisons,kl_nats,gold,seed"]
    for comparisons in (1e3, 1e4, 1e5):
        for seed in (0, 1):
            alpha = 0.5 + 0.05 * np.log10(comparisons / 1e4) + 0.01 * rng.standard_normal()
            rows += [f"best_of_n,{comparisons:g},{d * d:.4f},{d * (alpha - 0.12 * d):.4f},{seed}" for d in (0.5, 1, 2)]
    (tmp_path / "policies.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    continued_law(tmp_path / "laws/continued.json")
    fitted = call("feedback", "fit", "policies.csv", "--out", "laws/feedback.json", "--json")
    assert fitted.returncode == 0, fitted.stderr
    law = json.loads(fitted.stdout)["laws"]["best_of_n"]["quantities"]
    assert law["α"]["median"] == pytest.approx(0.5, abs=0.03)
    assert law["β"]["median"] == pytest.approx(0.12, abs=0.03)
    return tmp_path


def answer(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, parse_constant=lambda text: pytest.fail(f"{text} is no JSON number"))


def test_a_forecast_of_all_stages_adds_up(folder, call):
    found = answer(call("predict", "--config", "run.yaml", "--json"))
    after = found["after_pretraining"]
    feedback, more, oversight = (after[name] for name in ("post_training", "continued_pretraining", "oversight"))
    stages = [feedback["machines"], more["machines"]]
    cost = found["cost_usd"]["median"] + feedback["label_usd"]["median"] + sum(one["cost_usd"] for one in stages)
    days = found["wall_clock_days"]["median"] + feedback["label_days"]["median"] + sum(one["days"] for one in stages)
    assert after["total_cost_usd"]["median"] == pytest.approx(cost)
    assert after["total_wall_clock_days"]["median"] == pytest.approx(days)
    assert feedback["verdict"] == "better"
    assert more["domain_ratio"]["median"] < 1
    assert oversight["evidence"] == "published, not measured"
    shown = call("predict", "--config", "run.yaml").stdout
    for words in ("after pretraining", "gain by feedback at KL 2 nats", "loss on law", "published, not measured"):
        assert words in shown


def test_gaps_beyond_the_published_ones_are_asked_for(folder, call):
    (folder / "run.yaml").write_text(PLAN + OVERSIGHT.replace("300", "800"), encoding="utf-8")
    refused = call("predict", "--config", "run.yaml")
    assert refused.returncode == 3
    assert "run.yaml:10: oversight.elo_gap: got 800" in refused.stderr
    assert "--allow-extrapolation" in refused.stderr
    found = answer(call("predict", "--config", "run.yaml", "--allow-extrapolation", "--json"))
    assert any("widened" in note for note in found["after_pretraining"]["oversight"]["notes"])


def test_allowing_extrapolation_without_oversight_changes_nothing(folder, call):
    (folder / "run.yaml").write_text(PLAN, encoding="utf-8")
    found = answer(call("predict", "--config", "run.yaml", "--allow-extrapolation", "--json"))
    assert found["after_pretraining"]["oversight"] is None


def test_kl_labels_and_share_are_optimised(folder, call):
    """The best plan is written into another folder, and finds its laws from there."""
    (folder / "best").mkdir()
    found = answer(call("optimize", "--config", "study.yaml", "--out", "best/run.yaml", "--json"))
    assert found
    best = answer(call("predict", "--config", "best/run.yaml", "--json"))["after_pretraining"]
    assert best["continued_pretraining"]["general_ratio"]["median"] <= 1.02
    assert best["post_training"]["kl_stated"]


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("feedback_gain", "oversight_succes", "did you mean oversight_success?"),
        ("feedback_gain", "oversight_success", "oversight_success needs oversight, which the run doesn't state"),
        ("run: run.yaml", "run: bare.yaml", "feedback_gain needs post_training, which the run doesn't state"),
        ("run: run.yaml", "run: lost.yaml", "lost.json"),
    ],
)
def test_studies_that_lack_something_say_so_at_once(was, becomes, said, folder, call):
    (folder / "run.yaml").write_text(PLAN, encoding="utf-8")
    (folder / "bare.yaml").write_text(PLAN.partition("post_training")[0], encoding="utf-8")
    (folder / "lost.yaml").write_text(PLAN.replace("feedback.json", "lost.json"), encoding="utf-8")
    study = STUDY.replace(was, becomes)
    if "bare" in becomes:  # only the goal is wrong
        varied = study[study.index("  post_training.kl") : study.index("objective")]
        study = study.replace(varied, "  data.tokens: {low: 1T, high: 2T}\n")
    (folder / "study.yaml").write_text(study, encoding="utf-8")
    done = call("optimize", "--config", "study.yaml")
    assert done.returncode in (2, 3)
    assert said in done.stderr


def test_runs_of_continued_pretraining_are_fitted(tmp_path, call):
    rows = ["run_id,params,tokens,seed,mix.law,mix.web,loss.law,loss.web"]
    base = [*rows, "b,1e6,2e7,0,0.05,0.95,2.6,2.3"]
    for number, share in enumerate((0, 0.25, 0.5, 0.75, 1)):
        own, general = 2.6 * (0.7 + 0.12 * (share + 0.05) ** -0.35), 2.3 * (0.85 + 0.1 * (1.05 - share) ** -0.35)
        rows.append(f"r{number},1e6,1e6,0,{share},{1 - share},{own:.4f},{general:.4f}")
    for name, lines in (("runs", rows), ("base", base)):
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = answer(call("continued", "fit", "runs.csv", "--before", "base.csv", "--domain", "law", "--json"))
    size = found["sizes"][0]
    assert size["domain_before_nats"] == 2.6
    losses = [row["domain_nats"]["median"] for row in size["by_share"]]
    assert losses == sorted(losses, reverse=True)
    refused = call("continued", "fit", "runs.csv", "--before", "base.csv", "--domain", "lwa")
    assert (refused.returncode, "did you mean mix.law?" in refused.stderr) == (3, True)
