"""Logs of every format give the same records; what is torn or damaged is said, and too much of it is an error."""

import json

import numpy as np
import pytest
from foretrain.core.errors import LogError
from foretrain.datasets.run_logs.columns import choose_columns
from foretrain.datasets.run_logs.records import read_records
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st


def read(tmp_path, text: str | bytes, name: str = "log", metric: str | None = None):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return choose_columns(read_records(path), metric)


def attempt(tmp_path, text: str | bytes):
    """The log, or an error's message."""
    try:
        return read(tmp_path, text), ""
    except LogError as error:
        return None, str(error)


LINES = [{"step": 10, "loss": 4.0, "lr": 0.001}, {"step": 20, "loss": 3.5, "lr": 0.002}]


@pytest.mark.parametrize(
    ("text", "step_key", "loss_key"),
    [
        ("".join(json.dumps(line) + "\n" for line in LINES), "step", "loss"),
        (json.dumps(LINES, indent=1), "step", "loss"),
        (json.dumps({"max_steps": 100, "log_history": LINES}), "step", "loss"),
        (json.dumps({"max_steps": 100, "log_history": LINES}, indent=2), "step", "loss"),
        ("step,loss,lr\n10,4.0,0.001\n20,3.5,0.002\n", "step", "loss"),
        ("step\tloss\tlr\n10\t4.0\t0.001\n20\t3.5\t0.002\n", "step", "loss"),
        ("\ufeffStep;LR;run 7 - train/Loss\n10;0.001;4.0\n20;0.002;3.5\n", "Step", "run 7 - train/Loss"),
        (
            'Step,"a - train/loss","a - train/loss__MIN","a - lr"\n10,4.0,1,0.001\n20,3.5,1,0.002\n',
            "Step",
            "a - train/loss",
        ),
        (
            '{"_step": 10, "train": {"loss": 4.0, "lr": 0.001}}\n{"_step": 20, "train": {"loss": 3.5, "lr": 2e-3}}\n',
            "_step",
            "train/loss",
        ),
        # evaluations and rates in records of their own
        (
            '{"iteration": 10, "lr": 0.001}\n{"iteration": 10, "train_loss": 4.0}\n{"iteration": 15, "val_loss": 9}\n'
            '{"iteration": 20, "train_loss": "3.5"}\n{"iteration": 20, "lr": 0.002, "train_loss": null}\n',
            "iteration",
            "train_loss",
        ),
    ],
)  # fmt: skip
def test_formats_and_names(tmp_path, text, step_key, loss_key):
    log = read(tmp_path, text)
    assert (log.step_key, log.loss_key, log.axis, log.notices) == (step_key, loss_key, "steps", ())
    assert (log.step.tolist(), log.loss.tolist(), log.lr.tolist()) == ([10, 20], [4.0, 3.5], [0.001, 0.002])


def test_what_the_log_states_of_its_run(tmp_path):
    stated = read(tmp_path, json.dumps({"max_steps": 100, "log_history": LINES})).stated
    assert stated == {"max_steps": 100}
    opening = '{"config": {"vocab_size": 512, "optim": {"lr": 0.1}}}\n'
    stated = read(tmp_path, opening + "".join(json.dumps(line) + "\n" for line in LINES)).stated
    assert stated == {"vocab_size": 512, "lr": 0.1}


def test_a_sum_at_the_end_is_no_curve(tmp_path):
    """Trainers write one last record with the mean of the whole run."""
    lines = [json.dumps({"step": s, "train/loss": 3.0}) for s in range(30)] + ['{"step": 30, "loss": 5.0}']
    assert read(tmp_path, "\n".join(lines) + "\n").loss_key == "train/loss"


def test_an_export_of_several_runs_needs_a_word(tmp_path):
    text = "Step,a - loss,b - loss,a - lr,b - lr\n1,4,5,0.1,0.2\n"
    with pytest.raises(LogError, match=r"several losses \(a - loss, b - loss\); expected --metric KEY"):
        read(tmp_path, text)
    log = read(tmp_path, text, metric="b - loss")
    assert (log.loss[0], log.lr[0]) == (5, 0.2)


