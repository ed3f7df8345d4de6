"""The interface of executors, which run `train_one_group` for each job and report when each ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import ClassVar, NamedTuple

__all__ = ["DEATHS_ALLOWED", "Executor", "GroupJob", "GroupOutcome"]

DEATHS_ALLOWED = 3
"""A group whose worker dies this often isn't retried in this call: it likely causes the deaths (memory, a driver)."""


class GroupJob(NamedTuple):
    """One group to train: the campaign's folder, as every worker sees it, and the group's number. Plain data."""

    folder: str
    group: int


class GroupOutcome(NamedTuple):
    """The end of a job: None if all the group's results are on disk, else why not, in one line."""

    group: int
    failure: str | None = None


class Executor(ABC):
    """Runs jobs, as many at once as there is room for. It keeps no state of its own: the campaign's folder does.

    To add one, put a file in this folder with a class decorated by `register_executor`.
    """

    name: str
    """Set by `register_executor`."""
    trains_here: ClassVar[bool] = True
    """Whether its workers are on this machine, which is then checked before they are started."""
    at_once: int = 1
    """How many groups the last `run` trains at once; `run` sets it, for the account of workers' time."""

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        self.workers, self.address = workers, address

    @abstractmethod
    def run(self, jobs: Sequence[GroupJob], device: str) -> Generator[GroupOutcome | None, None, None]:
        """Start jobs in their order and yield the outcome of each as it ends; about once a second yield None.

        `device` is what the campaign asks for: auto, cpu or cuda. A job whose worker died is run again, up to
        `DEATHS_ALLOWED` deaths, and failures of one job don't touch the others. Closing the generator, or Ctrl-C, makes
        the workers write their checkpoints and stop. Raises UsageError or CampaignError if jobs can't be run here.
        """
