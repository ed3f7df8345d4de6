"""Optuna's journal, torn, damaged, and taken up again."""

import json
import os
import threading
import urllib.request
import warnings
from wsgiref.simple_server import WSGIRequestHandler, make_server

import optuna
import pytest
from foretrain.core.errors import DataWarning, InputError
from foretrain.simulator.search.storage.journal import open_journal
from foretrain.simulator.search.storage.quiet import quiet_log
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend


def study_in(storage, n_trials: int = 0) -> optuna.Study:
    with quiet_log():
        study = optuna.create_study(
            storage=storage,
            study_name="s",
            sampler=optuna.samplers.RandomSampler(seed=0),
            load_if_exists=True,
        )
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=n_trials)
    return study


@pytest.fixture
def path(tmp_path):
    """A journal of five trials."""
    file = tmp_path / "study.log"
    study_in(open_journal(file), 5)
    return file


def values(path) -> list[float | None]:
    return [trial.value for trial in study_in(open_journal(path)).trials]


def test_a_torn_last_line_is_cut_and_the_study_goes_on(path):
    """Optuna alone: it loads once more, and after the next append never again."""
    whole, before = path.read_bytes(), values(path)
    with path.open("ab") as stream:
        stream.write(b'{"op_code":4,"worker_id":"a","stu')
    with pytest.warns(DataWarning, match="its last line was torn.*33 bytes were cut"):
        storage = open_journal(path)
    assert path.read_bytes().startswith(whole)
    assert [trial.value for trial in study_in(storage, 2).trials][:5] == before
    plain = study_in(JournalStorage(JournalFileBackend(str(path))))
    assert len(plain.trials) == 7
    assert values(path)[:5] == before


def test_a_line_torn_while_the_study_is_open_is_cut_by_the_next_append(path):
    storage = open_journal(path)
    with path.open("ab") as stream:
        stream.write(b'{"op_code":6,"worker')
    assert len(study_in(storage, 1).trials) == 6
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    """The bytes of a journal of five trials."""
    file = tmp_path_factory.mktemp("whole") / "study.log"
    study_in(open_journal(file), 5)
    return file.read_bytes()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_wherever_a_journal_ends_it_goes_on_from_there(tmp_path_factory, content, data):
    """A process may be killed, or the power fail, after any byte."""
    end = data.draw(st.integers(0, len(content)))
    file = tmp_path_factory.mktemp("cut") / "study.log"
    file.write_bytes(content[:end])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        storage = open_journal(file)
    assert len(caught) == (not content[:end].endswith(b"\n") and end > 0)
    whole = content[: content[:end].rfind(b"\n") + 1]
    assert file.read_bytes() == whole
    told = [log["values"] for log in map(json.loads, whole.splitlines()) if log["op_code"] == 6]
    study = study_in(storage, 2)
    again = study_in(JournalStorage(JournalFileBackend(str(file))))
    for found in (study.trials, again.trials):
        assert [trial.values for trial in found if trial.values][: len(told)] == told
        assert sum(trial.state.is_finished() for trial in found) == len(told) + 2
        assert [trial.number for trial in found] == list(range(len(found)))


@pytest.mark.parametrize("line", [1, 2, 9, 14])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda line: line[: len(line) // 2], "isn't whole"),
        (lambda line: b"\xff\xfe" + line, "isn't whole"),
        (lambda line: b"[1, 2]", "isn't whole"),
        (lambda line: line.replace(b'"op_code":', b'"op_code":7'), "isn't an operation that this version"),
        (lambda line: b'{"op_code":6,"worker_id":"x"}', "isn't an operation that this version"),
    ],
    ids=["torn", "not UTF-8", "not an object", "unknown operation", "incomplete operation"],
)
def test_damage_in_the_middle_is_named_and_left_alone(path, line, damage, words):
    lines = path.read_bytes().splitlines()
    lines[line - 1] = damage(lines[line - 1])
    path.write_bytes(b"\n".join(lines) + b"\n" + b'{"op_code"')  # torn as well
    before = path.read_bytes()
    if line == 1:
        words = f"({words}|isn't a journal)"
    with pytest.raises(InputError, match=f"study.log: (line {line}: )?{words}"):
        open_journal(path)
    assert path.read_bytes() == before


