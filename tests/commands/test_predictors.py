"""`simulate list predictors`, and what predictions say of the text that a plan names."""

import json
from pathlib import Path

SEVEN_B = Path(__file__).parents[2] / "examples/llama-7b.yaml"


def test_predictors_are_listed_as_a_table_and_as_json(call):
    shown = call("list", "predictors")
    assert (shown.returncode, shown.stderr) == (0, "")
    found = json.loads(call("list", "predictors", "--json").stdout)
    assert found["plan"] == {"params": "7B", "tokens": "2T", "level": 0.9}
    for one in found["predictors"]:
        assert f"  {one['name']}" in shown.stdout
    assert {one["corpus"] for one in found["corpora"]} >= {"c4", "llama2_mix", "fineweb", "starcoder"}
    assert all(one["corpus"] in shown.stdout for one in found["corpora"])


def test_the_former_command_answers_and_names_its_successor(call):
    """Deprecated since 0.2: until 0.4 whoever calls it is told."""
    former = call("predictors", "--json")
    assert former.stdout == call("list", "predictors", "--json").stdout
    assert former.stderr == (
        "warning: simulate predictors is deprecated and goes with version 0.4; use simulate list predictors\n"
    )


def test_a_prediction_says_which_text_it_is_of(call):
    named = call("predict", "--config", SEVEN_B)
    assert named.returncode == 0, named.stderr
    assert "corpus llama2_mix (2 public runs on it), tokenizer llama2, evaluated on its own mix" in named.stdout
    assert "training:" not in named.stdout
    unnamed = call("predict", "--config", SEVEN_B, "--set", "data.corpus=null", "--set", "data.tokenizer=null")
    assert "corpus, tokenizer and evaluation text not named: naming them narrows the interval" in unnamed.stdout
    assert "(data.corpus, data.tokenizer, data.evaluated_on)" in unnamed.stdout


def test_runs_that_state_another_text_than_the_plan_are_told_of(call, tmp_path):
    header = "run_id,params,tokens,loss,flops,corpus,tokenizer"
    (tmp_path / "other.csv").write_text(f"{header}\na,7e9,2e12,1.75,8.4e22,c4,gpt2\n", encoding="utf-8")
    shown = call("predict", "--config", SEVEN_B, "--anchor", "other.csv")
    assert shown.returncode == 0, shown.stderr
    assert "data.corpus is 'llama2_mix'; the predictor's runs used 'c4'" in shown.stdout
    assert "data.tokenizer is 'llama2'; the predictor's runs used 'gpt2'" in shown.stdout


def test_of_several_losses_of_runs_the_plan_says_which(call, tmp_path):
    table = "run_id,params,tokens,flops,loss.c4_en,loss.pile\na,7e9,2e12,8.4e22,2.4,1.9\n"
    (tmp_path / "mine.csv").write_text(table, encoding="utf-8")
    words = ["predict", "--config", SEVEN_B, "--anchor", "mine.csv", "--json"]
    refused = call(*words)
    assert refused.returncode == 3
    assert "data.evaluated_on: got nothing; mine.csv has losses on c4_en, pile: expected one of these" in refused.stderr
    medians = []
    for text in ("c4", "pile"):
        found = json.loads(call(*words, "--set", f"data.evaluated_on={text}").stdout)
        medians.append(found["loss_nats"]["median"])
    assert medians[0] > medians[1] + 0.2


def test_counts_that_no_run_has_are_refused(call):
    refused = call("predict", "--config", SEVEN_B, "--set", "model={params: 9.8}")
    assert refused.returncode == 3
    assert "got 9.8, which is no run (9.8B? 10^9.8 is 6.3e+09?); expected a plain count such as 7B" in refused.stderr
    refused = call("predict", "--config", SEVEN_B, "--set", "data.tokens=12.3", "--set", "optim=null")
    assert "data.tokens: got 12.3, which is no run (12.3T? 10^12.3 is 2e+12?)" in refused.stderr


def test_one_finished_run_is_one_run(call, tmp_path):
    (tmp_path / "mine.csv").write_text("run_id,params,tokens,loss,flops\na,7e9,2e12,1.75,8.4e22\n", encoding="utf-8")
    words = ["predict", "--config", SEVEN_B, "--anchor", "mine.csv"]
    shown = call(*words)
    assert shown.returncode == 0, shown.stderr
    assert "rests on anchor: one run of your own (mine.csv), and all public tables" in shown.stdout
    assert "  1 run, 7.00B parameters, 2.00T tokens" in shown.stdout
    assert "differ between them" not in shown.stdout
    (tmp_path / "far.csv").write_text("run_id,params,tokens,loss,flops\na,7e9,2e12,3.5,8.4e22\n", encoding="utf-8")
    far = call(*words[:-1], "far.csv")
    assert "a run of loss 3.500 contradicts what the plan names (llama2_mix, llama2, its own mix)" in far.stdout
