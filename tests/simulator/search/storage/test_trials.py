"""The loop of trials: how many, what fails them, what ends it."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from foretrain.core.errors import ForetrainError, InputError, UsageError
from foretrain.simulator.search.storage import trials
from foretrain.simulator.search.storage.leases import RETRY_OF, WHY, WORKER
from foretrain.simulator.search.storage.opening import open_storage, open_study
from foretrain.simulator.search.storage.trials import run_trials
from optuna.trial import TrialState

FAULTS = Path(__file__).parents[4] / "benchmarks" / "search_faults.py"
PLAN = {"format": 1, "version": "0.1.0", "digest": "abc"}


def a_study(where: str | None = None, directions=("minimize",), sampler=None) -> optuna.Study:
    sampler = sampler or optuna.samplers.RandomSampler(seed=0)
    return open_study(open_storage(where), "s", directions, PLAN, sampler)


@pytest.fixture(params=[None, "study.log", "sqlite:///study.db"], ids=["memory", "journal", "sqlite"])
def study(request, tmp_path, monkeypatch) -> optuna.Study:
    monkeypatch.chdir(tmp_path)
    return a_study(request.param)


def square(trial: optuna.Trial) -> tuple[float]:
    return (trial.suggest_float("x", -1, 1) ** 2,)


def states(study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_as_many_trials_as_are_wanted_and_no_more(study):
    seen = []
    assert run_trials(study, square, 5, progress=lambda done, total: seen.append((done, total))) == 5
    assert seen == [(n, 5) for n in range(6)]
    assert run_trials(study, square, 5) == 0
    assert run_trials(study, square, 7) == 2
    assert states(study) == ["COMPLETE"] * 7
    assert all(trial.user_attrs[WORKER]["pid"] == os.getpid() for trial in study.trials)


def test_trials_that_others_finished_count(tmp_path):
    one, other = (a_study(str(tmp_path / "study.log")) for _ in range(2))

    def objective(trial: optuna.Trial) -> tuple[float]:
        if trial.number == 1:
            run_trials(other, square, 4)
        return square(trial)

    assert run_trials(one, objective, 4) == 2
    assert states(one) == ["COMPLETE"] * 5  # one more, which was running


def test_several_objectives():
    study = a_study(directions=("minimize", "maximize"))
    run_trials(study, lambda trial: (*square(trial), 3.0), 4)
    assert [trial.values[1] for trial in study.trials] == [3.0] * 4


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_value_that_is_not_finite_fails_its_trial(study, value):
    """Optuna keeps an infinite one as a result."""

    def objective(trial: optuna.Trial) -> tuple[float]:
        return (value,) if trial.number == 1 else square(trial)

    assert run_trials(study, objective, 3) == 3
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert study.trials[1].user_attrs[WHY] == f"its values are {value}; expected finite ones"


def test_failures_come_to_an_end(study):
    with pytest.raises(ForetrainError, match=r"21 trials failed, the limit for 3 complete ones; the last.*are inf"):
        run_trials(study, lambda trial: (math.inf,), 3)
    assert states(study) == ["FAIL"] * 21


def test_another_number_of_values_than_directions(study):
    with pytest.raises(UsageError, match="gave 2 values; expected one for each of the study's 1 directions"):
        run_trials(study, lambda trial: (1.0, 2.0), 3)
    assert states(study) == ["FAIL"]


@pytest.mark.parametrize("error", [InputError("no"), ZeroDivisionError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_what_an_objective_raises_fails_its_trial_and_gets_out(study, error):
    sampler, verbosity = study.sampler, optuna.logging.get_verbosity()

    def objective(trial: optuna.Trial) -> tuple[float]:
        if trial.number == 1:
            raise error
        return square(trial)

    with pytest.raises(type(error)):
        run_trials(study, objective, 3)
    assert states(study) == ["COMPLETE", "FAIL"]
    assert (study.sampler, optuna.logging.get_verbosity()) == (sampler, verbosity)
    assert run_trials(study, square, 3) == 2


def test_ctrl_c_while_parameters_are_chosen_leaves_no_trial_running(study):
    class Sampler(optuna.samplers.RandomSampler):
        def before_trial(self, study, trial):
            if trial.number == 2:
                raise KeyboardInterrupt

    study.sampler = Sampler(seed=0)
    with pytest.raises(KeyboardInterrupt):
        run_trials(study, square, 5)
    assert states(study) == ["COMPLETE", "COMPLETE", "FAIL"]
    assert study.trials[2].user_attrs[WHY] == "it was interrupted"


def test_a_callback_that_raises_ends_the_run(study):
    def callback(study, trial):
        raise InputError("enough")

    with pytest.raises(InputError, match="enough"):
        run_trials(study, square, 5, callbacks=[callback])
    assert states(study) == ["COMPLETE"]


def test_time_and_wish_end_the_run_between_trials(study):
    assert run_trials(study, square, 5, timeout_s=0.0) == 0
    assert run_trials(study, square, 5, should_stop=lambda: len(study.trials) == 2) == 2

    def slow(trial: optuna.Trial) -> tuple[float]:
        time.sleep(0.05)
        return square(trial)

    assert 1 <= run_trials(study, slow, 500, timeout_s=0.2) <= 5
    assert set(states(study)) == {"COMPLETE"}


def test_a_trial_that_somebody_took_for_dead_meanwhile_does_not_end_the_run(study):
    def objective(trial: optuna.Trial) -> tuple[float]:
        values = square(trial)
        if trial.number in (1, 2):
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        if trial.number == 2:
            trial.set_user_attr("too", "late")
        return values

    assert run_trials(study, objective, 3) == 3
    assert states(study) == ["COMPLETE", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]


def test_what_a_dead_process_was_at_is_tried_again(study):
    dead = study._storage.create_new_trial(study._study_id)
    trial = optuna.Trial(study, dead)
    x = trial.suggest_float("x", -1, 1)
    run_trials(study, square, 2)
    trial.set_user_attr(WORKER, {**study.trials[1].user_attrs[WORKER], "started": 1, "number": 0})
    assert run_trials(study, square, 3) == 1
    assert states(study)[0] == "FAIL"
    assert (study.trials[-1].user_attrs[RETRY_OF], study.trials[-1].params["x"]) == (0, x)


def test_a_storage_that_goes_away_is_an_input_error(tmp_path):
    study = a_study(f"sqlite:///{tmp_path}/study.db")

    def objective(trial: optuna.Trial) -> tuple[float]:
        import sqlite3

        with sqlite3.connect(tmp_path / "study.db") as connection:
            connection.execute("drop table trial_params")
        connection.close()
        return square(trial)

    with pytest.raises(InputError, match=r"the storage of study 's' failed: .*no such table: trial_params"):
        run_trials(study, objective, 3)


def test_a_disk_that_is_full_when_a_trial_is_told(tmp_path, monkeypatch):
    """Optuna raised an AssertionError, for the trial was neither complete nor failed."""
    study = a_study(str(tmp_path / "study.log"))

    def objective(trial: optuna.Trial) -> tuple[float]:
        values = square(trial)
        monkeypatch.setattr(os, "write", full)
        return values

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"study\.log: can't be written: No space left"):
        run_trials(study, objective, 3)
    monkeypatch.undo()
    assert run_trials(study, square, 2) == 2


def test_an_assertion_of_the_objective_stays_its_own():
    def objective(trial: optuna.Trial) -> tuple[float]:
        try:
            raise KeyError("first")
        except KeyError:
            raise AssertionError("its own") from None

    with pytest.raises(AssertionError, match="its own"):
        run_trials(a_study(), objective, 1)


def test_nothing_is_said(capfd, study):
    run_trials(study, lambda trial: (math.inf,) if trial.number == 0 else square(trial), 2)
    assert capfd.readouterr() == ("", "")


def test_the_dead_are_looked_for_as_long_as_trials_run(monkeypatch):
    looks = []
    monkeypatch.setattr(trials, "fail_dead", lambda study: looks.append(study))
    monkeypatch.setattr(trials, "_CHECK_S", 0.0)
    run_trials(a_study(), square, 3)
    assert len(looks) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_a_process_is_killed_and_nothing_is_lost():
    """Four processes on one journal, one killed at a random moment, three times."""
    words = ["--storage", "journal", "--rounds", "3", "--seed", "5", "--json"]
    done = subprocess.run([sys.executable, FAULTS, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)["journal"]
    assert found["killed processes"] == 3
    assert found["reported"] > 100
