"""The report of a selection: how much each step kept, what went, and how the kept text differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .....core.version import __version__
from .....datasets.selection.derived.result import Derived
from ... import selected, words
from ...charts.data.selection import kept_picture, lengths_picture
from ...charts.picture import Numbers
from ...charts.placing import short
from ..document import Document, Headline, Note, Section

__all__ = ["selection_document"]

_LEAKS = ("domain", "whole", "of these kept", "by half at least", "of these kept")
_LARGE_MODELS = (
    "duplicates hurt large models far more than small ones (arXiv 2603.06603): what proxies gain by deduplication is a "
    "lower bound of what a large model gains"
)
_DIGEST = 16


def selection_document(found: Derived, commands: Sequence[str] = ()) -> Document:
    """The report of a derived corpus.

    Args:
        found: What was kept and what went.
        commands: What makes the report again.
    """
    documents = sum(len(domain.selection.kept) for domain in found.domains.values())
    kept = sum(int(domain.selection.kept.sum()) for domain in found.domains.values())
    dedups = any("dedup" in outcome.step.name for one in found.domains.values() for outcome in one.selection.outcomes)
    return Document(
        kicker=f"selection from {found.where} · foretrain {__version__}",
        title=selected.kept_in_words(found),
        lede=f"{words.size(found.bytes_kept)} of {words.size(found.bytes)}, {kept:,} of {documents:,} documents, "
        f"written to {found.folder}. Validation text is as it was.",
        headlines=tuple(_headlines(found, kept, documents)),
        sections=tuple(_sections(found)),
        warnings=tuple(Note.of(note) for note in selected.notes(found)),
        assumptions=(Note.of(_LARGE_MODELS),) if dedups else (),
        commands=tuple(commands),
        facts=tuple(_facts(found)),
    )


def _headlines(found: Derived, kept: int, documents: int) -> Iterator[Headline]:
    yield Headline("Text kept", words.share(found.keep), "", f"{words.size(found.bytes_kept)} of training text")
    yield Headline("Documents kept", words.share(kept / documents), "", f"{kept:,} of {documents:,}")
    leaks = [domain.leaks for domain in found.domains.values()]
    whole, near = sum(one.whole_kept for one in leaks), sum(one.near_kept for one in leaks)
    yield Headline("Leaks kept", f"{whole + near:,}", "", f"{whole:,} whole, {near:,} by half at least")
    if len(found.domains) > 1:
        shares = found.shares()
        name = max(shares, key=lambda one: abs(shares[one][1] - shares[one][0]))
        before, after = shares[name]
        yield Headline(f"Share of {short(name)}", words.share(after), "", f"{words.share(before)} before")


def _sections(found: Derived) -> Iterator[Section]:
    yield Section(
        "What each step keeps",
        pictures=(kept_picture(found), lengths_picture(found)),
        tables=(
            ("Of what reached each step", Numbers(selected.STEPS, tuple(selected.step_rows(found)))),
            ("Sizes of training documents", Numbers(selected.LENGTHS, tuple(selected.length_rows(found)))),
            ("Domains", Numbers(selected.SHARES, tuple(selected.share_rows(found)))),
        ),
    )
    said = tuple(
        (f"{name}: {outcome.step.name}", fact, value)
        for name, domain in found.domains.items()
        for outcome in domain.selection.outcomes
        for fact, value in selected.fact_rows(outcome)
    )
    if said:
        yield Section("What the steps say", tables=(("", Numbers(("step", "", "value"), said)),))
    yield _leaks(found)
    yield Section(
        "Where the text is from",
        tables=(("", Numbers(selected.FILES, tuple(selected.file_rows(found)))),),
        text="One file a provenance, as corpora.yaml or a manifest beside the source states it; provenance.json lists "
        "them, and reading refuses a file whose SHA-256 is another one. What nobody stated is unknown.",
    )
    gone = tuple(
        (
            f"{short(name)}: {outcome.step.name}",
            Numbers(
                ("begins with", "score", "where"),
                tuple(
                    (selected.example_text(one.text), selected.score_text(one.score), selected.file_name(one.where))
                    for one in examples
                ),
            ),
        )
        for name, domain in found.domains.items()
        for outcome, examples in zip(domain.selection.outcomes, domain.examples, strict=True)
        if examples
    )
    yield Section(
        "What went",
        tables=gone,
        text="Ten documents at most that each step left out, drawn at random, with their first 200 characters. A step "
        "prefers what it gives higher scores; selection.json has the whole paths."
        if gone
        else "No step left anything out.",
    )


def _leaks(found: Derived) -> Section:
    rows = tuple(selected.leak_rows(found))
    return Section(
        "Leaks into validation",
        tables=(("", Numbers(_LEAKS, rows)),) if rows else (),
        text="Training documents whose text is a validation document's, or half at least of whose runs of 64 bytes "
        "occur in validation text; losses measured on that text are too low."
        if rows
        else "No training document repeats validation text, as a whole or by half of its runs of 64 bytes.",
    )


def _facts(found: Derived) -> Iterator[tuple[str, str]]:
    yield "foretrain", __version__
    yield "in a plan", selected.plan_line(found).removeprefix("in a plan: ")
    for name, domain in found.domains.items():
        yield f"source of {short(name)}", domain.source_digest[:_DIGEST]
        yield f"selection of {short(name)}", domain.selection.digest[:_DIGEST]
        for outcome in domain.selection.outcomes:
            yield (
                f"{short(name)}: {outcome.step.name}",
                f"seed {outcome.step.seed}, scores {outcome.scores_digest[:_DIGEST]}",
            )
