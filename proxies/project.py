"""A design and its campaigns in one folder: tokens, tuning of the learning rate, the main campaign, further stages.

    DIR/design.json     the complete space, the location of its tokens, and the machine it was planned for; written once
    DIR/lr/             the campaign that tunes the learning rate, if the space asks for it
    DIR/lr.json         the chosen learning rate
    DIR/main/           the campaign whose results are the run table
    DIR/next-1/, …      campaigns that were added once the one before was done; their results join the table
    DIR/planned/        a campaign for each plan that was trained to check its forecast; these join no table

Call `Project.create`, then `train`; call `train` again after an interruption.
"""

from __future__ import annotations

import functools
import logging
import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ..core.errors import CampaignError
from ..core.extras import require
from ..core.files import write_json
from ..core.processors import usable_cores
from ..core.progress import Progress
from ..core.reading.fields import FieldError, Frozen, Label, PositiveReal, Whole
from ..core.units import shown
from ..core.version import __version__
from ..datasets.corpus.corpus import Corpus
from ..datasets.corpus.documents import source_digest
from ..datasets.selection.selection import selected_digest
from ..datasets.tokens.prepare import prepare
from ..datasets.tokens.store import TokenStore
from .campaign.campaign import Campaign
from .campaign.campaign_files import read_model
from .campaign.campaign_status import CampaignStatus
from .campaign.campaign_table import results_table
from .campaign.campaign_time import CampaignTime
from .compute_plan import ComputePlan, Device
from .design.design import Design, design
from .design.estimate import Estimate, Machine, Speed, estimate, measure_speed
from .design.learning_rate import LearningRateChoice, lr_trials, pick_lr
from .design.mixes import domain_facts
from .design.next_runs import candidate_runs
from .design.sizes import shapes
from .design.space import ProxySpace
from .executors import Executor
from .runs import ProxyRun
from .starting_weights import StartingWeights, find_starting_weights, started

if TYPE_CHECKING:
    from ..datasets.runs.run_table import RunTable

__all__ = ["Project", "tokens_folder"]

_log = logging.getLogger(__name__)

_ADDED = "next-"
_FORMER_GROUP_SIZE = 4


class _ProjectFile(Frozen):
    """All of `design.json`. Paths are relative to the project's folder."""

    format: Literal[1] = 1
    foretrain: Label = Field(description="Version that made it.")
    space: dict[str, Any] = Field(description="The space as read, complete with defaults.")
    space_file: str = Field(description="The file it was read from.")
    tokens: str = Field(description="The folder of its tokens.")
    tokens_digest: str = Field(max_length=200)
    workers: Whole = Field(ge=1, le=100_000, description="Workers that the time budget was reckoned for.")
    speed_flops_per_s: PositiveReal = Field(description="Matmul speed of one worker, as measured then.")
    training_flops_per_s: dict[int, PositiveReal] = Field(
        default={}, description="Speed of training by width of the model, as measured then."
    )
    device: Device
    plan: ComputePlan | None = Field(default=None, description="What all of its campaigns are computed with.")
    starts: tuple[StartingWeights, ...] = Field(
        default=(),
        exclude_if=lambda starts: not starts,
        description="The trained weights that runs start from, by shape and seed.",
    )


