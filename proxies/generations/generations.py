"""`Generations`: chains of proxies in one folder, trained generation by generation, resumable to the same bits.

The runs of a generation are of one shape, and those of equal length are trained as one stacked group, or as few as
`engine.group_size` allows: by default as many copies together as pays for the shape, each alone where the kernels in
C++ compute them, which gain nothing by stacking.

Whatever interrupts it, `train` goes on from there. A text is written whole or not at all, before the campaign that is
trained on it begins; each campaign notes the digests of its texts. A text that is lost or changed is named with what
wrote it, and nothing is trained in its stead until it is put back, or written again and found to be the same.
"""

from __future__ import annotations

import math
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import CampaignError
from ...core.extras import require
from ...core.files import write_json
from ...core.progress import Progress
from ...core.reading.fields import FieldError
from ...core.version import __version__
from ...datasets.corpus.corpus import Corpus
from ...datasets.tokens.prepare import prepare
from ...datasets.tokens.store import INDEX_NAME, StoreIndex, TokenStore, read_index
from ...datasets.tokens.texts import linked_store
from ..campaign.campaign import Campaign
from ..campaign.campaign_files import read_model
from ..campaign.campaign_table import results_table
from ..design.mixes import domain_facts, named_mixes
from ..design.sizes import shapes
from ..executors import Executor
from ..project import tokens_folder
from ..runs import ProxyRun
from .chains import Chains, GenerationPlan
from .comparison import ChainLoss, chain_losses
from .generations_files import FILE_NAME, GenerationsFile, GenerationsPaths
from .generations_status import GenerationsStatus
from .space import GenerationsSpace
from .texts import Texts, key_fingerprints

if TYPE_CHECKING:
    from ...datasets.runs.run_table import RunTable

__all__ = ["Generations"]


