"""What the commands do with streams, pipes and names that other people made."""

import json
import os

import pytest

RUN = "name: s\nmodel: {params: 1.3B}\ndata: {tokens: 100B}\n"


def test_an_error_as_json(call):
    done = call("predict", "--config", "none.yaml", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["where"] == "none.yaml"
    assert done.stderr == "simulate: none.yaml: there is no such file\n"
    assert not call("predict", "--config", "none.yaml").stdout


@pytest.mark.skipif(os.name == "nt", reason="named pipes are POSIX's")
def test_a_named_pipe_is_not_waited_for(call, tmp_path):
    for name in ("run.yaml", "runs.csv", "log.jsonl"):
        os.mkfifo(tmp_path / name)
    for words in (("predict", "--config", "run.yaml"), ("fit", "runs.csv")):
        done = call(*words)
        assert (done.returncode, "is a named pipe" in done.stderr) == (3, True)


def test_names_that_are_not_utf8_and_other_odd_ones(call, tmp_path, write_runs):
    write_runs(tmp_path / "runs\udcff.csv", [1e7, 3e7, 1e8, 3e8, 1e9, 3e9], [1e9, 3e9, 1e10, 3e9, 1e9, 1e10])
    (tmp_path / "run.yaml").write_text(RUN)
    for out in ("mine\udcff", "12\u202f000", "\U0001f469\u200d\U0001f52c"):
        done = call("fit", "runs\udcff.csv", "--law", "kaplan", "--out", out)
        assert done.returncode == 0, done.stderr
        done = call("predict", "--config", "run.yaml", "--predictor", out)
        assert done.returncode == 0, done.stderr


def test_progress_as_json_lines(call, tmp_path, write_runs):
    write_runs(tmp_path / "runs.csv", [1e7, 3e7, 1e8, 3e8, 1e9, 3e9], [1e9, 3e9, 1e10, 3e9, 1e9, 1e10])
    done = call("fit", "runs.csv", "--law", "kaplan", "--log-json", "--json")
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [events[0]["event"], events[-1]["event"]] == ["start", "end"]
    assert json.loads(done.stdout)["targets"]
