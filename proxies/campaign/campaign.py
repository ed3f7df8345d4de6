"""A campaign: a list of proxies to train and their results, in one folder.

The folder holds all of the state (see `campaign_files`). After any interruption, calling `train` again resumes and
gives bit-identical losses.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import CampaignError
from ...core.extras import require
from ...core.files import write_json
from ...core.progress import Progress
from ...core.version import __version__
from ...datasets.tokens.store import TokenStore
from ..compute_plan import ComputePlan
from ..executors import Executor, GroupJob
from ..results import RunResult
from ..runs import ProxyRun
from ..settings import EngineSettings
from ..weights import RunWeights, read_weights
from .campaign_files import CampaignFile, CampaignPaths, Failure, read_model
from .campaign_new import claim_folder, new_campaign_file, planned
from .campaign_status import CampaignPace, CampaignStatus, campaign_status
from .campaign_table import results_table
from .campaign_time import SessionClock
from .machine_check import check_machine, warn_without_compiler
from .result_files import is_done, read_result

if TYPE_CHECKING:
    from ...datasets.runs.run_table import RunTable

__all__ = ["Campaign"]

_log = logging.getLogger(__name__)

_MOST_NAMED = 4
"""Runs that are named of a group that failed."""


class Campaign:
    """A campaign in its folder: `create` or `open` it, `train` it, then take its `table`.

    `file` is what campaign.json says, `layout` names the other files. An instance remembers no results: any number of
    processes may look at a folder while one trains it.
    """

    def __init__(self, folder: Path, file: CampaignFile) -> None:
        self.folder = folder
        self.file = file
        self.layout = CampaignPaths(folder)
        self._runs = {run.run_id: run for run in file.runs}

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        runs: Sequence[ProxyRun],
        store_folder: str | os.PathLike[str],
        settings: EngineSettings,
        space: Mapping[str, Any] | None = None,
        predicted_s: float | None = None,
        plan: ComputePlan | None = None,
        starts: Mapping[str, Path] | None = None,
    ) -> Campaign:
        """Write a campaign into a new or empty folder; the same campaign again is the one that is there.

        What the settings leave to `auto` is decided here, for this machine, and kept: `proxies.compute_plan`.

        Args:
            folder: The campaign's folder.
            runs: The proxies to train.
            store_folder: The tokens to train them on.
            settings: How to compute.
            space: The design that the runs come from, kept for the record.
            predicted_s: The wall-clock seconds that the design expects, kept for the record.
            plan: What was decided for a larger list of runs, of which these are a part.
            starts: Folders of the runs whose weights runs start from, by digest of the weights.

        Raises:
            CampaignError: The folder holds anything else, run ids can't be used, or the runs don't fit the tokens.
            ConfigError: A GPU is asked for and there is none, or a model can't have its shape.
            CorpusError: There are no tokens in `store_folder`.
        """
        path = Path(folder)
        file = new_campaign_file(path, runs, TokenStore.open(store_folder), settings, space, predicted_s, starts)
        if claim_folder(path):
            write_json(path / "campaign.json", planned(file, plan).model_dump(mode="json"))
        there = cls.open(path)
        if not there.file.same_campaign(file):
            raise CampaignError(
                f"{path}: holds another campaign (other runs, tokens or settings); expected a new or empty folder"
            )
        return there

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Campaign:
        """Open a campaign's folder. Raises CampaignError if it isn't one, or one of an incompatible version."""
        layout = CampaignPaths(Path(folder))
        if not layout.file.is_file():
            raise CampaignError(f"{folder}: has no campaign.json; expected a folder made by `simulate proxies train`")
        file = read_model(layout.file, CampaignFile)
        if file.foretrain.split(".")[0] != __version__.split(".")[0]:
            raise CampaignError(
                f"{folder}: was made by foretrain {file.foretrain}, this is {__version__}; finish it with that version"
            )
        return cls(layout.folder, file)

    def train(self, executor: Executor, progress: Progress | None = None) -> CampaignStatus:
        """Train what isn't done yet, and return how it stands then.

        Groups that failed before are tried again. A group that fails now is noted in the folder, and the others go on.
        Ctrl-C leaves checkpoints from which the next call goes on. `progress` is called about once a second, with the
        share of the campaign's FLOPs that are done.

        Raises:
            CampaignError: At once if another process is training this campaign, if the tokens have changed, or if this
                machine lacks what the campaign was begun with; at the end with a list of the groups that failed.
            CorpusError: The tokens are damaged.
        """
        require("training proxies", "torch", "safetensors")
        report = progress or (lambda text, share: None)
        failures: dict[int, str] = {}
        with self.layout.locked():
            done, to_do = [], []
            for group in range(len(self.file.groups)):
                if self.is_group_done(group):
                    done.append(group)
                else:
                    to_do.append(group)
            self.layout.sweep(done)
            _log.info("%s: %d of %d groups are left to train", self.folder, len(to_do), len(self.file.groups))
            if to_do:
                if executor.trains_here:
                    check_machine(self.file, self.folder)
                    warn_without_compiler(self.file)
                report("checking the tokens", 0.0)
                self.open_store().verify()
                failures = self._train_groups(to_do, executor, report)
        if failures:
            raise CampaignError(self._failure_text(failures))
        return self.status()

    def status(self) -> CampaignStatus:
        """How the campaign stands: counts by state, tokens, time left. Any process may ask, at any time."""
        return campaign_status(self.file, self.layout)

    def results(self) -> Iterator[tuple[ProxyRun, RunResult]]:
        """The runs that are done, in the campaign's order, with their results (without their curves)."""
        for run in self.file.runs:
            folder = self.layout.run(run.run_id)
            if is_done(folder, self.file.settings.keep_weights):
                yield run, read_result(folder, run)

    def table(self) -> RunTable:
        """The run table of what is done so far (`run_rows` says what its columns mean).

        Raises CampaignError if nothing is, or if a result is damaged.
        """
        return results_table([(self.file, self.results())], str(self.folder))

    def write_table(self, out: str | os.PathLike[str]) -> RunTable:
        """Write the run table, whole, as CSV, CSV.gz or Parquet by its extension, and return it. Errors as `table`."""
        table = self.table()
        table.write(Path(out))
        return table

    def group_runs(self, group: int) -> list[ProxyRun]:
        """The runs that are trained together as this group. Raises CampaignError if there is no such group."""
        if not 0 <= group < len(self.file.groups):
            raise CampaignError(f"{self.folder}: there is no group {group}; expected 0 to {len(self.file.groups) - 1}")
        return [self._runs[run_id] for run_id in self.file.groups[group]]

    def is_group_done(self, group: int) -> bool:
        """Whether every run of the group has a result, and its weights where they are kept."""
        kept = self.file.settings.keep_weights
        return all(is_done(self.layout.run(run.run_id), kept) for run in self.group_runs(group))

    def is_untouched(self) -> bool:
        """Whether nothing of it has been trained, nor is being trained."""
        has_runs = (self.folder / "runs").is_dir()
        has_groups = (self.folder / "groups").is_dir()
        return not has_runs and not has_groups

    def discard(self) -> None:
        """Take back a campaign of which nothing is trained. Raises CampaignError if something is, or is being."""
        with self.layout.locked():
            if not self.is_untouched():
                raise CampaignError(f"{self.folder}: has begun to train, so it stays")
            self.layout.time.unlink(missing_ok=True)
            self.layout.file.unlink()

    def open_store(self) -> TokenStore:
        """Open the campaign's tokens. Raises CampaignError if they are no longer those that it was made for."""
        facts = self.file.store
        folder = self._seen(facts.folder)
        store = TokenStore.open(folder)
        if store.digest != facts.digest:
            raise CampaignError(
                f"{folder}: the tokens have changed: the campaign was made for digest {facts.digest}, they now have "
                f"{store.digest}; prepare the corpus as it was, or start a new campaign in another folder"
            )
        for key, selection in facts.selections.items():
            if key not in store.selections or store.selection_digest(key) != selection.digest:
                raise CampaignError(
                    f"{folder}: what the selection {key} keeps has changed since the campaign was made; prepare it as "
                    "it was, or start a new campaign in another folder"
                )
        for key, digest in facts.texts.items():
            if key not in store.texts or store.text_digest(key) != digest:
                raise CampaignError(
                    f"{folder}: the text {key} has changed since the campaign was made, or is gone: it had digest "
                    f"{digest[:16]}; put it back as it was, or start a new campaign in another folder"
                )
        return store

    def starting_weights(self, runs: Sequence[ProxyRun]) -> dict[str, RunWeights]:
        """The trained weights that these runs start from, by digest; empty where they start from random ones.

        Raises CampaignError, naming the file, where they are gone, damaged, or no longer those that it was made for.
        """
        found: dict[str, RunWeights] = {}
        for start in (run.start for run in runs if run.start is not None):
            if start.digest in found:
                continue
            folder = self._seen(self.file.starts[start.digest])
            weights = read_weights(folder)
            if weights.digest != start.digest:
                raise CampaignError(
                    f"{folder}: the weights have changed since the campaign was made: they had digest "
                    f"{start.digest[:16]}, now {weights.digest[:16]}; put them back as they were, or start a new "
                    "campaign in another folder"
                )
            found[start.digest] = weights
        return found

    def _seen(self, path: str) -> Path:
        """A path of the campaign's file: relative to the folder as it really lies, links resolved."""
        return Path(os.path.realpath(os.path.join(os.path.realpath(self.folder), path)))

    def _train_groups(self, groups: list[int], executor: Executor, progress: Progress) -> dict[int, str]:
        """Train groups; return what went wrong, by group."""
        pace = CampaignPace(self.file, self.layout, groups)
        failures = {}
        progress(*pace.read())
        jobs = [GroupJob(os.path.abspath(self.folder), group) for group in groups]
        clock = SessionClock(self.layout)
        try:
            with closing(executor.run(jobs, self.file.resolved_settings.device)) as events:
                for outcome in events:
                    if outcome is not None:
                        pace.ended(outcome.group, outcome.failure is None)
                        if outcome.failure is not None:
                            failures[outcome.group] = outcome.failure
                            self._note_failure(outcome.group, outcome.failure)
                    clock.tick(executor.at_once)
                    progress(*pace.read())
        finally:
            clock.write(executor.at_once)
        return failures

    def _note_failure(self, group: int, why: str) -> None:
        """Write why a group failed, where its worker couldn't write it itself."""
        _log.info("%s: group %d failed: %s", self.folder, group, why)
        files = self.layout.group(group)
        if files.read_failure() is None:
            files.note(files.failure, Failure(type="WorkerError", message=why))

    def _failure_text(self, failures: dict[int, str]) -> str:
        """What CampaignError says: one line a group."""
        lines = [
            f"{self.folder}: {len(failures)} of {len(self.file.groups)} groups failed; train again to retry them, "
            "groups/*/failure.json says more:"
        ]
        for group, why in sorted(failures.items()):
            names = list(self.file.groups[group])
            if len(names) > _MOST_NAMED:
                names[_MOST_NAMED:] = ["…"]
            lines.append(f"  group {group} ({', '.join(names)}): {why}")
        return "\n".join(lines)