class Project:
    """A project of proxy runs in its folder: the design, the tokens, and the campaigns that are trained.

    `create` a project from a space of proxies, or `open` one; `train` it, again after whatever interrupted it; `table`
    is then the run table that laws are fitted on. Training needs the extra `proxies` (torch).

    Args:
        folder: The project's folder.
        file: What its `design.json` says; use `create` or `open`, which read and check it.

    Attributes:
        folder: The project's folder.
        space: The `ProxySpace`: which runs may be trained.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import foretrain
    >>> corpora = "domains: {toy: {synthetic: {kind: zipf, vocab_size: 64, tokens: 20k}}}"
    >>> space = '''
    ... {corpora: corpora.yaml, widths: [8, 16], depth: 1, head_width: 8, context_length: 32, tokens: [2k, 8k]}
    ... '''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "corpora.yaml").write_text(corpora)
    ...     _ = Path(folder, "space.yaml").write_text(space)
    ...     project = foretrain.Project.create(f"{folder}/proxies", f"{folder}/space.yaml", workers=1)
    ...     design = project.design()
    >>> design.stage, [(run.shape.width, run.tokens) for run in design.runs]
    ('main', [(8, 8000.0), (16, 8000.0)])
    """

    def __init__(self, folder: Path, file: _ProjectFile) -> None:
        self.folder = folder
        self._file = file
        space_folder = folder / Path(file.space_file).parent
        where = os.path.normpath(folder / file.space_file)
        self.space = ProxySpace.from_mapping(file.space, where, os.path.normpath(space_folder))

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        space_path: str | os.PathLike[str],
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Project:
        """Prepare the corpus of a space and write the project; the same project again is the one that is there.

        Args:
            folder: The project's folder, new or already this project's.
            space_path: The space, a YAML file.
            workers: How many groups train at once; by default one per core, or per GPU.
            progress: Called while the corpus is prepared.

        Raises:
            ConfigError: The space is wrong.
            CorpusError: Its corpus is.
            CampaignError: The folder holds another project, or can't be made.
        """
        path = Path(folder)
        space = ProxySpace.load(space_path)
        if (path / "design.json").is_file():
            there = cls.open(path)
            if not _same(there.space, space):
                raise CampaignError(
                    f"{path}: was designed from another space than {space_path} is now; expected a new folder (--out)"
                )
            return there
        require("training proxies", "torch", "safetensors")  # before minutes of reading text, not after
        tokens = tokens_folder(space.corpora_path)
        corpus = Corpus.load(space.corpora_path)
        space.check_corpus(corpus)
        store = prepare(corpus, tokens, progress, space.named_selections())
        machine, plan = _machine(space, store.vocab_size, workers)
        file = _ProjectFile(
            foretrain=__version__,
            space=space.to_mapping(),
            space_file=os.path.relpath(space_path, path),
            tokens=os.path.relpath(tokens, path),
            tokens_digest=store.digest,
            workers=machine.workers,
            speed_flops_per_s=machine.speed.flops_per_s,
            training_flops_per_s=dict(machine.speed.training),
            device=machine.speed.device,
            plan=plan,
            starts=_starts(space, path, store),
        )
        project = cls(path, file)
        project.design()  # refuses what can't be trained before anything is written
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CampaignError(f"{path}: can't be made: {error.strerror}") from None
        write_json(path / "design.json", file.model_dump(mode="json"))
        return project

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Project:
        """Open a project's folder. Raises CampaignError if it isn't one."""
        path = Path(folder)
        if not (path / "design.json").is_file():
            raise CampaignError(f"{path}: has no design.json; expected a folder made by `simulate proxies design`")
        return cls(path, read_model(path / "design.json", _ProjectFile))

    def store(self) -> TokenStore:
        """Open the tokens. Raises CampaignError if they, or the text they were made from, have changed since."""
        tokens = Path(os.path.normpath(self.folder / self._file.tokens))
        store = TokenStore.open(tokens)
        if store.digest != self._file.tokens_digest:
            raise CampaignError(
                f"{tokens}: the tokens have changed since the design: they had digest {self._file.tokens_digest[:16]}, "
                f"now {store.digest[:16]}; restore the text and prepare it again, or design anew in another folder"
            )
        return store

    def check_corpus(self) -> None:
        """Raise CampaignError if a domain's text is no longer what the tokens were made from; nothing is changed."""
        prepared = self.store().index.domains
        corpus = Corpus.load(self.space.corpora_path)
        changed = []
        for name in sorted(corpus.domains.keys() | prepared.keys()):
            in_both = name in corpus.domains and name in prepared
            source = source_digest(corpus, name) if in_both else ""
            if not in_both or selected_digest(corpus, name, source=source) != prepared[name].source_digest:
                changed.append(name)
                continue
            for named in self.space.named_selections():
                if named.applies_to(corpus, name):
                    held = prepared[name].selections.get(named.key)
                    if held is None or named.digest(corpus, name, source) != held.source_digest:
                        changed.append(f"{name} ({named.kind})")
        if changed:
            raise CampaignError(
                f"{self.space.corpora_path}: the text of {', '.join(changed)} has changed since {self.folder} "
                "was designed; restore it, or design anew in another folder (what is done is kept)"
            )

    def design(self, lr: LearningRateChoice | None = None) -> Design:
        """Return the next stage's runs and cost. Errors as `design.design`, InfeasibleError among them."""
        store = self.store()
        budget_s = self.space.time_budget
        if budget_s is not None and lr is not None:
            budget_s -= self.design().estimates["lr"].wall_clock_s
        found = design(self.space, domain_facts(store), store.vocab_size, self.machine, budget_s, lr)
        return replace(found, runs=tuple(self._started(found.runs)))

    def train(self, executor: Executor, progress: Progress | None = None) -> CampaignStatus:
        """Train every stage to its end and return the status of the last. Errors as `Campaign.train`."""
        self.check_corpus()
        lr = self.learning_rate()
        if not self.main.is_dir():
            if lr is None:
                first = self.design()
                if first.stage == "lr":
                    lr = self._tune(first, executor, progress)
            self._campaign(self.main, self.design(lr))
        status = Campaign.open(self.main).train(executor, _named(progress, "proxies"))
        for name, campaign in self._added_stages().items():
            status = campaign.train(executor, _named(progress, name))
        return status

    @property
    def main(self) -> Path:
        """Folder of the campaign whose results are the run table."""
        return self.folder / "main"

    def learning_rate(self) -> LearningRateChoice | None:
        """What the tuning stage chose; None if it isn't done, or there is none."""
        path = self.folder / "lr.json"
        if not path.is_file():
            return None
        return read_model(path, LearningRateChoice)

    def statuses(self) -> dict[str, CampaignStatus]:
        """The status of each stage that has begun, by name."""
        statuses = {}
        for name in ("lr", "main"):
            if (self.folder / name).is_dir():
                statuses[name] = Campaign.open(self.folder / name).status()
        for name, campaign in self._added_stages().items():
            statuses[name] = campaign.status()
        return statuses

    def time_spent(self) -> CampaignTime | None:
        """What the time of all stages went into so far, None if none was trained."""
        found = [status.time for status in self.statuses().values() if status.time is not None]
        return functools.reduce(operator.add, found) if found else None

    def table(self) -> RunTable:
        """The run table of what is done of the main stage and those added. Raises CampaignError if nothing is."""
        stages = [(campaign.file, campaign.results()) for campaign in self.campaigns()]
        return results_table(stages, str(self.folder))

    def next_stage(self) -> str:
        """The name of the stage that `add` would write: a new one, or the last one if nothing of it is trained.

        Raises CampaignError unless all stages before it are done.
        """
        added = self._added_stages()
        if added:
            last = list(added)[-1]
            if added[last].is_untouched():
                return last
        for campaign in self.campaigns():
            status = campaign.status()
            if not status.complete:
                done = status.counts["done"] + status.counts["diverged"]
                raise CampaignError(
                    f"{campaign.folder}: {done} of {len(status.runs)} runs are done; train it to its end first: "
                    f"`simulate proxies train {self.folder}`"
                )
        return f"{_ADDED}{len(added) + 1}"

    def candidates(self, planned_mix: Mapping[str, float] | None = None) -> list[ProxyRun]:
        """Runs that the next stage could train (`next_runs` says which). Errors as `next_stage` and `store`."""
        store = self.store()
        stage = self.next_stage()
        done: list[ProxyRun] = []
        for campaign in self.campaigns():
            if campaign.folder.name != stage:
                done += campaign.file.runs
        lr = self.learning_rate() or self.space.lr.fixed or self.space.lr.low
        found = candidate_runs(self.space, domain_facts(store), store.vocab_size, lr, done, stage, planned_mix)
        held = [each.shape for each in self._file.starts]
        return self._started([run for run in found if not held or run.shape in held])

    def add(self, runs: Sequence[ProxyRun]) -> Path:
        """Write runs as the next stage, which `train` then trains, and return its folder. Errors as `next_stage`."""
        folder = self.folder / self.next_stage()
        if folder.is_dir():
            Campaign.open(folder).discard()
        self._write(folder, runs, self.estimate(runs).wall_clock_s)
        return folder

    def apart(self, run: ProxyRun, seconds: float) -> Campaign:
        """The campaign of one run whose result doesn't join the table; `seconds` is what it is predicted to take.

        The same run again is the campaign that is there. Errors as `Campaign.create`.
        """
        folder = self.folder / "planned" / run.run_id
        return self._write(folder, [run], seconds)

    def estimate(self, runs: Sequence[ProxyRun]) -> Estimate:
        """What runs cost on the machine that the project was designed for."""
        return estimate(runs, self.machine, len(self.store().domains))

    def campaigns(self) -> list[Campaign]:
        """The campaigns whose results make the table. Raises CampaignError if the first hasn't begun."""
        if not self.main.is_dir():
            raise CampaignError(f"{self.folder}: nothing is trained yet; run `simulate proxies train {self.folder}`")
        return [Campaign.open(self.main), *self._added_stages().values()]

    def _added_stages(self) -> dict[str, Campaign]:
        """The stages after the main one, by name, in order."""
        numbers = []
        for path in self.folder.glob(f"{_ADDED}*/campaign.json"):
            number = path.parent.name.removeprefix(_ADDED)
            if number.isdecimal():
                numbers.append(int(number))
        names = [f"{_ADDED}{number}" for number in sorted(numbers)]
        return {name: Campaign.open(self.folder / name) for name in names}

    def _tune(self, first: Design, executor: Executor, progress: Progress | None) -> LearningRateChoice:
        """Train the trials of the learning rate, and note the choice."""
        campaign = self._campaign(self.folder / "lr", first)
        campaign.train(executor, _named(progress, "learning rate"))
        choice = pick_lr(lr_trials(campaign.results()))
        _log.info("%s: learning rate: %s", self.folder, choice.reason)
        write_json(self.folder / "lr.json", choice.model_dump(mode="json"))
        return choice

    def _campaign(self, folder: Path, design: Design) -> Campaign:
        return self._write(folder, design.runs, design.estimates[design.stage].wall_clock_s)

    def _write(self, folder: Path, runs: Sequence[ProxyRun], seconds: float) -> Campaign:
        tokens = Path(os.path.normpath(self.folder / self._file.tokens))
        starts = {
            each.start.digest: Path(os.path.normpath(self.folder / each.folder))
            for each in self._file.starts
            if any(run.start == each.start for run in runs)
        }
        return Campaign.create(
            folder, runs, tokens, self.space.engine, self.space.to_mapping(), seconds, self._file.plan, starts
        )

    def _started(self, runs: Sequence[ProxyRun]) -> list[ProxyRun]:
        """The runs as this project trains them: from trained weights, where it continues from any."""
        return started(runs, self._file.starts) if self._file.starts else list(runs)

    @property
    def machine(self) -> Machine:
        """What the project was designed for, as measured then."""
        file = self._file
        speed = Speed(file.speed_flops_per_s, file.device, file.training_flops_per_s)
        return Machine(speed, file.workers, self.space.engine)


