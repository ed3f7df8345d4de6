"""Whose a running trial is, and what becomes of it when its process is dead."""

import os
import subprocess
import sys
import threading
from collections import Counter

import optuna
import pytest
from foretrain.simulator.search.storage import leases
from foretrain.simulator.search.storage.leases import RETRY_OF, WAITS, WHY, WORKER, LeasedSampler, fail_dead, fail_trial
from foretrain.simulator.search.storage.opening import open_storage, open_study
from foretrain.simulator.search.storage.quiet import quiet_log
from optuna.trial import TrialState

PLAN = {"format": 1, "version": "0.1.0", "digest": "abc"}


def a_study(where: str | None) -> optuna.Study:
    storage = open_storage(where, heartbeat_s=None)
    return open_study(storage, "s", ["minimize"], PLAN, optuna.samplers.RandomSampler(seed=0))


@pytest.fixture(params=[None, "study.log", "sqlite:///study.db"], ids=["memory", "journal", "sqlite"])
def study(request, tmp_path, monkeypatch) -> optuna.Study:
    monkeypatch.chdir(tmp_path)
    return a_study(request.param)


@pytest.fixture(scope="module")
def gone() -> dict:
    """The lease of a process that has ended, without the trial's number."""
    program = "import json; from foretrain.simulator.search.storage.leases import _this_worker; print(_this_worker())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    import ast

    return ast.literal_eval(done.stdout)


def begin(study, worker: dict | None, **attributes) -> optuna.Trial:
    """A trial that a worker has begun: one parameter chosen, one constraint set."""
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.set_constraint("budget", 1.0)
    if worker is not None:
        trial.set_user_attr(WORKER, {"number": trial.number, **worker})
    for key, value in attributes.items():
        trial.set_user_attr(key, value)
    return trial


def test_the_trial_of_a_dead_process_fails_and_is_tried_again(study, gone):
    dead = begin(study, gone, note="kept")
    assert fail_dead(study) == [0]
    failed, again = study.trials
    assert (failed.state, again.state) == (TrialState.FAIL, TrialState.WAITING)
    assert failed.user_attrs[WHY] == f"its process, {gone['pid']}, was killed"
    assert again.user_attrs == {"note": "kept", RETRY_OF: 0}
    assert fail_dead(study) == []
    trial = study.ask()
    assert (trial.number, trial.suggest_float("x", 0, 1)) == (1, dead.params["x"])
    trial.set_constraint("budget", -1.0)  # Optuna warns if a retried trial has it already
    study.tell(trial, 0.5)
    assert study.trials[1].constraints == {"budget": -1.0}


def test_a_trial_is_tried_again_three_times_at_most(study, gone):
    begin(study, gone)
    for number in range(4):
        assert fail_dead(study) == [number]
        if number < 3:
            begin(study, gone)
    assert [trial.user_attrs.get(RETRY_OF) for trial in study.trials] == [None, 0, 1, 2]
    assert {trial.state for trial in study.trials} == {TrialState.FAIL}
    assert len({trial.params["x"] for trial in study.trials}) == 1


def test_an_enqueued_trial_that_was_killed_before_it_sampled_keeps_its_parameters(study, gone):
    study.enqueue_trial({"x": 0.25}, user_attrs={"source": "recipe"})
    study.ask().set_user_attr(WORKER, {**gone, "number": 0})
    fail_dead(study)
    trial = study.ask()
    assert (trial.number, trial.suggest_float("x", 0, 1)) == (1, 0.25)
    assert trial.user_attrs == {"source": "recipe", RETRY_OF: 0}


def test_nothing_is_tried_again_where_nothing_was_chosen(study, gone):
    study.ask().set_user_attr(WORKER, {**gone, "number": 0})
    assert fail_dead(study) == [0]
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def own() -> dict:
    return leases._this_worker()


