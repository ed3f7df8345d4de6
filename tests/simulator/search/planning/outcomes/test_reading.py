"""Outcomes from what trackers leave on disk: exports, run folders, logs; and the watcher of a folder."""

import contextlib
import json
import math
import os
import warnings
from pathlib import Path

import pytest
from foretrain.core.errors import DataWarning, InputError, LogError, RunTableError
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.search.planning.outcomes.reading import Asked, RunOutcome, read_outcome, read_outcomes
from foretrain.simulator.search.planning.outcomes.watching import new_results
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = 1.8e9  # seconds since 1970

WANDB = (
    '"Name","State","ID","Notes","Runtime","config.n_params","config.lr","config.foretrain_trial","D","eval/loss",'
    '"train/loss"\n'
    '"demo-4","finished","x1","","3600","7B","0.0003","","1.4T","2.0","1.9"\n'
    '"brisk-1","running","x2","-","60","7B","0.0003","9","1.4T","2.5","7"\n'
    '"gone-3","crashed","x3","-","60","7B","0.0003","5","1.4T","","7"\n'
    '"bad-3","finished","x4","-","60","7B","0.0003","6","1.4T","NaN","NaN"\n'
)
MLFLOW = (
    "run_id,status,start_time,params.params,params.tokens,params.lr,metrics.loss,metrics.val_loss,tags.foretrain_trial\n"
    "m1,FINISHED,2025-01-01,7B,1.4T,3e-4,1.8,2.0,11\n"
    "m2,FAILED,2025-01-02,7B,1.4T,3e-4,,,12\n"
)


def plan(tokens="1B", batch="1M", **data) -> RunConfig:
    return RunConfig.from_mapping(
        {"model": {"params": "70M"}, "data": {"tokens": tokens, **data}, "optim": {"batch_tokens": batch}}
    )


def write(path: Path, text: str, age_s: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (NOW - age_s, NOW - age_s))
    return path


def log(steps=range(0, 1001, 100), **more) -> str:
    rows = [{"step": step, "train_loss": 3 - step / 1000, **more} for step in steps]
    return "".join(json.dumps(row) + "\n" for row in rows)


def mlflow_run(folder: Path, status=3, metrics=None, tags=None, params=None, **meta) -> Path:
    facts = {"run_id": folder.name, "run_name": "wistful-ant-659", "status": status, "lifecycle_stage": "active"}
    facts |= {"artifact_uri": f"file://{folder}/artifacts", "entry_point_name": "''", "end_time": 1721450907230, **meta}
    write(folder / "meta.yaml", "".join(f"{key}: {value}\n" for key, value in facts.items()))
    values = metrics if metrics is not None else {"val/loss": [2.5, 2.25], "loss": [2.4, 2.0]}
    for key, losses in values.items():
        write(folder / "metrics" / key, "".join(f"172145090{at} {loss} {at}\n" for at, loss in enumerate(losses)))
    for kind, texts in (("params", params or {"params": "70M", "tokens": "1B"}), ("tags", tags or {})):
        for key, text in texts.items():
            write(folder / kind / key, text)
    return folder


def wandb_run(folder: Path, ended=True, age_s=0.0, **summary) -> Path:
    facts = {"val/loss": 2.25, "train/loss": 2.0, "_step": 1000, "_runtime": 60.5, **summary}
    facts |= {"_wandb": {"runtime": 61}} if ended else {}
    write(folder / "files/wandb-summary.json", json.dumps(facts), age_s)
    config = "wandb_version: 1\n\n_wandb:\n  value:\n    t: {1: [1, 5]}\n"
    config += "lr:\n  desc: null\n  value: 0.0003\nforetrain_trial:\n  desc: null\n  value: 7\n"
    write(folder / "files/config.yaml", config + "data:\n  value:\n    tokens: 1B\nparams:\n  value: 70M\n", age_s)
    return folder


# exports


def test_wandb_export(tmp_path):
    first, gone, bad = read_outcomes(write(tmp_path / "runs.csv", WANDB), Asked(study="demo"))
    assert (first.run_id, first.trial, first.status) == ("x1", 4, "ok")
    assert (first.losses, first.tokens, first.params, first.columns) == ({"loss": 2.0}, 1.4e12, 7e9, {"lr": 3e-4})
    assert (gone.status, gone.trial, gone.losses) == ("failed", 5, {})
    assert (bad.status, bad.trial, bad.losses, bad.notices) == (
        "diverged",
        6,
        {},
        (f"{bad.where}: its loss is no number at the end",),
    )
    assert bad.where.endswith("runs.csv, line 5")


