"""The files of a campaign's folder. Every value is checked when it is read; every file is written atomically.

campaign.json                       everything that was decided, written once
time.json                           wall clock of training so far (campaign_time)
.lock                               held by the one process that trains the campaign
runs/<run_id>/                      run.json, curve.csv, weights.safetensors where the settings keep them and, last,
                                    result.json: with it the run is done
groups/<nnnn>/                      checkpoint.safetensors, progress.json, failure.json, .lock: until all are done;
                                    parts.json, if the group doesn't fit into memory whole

The folder grows for days and is never replaced, so `core.disk.folders` isn't for it: what a killed process leaves is
every result that was there, and a run without result.json is trained again.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import traceback
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, field_validator, model_validator

from ...core.disk.locking import locked
from ...core.errors import CampaignError, ConfigError, InputError
from ...core.files import read_json, write_json
from ...core.reading.config_messages import Origins
from ...core.reading.config_reader import validated
from ...core.reading.fields import FieldError, Frozen, Label, PositiveReal, Real, Share
from ...core.units import shown
from ..compute_plan import ComputePlan
from ..runs import ProxyRun
from ..settings import EngineSettings
from ..stopwatch import Kind

__all__ = [
    "FORMAT",
    "CampaignFile",
    "CampaignPaths",
    "Failure",
    "GroupFolder",
    "GroupParts",
    "GroupProgress",
    "SelectionFacts",
    "StoreFacts",
    "read_model",
    "read_note",
]

FORMAT = 1
"""Version of the folder's layout and of campaign.json."""

_RUN_ID = re.compile(r"[A-Za-z0-9_@+-][A-Za-z0-9._@+-]{0,99}")
_MAX_BYTES = 256_000_000
_MAX_SMALL_BYTES = 1_000_000
_HEX = r"^[0-9a-f]{64}$"

_Model = TypeVar("_Model", bound=BaseModel)


class SelectionFacts(Frozen):
    """A selection that runs of a campaign train on: what it is called, what it keeps, and its tokens' digest."""

    kind: Label = Field(description="Level of the column `selection`.")
    digest: str = Field(pattern=_HEX, description="Stands for exactly the tokens that it keeps.")
    kept_shares: dict[Label, Annotated[Share, Field(gt=0)]] = Field(description="Share of the bytes kept, by domain.")


class StoreFacts(Frozen):
    """The tokens that a campaign trains on: where they lie, what they are, and what the run table says about them."""

    folder: str = Field(min_length=1, max_length=4096, description="The token store, seen from the campaign's folder.")
    digest: str = Field(pattern=_HEX, description="Stands for exactly these tokens.")
    name: Label = Field(description="Name of the corpus.")
    tokenizer: Label | None = Field(description="Kind, size and start of the digest; none where no domain is text.")
    bytes_per_token: dict[Label, PositiveReal | None] = Field(description="By domain; none where it isn't text.")
    selections: dict[Label, SelectionFacts] = Field(
        default={},
        exclude_if=lambda selections: not selections,
        description="The selections that runs train on, by key.",
    )
    texts: dict[Label, Annotated[str, Field(pattern=_HEX)]] = Field(
        default={},
        exclude_if=lambda texts: not texts,
        description="Digests of the further texts that runs train on, by key.",
    )

    @property
    def all_digests(self) -> tuple[str, ...]:
        """Those of the tokens, of what each selection keeps of them, and of further texts."""
        selections = (f"{key} {facts.digest}" for key, facts in sorted(self.selections.items()))
        return (self.digest, *selections, *(f"{key} {digest}" for key, digest in sorted(self.texts.items())))


class CampaignFile(Frozen):
    """All of campaign.json: the list of runs, how they are computed, and which are trained together."""

    format: Literal[1]
    foretrain: str = Field(max_length=100, description="Version that made the campaign.")
    store: StoreFacts
    settings: EngineSettings
    runs: tuple[ProxyRun, ...] = Field(min_length=1)
    groups: tuple[tuple[Label, ...], ...] = Field(description="Run ids by group, the costliest group first.")
    plan: ComputePlan | None = Field(default=None, description="What `auto` settings were decided to be; none: open.")
    space: dict[str, Any] | None = Field(default=None, description="The design that the runs were drawn from.")
    starts: dict[Annotated[str, Field(pattern=_HEX)], str] = Field(
        default={},
        exclude_if=lambda starts: not starts,
        description="Folders of the runs whose weights runs start from, seen from here, by digest of the weights.",
    )
    predicted_s: PositiveReal | None = Field(default=None, description="Wall-clock seconds that the design expected.")

    @field_validator("runs")
    @classmethod
    def _check_run_ids(cls, runs: tuple[ProxyRun, ...]) -> tuple[ProxyRun, ...]:
        seen: dict[str, str] = {}
        for run in runs:
            if not _RUN_ID.fullmatch(run.run_id):
                raise ConfigError(
                    f"run_id {shown(run.run_id)} can't name a folder; expected 1 to 100 letters (a to z), digits and "
                    "._-@+, not starting with a dot"
                )
            # Some file systems take names that differ only in case for one.
            if earlier := seen.get(run.run_id.lower()):
                raise ConfigError(f"run_ids {shown(earlier)} and {shown(run.run_id)} would share a folder; rename one")
            seen[run.run_id.lower()] = run.run_id
        return runs

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        shared = {run.run_id: run.shared for run in self.runs}
        grouped = [run_id for group in self.groups for run_id in group]
        if sorted(grouped) != sorted(shared):
            raise FieldError("groups", "don't hold every run exactly once")
        if any(len({shared[run_id] for run_id in group}) != 1 for group in self.groups):
            raise FieldError("groups", "one has no runs, or runs that can't be trained together")
        return self

    def same_campaign(self, other: CampaignFile) -> bool:
        """Whether both ask for the same results: same runs, tokens, settings and design; how it is done may differ."""
        incidental = {"foretrain": "", "predicted_s": None, "plan": None, "groups": (), "starts": {}}
        mine, theirs = (
            file.model_copy(update={**incidental, "store": file.store.all_digests}) for file in (self, other)
        )
        return mine == theirs

    @property
    def resolved_settings(self) -> EngineSettings:
        """The settings with what the plan says in the place of `auto`."""
        if self.plan is None:
            return self.settings
        return self.settings.model_copy(update={"device": self.plan.device, "precision": self.plan.precision})