@pytest.mark.parametrize(
    ("worker", "dead"),
    [
        (lambda gone: own(), False),
        (lambda gone: {**own(), "started": 1}, True),
        (lambda gone: {**gone, "host": "elsewhere"}, False),
        (lambda gone: {**gone, "space": "pid:[1]"}, False),
        (lambda gone: {**own(), "boot": "before"}, True),
        (lambda gone: {**gone, "pid": "?"}, False),
        (lambda gone: {**gone, "number": 7}, False),
        (lambda gone: None, False),
    ],
    ids=["ours", "pid used again", "other host", "other container", "rebooted", "nonsense", "inherited", "nameless"],
)
def test_who_counts_as_dead(gone, worker, dead):
    study = a_study(None)
    begin(study, worker(gone))
    assert fail_dead(study) == ([0] if dead else [])


def test_a_process_that_ended_and_that_nobody_waited_for_is_dead():
    """It keeps its id and its start until its parent looks."""
    study = a_study(None)
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        worker = {**own(), "pid": process.pid, "started": leases._started(process.pid)}
        begin(study, worker)
        process.stdout.read()  # closed when it ends
        while leases._started(process.pid):
            os.sched_yield()
        assert fail_dead(study) == [0]


def test_without_proc_a_process_id_is_all_there_is(monkeypatch, gone):
    monkeypatch.setattr(leases, "_started", lambda pid: 0)
    study = a_study(None)
    begin(study, {**own(), "started": 0})
    begin(study, {**gone, "started": 0})
    assert fail_dead(study) == [1]


def test_a_trial_that_waits_for_a_job_is_left_alone(study, gone, monkeypatch):
    monkeypatch.setattr(leases, "_NAMELESS_S", 0.0)
    begin(study, gone, **{WAITS: True})
    begin(study, None, **{WAITS: True})
    assert fail_dead(study) == []


def test_a_trial_that_names_nobody_for_a_minute_fails(study, monkeypatch):
    begin(study, None)
    assert fail_dead(study) == []
    monkeypatch.setattr(leases, "_NAMELESS_S", 0.0)
    assert fail_dead(study) == [0]
    assert study.trials[0].user_attrs[WHY] == "its process was killed before it could name itself"


@pytest.mark.parametrize("where", ["study.log", "sqlite:///study.db"])
def test_several_that_look_at_once_enqueue_once(tmp_path, monkeypatch, gone, where):
    monkeypatch.chdir(tmp_path)
    study = a_study(where)
    for _ in range(10):
        begin(study, gone)
    studies, found = [a_study(where) for _ in range(4)], []
    barrier = threading.Barrier(4)

    def look(mine: optuna.Study) -> None:
        barrier.wait()
        found.extend(fail_dead(mine))

    with quiet_log():
        threads = [threading.Thread(target=look, args=(mine,)) for mine in studies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == list(range(10))
    states = Counter(trial.state for trial in study.trials)
    assert states == {TrialState.FAIL: 10, TrialState.WAITING: 10}


def test_a_finished_trial_is_not_failed(study):
    trial = begin(study, None)
    study.tell(trial, 1.0)
    assert fail_trial(study, trial._trial_id, "no reason") is False
    assert study.trials[0].user_attrs == {}


def test_the_lease_is_there_before_anything_is_sampled():
    begun, study = [], a_study(None)

    class Sampler(optuna.samplers.RandomSampler):
        def sample_independent(self, study, trial, param_name, param_distribution):
            assert study.trials[-1].user_attrs[WORKER] == {**own(), "number": trial.number}
            return super().sample_independent(study, trial, param_name, param_distribution)

    study.sampler = LeasedSampler(Sampler(seed=1), begun.append)
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    assert begun == [trial._trial_id]


@pytest.mark.parametrize("make", [optuna.samplers.TPESampler, optuna.samplers.NSGAIISampler])
def test_a_leased_sampler_samples_as_it_would_alone(make):
    def points(leased: bool) -> list[dict]:
        study = a_study(None)
        study.sampler = LeasedSampler(make(seed=3)) if leased else make(seed=3)
        with quiet_log():
            study.optimize(lambda trial: sum(trial.suggest_float(name, -1, 1) ** 2 for name in "ab"), n_trials=30)
        return [trial.params for trial in study.trials]

    assert points(True) == points(False)