def test_mlflow_export_takes_the_held_out_loss(tmp_path):
    ok, failed = read_outcomes(write(tmp_path / "runs.csv", MLFLOW))
    assert (ok.run_id, ok.trial, ok.losses, ok.params) == ("m1", 11, {"loss": 2.0}, 7e9)
    assert (failed.trial, failed.status) == (12, "failed")


def test_domains_and_shares(tmp_path):
    text = "run_id,params,tokens,loss.web,loss.code,mix.web,mix.code,foretrain_trial\na,1e8,2e9,3.0,2.5,0.7,0.3,0\n"
    told = read_outcome(write(tmp_path / "runs.csv", text))
    assert (told.losses, told.trial) == ({"loss.web": 3.0, "loss.code": 2.5}, 0)
    assert told.columns == {"mix.web": 0.7, "mix.code": 0.3}


def test_rows_make_a_run_table(tmp_path):
    import pandas as pd

    rows = [told.row() for told in read_outcomes(write(tmp_path / "runs.csv", WANDB))]
    table = RunTable.from_frame(pd.DataFrame(rows))
    assert (list(table.frame["status"]), table.column("loss")[0]) == (["ok", "failed", "diverged"], 2.0)


def test_the_plan_fills_in_what_the_run_does_not_say(tmp_path):
    source = write(tmp_path / "runs.csv", "foretrain_trial,val_loss\n3,2.5\n")
    told = read_outcome(source, plan())
    assert (told.tokens, told.params, told.losses) == (1e9, 7e7, {"loss": 2.5})
    assert read_outcome(source).tokens is None
    assert read_outcomes(source, Asked(configs={3: plan("2B")}))[0].tokens == 2e9


def test_perplexity_becomes_nats(tmp_path):
    told = read_outcome(write(tmp_path / "runs.csv", "run_id,val_ppl\na,20\n"))
    assert told.losses["loss"] == pytest.approx(math.log(20))


def test_a_column_as_asked(tmp_path):
    text = "run_id,val_loss,quality\na,2.5,1.5\n"
    assert read_outcomes(write(tmp_path / "runs.csv", text), Asked(columns={"loss": "quality"}))[0].losses == {
        "loss": 1.5
    }


def test_a_whole_export_may_lack_its_last_end_of_line(tmp_path):
    source = write(tmp_path / "runs.csv", WANDB.rstrip("\n"))
    assert [told.run_id for told in read_outcomes(source)] == ["x1", "x3", "x4"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("run_id,loss\na,fast\n", RunTableError, r"runs.csv, line 2, column 'loss': 'fast' is not a number"),
        ("run_id,loss\na,-1\n", RunTableError, r"line 2, column 'loss': '-1' is not positive"),
        ("run_id,loss,tokens\na,2,-5\n", RunTableError, r"line 2, column 'tokens': '-5' is not positive"),
        ("run_id,accuracy\na,2\n", RunTableError, "there is no loss column"),
        ("run_id,loss,foretrain_trial\na,2,x\n", LogError, "line 2: foretrain_trial: got 'x'; expected the number of"),
        ("run_id,loss,foretrain_trial\na,2,1.5\n", LogError, "foretrain_trial: got '1.5'"),
        (
            "run_id,loss,mix.a,mix.b\na,2,0.5,0.2\n",
            RunTableError,
            "line 2, columns 'mix.a' to 'mix.b': the 2 mix shares",
        ),
        (WANDB, LogError, "holds 4 runs; expected one"),
        ("Name,State,loss\na,running,2\n", LogError, "its run isn't over"),
        ("", LogError, "is empty"),
        ("nothing\n", LogError, "expected JSON lines, or CSV"),
    ],
)
def test_bad_exports(tmp_path, text, error, message):
    with pytest.raises(error, match=message):
        read_outcome(write(tmp_path / "runs.csv", text))


# run folders


def test_mlflow_run(tmp_path):
    told = read_outcome(mlflow_run(tmp_path / "ab12", tags={"foretrain_trial": "8", "mlflow.user": "me"}))
    assert (told.run_id, told.trial, told.status, told.losses) == ("ab12", 8, "ok", {"loss": 2.25})
    assert (told.tokens, told.params) == (1e9, 7e7)


def test_mlflow_states(tmp_path):
    assert read_outcome(mlflow_run(tmp_path / "a", status=4)).status == "failed"
    assert read_outcome(mlflow_run(tmp_path / "b", status=5, metrics={})).status == "failed"
    assert read_outcome(mlflow_run(tmp_path / "c", metrics={"loss": [2.0, "nan"]})).status == "diverged"
    assert read_outcomes(mlflow_run(tmp_path / "d", status=1)) == []
    assert read_outcomes(mlflow_run(tmp_path / "e", lifecycle_stage="deleted")) == []
    named = mlflow_run(tmp_path / "f", run_name="demo-21")
    assert read_outcomes(named, Asked(study="demo"))[0].trial == 21
    with pytest.raises(LogError, match=r"meta.yaml: status: got 17; expected 1 \(running\)"):
        read_outcome(mlflow_run(tmp_path / "g", status=17))


