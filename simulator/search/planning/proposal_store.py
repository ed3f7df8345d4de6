"""A planner's proposals and their results, kept as the trials of an Optuna study: `ProposalStore`.

A proposal is written in one operation, as a complete trial in the state RUNNING, so that a process that dies leaves
either the whole proposal or none. Its result is written to the trial's attributes, under the result's digest, before
the trial is finished. If two processes report different results at once, the one that finished the trial counts.

Importing this module imports Optuna, so import it where it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from ....core.errors import InputError
from ....core.units import shown
from ....core.version import __version__
from ..storage.database import reason
from ..storage.leases import WAITS, WHY, fail_trial
from ..storage.opening import open_storage, open_study
from ..storage.quiet import experimental_parts, quiet_log

__all__ = ["FORMAT", "Entry", "ProposalStore"]

FORMAT = 1
"""Version of the format of a trial's attributes."""
_PROPOSAL = "proposal"
_TOLD = "told."  # and the first digits of the result's digest
_DIGITS = 16
_LOSS = "loss_nats"


@dataclass(frozen=True)
class Entry:
    """One stored proposal."""

    number: int
    plan: Mapping[str, Any]
    """The plan, as passed to `ProposalStore.add`."""
    waiting: bool
    told: Mapping[str, Any] | None
    """The result, as passed to `ProposalStore.close`, with the loss; None without a result."""
    why: str | None
    """Why the proposal was given up; None if it wasn't."""


class ProposalStore:
    """The proposals of the planner `name` in a storage. Raises the errors of `open_storage`."""

    def __init__(self, storage: str | None, name: str) -> None:
        self._name = name
        self._storage = open_storage(storage, heartbeat_s=None)
        self._study: optuna.Study | None = None
        # `begin` checks whether an existing study is this planner's, since that needs the study's digest
        with self._reached(), quiet_log(), suppress(KeyError):
            self._study = optuna.load_study(storage=self._storage, study_name=name, sampler=RandomSampler(0))

    def begin(self, digest: str) -> None:
        """Create the store if it is missing, and check its digest. InputError if it belongs to another study."""
        stamp = {"format": FORMAT, "version": __version__, "digest": digest}
        self._study = open_study(self._storage, self._name, ["minimize"], stamp, RandomSampler(0))
        with self._reached(), experimental_parts():
            self._study.set_metric_names(["loss_nats"])

    def entries(self) -> list[Entry]:
        """Every proposal, in ascending order of number."""
        if self._study is None:
            return []
        with self._reached():
            trials = self._study.get_trials(deepcopy=False)
        return [_entry(trial) for trial in trials if isinstance(trial.user_attrs.get(_PROPOSAL), Mapping)]

    def add(self, plan: Mapping[str, Any], params: dict[str, Any], distributions: dict[str, BaseDistribution]) -> int:
        """Store a proposal and return its number."""
        trial = create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions=distributions,
            user_attrs={WAITS: True, _PROPOSAL: dict(plan)},
        )
        study = self._begun()
        with self._reached():
            made = study._storage.create_new_trial(study._study_id, template_trial=trial)
            return study._storage.get_trial_number_from_id(made)

    def close(self, number: int, told: Mapping[str, Any], digest: str, loss_nats: float | None) -> Entry:
        """Store a proposal's result and finish its trial.

        Args:
            number: The proposal's number.
            told: The result, as plain values for JSON.
            digest: SHA-256 of the result.
            loss_nats: The final loss in nats per token; None marks the trial as failed.

        Returns:
            The proposal as it is stored now: with another result, if another process reported one first.
        """
        study = self._begun()
        with self._reached():
            trial = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
            try:
                study._storage.set_trial_user_attr(trial, _TOLD + digest[:_DIGITS], {**told, _LOSS: loss_nats})
                if loss_nats is None:
                    study._storage.set_trial_user_attr(trial, WHY, str(told["told"]["status"]))
                    study._storage.set_trial_state_values(trial, TrialState.FAIL)
                else:
                    study._storage.set_trial_state_values(trial, TrialState.COMPLETE, [loss_nats])
            except UpdateFinishedTrialError:
                pass
            return _entry(study._storage.get_trial(trial))

    def give_up(self, number: int, why: str) -> bool:
        """Mark a proposal as failed, without a result. False if it no longer waits for one."""
        study = self._begun()
        with self._reached():
            trial = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
            return fail_trial(study, trial, why)

    def _begun(self) -> optuna.Study:
        if self._study is None:
            raise ValueError("begin() comes first")
        return self._study

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (StorageInternalError, SQLAlchemyError) as error:
            raise InputError(f"study {shown(self._name)}: the storage failed: {reason(error)}") from None


def _entry(trial: FrozenTrial) -> Entry:
    attributes = trial.user_attrs
    results = [value for key, value in attributes.items() if key.startswith(_TOLD)]
    finished = trial.state.is_finished()
    told = next((one for one in results if _is_its(one, trial)), None) if finished else None
    return Entry(trial.number, attributes[_PROPOSAL], not finished, told, attributes.get(WHY) if finished else None)


def _is_its(result: Any, trial: FrozenTrial) -> bool:
    """Whether the trial was finished with this result, where several were reported at once."""
    if not isinstance(result, Mapping) or _LOSS not in result:
        return False
    return result[_LOSS] is None if trial.value is None else result[_LOSS] == trial.value