class Generations:
    """Chains of proxies over generations, in their folder.

    `create` them from a space with a section `generations`, or `open` them; `train` them, again after whatever
    interrupted it; `table` is then a run table with the columns `generator`, `regime`, `real_share`, `generation` and
    `synthetic_share`. Training needs the extra `proxies` (torch).

    Args:
        folder: The folder.
        file: What its `generations.json` says; use `create` or `open`, which read and check it.
        space: The space as its file was read, so that messages name its lines (default: as `generations.json` has it).

    Attributes:
        folder: The folder.
        space: The `GenerationsSpace`.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import foretrain
    >>> corpora = "domains: {toy: {synthetic: {kind: zipf, vocab_size: 64, tokens: 20k}}}"
    >>> space = '''
    ... {corpora: corpora.yaml, widths: [8], depth: 1, head_width: 8, context_length: 32, tokens: [8k],
    ...  generations: {count: 2, unique_tokens: 4k}}
    ... '''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "corpora.yaml").write_text(corpora)
    ...     _ = Path(folder, "space.yaml").write_text(space)
    ...     chains = foretrain.Generations.create(f"{folder}/generations", f"{folder}/space.yaml")
    ...     plan = chains.plan(1)
    >>> [text.key for text in plan.texts], [run.run_id for run in plan.runs]
    (['g0-s0'], ['g1-replace-0-s0', 'g1-accumulate_fixed-s0'])
    """

    def __init__(self, folder: Path, file: GenerationsFile, space: GenerationsSpace | None = None) -> None:
        self.folder = folder
        self._paths = GenerationsPaths(folder)
        self._file = file
        if space is None:
            where = os.path.normpath(folder / file.space_file)
            space = GenerationsSpace.from_mapping(file.space, where, os.path.dirname(where))
        self.space = space

    @classmethod
    def create(
        cls, folder: str | os.PathLike[str], space_path: str | os.PathLike[str], progress: Progress | None = None
    ) -> Generations:
        """Prepare the corpus of a space and write the chains' folder; the same chains again are those that are there.

        The same space with a higher `generations.count` goes on where the chains have ended.

        Args:
            folder: The folder, new or already of these chains.
            space_path: The space, a YAML file.
            progress: Called while the corpus is prepared.

        Raises:
            ConfigError: The space is wrong, or asks for more real text than there is.
            CorpusError: Its corpus is wrong.
            CampaignError: The folder holds other chains, or can't be made.
        """
        path = Path(folder)
        paths = GenerationsPaths(path)
        space = GenerationsSpace.load(space_path)
        if paths.file.is_file():
            there = cls.open(path)
            return there if there.space.to_mapping() == space.to_mapping() else there._extended(space)
        require("training proxies", "torch", "safetensors")  # before minutes of reading text, not after
        store = prepare(Corpus.load(space.corpora_path), tokens_folder(space.corpora_path), progress)
        file = GenerationsFile(
            foretrain=__version__,
            space=space.to_mapping(),
            space_file=os.path.relpath(space_path, path),
            tokens_digest=store.digest,
            keys=key_fingerprints(space, store),
        )
        chains = cls(path, file, space)
        chains._check(store)  # refuses what can't be trained before anything is written
        if foreign := paths.foreign():
            raise CampaignError(f"{path}: holds other files, such as {foreign[0]!r}; expected a new or empty folder")
        linked_store(store, paths.tokens)
        write_json(paths.file, file.model_dump(mode="json"))
        return chains

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Generations:
        """Open the folder of chains. Raises CampaignError if it isn't one."""
        paths = GenerationsPaths(Path(folder))
        if not paths.file.is_file():
            raise CampaignError(
                f"{paths.folder}: has no {FILE_NAME}; expected a folder made by "
                "`simulate proxies generations space.yaml`"
            )
        return cls(paths.folder, read_model(paths.file, GenerationsFile))

    @cached_property
    def chains(self) -> Chains:
        """What is trained: shapes, seeds, shares. Raises CampaignError or CorpusError where the tokens aren't there."""
        return self._chains(self._real_text())

    def plan(self, generation: int) -> GenerationPlan:
        """The texts and runs of a generation, 0 to `space.generations.count`."""
        return self.chains.generation(generation)

    def store(self) -> TokenStore:
        """Open the tokens. Raises CorpusError where one is lost, CampaignError where the real text has changed."""
        self._real_text()
        return TokenStore.open(self._paths.tokens)

    def _real_text(self) -> TokenStore:
        """The tokens, of whose written texts some may be lost."""
        store = TokenStore(self._paths.tokens, read_index(self._paths.tokens / INDEX_NAME))
        if store.digest != self._file.tokens_digest:
            raise CampaignError(
                f"{store.folder}: the real text has changed: it had digest {self._file.tokens_digest[:16]}, now "
                f"{store.digest[:16]}; start again in another folder"
            )
        return store

    def train(
        self, executor: Executor, progress: Progress | None = None, *, write_lost_again: bool = False
    ) -> GenerationsStatus:
        """Train every generation to its end, each on the text of those before.

        Args:
            executor: What trains groups.
            progress: Called with what is done and the share of all FLOPs.
            write_lost_again: Have texts that are lost written again by what wrote them; one that doesn't come out as it
                was is refused.

        Raises:
            CampaignError: A text or the weights of its writer are lost; another process trains here; and as
                `Campaign.train`.
            CorpusError: The tokens are damaged.
        """
        require("training proxies", "torch", "safetensors")
        report = progress or (lambda text, share: None)
        with self._paths.locked():
            texts = Texts(self._paths, self.space, self.chains, self._file.keys)
            texts.check(write_lost_again, report)
            if not self.status().complete:
                plans = [self.plan(number) for number in range(self.space.generations.count + 1)]
                costs = [sum(run.training_flops for run in plan.runs) for plan in plans]
                for plan in plans:
                    before, own = sum(costs[: plan.number]) / sum(costs), costs[plan.number] / sum(costs)
                    step = _within(report, f"generation {plan.number}", before, own)
                    held = self.store().texts
                    texts.write([text for text in plan.texts if text.key not in held], step)
                    self._campaign(plan).train(executor, step)
        return self.status()

    def status(self) -> GenerationsStatus:
        """How far it is. Any process may ask, at any time."""
        count = self.space.generations.count
        return GenerationsStatus(self.folder, count, tuple(campaign.status() for campaign in self.campaigns()))

    def campaigns(self) -> list[Campaign]:
        """The campaigns of the generations that have begun, in order."""
        found = []
        for number in range(self.space.generations.count + 1):
            folder = self._paths.generation(number)
            if not (folder / "campaign.json").is_file():
                break
            found.append(Campaign.open(folder))
        return found

    def losses(self) -> list[ChainLoss]:
        """The final losses of the runs that are done, by generation."""
        return chain_losses(outcome for campaign in self.campaigns() for outcome in campaign.results())

    def table(self) -> RunTable:
        """The run table of what is done so far. Raises CampaignError if nothing is, or if a result is damaged."""
        return results_table([(campaign.file, campaign.results()) for campaign in self.campaigns()], str(self.folder))

    def write_table(self, out: str | os.PathLike[str]) -> RunTable:
        """Write the run table, whole, as CSV, CSV.gz or Parquet by its extension, and return it. Errors as `table`."""
        table = self.table()
        table.write(Path(out))
        return table

    def _extended(self, space: GenerationsSpace) -> Generations:
        """These chains with more generations. Raises CampaignError where another thing differs."""
        mine, theirs = self._without_count(self.space), self._without_count(space)
        if mine != theirs or space.generations.count < self.space.generations.count:
            raise CampaignError(
                f"{self.folder}: holds chains of another space than {space.where} is now; expected a new folder "
                "(--out), or the same space with more generations"
            )
        file = self._file.model_copy(update={"space": space.to_mapping()})
        longer = type(self)(self.folder, file, space)
        longer._check(longer._real_text())
        write_json(self._paths.file, file.model_dump(mode="json"))
        return longer

    @staticmethod
    def _without_count(space: GenerationsSpace) -> dict[str, Any]:
        mapping = space.to_mapping()
        return {**mapping, "generations": {**mapping["generations"], "count": None}}

    def _chains(self, store: TokenStore) -> Chains:
        """Raises ConfigError, with its place in the file, for a size or mix that can't be."""
        space, section = self.space, self.space.generations
        (shape,) = shapes(space, store.vocab_size).values()
        try:
            mix = named_mixes(space.mix, domain_facts(store), "mix")[0]
        except FieldError as error:
            raise space.problem(error) from None
        mix = {domain: share for domain, share in mix.items() if share > 0}
        length = shape.context_length
        held = {domain: len(store.windows(domain, "train", length)) * length for domain in mix}
        unique = section.unique_tokens or min(held[domain] / share for domain, share in mix.items())
        assert space.lr.fixed is not None
        return Chains(
            chains=tuple(section.chains()),
            generator=section.writer,
            seeds=tuple(range(space.seed, space.seed + space.seeds)),
            model=space.model,
            shape=shape,
            recipe=space.recipe.model_copy(update={"lr": space.lr.fixed}),
            tokens=space.tokens[0],
            batch_sequences=space.batch_sequences,
            mix=mix,
            unique_tokens=unique,
            temperature=1.0 if section.temperature is None else section.temperature,
            top_p=1.0 if section.top_p is None else section.top_p,
        )

    def _check(self, store: TokenStore) -> None:
        """Raise ConfigError, naming file and line, for chains that can't be trained on these tokens."""
        chains = self._chains(store)
        length = chains.shape.context_length
        self.space.detector(store)
        mark = self.space.watermark()
        if mark is not None:
            mark.check_vocabulary(chains.shape.vocab_size, None if store.tokenizer is None else store.tokenizer.digest)
        windows = {domain: len(store.windows(domain, "train", length)) for domain in chains.mix}
        try:
            chains.check_stock(windows, self.space.generations.count)
        except FieldError as error:
            raise self.space.problem(error) from None

    def _campaign(self, plan: GenerationPlan) -> Campaign:
        """The campaign of a generation, made if there is none; all are computed as generation 0 is."""
        first = Campaign.open(self._paths.generation(0)).file.plan if plan.number else None
        index = self.store().index
        settings = self.space.engine.model_copy(update={"keep_weights": self.space.generations.generator is None})
        return Campaign.create(
            self._paths.generation(plan.number),
            [_as_filtered(run, index) for run in plan.runs],
            self._paths.tokens,
            settings,
            self._without_count(self.space),
            plan=first,
        )


def _as_filtered(run: ProxyRun, index: StoreIndex) -> ProxyRun:
    """A run that says how much of its texts a filter has left out."""
    texts = {key: index.texts[key] for key in run.texts}
    found = math.fsum(share * texts[key].replaced / texts[key].documents for key, share in run.texts.items())
    if run.chain is None or not found:
        return run
    chain = run.chain.model_copy(update={"detected": found / math.fsum(run.texts.values())})
    return run.model_copy(update={"chain": chain})


def _within(report: Progress, name: str, before: float, share: float) -> Progress:
    """Progress of a part: its name in front, its share behind what was done before it."""
    return lambda text, done: report(f"{name}: {text}", min(1.0, before + share * done))
