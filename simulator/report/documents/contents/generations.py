"""The report of generations: how each chain goes on, what is certain of it, what was written, and where from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from .....core.version import __version__
from ... import generations
from ...charts.data.generations import losses_picture, rises_picture
from ...charts.picture import Numbers
from ...generations import TEXTS, Generations, chain_name
from ...selected import example_text
from ..document import Document, Headline, Note, Section

__all__ = ["generations_document"]

_COLUMNS = 12
_LETTERS = 300
_MOST_SAMPLES = 40
_SCALE = (
    "these are small models: how fast a chain gets worse depends on size, text and sampling; what may carry over to "
    "larger ones is the order of the chains, where it is decided (published: arXiv 2404.01413, 2410.16713)"
)


def generations_document(found: Generations, commands: Sequence[str] = ()) -> Document:
    """The report of chains of generations.

    Args:
        found: What they came to.
        commands: What makes the report again.
    """
    runs = sum(math.isfinite(one.loss_nats) for one in found.losses)
    return Document(
        kicker=f"chains in {found.where} · foretrain {__version__}",
        title=generations.finding(found),
        lede=f"{len(found.chains)} chains with {len(found.seeds)} seeds each, {runs} runs. Text is written by "
        f"{found.generator}; losses are of real validation text, in {found.unit}.",
        headlines=tuple(_headlines(found)),
        sections=tuple(_sections(found)),
        warnings=tuple(Note.of(note) for note in generations.notes(found)),
        assumptions=(Note.of(_SCALE),),
        commands=tuple(commands),
        facts=(("foretrain", __version__), *_digests(found)),
    )


def _headlines(found: Generations) -> Iterator[Headline]:
    for chain in found.chains[:4]:
        rise = found.mean_rise(chain, found.last)
        value = f"{rise:+.3f}".replace("-", "−") if math.isfinite(rise) else "none"
        yield Headline(chain_name(chain), value, "nats", f"by generation {found.last}")


def _sections(found: Generations) -> Iterator[Section]:
    yield Section("How each chain goes on", pictures=(losses_picture(found), rises_picture(found)))
    headings, rows = found.difference_rows()
    tables = [("Rise of the mean", Numbers(*_both(found.rise_rows(_COLUMNS))))]
    if rows:
        tables.insert(0, ("Differences over common seeds", Numbers(headings, tuple(rows))))
    yield Section(
        "What is certain",
        tables=tables,
        text="Differences are taken seed by seed, as chains of a seed share their randomness; their 90 % interval is "
        "Student's t. Where it contains 0 the seeds decide nothing.",
    )
    samples = found.samples()
    if samples:
        shown = [(example_text(one.text, _LETTERS), f"{one.generation}", one.writer) for one in samples[:_MOST_SAMPLES]]
        yield Section(
            "What was written",
            tables=(("", Numbers(("begins with", "n", "by"), tuple(shown))),),
            text="How text that generation n was trained on begins, for one seed, and the run that wrote it; that of "
            "generation 0 is real.",
        )
    texts = found.text_rows()
    if texts:
        yield Section(
            "Where the text is from",
            tables=(("", Numbers(TEXTS, tuple(texts))),),
            text="Every text that was trained on. tokens.json lists each with its digest, that of what wrote it, and "
            "that of the text which its writer was fitted to.",
        )


def _both(table: tuple[tuple[str, ...], list[tuple[str, ...]]]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    return table[0], tuple(table[1])


def _digests(found: Generations) -> Iterator[tuple[str, str]]:
    yield "seeds", ", ".join(map(str, found.seeds))
    if found.store is not None:
        yield "tokens", found.store.digest[:16]