def test_damage_that_comes_while_the_study_is_open(path):
    study = study_in(open_journal(path))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="was cut off, or the file replaced, while in use"):
        _ = study.trials


@pytest.mark.parametrize(
    "content",
    [
        b"a: 1\nb: 2\n",
        b"params,tokens,loss\n1,2,3\n",
        b"SQLite format 3\0" + bytes(100),
        bytes(range(256)),
        b'{"name": "a JSON file"}\n',
        b"one line without its end",
        b"\n",
    ],
)
def test_what_is_no_journal_is_left_alone(tmp_path, content):
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(InputError, match="isn't a journal of Optuna: it begins with") as caught:
        open_journal(file)
    assert file.read_bytes() == content
    assert content[:6] != b"SQLite" or "sqlite:///" in str(caught.value)


def test_where_no_journal_can_be(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        open_journal(tmp_path / "no" / "study.log")
    with pytest.raises(InputError, match="is a folder"):
        open_journal(tmp_path)
    with pytest.raises(InputError, match="is a device"):
        open_journal("/dev/null")
    with pytest.raises(InputError, match="can't be"):
        open_journal("a\0b")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_and_one_whose_only_line_is_torn_are_new_journals(tmp_path):
    empty, torn = tmp_path / "empty", tmp_path / "torn"
    empty.touch()
    torn.write_bytes(b'{"op_code":0,"wor')
    assert len(study_in(open_journal(empty), 1).trials) == 1
    with pytest.warns(DataWarning, match="torn"):
        storage = open_journal(torn)
    assert len(study_in(storage, 1).trials) == 1


def test_a_trial_costs_one_sync_to_the_disk(path, monkeypatch):
    """A disk takes milliseconds for one, and a trial writes a score of lines: its outcome alone waits for the disk."""
    study, calls, sync = study_in(open_journal(path)), [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append(1) or sync(descriptor))
    with quiet_log():
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1), n_trials=10)
    assert len(calls) == 10
    study.enqueue_trial({"x": 0.5})
    study.set_user_attr("note", "kept")
    assert len(calls) == 12


def test_ctrl_c_within_a_replay_loses_no_trial(path, monkeypatch):
    """A line was counted as read and not applied; later trials then got numbers that were taken."""
    storage, other = open_journal(path), open_journal(path)
    study = study_in(storage)
    study_in(other, 1)
    apply = optuna.storages.journal._storage.JournalStorageReplayResult._apply_create_trial
    calls = []

    def interrupted(self, log):
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        apply(self, log)

    monkeypatch.setattr(optuna.storages.journal._storage.JournalStorageReplayResult, "_apply_create_trial", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study.get_trials()
    monkeypatch.undo()
    assert study.ask().number == 6
    assert [trial.number for trial in study_in(open_journal(path)).trials] == list(range(7))


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *words):
        pass


def test_optuna_dashboard_opens_a_journal_as_it_is(path):
    from optuna_dashboard import wsgi

    app = wsgi(JournalStorage(JournalFileBackend(str(path))))
    with make_server("127.0.0.1", 0, app, handler_class=QuietHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            api = f"http://127.0.0.1:{server.server_port}/api/studies"
            with urllib.request.urlopen(api, timeout=10) as answer:
                studies = json.load(answer)["study_summaries"]
            with urllib.request.urlopen(f"{api}/{studies[0]['study_id']}?after=0", timeout=10) as answer:
                found = json.load(answer)
        finally:
            server.shutdown()
            thread.join()
    assert [study["study_name"] for study in studies] == ["s"]
    assert [(trial["number"], trial["state"]) for trial in found["trials"]] == [(n, "Complete") for n in range(5)]
    assert [trial["values"][0] for trial in found["trials"]] == pytest.approx(values(path))
