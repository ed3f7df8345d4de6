"""One run of one's own: fitted, and as an anchor of a forecast, as a user meets it."""

import json

import pytest

PLAN = "model: {params: 2B, params_embedding: 100M}\ndata: {tokens: 40B, corpus: c4, tokenizer: gpt2}\n"
RUN = "params,tokens,loss,corpus,tokenizer\n1e9,20e9,2.78,c4,gpt2\n"


@pytest.fixture(autouse=True)
def files(tmp_path) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN, encoding="utf-8")
    (tmp_path / "run.csv").write_text(RUN, encoding="utf-8")


def answer(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_anchor(run, call):
    """In a process of its own."""
    found = answer(run("predict", "--config", "plan.yaml", "--anchor", "run.csv", "--json"))
    assert 2.4 < found["loss_nats"]["median"] < 2.78
    assert found["predictor"]["table"] == "run.csv"
    without = answer(call("predict", "--config", "plan.yaml", "--json"))
    widths = [
        of["loss_nats"]["intervals"]["0.9"][1] / of["loss_nats"]["intervals"]["0.9"][0] for of in (found, without)
    ]
    assert widths[0] < widths[1]
    assert "one run of your own" in call("predict", "--config", "plan.yaml", "--anchor", "run.csv").stdout


def test_a_fit_of_one_run(run, call):
    """In a process of its own; refused before: 'at least 4 are needed'."""
    found = answer(run("fit", "run.csv", "--out", "mine", "--json"))
    assert found["targets"]["loss"]["rows"] == 1
    forecast = answer(call("predict", "--config", "plan.yaml", "--predictor", "mine", "--json"))
    assert 2.4 < forecast["loss_nats"]["median"] < 2.78
    assert any("rests on the prior" in text for text in forecast["warnings"])


def test_an_anchor_of_a_predictor_with_runs_of_its_own_is_refused(call):
    done = call("predict", "--config", "plan.yaml", "--anchor", "run.csv", "--predictor", "repeats-c4")
    assert done.returncode == 2
    assert "repeats-c4 has runs of its own; expected the default predictor, web-text" in done.stderr


def test_a_corpus_one_letter_off_is_suggested_and_not_guessed(call):
    done = call("fit", "run.csv", "--like", "finewebb")
    assert done.returncode == 2
    assert "like: got 'finewebb'; did you mean" in done.stderr
    assert answer(call("fit", "run.csv", "--like", "fineweb", "--json"))["about"]["like"] == "fineweb"


def test_anchors_that_cannot_be_read(call, tmp_path):
    done = call("predict", "--config", "plan.yaml", "--anchor", "absent.csv")
    assert (done.returncode, "absent.csv: there is no such file" in done.stderr) == (3, True)
    (tmp_path / "run.csv").write_text(RUN.replace("2.78", ""), encoding="utf-8")
    done = call("predict", "--config", "plan.yaml", "--anchor", "run.csv")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
