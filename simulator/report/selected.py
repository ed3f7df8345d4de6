"""What a selection did, as rows of text and sentences, for the terminal and for reports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...core.output.plain import visible
from ...datasets.selection.derived.result import Derived
from ...datasets.selection.selection import StepOutcome
from . import words
from .sources import SOURCES, source_cells

__all__ = [
    "FILES",
    "LENGTHS",
    "SHARES",
    "STEPS",
    "example_text",
    "fact_rows",
    "file_name",
    "file_rows",
    "kept_in_words",
    "leak_rows",
    "length_rows",
    "notes",
    "plan_line",
    "score_text",
    "share_rows",
    "step_rows",
]

STEPS = ("step", "documents kept", "share", "text kept", "share")
"""Headings of `step_rows`."""
LENGTHS = ("domain", "documents, quartiles", "of those kept")
"""Headings of `length_rows`."""
SHARES = ("domain", "share of the text", "of what is kept")
"""Headings of `share_rows`."""
FILES = ("file", "documents", "text", *SOURCES, "SHA-256")
"""Headings of `file_rows`."""

_LOST = 0.5  # of its share of the text, below which a domain is said to have lost
_MOST_FACTS, _MOST_LETTERS = 60, 80
_DIGEST = 16
_FACTS_IN_WORDS = {
    "auc_held_out": "AUC on labels held out",
    "labels_good": "labels that say keep",
    "strength": "C of the classifier, by cross-validation",
    "made_copies_kept_relative": "copies made for it, kept relative to others",
    "nats_per_byte": "nats per byte of what is kept",
    "flops": "FLOPs",
}


def kept_in_words(found: Derived) -> str:
    """The finding, one sentence."""
    return f"{visible(found.kind)} keeps {words.share(found.keep)} of the training text"


def plan_line(found: Derived) -> str:
    """How a plan states the selection."""
    return f"in a plan: data.selection: {{kind: {visible(found.kind)}, keep: {found.keep:.4g}}}"


def step_rows(found: Derived) -> Iterator[tuple[str, ...]]:
    """What each step kept of what reached it, by domain, and what all of them did where there isn't just one."""
    for name, domain in found.domains.items():
        selection = domain.selection
        for outcome in selection.outcomes:
            yield f"{name}: {outcome.step.name}", *_kept(outcome.chosen.kept, outcome.sizes_bytes)
        if len(selection.outcomes) != 1:
            what = "in all" if selection.outcomes else "no steps"
            yield f"{name}: {what}", *_kept(selection.kept, selection.sizes_bytes)


def _kept(kept: np.ndarray, sizes_bytes: np.ndarray) -> tuple[str, ...]:
    """What is kept of documents and of their bytes `(n,)`."""
    before, after = int(sizes_bytes.sum()), int(sizes_bytes[kept].sum())
    return (
        f"{int(kept.sum()):,} of {len(kept):,}",
        words.share(float(kept.mean())),
        f"{words.size(after)} of {words.size(before)}",
        words.share(after / before),
    )


def length_rows(found: Derived) -> Iterator[tuple[str, ...]]:
    """The quartiles of the sizes of documents, before and after."""
    for name, domain in found.domains.items():
        yield name, _quartiles(domain.lengths_before), _quartiles(domain.lengths_after)


def share_rows(found: Derived) -> Iterator[tuple[str, ...]]:
    """Each domain's share of the bytes, before and after."""
    for name, (before, after) in found.shares().items():
        yield name, words.share(before), words.share(after)


def file_rows(found: Derived) -> Iterator[tuple[str, ...]]:
    """The files that were written, with the provenance of their text and the beginning of their digests."""
    for file in found.files():
        counts = f"{file.documents:,}", words.size(file.bytes)
        yield file.file, *counts, *source_cells(file.provenance), file.sha256[:_DIGEST]


def leak_rows(found: Derived) -> Iterator[tuple[str, ...]]:
    """Training documents that stand in validation text; domains without any have no row."""
    for name, domain in found.domains.items():
        leaks = domain.leaks
        if leaks.whole or leaks.near:
            yield name, f"{leaks.whole:,}", f"{leaks.whole_kept:,}", f"{leaks.near:,}", f"{leaks.near_kept:,}"


def fact_rows(outcome: StepOutcome) -> Iterator[tuple[str, str]]:
    """What a step says of itself: the judge's AUC and cost, groups of copies, the bandwidth."""
    for number, (key, value) in enumerate(_flat(outcome.chosen.facts)):
        if number == _MOST_FACTS:
            return
        text = value if len(value) <= _MOST_LETTERS else f"{value[:_MOST_LETTERS]}…"
        yield visible(key.replace("_", " ")), visible(text)


def score_text(score: float | None) -> str:
    """A score, nothing where there was none."""
    return "" if score is None else f"{score:.4g}"


def file_name(where: str) -> str:
    """Where a document stands without the folders, for narrow tables.

    >>> file_name("texts/web.0.jsonl.zst:12")
    'web.0.jsonl.zst:12'
    """
    return visible(re.split(r"[/\\\\]", where)[-1])


def example_text(text: str, most: int | None = None) -> str:
    """The beginning of a document as one line."""
    line = visible(" ".join(text.split()))
    return line if most is None or len(line) <= most else line[: most - 1] + "…"


def notes(found: Derived) -> list[str]:
    """What stands out, as sentences: leaks, domains that lost, steps that leave nothing out."""
    said = []
    for name, domain in found.domains.items():
        leaks = domain.leaks
        if leaks.whole_kept or leaks.near_kept:
            place = f", such as {leaks.where[0]}" if leaks.where else ""
            count = leaks.whole_kept + leaks.near_kept
            documents = f"{count:,} kept training {'document repeats' if count == 1 else 'documents repeat'}"
            said.append(
                f"{name}: {documents} validation text ({leaks.whole_kept:,} whole, {leaks.near_kept:,} by half at "
                f"least{place}): losses measured on it are too low; take it out of training"
            )
        for outcome in domain.selection.outcomes:
            if outcome.chosen.kept.all():
                count = len(outcome.chosen.kept)
                said.append(f"{name}: {outcome.step.name} leaves out none of {count:,} documents")
    for name, (before, after) in found.shares().items():
        if after < _LOST * before:
            said.append(
                f"{name}: falls from {words.share(before)} to {words.share(after)} of the text; strata after a judge "
                "give a rare domain its share back, and so does a keep of its own"
            )
    return said


def _quartiles(ends: Sequence[float]) -> str:
    low, middle, high = map(words.size, ends)
    return f"{middle} ({low} to {high})"


def _flat(facts: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Facts as texts; those within others by both names."""
    for key, value in facts.items():
        name = f"{before}{_FACTS_IN_WORDS.get(key, key)}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}, ")
        elif isinstance(value, list | tuple):
            yield name, ", ".join(map(_said, value))
        else:
            yield name, _said(value)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)
