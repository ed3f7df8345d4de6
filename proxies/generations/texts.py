"""`Texts`: the texts that generations are trained on, in the tokens of their chains: written once, looked after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...core.errors import CampaignError
from ...core.progress import Progress
from ...datasets.tokens.store import INDEX_NAME, TokenStore, read_index
from ...datasets.tokens.texts import NewText, add_texts, lost_texts
from ..campaign.campaign import Campaign
from ..runs import ProxyRun
from .chains import Chains, FreshText, WrittenText
from .generations_files import GenerationsPaths
from .space import GenerationsSpace

__all__ = ["Texts", "key_fingerprints"]


@dataclass(frozen=True)
class Texts:
    """The texts of chains, which lie beside the real text in their tokens.

    Args:
        paths: The chains' files.
        space: Their space.
        chains: What is trained.
        fingerprints: Those of the keys that its watermarks had when the chains were made.
    """

    paths: GenerationsPaths
    space: GenerationsSpace
    chains: Chains
    fingerprints: tuple[str, ...]

    def check(self, write_again: bool, progress: Progress) -> None:
        """Raise CampaignError that names every text that is lost, or have them written again."""
        lost = lost_texts(self.paths.tokens)
        if not lost:
            return
        numbers = range(self.space.generations.count + 1)
        planned = {text.key: text for number in numbers for text in self.chains.generation(number).texts}
        if write_again and not lost.keys() - planned.keys():
            for text in sorted((planned[key] for key in lost), key=lambda text: text.generation):
                self.write([text], progress)
            return
        lines = [f"{self.paths.folder}: lost or damaged: {len(lost)} of the texts that chains are trained on:"]
        lines += [f"  {self._in_words(planned.get(key), key)}: {what}" for key, what in lost.items()]
        again = f"simulate proxies generations {self.paths.folder} --write-lost-again"
        lines.append(f"put the files back, or have what wrote them write them again, to the same digest: {again}")
        raise CampaignError("\n".join(lines))

    def write(self, texts: Sequence[WrittenText | FreshText], progress: Progress) -> None:
        """Have texts of one generation written, together, and add them to the tokens.

        Raises CampaignError where a key of a watermark has changed, and where a writer diverged or is lost.
        """
        if not texts:
            return
        from .writing import fresh_text  # torch takes seconds

        store = TokenStore(self.paths.tokens, read_index(self.paths.tokens / INDEX_NAME))  # some may be lost
        if key_fingerprints(self.space, store) != self.fingerprints:
            raise CampaignError(
                f"{self.space.where}: generations: the keys of its watermarks have changed since {self.paths.folder} "
                "was made; put them back, or start again in another folder"
            )
        length = self.chains.shape.context_length
        made = [fresh_text(text, store, length) for text in texts if isinstance(text, FreshText)]
        written = [text for text in texts if isinstance(text, WrittenText)]
        if written:
            made += self._written(written, store, progress)
        add_texts(self.paths.tokens, made)

    def _in_words(self, text: WrittenText | FreshText | None, key: str) -> str:
        """A text, and what wrote it."""
        if isinstance(text, WrittenText):
            where = self.paths.generation(text.generation - 1) / "runs" / text.writer
            return f"{key}, text {text.generation} of its chains, written from {where} by seed {text.seed}"
        return key if text is None else f"{key}, real text of generation {text.generation}"

    def _written(self, texts: Sequence[WrittenText], store: TokenStore, progress: Progress) -> list[NewText]:
        """What the runs of the generation before write, filtered."""
        from .writing import filtered, fitted_texts, sampled_texts

        before = Campaign.open(self.paths.generation(texts[0].generation - 1))
        _check_writers(before, texts)
        runs: Mapping[str, ProxyRun] = {run.run_id: run for run in before.file.runs}
        section = self.space.generations
        if section.generator is None:
            folders = {text.writer: before.layout.run(text.writer) for text in texts}
            settings = section.sampling().model_copy(update={"watermark": self.space.watermark()})
            first_run = self.chains.generation(0).runs[0]
            made = sampled_texts(texts, runs, folders, store, settings, first_run, progress)
        else:
            made = fitted_texts(texts, runs, store, section.generator, progress)
        detector = self.space.detector(store)
        return made if detector is None else [filtered(text, detector, self.chains.stock(1.0), store) for text in made]


def key_fingerprints(space: GenerationsSpace, store: TokenStore) -> tuple[str, ...]:
    """What stands for the keys of the watermark that samples get and of those that are filtered, in this order."""
    mark, detector = space.watermark(), space.detector(store)
    marks = [*([] if mark is None else [mark]), *(() if detector is None else detector.watermarks)]
    return tuple(one.fingerprint for one in marks)


def _check_writers(campaign: Campaign, texts: Sequence[WrittenText]) -> None:
    """Raise CampaignError where a run diverged that is to write a text."""
    writers = {text.writer for text in texts}
    for run, result in campaign.results():
        if result.status == "diverged" and run.run_id in writers:
            raise CampaignError(
                f"{campaign.layout.run(run.run_id)}: the run diverged at step {result.diverged_step}, so it can't "
                "write the next generation's text; expected a lower lr, in a new folder"
            )
