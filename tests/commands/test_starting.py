"""`simulate init` of a plan and `simulate predict` without a file: one plan, whichever way it is made."""

import json

import pytest
from foretrain.core.reading.yaml_reader import load_yaml

LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
}


def test_three_commands_from_nothing_to_a_forecast(run, tmp_path):
    words = ("--params", "7B", "--tokens", "2T", "--on", "512xH100", "--price", "aws-p5-on-demand-2026")
    made = run("init", "my plan", *words)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.splitlines() == [
        "wrote my plan/run.yaml: 7b: 7.04B parameters, 2.00T tokens on 512 × H100-SXM-80; next:",
        "simulate predict --config 'my plan/run.yaml'",
    ]
    of_file = run("predict", "--config", "my plan/run.yaml", "--json")
    of_words = run("predict", *words, "--json")
    assert of_file.stdout == of_words.stdout
    assert json.loads(of_words.stdout)["cost_usd"]["median"] > 1e5
    assert of_words.stderr.startswith(
        "plan: 7b: 7.04B parameters, 2.00T tokens on 512 × H100-SXM-80\nplan: model: 7,036"
    )


@pytest.mark.parametrize("words", [["--model", "llama-3-8b"], ["--from", "config.json"], ["--params", "1.5B"]])
def test_each_way_writes_the_plan_that_predict_takes(call, tmp_path, words):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    assert call("init", "plan", *words).returncode == 0
    assert [path.name for path in (tmp_path / "plan").iterdir()] == ["run.yaml"]
    of_file = call("predict", "--config", "plan/run.yaml", "--json")
    of_words = call("predict", *words, "--json")
    assert of_file.returncode == 0, of_file.stderr
    assert of_file.stdout == of_words.stdout
    assert "plan: data.tokens" in of_words.stderr


def test_a_plan_of_words_takes_changes_as_a_file_does(call):
    done = call("predict", "--params", "7B", "--set", "data.corpus=c4", "--set", "name=mine", "--json")
    config = json.loads(done.stdout)["config"]
    assert (config["name"], config["data"]["corpus"]) == ("mine", "c4")


def test_a_plan_of_words_may_name_known_runs_of_this_folder(call, tmp_path):
    (tmp_path / "mine.csv").write_text("run_id,params,tokens,loss\na,7e9,2e12,1.75\n", encoding="utf-8")
    known = call("predict", "--params", "7B", "--tokens", "2T", "--set", "known_runs=mine.csv", "--json")
    anchored = call("predict", "--params", "7B", "--tokens", "2T", "--anchor", "mine.csv", "--json")
    one, other = (json.loads(done.stdout) for done in (known, anchored))
    assert one["predictor"]["name"] == "anchor"
    assert one["loss_nats"] == other["loss_nats"]


def test_files_that_are_there_are_kept(call, tmp_path):
    assert call("init", ".", "--params", "1B").returncode == 0
    refused = call("init", ".", "--params", "2B")
    assert refused.returncode == 3
    assert "run.yaml: already there" in refused.stderr
    assert call("init", ".", "--params", "2B", "--force").returncode == 0
    assert load_yaml(tmp_path / "run.yaml")["name"] == "2b"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["predict"], 2, "--config: is missing; expected the planned run, or what it is to be: --params 7B"),
        (["predict", "--config", "x.yaml", "--params", "7B", "--on", "8xH100"], 2, "is given beside --params, --on"),
        (["predict", "--tokens", "2T"], 2, "--params, --model, --from: got --tokens without one"),
        (["predict", "--params", "7B", "--from", "config.json"], 2, "got --params and --from; expected exactly one"),
        (
            ["predict", "--params", "7B", "--on", "8xH1000"],
            2,
            "--on: got 'H1000', which isn't in the catalogue; did you",
        ),
        (["init", "--params", "7B"], 2, "give either a folder"),
        (["init", "--schema", "--params", "7B"], 2, "give either a folder"),
        (["init", "plan", "--on", "8xH100"], 2, "got --on without one"),
        (["init", "plan", "--from", "config.json"], 3, "config.json: model_type: got 'bert'; expected one of deepseek"),
        (["init", "plan", "--from", "deep.json"], 3, "deep.json:1: nested deeper than"),
        (["init", "plan", "--from", "nan.json"], 3, "nan.json:"),
        (["init", "plan", "--from", "absent.json"], 3, "absent.json"),
        (["init", "plan", "--params", "7B", "--on", "8xA100", "--price", "lambda-h100-2026"], 3, "is of H100-SXM-80"),
        (["predict", "--config", "llama.json"], 3, "`simulate init DIR --from llama.json` makes a run of it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_makes_no_plan_is_refused_and_nothing_written(call, tmp_path, words, code, message):
    files = {
        "config.json": json.dumps({"model_type": "bert"}),
        "llama.json": json.dumps(LLAMA),
        "deep.json": '{"a": ' * 3000 + "1" + "}" * 3000,
        "nan.json": json.dumps({**LLAMA, "hidden_size": float("nan")}),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    refused = call(*words)
    assert refused.returncode == code
    assert message in refused.stderr
    assert not (tmp_path / "plan").exists()
