"""Studies on a real PostgreSQL, started for the tests."""

import json
import subprocess
import sys
from pathlib import Path

import optuna
import psycopg
import pytest
from foretrain.core.errors import InputError
from foretrain.simulator.search.storage.leases import RETRY_OF, WORKER
from foretrain.simulator.search.storage.opening import STAMP, open_storage, open_study
from foretrain.simulator.search.storage.trials import run_trials
from optuna.storages import _CachedStorage
from optuna.trial import TrialState

BENCHMARKS = Path(__file__).parents[4] / "benchmarks"
PLAN = {"format": 1, "version": "0.1.0", "digest": "abc"}
pytestmark = pytest.mark.xdist_group("postgresql")


def a_study(url: str, **named) -> optuna.Study:
    return open_study(open_storage(url, **named), "s", ["minimize"], PLAN, optuna.samplers.RandomSampler(seed=0))


def square(trial: optuna.Trial) -> tuple[float]:
    trial.set_constraint("budget", -1.0)
    return (trial.suggest_float("x", -1, 1) ** 2,)


def test_a_study_is_made_run_and_taken_up_again(postgresql_url):
    study = a_study(postgresql_url)
    assert run_trials(study, square, 3) == 3
    again = a_study(postgresql_url.replace("postgresql://", "postgres://"))
    assert isinstance(again._storage, _CachedStorage)  # as Optuna itself does it
    assert [trial.values for trial in again.trials] == [trial.values for trial in study.trials]
    assert again.user_attrs[STAMP] == PLAN
    with pytest.raises(InputError, match="another space"):
        open_study(open_storage(postgresql_url), "s", ["minimize"], {**PLAN, "digest": "x"}, again.sampler)


def test_a_silent_trial_is_tried_again_by_optunas_heartbeat(postgresql_url):
    """Its process was on another host, of which nothing is known here but that it is silent."""
    study = a_study(postgresql_url, heartbeat_s=1, grace_s=2)
    trial_id = study._storage.create_new_trial(study._study_id)
    trial = optuna.Trial(study, trial_id)
    square(trial)
    trial.set_user_attr(WORKER, {"host": "elsewhere", "pid": 1, "started": 1, "number": 0})
    study._storage.record_heartbeat(trial_id)
    run_trials(study, square, 1)
    assert study.trials[0].state == TrialState.RUNNING
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute("update trial_heartbeats set heartbeat = heartbeat - interval '3 seconds'")
    run_trials(study, square, 2)
    dead, _, again = study.trials
    assert (dead.state, again.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert (again.params, again.user_attrs[RETRY_OF]) == (dead.params, 0)
    assert again.constraints == {"budget": -1.0}


def test_a_wrong_password_and_a_wrong_database_are_not_repeated(postgresql_url):
    password = postgresql_url.split(":")[2].split("@")[0]
    with pytest.raises(InputError, match=r"postgresql\+psycopg://foretrain:\*\*\*@.*password authentication") as caught:
        open_storage(postgresql_url.replace(password, "s3cret"))
    assert "s3cret" not in str(caught.value)
    with pytest.raises(InputError, match="does not exist") as caught:
        open_storage(postgresql_url.rpartition("/")[0] + "/none")
    assert password not in str(caught.value)


def test_tables_of_another_version_are_left_alone(postgresql_url):
    a_study(postgresql_url)
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute("update alembic_version set version_num = 'v9.0.0.a'")
        connection.execute("drop table trial_heartbeats")
    with pytest.raises(InputError, match="is from another version of Optuna"):
        open_storage(postgresql_url)
    with psycopg.connect(postgresql_url) as connection:
        assert connection.execute("select to_regclass('trial_heartbeats')").fetchone() == (None,)


def test_a_server_that_goes_away_is_an_input_error(postgresql_url):
    study = a_study(postgresql_url)

    def objective(trial: optuna.Trial) -> tuple[float]:
        with psycopg.connect(postgresql_url.rpartition("/")[0] + "/postgres", autocommit=True) as connection:
            name = postgresql_url.rpartition("/")[2]
            connection.execute(f"alter database {name} allow_connections false")
            connection.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")
        return square(trial)

    with pytest.raises(InputError, match="the storage of study 's' failed"):
        run_trials(study, objective, 2)


def test_a_process_is_killed_and_nothing_is_lost(postgresql_url):
    """Four processes on one fresh database, one killed at random; benchmarks/search_faults.py kills 20."""
    script = [sys.executable, BENCHMARKS / "search_faults.py", "--storage", "postgresql", "--url", postgresql_url]
    words = ["--rounds", "1", "--seed", "5", "--json"]
    done = subprocess.run([*script, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)["postgresql"]
    assert found["killed processes"] == 1
    assert found["reported"] > 30
