"""A corpus as tables for a terminal: what was read, and what was made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .....core.output.plain import visible
from .....core.units import format_count
from .....datasets.corpus.quality import CorpusReport, DomainReport
from .....datasets.provenance.provenance import Provenance
from .....datasets.tokens.store import TokenStore
from ... import words
from ...sources import SOURCES, source_cells
from .watermark import marks_view

__all__ = ["inspect_view", "store_view"]


def inspect_view(report: CorpusReport, marks: Mapping[str, Mapping[str, Any]] | None = None) -> RenderableType:
    """What `simulate data inspect` found: counts, figures of quality, marks of watermarks by domain, notes."""
    counts = _table("domain", "files", "documents", "MB", "valid", "empty", "copies", "copied bytes")
    figures = _table(
        "domain",
        "chars, median",
        "zlib ratio",
        "bits per byte (order 0)",
        "letters",
        "digits",
        "repeated lines",
        "chars per line",
    )
    for name, domain in report.domains.items():
        if not isinstance(domain, DomainReport):
            entropy = f"{domain.entropy_nats:.4f} nats per token, exact"
            counts.add_row(name, "synthetic", format_count(domain.tokens) + " tokens", entropy)
            continue
        counts.add_row(
            name,
            f"{domain.files}",
            f"{domain.documents:,}",
            f"{domain.bytes / 1e6:.1f}",
            f"{domain.valid_documents:,}",
            f"{domain.empty_documents:,}",
            f"{domain.duplicate_documents:,}",
            f"{domain.duplicate_bytes_share:.1%}",
        )
        of = domain.figures
        figures.add_row(
            name,
            f"{of.document_characters_median:,.0f}",
            f"{of.compression_ratio:.2f}",
            f"{of.byte_entropy_bits:.2f}",
            f"{of.letters_share:.1%}",
            f"{of.digits_share:.1%}",
            f"{of.repeated_lines_share:.1%}",
            f"{of.line_characters_mean:.0f}",
        )
    notes = [Text(f"! {note}", style="yellow") for note in report.notes]
    tables = [*([Text(""), figures] if figures.rows else []), *_tokens(report), *_sources(report)]
    marked = [] if marks is None else [Text(""), marks_view(marks)]
    return Group(counts, *tables, *marked, *notes)


def _sources(report: CorpusReport) -> list[RenderableType]:
    """Where the text is from, by domain, and the shares in all; nothing where nobody has said anything."""
    found = [
        (name, domain, source)
        for name, domain in report.domains.items()
        if isinstance(domain, DomainReport)
        for source in domain.sources
    ]
    if all(source.provenance == Provenance() for _, _, source in found):
        return []
    table = _table("domain", *SOURCES, "documents", "share")
    for column in table.columns[1:4]:
        column.justify = "left"
    for name, domain, source in found:
        table.add_row(
            name,
            *source_cells(source.provenance),
            f"{source.documents:,}",
            words.share(source.bytes / domain.bytes),
        )
    by_origin = ", ".join(f"{words.share(share)} {origin}" for origin, share in report.share_by_origin().items())
    licences = report.share_by_licence()
    by_licence = ", ".join(f"{words.share(share)} {visible(name or 'unknown')}" for name, share in licences.items())
    return [Text(""), table, Text(f"by origin: {by_origin}; by licence: {by_licence}")]


def _tokens(report: CorpusReport) -> list[RenderableType]:
    """Bytes per token by domain and in all, and how a plan states them; nothing where they weren't counted."""
    if report.bytes_per_token is None:
        return []
    table = _table("domain", f"bytes per token ({report.tokenizer})")
    for name, domain in report.domains.items():
        if isinstance(domain, DomainReport):
            table.add_row(name, f"{domain.bytes_per_token:.3f}")
    table.add_row("all", f"{report.bytes_per_token:.3f}")
    stated = f"{{vocab_size: {report.vocab_size}, bytes_per_token: {report.bytes_per_token:.3f}}}"
    return [Text(""), table, Text(f"in a plan: data.tokenizer: {stated}")]


def store_view(store: TokenStore) -> RenderableType:
    """What `simulate data prepare` made: tokens by domain and split."""
    table = _table("domain", "train tokens", "documents", "left out", "valid tokens", "documents", "bytes per token")
    for name, domain in store.to_dict()["domains"].items():
        ratio = domain["bytes_per_token"]
        table.add_row(
            name,
            format_count(domain["train_tokens"]),
            f"{domain['train_documents']:,}",
            f"{domain['train_dropped']:,}",
            format_count(domain["valid_tokens"]),
            f"{domain['valid_documents']:,}",
            "none" if ratio is None else f"{ratio:.3f}",
        )
    facts = store.to_dict()
    tokenizer = facts["tokenizer"] or "none (synthetic)"
    title = f"{facts['name']}: tokenizer {tokenizer}, vocabulary {facts['vocab_size']:,}, digest {facts['digest'][:16]}"
    return Group(Text(title, style="bold"), table, Text(f"in {facts['folder']}"))


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