def tokens_folder(corpora: str | os.PathLike[str]) -> Path:
    """Where the tokens of a corpora file are kept unless said otherwise: beside it, so that designs share them."""
    return Path(corpora).with_suffix(".tokens")


def _machine(space: ProxySpace, vocab_size: int, workers: int | None) -> tuple[Machine, ComputePlan]:
    """Measure the machine: one worker per core or GPU, steps of the space's shapes, and how to compute all of them.

    Products of a CPU are measured in fp32, whatever it computes in: the constants for what isn't measured itself hold
    against that speed, while the peak of its bf16 units, ten times as high, is out of reach of models this small.
    """
    import torch

    from .engine import measure_plan, measure_training
    from .models import models

    if space.model not in (known := models()):
        problem = f"got {shown(space.model)}; expected one of {', '.join(sorted(known))}"
        raise space.problem(FieldError("model", problem))

    alike = [
        ProxyRun(
            run_id=f"n{shape.params_total}",
            model=space.model,
            shape=shape,
            tokens=max(space.tokens),
            batch_sequences=space.batch_sequences,
            mix={"any": 1.0},
        )
        for shape in shapes(space, vocab_size).values()
    ]
    plan = measure_plan(alike, space.engine)
    decided = space.engine.model_copy(update={"device": plan.device, "precision": plan.precision})
    on_gpu = plan.device == "cuda"
    speed = measure_speed(plan.device, plan.precision if on_gpu else "fp32")
    if workers is None:
        workers = torch.cuda.device_count() if on_gpu else usable_cores()
    return Machine(speed._replace(training=measure_training(alike, decided)), workers, space.engine), plan


def _starts(space: ProxySpace, project: Path, store: TokenStore) -> tuple[StartingWeights, ...]:
    """The weights that a space continues from; none where it doesn't. Raises ConfigError, with its line."""
    source = space.continue_from_path
    if source is None:
        return ()
    wanted = [*shapes(space, store.vocab_size).values()]
    try:
        return find_starting_weights(source, project, space.model, wanted, store.index.tokenizer_digest)
    except FieldError as error:
        raise space.problem(error) from None


def _same(kept: ProxySpace, given: ProxySpace) -> bool:
    """Whether a project's space is the one that is given; its group size may be the default from before `auto`."""
    mine, theirs = kept.to_mapping(), given.to_mapping()
    if theirs["engine"]["group_size"] == "auto" and mine["engine"]["group_size"] == _FORMER_GROUP_SIZE:
        mine["engine"]["group_size"] = "auto"
    return mine == theirs


def _named(progress: Progress | None, stage: str) -> Progress | None:
    """The same progress with the stage's name in front."""
    if progress is None:
        return None
    return lambda text, share: progress(f"{stage}: {text}", share)
