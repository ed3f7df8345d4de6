"""Where studies are kept, and how they are taken up again."""

import json
import sqlite3
import subprocess
import sys
import warnings

import optuna
import pytest
from foretrain.core.errors import InputError, UsageError
from foretrain.simulator.search.storage import database
from foretrain.simulator.search.storage.database import open_database, reason
from foretrain.simulator.search.storage.opening import STAMP, open_storage, open_study
from foretrain.simulator.search.storage.quiet import quiet_log
from optuna.storages import InMemoryStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback

SAMPLER = optuna.samplers.RandomSampler(seed=0)
PLAN = {"format": 1, "version": "0.1.0", "digest": "abc"}

# four processes open one new study at the same moment
RACE = """
import json, os, sys, time
import optuna
from foretrain.simulator.search.storage.opening import open_storage, open_study
where, begin = sys.argv[1], time.time() + 0.3
for n in range(4):
    if not os.fork():
        time.sleep(max(0.0, begin - time.time()))
        sampler = optuna.samplers.RandomSampler()
        study = open_study(open_storage(where), "s", ["minimize"], json.loads(sys.argv[2]), sampler)
        study.ask()
        os._exit(0)
codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(4)]
sys.exit(max(codes))
"""


def a_study(storage, name="s", directions=("minimize",), **stamp) -> optuna.Study:
    return open_study(storage, name, directions, {**PLAN, **stamp}, SAMPLER)


@pytest.mark.parametrize("form", ["{}", "journal://{}", "sqlite:///{}"])
def test_a_study_is_taken_up_again_with_its_trials(tmp_path, form):
    where = form.format(tmp_path / "study")
    study = a_study(open_storage(where))
    study.enqueue_trial({"x": 1.0})
    again = a_study(open_storage(where), version="9.9.9")
    assert [trial.system_attrs["fixed_params"] for trial in again.trials] == [{"x": 1.0}]
    assert again.user_attrs[STAMP] == PLAN
    assert isinstance(open_storage(where), RDBStorage if "sqlite" in form else JournalStorage)


def test_memory():
    assert isinstance(open_storage(None), InMemoryStorage)
    assert a_study(open_storage(None)).user_attrs[STAMP] == PLAN


def test_taking_a_study_up_again_writes_nothing(tmp_path):
    path = tmp_path / "study.log"
    a_study(open_storage(str(path)))
    before = path.read_bytes()
    a_study(open_storage(str(path)))
    with pytest.raises(InputError):
        a_study(open_storage(str(path)), digest="xyz")
    assert path.read_bytes() == before


@pytest.mark.parametrize("where", [None, "study.log", "sqlite:///study.db"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"digest": "xyz"}, r"another space, other objectives or other constraints \(digest 'abc'; expected 'xyz'\)"),
        ({"format": 2}, r"is of format 1, written by foretrain '0\.1\.0'; expected format 2"),
        ({"directions": ["minimize", "minimize"]}, r"its directions are \['minimize'\]; expected"),
        ({"directions": ["maximize"]}, r"its directions are \['minimize'\]; expected \['maximize'\]"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_study_that_differs_is_not_taken(tmp_path, monkeypatch, where, change, words):
    monkeypatch.chdir(tmp_path)
    storage = open_storage(where)
    study = a_study(storage)
    with pytest.raises(InputError, match=rf"study 's': .*{words}.*another name or another storage"):
        a_study(storage, **change)
    assert study.user_attrs == {STAMP: PLAN}


def test_somebody_elses_study_is_not_taken():
    storage = open_storage(None)
    with quiet_log():
        theirs = optuna.create_study(storage=storage, study_name="s")
        theirs.enqueue_trial({"x": 1})
    with pytest.raises(InputError, match="foretrain didn't make it"):
        a_study(storage)
    assert theirs.user_attrs == {}


def test_a_study_whose_maker_was_killed_at_once_is_ours(monkeypatch):
    monkeypatch.setattr("foretrain.simulator.search.storage.opening._RACE_S", 0.05)
    storage = open_storage(None)
    with quiet_log():
        optuna.create_study(storage=storage, study_name="s")
    with pytest.raises(InputError, match="foretrain didn't make it"):
        a_study(storage, directions=["maximize"])
    assert a_study(storage).user_attrs == {STAMP: PLAN}


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
def test_four_processes_may_make_a_study_at_once(tmp_path, form):
    where = form.format(tmp_path / "study")
    done = subprocess.run(
        [sys.executable, "-c", RACE, where, json.dumps(PLAN)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    study = a_study(open_storage(where))
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3]


# names and URLs


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("", "expected a path, journal:///path"),
        ("  ", "expected a path"),
        ("redis://localhost", "'redis' is no storage that is known; expected a path"),
        ("journal://", "expected journal:///path"),
        ("journal:///a?b=c", "expected journal:///path"),
        ("postgresql+nothing://u:secret@h/d", "names a driver that isn't known"),
        ("postgresql://u:secret@h:port/d", "the postgresql URL isn't one"),
        ("mysql+pymysql://u:secret@h/d", r"mysql\+pymysql://u:\*\*\*@h/d: its driver isn't installed; pip install"),
        ("sqlite://", "leave the storage out"),
    ],
)
def test_urls_that_are_wrong(where, words):
    with pytest.raises(UsageError, match=words) as caught:
        open_storage(where)
    assert "secret" not in str(caught.value)


