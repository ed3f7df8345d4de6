"""Ownership of running trials, and recovery after a worker dies.

A trial stays RUNNING for ever when its process is killed. A database has heartbeats against that, but they miss trials
that were killed before their first beat, and a journal has none. So each trial names its worker in a user attribute,
written before anything is sampled for it:

    "worker": {"host": …, "boot": …, "space": …, "pid": …, "started": …, "number": …}

`started` tells a process from a later one of the same id, `boot` one from before the machine was started again, `space`
is the namespace in which process ids count (a container's). `number` is the trial's own: a retried trial inherits
attributes.

Importing this module imports Optuna, so import it where it is used.
"""

from __future__ import annotations

import copy
import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

from .quiet import experimental_parts

__all__ = ["MAX_RETRIES", "RETRY_OF", "WAITS", "WHY", "WORKER", "LeasedSampler", "fail_dead", "fail_trial", "retry"]

WORKER = "worker"
"""User attribute of a trial: the process that runs it."""
WHY = "why"
"""User attribute of a failed trial: why it failed, in words."""
RETRY_OF = "retry_of"
"""User attribute of a trial that is run again: the number of the one that died."""
WAITS = "waits"
"""User attribute of a trial that waits for a job elsewhere: true. No process need live for it."""
MAX_RETRIES = 3
"""How often the same parameters are tried again after their process died."""

_NAMELESS_S = 60.0  # a trial that names no worker after this long never will
_KEPT = ("fixed_params", "failed_trial", "retry_history")  # system attributes of a trial that is run again


class LeasedSampler(BaseSampler):
    """Wraps a sampler to write each trial's lease as soon as the trial exists.

    The objective would be too late, since a short trial may spend most of its time on sampling its parameters. `begun`
    is called with the id of each trial.
    """

    def __init__(self, sampler: BaseSampler, begun: Callable[[int], None] = lambda trial_id: None) -> None:
        self.sampler = sampler
        self._begun = begun

    @override
    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._begun(trial._trial_id)
        study._storage.set_trial_user_attr(trial._trial_id, WORKER, {**_this_worker(), "number": trial.number})
        self.sampler.before_trial(study, trial)

    @override
    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self.sampler.after_trial(study, trial, state, values)

    @override
    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.sampler.infer_relative_search_space(study, trial)

    @override
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.sampler.sample_relative(study, trial, search_space)

    @override
    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.sampler.sample_independent(study, trial, param_name, param_distribution)

    @override
    def reseed_rng(self) -> None:
        self.sampler.reseed_rng()


def fail_dead(study: Study) -> list[int]:
    """Fail the RUNNING trials whose process is dead, and enqueue their parameters again; return their numbers.

    Any number of processes may call it at once: only the one that changes a trial's state enqueues it again. Trials
    that wait for a job elsewhere are left alone, and so are those of other hosts, whose processes can't be checked.
    """
    now, failed = datetime.now(), []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        why = _cause_of_death(trial, now)
        if why and fail_trial(study, trial._trial_id, why):
            failed.append(trial.number)
            retry(study, trial)
    return failed


def fail_trial(study: Study, trial_id: int, why: str) -> bool:
    """Mark a trial as failed, with the reason; False if it was finished already, by any process."""
    storage = study._storage
    try:
        if storage.get_trial(trial_id).state.is_finished():
            return False
        storage.set_trial_user_attr(trial_id, WHY, why)
        return storage.set_trial_state_values(trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return False


def retry(study: Study, trial: FrozenTrial) -> None:
    """Enqueue the parameters of a trial whose process died, at most `MAX_RETRIES` times in a chain of retries.

    Optuna's heartbeat calls it too. It passes Optuna's own callback a copy of the trial without the attributes that the
    dead process left, since a constraint that is set already can't be set again.
    """
    if not trial.params and "fixed_params" not in trial.system_attrs:
        return  # killed before anything was chosen
    again = copy.deepcopy(trial)
    left = {key: value for key, value in again.user_attrs.items() if key not in (WORKER, WHY, WAITS)}
    again.user_attrs = {**left, RETRY_OF: trial.number}
    again.system_attrs = {key: again.system_attrs[key] for key in _KEPT if key in again.system_attrs}
    with experimental_parts():
        callback = RetryHeartbeatStaleTrialCallback(max_retry=MAX_RETRIES)
    callback(study, again)


def _cause_of_death(trial: FrozenTrial, now: datetime) -> str | None:
    """Why a running trial can no longer end; None if it still may."""
    if trial.user_attrs.get(WAITS) is True:
        return None
    worker = trial.user_attrs.get(WORKER)
    if not isinstance(worker, Mapping) or worker.get("number") != trial.number:
        begun = trial.datetime_start
        old = begun is not None and now - begun > timedelta(seconds=_NAMELESS_S)
        return "its process was killed before it could name itself" if old else None
    here = _this_host()
    if worker.get("host") != here["host"]:
        return None
    if worker.get("boot") != here["boot"]:
        return "the machine was started again while it ran"
    if worker.get("space") != here["space"] or _is_alive(worker.get("pid"), worker.get("started")):
        return None
    return f"its process, {worker.get('pid')}, was killed"


def _this_worker() -> dict[str, Any]:
    pid = os.getpid()
    return {**_this_host(), "pid": pid, "started": _started(pid)}


@cache
def _this_host() -> dict[str, str]:
    """The machine, its boot id, and its namespace of process ids; empty where the system doesn't provide them."""
    found = {"host": f"{platform.node()} {_text('/etc/machine-id')}".strip()}
    found["boot"] = _text("/proc/sys/kernel/random/boot_id")
    found["space"] = ""
    with suppress(OSError):
        found["space"] = os.readlink("/proc/self/ns/pid")
    return found


def _text(path: str) -> str:
    try:
        return Path(path).read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _started(pid: int) -> int:
    """Start time of a process, in clock ticks since boot; 0 if unknown or if the process is gone."""
    try:
        # the name, in parentheses, may hold anything; the fields of interest are after it (man 5 proc)
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def _is_alive(pid: Any, started: Any) -> bool:
    """Whether the process of a lease of this host is alive; True if it can't be determined."""
    if not isinstance(pid, int) or not isinstance(started, int):
        return True
    if started and Path("/proc/self/stat").exists():
        return _started(pid) == started
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