class GroupProgress(Frozen):
    """How far a group is, and which process trains it; `steps_per_s` is unknown until it has taken a few steps.

    `seconds` are what it has taken so far, in all processes that have trained it, without what results hold already.
    """

    step: int = Field(ge=0)
    steps: int = Field(ge=1)
    steps_per_s: Real | None = Field(default=None, ge=0)
    seconds: dict[Kind, Annotated[Real, Field(ge=0)]] = Field(default={})
    host: str = ""
    pid: int = 0


class GroupParts(Frozen):
    """How a group is trained that doesn't fit into memory whole."""

    copies: int = Field(ge=1, description="At most this many of its runs are trained together.")


class Failure(Frozen):
    """Why a group's last attempt failed."""

    type: str
    message: str
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Say what an exception says, with where it came from."""
        lines = traceback.format_exception(error)
        message = str(error) or "no message"
        return cls(type=type(error).__name__, message=message[:10_000], traceback="".join(lines)[-100_000:])

    def __str__(self) -> str:
        """One line: what went wrong."""
        return f"{self.type}: {self.message}".strip().splitlines()[0]


class GroupFolder:
    """The files of one group, there only while it is trained or after it failed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint.safetensors"
        self.progress = path / "progress.json"
        self.failure = path / "failure.json"
        self.parts = path / "parts.json"
        self.lock = path / ".lock"

    def is_locked(self) -> bool:
        """Whether a process is training the group right now, on any machine that shares the folder's locks."""
        from filelock import FileLock, Timeout

        if not self.lock.exists():
            return False
        try:
            # Held for a moment if it is free; whoever wants it meanwhile waits that long.
            with FileLock(self.lock, timeout=0):
                return False
        except Timeout:
            return True
        except OSError:
            return False

    def read_progress(self) -> GroupProgress | None:
        """The last progress that was noted, None if there is none (or it can't be read: it is only a note)."""
        return read_note(self.progress, GroupProgress)

    def read_seconds(self) -> Mapping[Kind, float]:
        """The seconds by kind that the group has taken and that no result holds yet."""
        progress = self.read_progress()
        return {} if progress is None else progress.seconds

    def forget_seconds(self) -> None:
        """Take the seconds out of the progress, once results hold them."""
        progress = self.read_progress()
        if progress is not None:
            self.note(self.progress, progress.model_copy(update={"seconds": {}}))

    def read_copies(self) -> int | None:
        """How many of the group's runs fit into memory together, None if nothing else is known than that all do."""
        parts = read_note(self.parts, GroupParts)
        return None if parts is None else parts.copies

    def read_failure(self) -> Failure | None:
        """Why the last attempt failed, None if it didn't."""
        return read_note(self.failure, Failure)

    def note(self, path: Path, value: BaseModel) -> None:
        """Write progress or a failure; a disk that refuses it must not stop the training."""
        with contextlib.suppress(InputError, OSError):
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(path, value.model_dump())

    def remove(self) -> None:
        """Remove everything: the group is done."""
        shutil.rmtree(self.path, ignore_errors=True)


class CampaignPaths:
    """Names of the files in a campaign's folder, and its lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "campaign.json"
        self.time = folder / "time.json"
        self.stop = folder / ".stop"

    def run(self, run_id: str) -> Path:
        """The folder of one run."""
        return self.folder / "runs" / run_id

    def group(self, number: int) -> GroupFolder:
        """The folder of one group."""
        return GroupFolder(self.folder / "groups" / f"{number:04d}")

    def locked(self) -> AbstractContextManager[None]:
        """Hold the whole campaign for this process. Raises CampaignError at once if another one has it."""
        busy = "another process is training this campaign; wait for it to end, or stop it"
        return locked(self.folder, busy, CampaignError)

    def sweep(self, done: Iterable[int]) -> None:
        """Remove what a killed process has left: a wish to stop, unfinished files, folders of groups that are `done`.

        Call it under the lock.
        """
        self.stop.unlink(missing_ok=True)
        for group in done:
            self.group(group).remove()
        for pattern in (".tmp-*", "groups/*/.tmp-*", "runs/*/.tmp-*"):
            for path in self.folder.glob(pattern):
                with contextlib.suppress(OSError):
                    path.unlink()


def read_model(path: Path, model: type[_Model], max_bytes: int = _MAX_BYTES) -> _Model:
    """Read a JSON file as `model`, every value checked. Raises CampaignError that names the file and the key."""
    return validated(model, read_json(path, max_bytes, CampaignError), Origins(str(path)), error=CampaignError)


def read_note(path: Path, model: type[_Model]) -> _Model | None:
    """Read a small file that nothing depends on; None if it isn't there or can't be read as `model`."""
    try:
        return read_model(path, model, _MAX_SMALL_BYTES)
    except CampaignError:
        return None