def test_a_missing_driver_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match=r"pip install 'foretrain\[postgresql\]'"):
        open_storage("postgresql://u:secret@127.0.0.1:1/d")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_server_that_is_not_there(scheme):
    with pytest.raises(InputError, match=r"^postgresql\+psycopg://u:\*\*\*@127.0.0.1:1/d: can't be opened:") as caught:
        open_storage(f"{scheme}://u:sec%2Fret@127.0.0.1:1/d?password=secret")
    assert "sec" not in str(caught.value).replace("second", "")


def test_no_password_gets_through_in_a_drivers_words():
    assert reason(ValueError("no answer of db://me:p%40ss@host:5/x\n  at all")) == (
        "no answer of db://me:***@host:5/x at all"
    )


# SQLite


def test_an_sqlite_file_of_another_version_is_left_alone(tmp_path):
    path = tmp_path / "study.db"
    a_study(open_storage(f"sqlite:///{path}"))
    with sqlite3.connect(path) as connection:
        connection.execute("update alembic_version set version_num = 'v9.0.0.a'")
        connection.execute("drop table trial_heartbeats")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match="is from another version of Optuna: The runtime optuna version"):
        open_storage(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_files_that_are_no_sqlite_database(tmp_path):
    wrong, cut = tmp_path / "wrong", tmp_path / "cut"
    wrong.write_text("op_code")
    a_study(open_storage(f"sqlite:///{cut}"))
    cut.write_bytes(cut.read_bytes()[:5000])
    for path, words in ((wrong, "isn't an SQLite database"), (cut, "can't be opened: .*malformed")):
        before = path.read_bytes()
        with pytest.raises(InputError, match=f"{path.name}.*{words}"):
            open_storage(f"sqlite:///{path}")
        assert path.read_bytes() == before
    with pytest.raises(InputError, match="there is no folder"):
        open_storage(f"sqlite:///{tmp_path}/no/study.db")
    with pytest.raises(InputError, match="is a folder"):
        open_storage(f"sqlite:///{tmp_path}")


def test_a_storage_that_fails_later_is_an_input_error(tmp_path):
    path = tmp_path / "study.db"
    storage = open_storage(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        connection.execute("drop table study_user_attributes")
    connection.close()
    with pytest.raises(InputError, match=r"study 's': the storage failed: .*no such table"):
        a_study(storage)


def test_making_tables_at_the_same_time_as_another_is_tried_again(tmp_path, monkeypatch):
    """Found by four processes at once on a fresh PostgreSQL: the type of a column exists already."""
    made, calls = database._Database, []

    def race(*words, **named):
        calls.append(1)
        if len(calls) < 3:
            raise database.IntegrityError("create type", {}, Exception("exists already"))
        return made(*words, **named)

    monkeypatch.setattr(database, "_Database", race)
    assert isinstance(open_database(f"sqlite:///{tmp_path}/study.db", 30, 90), made)
    monkeypatch.setattr(database, "_RACE_S", 0.0)
    calls[:] = []
    with pytest.raises(InputError, match="can't be opened: exists already"):
        open_database(f"sqlite:///{tmp_path}/study.db", 30, 90)


def test_a_trial_that_is_asked_for_needs_no_heartbeat(tmp_path):
    """Optuna warns of every such trial otherwise."""
    assert a_study(open_storage(f"sqlite:///{tmp_path}/study.db", heartbeat_s=None)).ask().number == 0


# what Optuna says


def test_optunas_log_is_quiet_within_and_as_it_was_afterwards(capfd, tmp_path):
    before = optuna.logging.get_verbosity()
    try:
        optuna.logging.set_verbosity(optuna.logging.DEBUG)
        a_study(open_storage(str(tmp_path / "study.log")))
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
        with quiet_log():
            assert optuna.logging.get_verbosity() == optuna.logging.ERROR
        assert capfd.readouterr().err == ""
    finally:
        optuna.logging.set_verbosity(before)


def test_no_warning_of_experimental_parts_reaches_anybody(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        a_study(open_storage(f"sqlite:///{tmp_path}/study.db"))
        assert caught == []
        RetryHeartbeatStaleTrialCallback()
    assert [warning.category.__name__ for warning in caught] == ["ExperimentalWarning"]
