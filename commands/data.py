"""`simulate data`: a corpus of the user's own, looked at and made into tokens."""

from __future__ import annotations

import click

from ._shared import json_option, progress_bar, show


@click.group()
def data() -> None:
    """Look at a corpus, and make it into tokens that proxies are trained on.

    \b
    Example:  simulate data inspect corpora.yaml
              simulate data prepare corpora.yaml --out tokens
    """


@data.command()
@click.argument("corpora", metavar="CORPORA")
@json_option
def inspect(corpora: str, as_json: bool) -> None:
    """Read every document once: counts, bytes, copies, leaks into the validation split, figures of quality.

    CORPORA is a YAML file that names domains and where their text is (JSON lines, Parquet, text; .gz, .zst).

    \b
    Example:  simulate data inspect corpora.yaml
    """
    from ..datasets.corpus import Corpus
    from ..datasets.quality import inspect as inspect_corpus

    corpus = Corpus.load(corpora)
    with progress_bar("reading") as step:
        seen = None if step is None else lambda domain, documents: step(f"{domain}, {documents:,} documents", 0.0)
        report = inspect_corpus(corpus, progress=seen)
    show(as_json, report.to_dict(), lambda: _tables().inspect_view(report))


@data.command()
@click.argument("corpora", metavar="CORPORA")
@click.option("--out", metavar="DIR", default="tokens", show_default=True, help="Write the token shards here.")
@json_option
def prepare(corpora: str, out: str, as_json: bool) -> None:
    """Split, tokenise and pack a corpus. What hasn't changed since the last time is kept.

    \b
    Example:  simulate data prepare corpora.yaml --out tokens
    """
    from ..datasets.corpus import Corpus
    from ..datasets.prepare import prepare as prepare_tokens

    corpus = Corpus.load(corpora)
    with progress_bar("preparing") as step:
        store = prepare_tokens(corpus, out, progress=step)
    show(as_json, store.to_dict(), lambda: _tables().store_view(store))


def _tables():
    from ..simulator.report import data_tables

    return data_tables
