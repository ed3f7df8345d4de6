"""`simulate fit` on tables as they are: other units, some of the rows, a law for each value of a column."""

import json

import numpy as np
import pandas as pd
import pytest

PLAN = "model: {params: 1B}\ndata: {tokens: 20B, corpus: code}\n"


@pytest.fixture
def table(tmp_path) -> pd.DataFrame:
    """Two corpora, and their losses in bits per byte of GPT-2's tokens."""
    params = np.repeat(np.geomspace(1e7, 1e9, 4), 3)
    tokens = params * np.tile([5.0, 20.0, 80.0], 4)
    parts = []
    for corpus, floor in (("web", 2.0), ("code", 0.9)):
        loss = floor + 400 * params**-0.34 + 1500 * tokens**-0.34
        parts.append(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss, "corpus": corpus}))
    frame = pd.concat(parts, ignore_index=True)
    frame.to_csv(tmp_path / "runs.csv", index=False)
    bits = frame.assign(bpb=frame.loss / np.log(2) / 4.3).drop(columns=["loss", "corpus"])
    bits.iloc[:12].to_csv(tmp_path / "bits.csv", index=False)
    (tmp_path / "plan.yaml").write_text(PLAN, encoding="utf-8")
    return frame


def answer(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_law_for_each_corpus(table, call):
    found = answer(call("fit", "runs.csv", "--by", "corpus", "--out", "mine", "--json"))
    assert set(found["targets"]) == {"loss.web", "loss.code"}
    assert found["about"]["by"] == "corpus"
    forecast = answer(call("predict", "--config", "plan.yaml", "--predictor", "mine", "--json"))
    assert forecast["loss_nats"]["median"] == pytest.approx(0.9 + 400 * 1e9**-0.34 + 1500 * 2e10**-0.34, rel=0.02)
    scored = answer(call("score", "mine", "runs.csv", "--where", "corpus=web", "--json"))
    assert list(scored["targets"]) == ["loss.web"]


def test_some_of_the_runs(table, call):
    found = answer(call("fit", "runs.csv", "--where", "corpus=code", "--json"))
    assert found["targets"]["loss"]["rows"] == 12
    assert found["about"]["corpus"] == "code"
    assert answer(call("backtest", "runs.csv", "--where", "corpus=code", "--json"))
    done = call("fit", "runs.csv", "--where", "corpus=cod")
    assert (done.returncode, "did you mean 'code'?" in done.stderr) == (3, True)
    done = call("fit", "runs.csv", "--where", "corpus")
    assert (done.returncode, "expected COLUMN=VALUE" in done.stderr) == (2, True)
    done = call("fit", "runs.csv", "--by", "corpse")
    assert (done.returncode, "did you mean 'corpus'?" in done.stderr) == (3, True)


def test_bits_per_byte_by_the_name_of_a_tokenizer(table, call):
    found = answer(call("fit", "bits.csv", "--tokenizer", "gpt2", "--json"))
    assert any("ln 2 · bpb · bytes per token" in note for note in found["table_notes"])
    done = call("fit", "bits.csv")
    assert (done.returncode, "--tokenizer NAME" in done.stderr) == (3, True)
    done = call("fit", "bits.csv", "--tokenizer", "gpt22")
    assert (done.returncode, "did you mean gpt2" in done.stderr) == (2, True)


def test_pooled_corpora_are_doubted(table, call):
    done = call("fit", "runs.csv")
    assert done.returncode == 0, done.stderr
    assert "they aren't one recipe" in done.stdout
    assert "--by corpus" in done.stdout