def test_damaged_mlflow_runs(tmp_path):
    with pytest.raises(LogError, match=r"metrics/loss: line 1: got '1 x y'; expected time, value and step"):
        told_result_with(mlflow_run(tmp_path / "a"), "metrics/loss", "1 x y\n")
    with pytest.raises(InputError, match=r"meta.yaml"):
        told_result_with(mlflow_run(tmp_path / "b"), "meta.yaml", "status: [3\n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LogError, match="is a folder without a run of MLflow"):
        read_outcome(tmp_path / "empty")


def told_result_with(folder: Path, name: str, text: str) -> RunOutcome:
    write(folder / name, text)
    return read_outcome(folder)


def test_links_out_of_a_run_are_not_followed(tmp_path):
    secret = write(tmp_path / "secret", "0 1.0 9\n")
    folder = mlflow_run(tmp_path / "run")
    (folder / "metrics/eval_loss").symlink_to(secret)
    assert read_outcome(folder).losses == {"loss": 2.25}


def test_wandb_run(tmp_path):
    folder = wandb_run(tmp_path / "run-20260101_101010-abc")
    told = read_outcome(folder)
    assert (told.run_id, told.trial, told.losses) == ("run-20260101_101010-abc", 7, {"loss": 2.25})
    assert (told.params, told.columns["lr"]) == (7e7, 3e-4)
    assert read_outcome(folder / "files/wandb-summary.json").digest == told.digest
    assert read_outcome(wandb_run(tmp_path / "b", **{"val/loss": "NaN"})).status == "diverged"


def test_a_summary_in_one_document(tmp_path):
    facts = {"name": "demo-5", "state": "finished", "config": {"params": 7e7}, "summary": {"val": {"loss": 2.5}}}
    told = read_outcome(write(tmp_path / "run.json", json.dumps(facts, indent=1)), study="demo")
    assert (told.run_id, told.trial, told.losses, told.params) == ("demo-5", 5, {"loss": 2.5}, 7e7)


# logs


def test_a_log_of_training_losses(tmp_path):
    told = read_outcome(write(tmp_path / "demo-3/metrics.jsonl", log()), plan(), study="demo")
    assert (told.run_id, told.trial, told.status) == ("demo-3/metrics.jsonl", 3, "ok")
    assert (told.tokens, told.params) == (1e9, 7e7)
    assert told.losses["loss"] == pytest.approx(2.2)  # the median of the last five
    assert "no held-out loss" in told.notices[-1]


def test_a_held_out_loss_counts_before_the_training_loss(tmp_path):
    text = log() + '{"step": 500, "val/loss": 2.9}\n{"step": 1000, "val/loss": 2.7, "tokens": 1000000000}\n'
    told = read_outcome(write(tmp_path / "v1.2-14.jsonl", text), study="v1.2")
    assert (told.losses, told.trial, told.tokens) == ({"loss": 2.7}, 14, 1e9)


def test_csv_logs_and_domains(tmp_path):
    rows = "".join(f"{step},{3 - step / 100},{4 - step / 100}\n" for step in range(0, 101, 10))
    told = read_outcome(write(tmp_path / "log.csv", "step,loss.web,loss.code\n" + rows))
    assert told.losses == pytest.approx({"loss.web": 2.0, "loss.code": 3.0})


def test_a_trainers_state(tmp_path):
    history = [{"step": 10 * at, "loss": 3 - at / 100} for at in range(20)] + [{"step": 190, "eval_loss": 2.5}]
    told = read_outcome(write(tmp_path / "trainer_state.json", json.dumps({"log_history": history})))
    assert (told.losses, told.status) == ({"loss": 2.5}, "ok")


def test_a_log_says_its_own_trial(tmp_path):
    text = '{"config": {"foretrain_trial": 2, "lr": 0.1}}\n' + log()
    assert read_outcome(write(tmp_path / "log.jsonl", text)).trial == 2


def test_diverged_logs(tmp_path):
    late = '{"step": 1100, "train_loss": NaN}\n{"step": 1200, "train_loss": NaN}\n'
    assert read_outcome(write(tmp_path / "a.jsonl", log() + late)).status == "diverged"
    assert read_outcome(write(tmp_path / "b.jsonl", late)).status == "diverged"
    told = read_outcome(write(tmp_path / "c.jsonl", log() + '{"step": 1100, "status": "diverged"}\n'))
    assert (told.status, told.losses) == ("diverged", {})


def test_a_run_that_broke_off_has_failed(tmp_path):
    source = write(tmp_path / "log.jsonl", log(range(0, 601, 100)))
    told = read_outcome(source, plan())
    assert (told.status, told.losses) == ("failed", {})
    assert "ends after 60% of the planned tokens" in told.notices[-1]
    assert read_outcome(source).status == "ok"
    done = write(tmp_path / "done.jsonl", log(range(0, 601, 100)) + '{"step": 600, "status": "finished"}\n')
    assert read_outcome(done, plan()).status == "ok"


@pytest.mark.parametrize(
    ("key", "value", "nats"),
    [("val_ppl", 20.0, math.log(20)), ("bits_per_token", 3.0, 3 * math.log(2)), ("bpb", 0.9, 0.9 * 4 * math.log(2))],
)
def test_units_of_logs(tmp_path, key, value, nats):
    text = "".join(json.dumps({"step": step, key: value}) + "\n" for step in range(10))
    source = write(tmp_path / "log.jsonl", text)
    assert read_outcome(source, plan(tokens="9M", bytes_per_token=4)).losses["loss"] == pytest.approx(nats)


def test_bad_logs(tmp_path):
    with pytest.raises(LogError, match="there is no such file"):
        read_outcome(tmp_path / "absent.jsonl")
    with pytest.raises(LogError, match=r"expected data\.bytes_per_token in the plan"):
        read_outcome(write(tmp_path / "a.jsonl", '{"step": 1, "bpb": 0.9}\n'))
    with pytest.raises(LogError, match="no loss among its keys"):
        read_outcome(write(tmp_path / "b.jsonl", '{"step": 1, "accuracy": 0.9}\n'))
    with pytest.raises(LogError, match=r"there is no 'quality'; expected one of step, train_loss"):
        read_outcome(write(tmp_path / "c.jsonl", log()), columns={"loss": "quality"})


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_outcome_or_a_clear_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "log.csv"
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        assert all(math.isfinite(loss) for told in read_outcomes(path) for loss in told.losses.values())


# digests


def test_the_same_outcome_has_the_same_digest_wherever_it_is(tmp_path):
    one = read_outcomes(write(tmp_path / "a/runs.csv", MLFLOW))[0]
    other = read_outcomes(write(tmp_path / "b/export.csv", MLFLOW.replace("m2,FAILED", "m9,FAILED")))[0]
    assert one.digest == other.digest
    changed = read_outcomes(write(tmp_path / "c/runs.csv", MLFLOW.replace("1.8,2.0", "1.8,2.1")))[0]
    assert changed.digest != one.digest
    facts = json.loads(json.dumps(one.to_dict(), allow_nan=False))
    assert (facts["losses_nats"], facts["digest"]) == ({"loss": 2.0}, one.digest)
    assert set(facts) == {
        "run_id", "status", "losses_nats", "tokens", "params_total", "trial", "columns", "where", "notices", "digest",
    }  # fmt: skip


# the watcher


def test_new_results_once_each(tmp_path):
    write(tmp_path / "export.csv", WANDB)
    mlflow_run(tmp_path / "mlruns/0/ab12", tags={"foretrain_trial": "8"})
    write(tmp_path / "mlruns/0/meta.yaml", "experiment_id: 0\nname: Default\n")
    wandb_run(tmp_path / "wandb/run-1")
    write(tmp_path / "demo-30/metrics.jsonl", log())
    write(tmp_path / "notes.md", "no result")
    asked = {"study": "demo", "configs": {30: plan()}, "now": NOW}
    found = new_results(tmp_path, **asked)
    assert [told.trial for told in found] == [4, 5, 6, 30, 8, 7]
    seen = {told.digest for told in found}
    assert new_results(tmp_path, seen, **asked) == []
    write(tmp_path / "copy.csv", WANDB)
    assert new_results(tmp_path, seen, **asked) == []
    write(tmp_path / "export.csv", WANDB.replace("running", "finished"))
    assert [told.trial for told in new_results(tmp_path, seen, **asked)] == [9]


def test_a_run_in_progress_waits(tmp_path):
    path = tmp_path / "demo-1.jsonl"
    asked = {"study": "demo", "configs": {1: plan()}, "now": NOW}
    for last in (300, 600, 900):
        write(path, log(range(0, last, 100)))
        assert new_results(tmp_path, **asked) == []
    write(path, log() + '{"step": 1100, "train_')  # a line that is being written
    (told,) = new_results(tmp_path, **asked)
    assert (told.status, told.tokens) == ("ok", 1e9)


def test_without_a_plan_or_a_word_only_silence_tells(tmp_path):
    write(tmp_path / "demo-1.jsonl", log(), age_s=60)
    assert new_results(tmp_path, study="demo", now=NOW) == []
    assert len(new_results(tmp_path, study="demo", quiet_s=30, now=NOW)) == 1
    write(tmp_path / "demo-1.jsonl", log() + '{"step": 1000, "status": "completed"}\n')
    assert len(new_results(tmp_path, study="demo", now=NOW)) == 1
    # a word in every record says that the step is all right, not that the run is over
    write(tmp_path / "demo-1.jsonl", log(status="ok"))
    assert new_results(tmp_path, study="demo", now=NOW) == []


def test_the_first_line_of_a_log_is_no_summary(tmp_path):
    """A log without steps that had written one line was told as the outcome of its run."""
    first = json.dumps({"run_name": "web-0", "tokens": 1e6, "val_loss": 9.0}) + "\n"
    file = write(tmp_path / "log.jsonl", first)
    assert new_results(tmp_path, study="web", configs={0: plan()}, now=NOW + 1) == []
    write(file, first + json.dumps({"run_name": "web-0", "tokens": 1e9, "val_loss": 2.5}) + "\n")
    assert [told.losses for told in new_results(tmp_path, study="web", configs={0: plan()}, now=NOW + 1)] == [
        {"loss": 2.5}
    ]
    write(file, json.dumps({"run_name": "web-1", "state": "finished", "val_loss": 2.25}) + "\n")
    assert [told.losses for told in new_results(tmp_path, study="web", now=NOW + 1)] == [{"loss": 2.25}]


def test_a_silent_run_short_of_its_plan_has_failed(tmp_path):
    write(tmp_path / "demo-1.jsonl", log(range(0, 500, 100)), age_s=3600)
    (told,) = new_results(tmp_path, study="demo", configs={1: plan()}, now=NOW)
    assert (told.trial, told.status) == (1, "failed")


def test_wandb_runs_without_an_end_wait(tmp_path):
    wandb_run(tmp_path / "run-1", ended=False, age_s=60)
    assert new_results(tmp_path, now=NOW) == []
    assert [told.trial for told in new_results(tmp_path, quiet_s=30, now=NOW)] == [7]


@pytest.mark.parametrize("cut", range(0, len(WANDB) + 1, 7))
def test_a_half_written_export_tells_no_wrong_result(tmp_path, cut):
    """Whatever part of a file is there yet, what is told of it stays true when all of it is there."""
    path = write(tmp_path / "runs.csv", WANDB)
    final = {told.digest for told in new_results(tmp_path, now=NOW)}
    write(path, WANDB[:cut])
    assert {told.digest for told in new_results(tmp_path, now=NOW)} <= final


@pytest.mark.parametrize("name", ["files/wandb-summary.json", "files/config.yaml"])
def test_half_written_files_of_a_run_wait(tmp_path, name):
    folder = wandb_run(tmp_path / "run-1")
    text = (folder / name).read_text(encoding="utf-8")
    write(folder / name, text[: len(text) // 2] + "{[")
    assert new_results(tmp_path, now=NOW) == []
    write(folder / name, text)
    assert len(new_results(tmp_path, now=NOW)) == 1


def test_damage_that_stays_is_named_and_hides_nothing(tmp_path):
    write(tmp_path / "a.csv", "run_id,loss\nx,fast\ny,2.5\n")
    write(tmp_path / "b.jsonl", "not a log\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [told.run_id for told in new_results(tmp_path, now=NOW)] == ["y"]
    with pytest.warns(DataWarning) as caught:
        found = new_results(tmp_path, quiet_s=0, now=NOW)
    assert [told.run_id for told in found] == ["y"]
    said = [str(warning.message) for warning in caught]
    assert any("a.csv, line 2, column 'loss': 'fast' is not a number" in text for text in said)
    assert any("b.jsonl" in text for text in said)


def test_no_such_folder(tmp_path):
    with pytest.raises(LogError, match="there is no such folder"):
        new_results(tmp_path / "absent")


def test_links_and_hidden_folders_are_left_alone(tmp_path):
    outside = tmp_path / "outside"
    write(outside / "runs.csv", WANDB)
    write(tmp_path / "in/.trash/runs.csv", WANDB)
    (tmp_path / "in/link").symlink_to(outside, target_is_directory=True)
    assert new_results(tmp_path / "in", now=NOW) == []