def test_the_metric_that_is_named(tmp_path):
    text = "step,loss,val_loss,train_ppl\n10,4,5,6\n"
    assert read(tmp_path, text, metric="val_loss").loss.tolist() == [5]
    assert read(tmp_path, text, metric="train_ppl").loss_kind == "perplexity"
    with pytest.raises(LogError, match=r"--metric: got 'nll'; expected one of its keys: step, loss, val_loss"):
        read(tmp_path, text, metric="nll")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(1.7e9, 1.7e9), (1.7e12, 1.7e9), ("2023-11-14T22:13:20+00:00", 1.7e9), (12.5, 12.5), ("soon", np.nan)],
)
def test_times(tmp_path, value, seconds):
    log = read(tmp_path, json.dumps({"step": 1, "loss": 2, "timestamp": value}) + "\n")
    assert log.wall_s[0] == pytest.approx(seconds, nan_ok=True)


@pytest.mark.parametrize(
    "text",
    [
        '{"step": 10, "loss": 4}\n{"step": 20, "loss": 3.5}\n{"step": 30, "lo',
        "step,loss\n10,4\n20,3.5\n30,3.",
        "step,loss\n10,4\n20,3.5\n30",
        '{"step": 10, "loss": 4}\n{"step": 20, "loss": 3.5}\n{"step": 30, "café'.encode()[:-1],
    ],
)
def test_a_torn_last_line_is_left_out_and_said(tmp_path, text):
    log = read(tmp_path, text)
    assert log.step.tolist() == [10, 20]
    assert [notice.kind for notice in log.notices] == ["torn"]
    assert "the last, has no end" in log.notices[0].text


def test_a_torn_line_in_the_middle_is_left_out_and_said(tmp_path):
    lines = [json.dumps({"step": s, "loss": 3.0}) for s in range(50)]
    lines[20] = lines[20][:8] + lines[21]
    log = read(tmp_path, "\n".join(lines) + "\n")
    assert len(log.step) == 49
    assert "1 unreadable lines left out (line 21)" in log.notices[0].text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("hello\n", "line 1: got 'hello'; expected JSON lines, or CSV with a header such as step,loss"),
        ("step,loss\n", "no line is a record"),
        ('{"a": 1}\n' + 30 * "what\n", "line 2 is not a record"),
        ('{"step": 1}\n', "no loss among its keys (step); expected loss, train_loss"),
        ('{"loss": 1}\n', "no step among its keys (loss); expected step, global_step"),
        ('{"step": 1, "loss": "high"}\n', "loss: no number in any record"),
        ('{"step": -1, "loss": 2}\n', "line 1: step: got -1; expected a number, 0 or more"),
        ('{"step": NaN, "loss": 2}\n', "line 1: step: got nan; expected a number, 0 or more"),
        ('{"log_history": 3}', "log_history: got 3; expected a list of records"),
        ('{\n"log_history": [', "isn't whole JSON"),
        (b"\x00\x01\x02", "no scalars"),
        (b"\xff\xfe\xfd long enough", "byte 0 isn't UTF-8 text"),
        ("[" * 100_000, "isn't whole JSON"),
    ],
)  # fmt: skip
def test_what_is_no_log_is_named(tmp_path, text, message):
    with pytest.raises(LogError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_is_absent(tmp_path):
    with pytest.raises(LogError, match="there is no such file"):
        read_records(tmp_path / "nothing.jsonl")
    for name in ("x" * 5000, "a\0b"):
        with pytest.raises(LogError, match="can't be read"):
            read_records(name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.one_of(st.binary(max_size=80), st.text(max_size=80).map(str.encode)))
@example(b"\xef\xbb\xbf")
def test_any_bytes_are_a_log_or_an_error(tmp_path, data):
    log, message = attempt(tmp_path, data)
    assert log or str(tmp_path) in message


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers()))
keys = st.sampled_from(["step", "loss", "lr", "tokens", "_timestamp", "val_loss", "x"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.lists(st.dictionaries(keys, values, max_size=6), max_size=8))
def test_any_records_are_a_log_or_an_error(tmp_path, rows):
    log, message = attempt(tmp_path, "".join(json.dumps(row) + "\n" for row in rows))
    assert log or str(tmp_path) in message
    if log:
        assert len(log.step) == len(log.loss) == len(log.lr) == len(log.wall_s) == len(log.tokens) > 0
        assert (log.step >= 0).all()
