"""`simulate predictors`, and what predictions say of the text that a plan names."""

import json
from pathlib import Path

SEVEN_B = Path(__file__).parents[2] / "examples/llama-7b.yaml"


def test_predictors_are_listed_as_a_table_and_as_json(call):
    shown = call("predictors")
    assert (shown.returncode, shown.stderr) == (0, "")
    found = json.loads(call("predictors", "--json").stdout)
    assert found["plan"] == {"params": "7B", "tokens": "2T", "level": 0.9}
    for one in found["predictors"]:
        assert f"  {one['name']}" in shown.stdout
    assert {one["corpus"] for one in found["corpora"]} >= {"c4", "llama2_mix", "fineweb", "starcoder"}
    assert all(one["corpus"] in shown.stdout for one in found["corpora"])


def test_a_prediction_says_which_text_it_is_of(call):
    named = call("predict", "--config", SEVEN_B)
    assert named.returncode == 0, named.stderr
    assert "corpus llama2_mix (44 public runs on it), tokenizer llama2, evaluated on its own mix" in named.stdout
    assert "training:" not in named.stdout
    unnamed = call("predict", "--config", SEVEN_B, "--set", "data.corpus=null", "--set", "data.tokenizer=null")
    assert "corpus, tokenizer and evaluation text not named: naming them narrows the interval" in unnamed.stdout
    assert "(data.corpus, data.tokenizer, data.evaluated_on)" in unnamed.stdout


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
