"""The loop that runs a study's trials, alone or in parallel with other processes on the same study.

It wraps Optuna's `Study.optimize`, with its heartbeats, samplers and callbacks, and adds: a count over all processes,
leases, a limit on failures, and the rejection of values that aren't finite.

Importing this module imports Optuna, so import it where it is used.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from optuna import Study, Trial
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from ....core.errors import ForetrainError, InputError, UsageError
from .database import reason
from .leases import WHY, LeasedSampler, fail_dead, fail_trial
from .quiet import quiet_log, unmasked_errors

__all__ = ["Objective", "run_trials"]

Objective = Callable[[Trial], Sequence[float]]
"""Returns the values of one trial, one for each direction of the study; a value that isn't finite fails the trial."""

_LEAST_FAILURES = 20  # failures that are tolerated in any study
_CHECK_S = 1.0  # how often a process looks for others that have died


def run_trials(
    study: Study,
    objective: Objective,
    total: int,
    *,
    callbacks: Sequence[Callable[[Study, FrozenTrial], None]] = (),
    timeout_s: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> int:
    """Run trials until the study has `total` complete ones, and return how many of them this call completed.

    Every process counts the trials of all before it starts another, so that n processes overshoot by n - 1 at most.
    Trials whose process has died are failed and tried again, see `leases`. An exception of `objective`, Ctrl-C
    included, fails the trial and is raised here.

    Args:
        study: The study.
        objective: Returns a trial's values.
        total: Number of complete trials to reach, over all processes.
        callbacks: Called after each trial.
        timeout_s: Seconds after which no further trial starts.
        progress: Called between trials with the number of complete trials and `total`.
        should_stop: Called between trials; True ends the loop.

    Raises:
        ForetrainError: More than max(20, total) trials of this call failed.
        UsageError: The objective gave another number of values than the study has directions.
        InputError: The storage can't be reached or is damaged.
    """
    worker = _Worker(study, objective, total, progress, should_stop)
    sampler, study.sampler = study.sampler, LeasedSampler(study.sampler, worker.begin)
    try:
        with quiet_log():
            worker.work([worker.after, *callbacks], timeout_s)
    except (StorageInternalError, SQLAlchemyError) as error:
        raise InputError(f"the storage of study {study.study_name!r} failed: {reason(error)}") from None
    finally:
        study.sampler = sampler
    return worker.completed


class _Worker:
    """One process's part of a study."""

    def __init__(
        self,
        study: Study,
        objective: Objective,
        total: int,
        progress: Callable[[int, int], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.completed = 0
        self._study = study
        self._objective = objective
        self._total = total
        self._progress = progress
        self._should_stop = should_stop
        self._running: int | None = None  # the trial's id, from its creation until it is finished
        self._failures = 0
        self._checked = -math.inf

    def work(self, callbacks: Sequence[Callable[[Study, FrozenTrial], None]], timeout_s: float | None) -> None:
        """Run trials until there are enough, the timeout is reached, or an error ends the loop."""
        end = math.inf if timeout_s is None else time.monotonic() + timeout_s
        self._look_for_dead()
        while self._go_on() and time.monotonic() < end:
            left = None if timeout_s is None else end - time.monotonic()
            try:
                with unmasked_errors():
                    self._study.optimize(self._evaluate, timeout=left, callbacks=callbacks)
                break
            except (ValueError, UpdateFinishedTrialError) as error:
                # Another process took this one for dead, after a pause of the whole machine say, and failed its trial.
                if self._running is None or not _is_taken_away(error):
                    raise
                self._count_failure(self._study._storage.get_trial(self._running))
            finally:
                self._abandon()

    def begin(self, trial_id: int) -> None:
        """A trial was created, or taken from the queue."""
        self._running = trial_id

    def after(self, study: Study, trial: FrozenTrial) -> None:
        """Count a trial that has ended, and decide whether there is another."""
        self._running = None
        if trial.state == TrialState.COMPLETE:
            self.completed += 1
        elif trial.state == TrialState.FAIL:
            self._count_failure(trial)
        self._look_for_dead()
        if not self._go_on():
            study.stop()

    def _evaluate(self, trial: Trial) -> Sequence[float]:
        values = [float(value) for value in self._objective(trial)]
        if len(values) != len(self._study.directions):
            raise UsageError(
                f"the objective gave {len(values)} values; expected one for each of the study's "
                f"{len(self._study.directions)} directions"
            )
        if not all(map(math.isfinite, values)):
            trial.set_user_attr(WHY, f"its values are {', '.join(map(str, values))}; expected finite ones")
            # of these, NaN alone is what Optuna fails a trial for: an infinite value would be kept as a result
            return [math.nan] * len(values)
        return values

    def _go_on(self) -> bool:
        if self._should_stop is not None and self._should_stop():
            return False
        done = len(self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        if self._progress is not None:
            self._progress(done, self._total)
        return done < self._total

    def _count_failure(self, trial: FrozenTrial) -> None:
        self._failures += 1
        if self._failures > max(_LEAST_FAILURES, self._total):
            why = trial.user_attrs.get(WHY, "it has no value")
            raise ForetrainError(
                f"study {self._study.study_name!r}: {self._failures} trials failed, the limit for {self._total} "
                f"complete ones; the last, number {trial.number}: {why}"
            )

    def _look_for_dead(self) -> None:
        if time.monotonic() - self._checked > _CHECK_S:
            fail_dead(self._study)
            self._checked = time.monotonic()

    def _abandon(self) -> None:
        """Fail a trial that was begun and not finished, for example by Ctrl-C while its parameters were sampled."""
        if self._running is not None:
            # the error being raised is more informative than one of an unreachable storage
            with suppress(InputError, StorageInternalError, SQLAlchemyError):
                fail_trial(self._study, self._running, "it was interrupted")
            self._running = None


def _is_taken_away(error: Exception) -> bool:
    """Whether an error of Optuna means that this process's trial was finished by another process."""
    return isinstance(error, UpdateFinishedTrialError) or str(error).startswith("Cannot tell a ")
