"""`simulate data`: a corpus of the user's own, looked at, chosen from, made into tokens; and how long text lasts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...core.errors import ConfigError, UsageError
from ...core.units import parse_count, shown
from .._shared import chart_option, command_again, json_option, log_json_option, progress_bar, show, writable_report

if TYPE_CHECKING:
    from ...datasets.selection.derived.result import Derived
    from ...datasets.watermark.detection import Detector
    from ...simulator.data_budget.data_budget import PlanStock


@click.group()
def data() -> None:
    """Look at a corpus, choose from it, make it into tokens for proxies, and see how long a plan's text lasts.

    \b
    Example:  simulate data inspect corpora.yaml
              simulate data select corpora.yaml --out kept --report
              simulate data prepare corpora.yaml --out tokens
              simulate data stock --config run.yaml
    """


@data.command()
@click.argument("corpora", metavar="CORPORA")
@click.option("--tokenizer", metavar="FILE", help="Count bytes per token with this tokenizer.json.")
@click.option(
    "--watermark",
    "watermarks",
    multiple=True,
    metavar="FILE",
    help="Also count documents that carry the watermark of this file (key: ..., of bytes); may be repeated.",
)
@json_option
def inspect(corpora: str, tokenizer: str | None, watermarks: tuple[str, ...], as_json: bool) -> None:
    """Read every document once: counts, bytes, copies, leaks into the validation split, figures of quality.

    CORPORA is a YAML file that names domains and where their text is (JSON lines, Parquet, text; .gz, .zst).

    \b
    Example:  simulate data inspect corpora.yaml
              simulate data inspect corpora.yaml --tokenizer tokenizer.json
              simulate data inspect corpora.yaml --watermark mark.yaml
    """
    from ...datasets.corpus.corpus import Corpus
    from ...datasets.corpus.quality import inspect as inspect_corpus
    from ...datasets.tokens.tokenizer import ByteTokenizer
    from ...datasets.watermark.inspection import marks_by_domain

    corpus = Corpus.load(corpora)
    counter = None if tokenizer is None else _counter(tokenizer)
    detector = None if not watermarks else _detector(watermarks)
    with progress_bar("reading") as step:
        report = inspect_corpus(corpus, progress=step, tokenizer=counter)
        marked = None if detector is None else marks_by_domain(corpus, detector, ByteTokenizer(), step)
    facts = {**report.to_dict(), "watermark": marked}
    show(as_json, facts, lambda: _tables().inspect_view(report, marked))


@data.command()
@click.argument("corpora", metavar="CORPORA")
@click.option("--out", metavar="DIR", required=True, help="Write the kept text here, as a corpus of its own.")
@click.option(
    "--report",
    metavar="[FILE]",
    is_flag=False,
    flag_value="selection.html",
    help="Also write a report: .html (default: selection.html), .md or .pdf.",
)
@json_option
@log_json_option
def select(corpora: str, out: str, report: str | None, as_json: bool, log_json: bool) -> None:
    """Run the steps that CORPORA states for its domains, and write what they keep as a corpus of its own.

    Domains state steps as select: [{dedup: {kind: minhash}}, {judge: {scores: judged.csv, keep: 0.3}}]. DIR gets
    the kept text as JSON lines, its corpora.yaml, which other commands take as it is, and selection.json, which
    says from what and how it was made. Validation text is never selected.

    \b
    Example:  simulate data select corpora.yaml --out kept
              simulate data select corpora.yaml --out kept --report selection.html
              simulate data prepare kept/corpora.yaml --out tokens
    """
    from ...datasets.corpus.corpus import Corpus
    from ...datasets.selection.derived.writing import derive

    write = None if report is None else _report_writer(report, out)
    corpus = Corpus.load(corpora)
    with progress_bar("selecting", log_json) as step:
        found = derive(corpus, out, progress=step)
    if write is not None:
        write(found)
        click.echo(f"wrote {Path(str(report))}", err=True)
    show(as_json, found.to_dict(), lambda: _selection_tables().selection_view(found, report))


@data.command()
@click.argument("corpora", metavar="CORPORA")
@click.option("--out", metavar="DIR", default="tokens", show_default=True, help="Write the token shards here.")
@json_option
def prepare(corpora: str, out: str, as_json: bool) -> None:
    """Split, tokenise and pack a corpus. What hasn't changed since the last time is kept.

    \b
    Example:  simulate data prepare corpora.yaml --out tokens
    """
    from ...datasets.corpus.corpus import Corpus
    from ...datasets.tokens.prepare import prepare as prepare_tokens

    corpus = Corpus.load(corpora)
    with progress_bar("preparing") as step:
        store = prepare_tokens(corpus, out, progress=step)
    show(as_json, store.to_dict(), lambda: _tables().store_view(store))


@data.command()
@click.option("--config", metavar="FILE", help="A planned run, YAML or JSON; without one, the public stocks alone.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value, e.g. data.tokens=2T.")
@click.option(
    "--predictor", metavar="NAME|DIR", help="Predictor whose law values repeated tokens (default: published)."
)
@click.option("--max-epochs", metavar="N", type=float, help="How often a token may be seen (default: 4).")
@click.option("--growth", metavar="RATE", help="How runs grow per year: 140% or 2.4x (default: as the largest have).")
@click.option("--start-year", metavar="YEAR", type=float, help="When this run starts (default: its start, or today).")
@click.option(
    "--public", multiple=True, metavar="DOMAIN=STOCK", help="Public stock of a domain: one's name, or tokens."
)
@chart_option("by domain when public text is used up, under each strategy of the plan")
@json_option
def stock(
    config: str | None,
    overrides: tuple[str, ...],
    predictor: str | None,
    growth: str | None,
    public: tuple[str, ...],
    max_epochs: float | None,
    chart: str | None,
    as_json: bool,
    **start: float | None,
) -> None:
    """How many distinct tokens a plan has, how often it sees them, and when the public's text is used up.

    What the plan states of data.selection, data.synthetic and continued_pretraining is compared with its text as it is:
    by domain the year in which the stock is used up, each alone and all together, and by how many years later. A plan
    with synthetic tokens is shown beside a scenario of what models wrote of public text.

    Epochs, what repeats are worth and the most tokens that the mix allows need data.unique_tokens or
    data.unique_tokens_by_domain in the plan. Public stocks are published figures; domains find theirs by name.

    \b
    Example:  simulate data stock --config run.yaml --growth 140%
    """
    from ...simulator.config.run_config import RunConfig
    from ...simulator.data_budget.data_budget import plan_stock
    from ...simulator.data_budget.public_stocks import public_outlook
    from ...simulator.data_budget.synthetic_text import synthetic_outlook
    from ...simulator.predictor.storage.folder import load

    if config is None and (overrides or predictor or public or chart or start["start_year"]):
        raise UsageError(
            "--set, --predictor, --public, --chart and --start-year speak of a plan; expected --config FILE"
        )
    rate = _growth(growth)
    stocks = _public(public)
    found = None
    plan_facts = None
    seed = 0
    if config is not None:
        run = RunConfig.load(config, overrides)
        fitted = None if predictor is None else load(predictor)
        found = plan_stock(run, fitted, max_epochs=max_epochs, growth=rate, public=stocks, **start)
        plan_facts = found.to_dict()
        seed = found.seed
    outlook, synthetic = public_outlook(max_epochs, rate, seed), synthetic_outlook()
    if chart is not None and found is not None:
        _draw_dates(found, chart)
    facts = {"plan": plan_facts, "public": outlook.to_dict(), "synthetic_text": synthetic.to_dict()}
    show(as_json, facts, lambda: _stock_tables().stock_view(found, outlook, synthetic))


def _counter(path: str):
    """What counts tokens as the tokenizer of a file does. `UsageError` for a mere name, whose vocabulary isn't here."""
    from ...datasets.facts.tokenizers import find_tokenizer
    from ...datasets.tokens.counting import FileTokenCounter

    known = find_tokenizer(path)
    if known is not None and not Path(path).exists():
        raise UsageError(
            f"--tokenizer: got {shown(path)}, of which the catalogue has figures "
            f"({known.bytes_per_token['web']:g} bytes per token of web text) but no vocabulary; "
            "expected its file, tokenizer.json"
        )
    return FileTokenCounter(path)


def _detector(files: tuple[str, ...]) -> Detector:
    """What looks for the watermarks of files in text that is bytes. Raises UsageError."""
    from ...datasets.tokens.tokenizer import ByteTokenizer
    from ...datasets.watermark.texts import detector_of_files

    return detector_of_files([Path(file) for file in files], ByteTokenizer(), "--watermark", UsageError)


def _growth(text: str | None) -> float | None:
    """`140%` or `2.4x` a year as a share. Raises UsageError."""
    if text is None:
        return None
    plain = text.strip().casefold()
    try:
        if plain.endswith("%"):
            return float(plain[:-1]) / 100.0
        if plain.endswith("x"):
            return float(plain[:-1]) - 1.0
    except ValueError:
        pass
    raise UsageError(f"--growth: got {shown(text)}; expected a growth per year such as 140% or 2.4x")


def _public(pairs: tuple[str, ...]) -> dict[str, str | float]:
    """`("forum=web", "wiki=5B")` as names or tokens by domain. Raises UsageError."""
    found: dict[str, str | float] = {}
    for pair in pairs:
        domain, _, value = pair.partition("=")
        domain, value = domain.strip(), value.strip()
        if not domain or not value or domain in found:
            raise UsageError(f"--public: got {shown(pair)}; expected DOMAIN=STOCK, each domain once, such as forum=web")
        try:
            found[domain] = parse_count(value)
        except ConfigError:
            found[domain] = value
    return found


def _draw_dates(found: PlanStock, chart: str) -> None:
    from ...simulator.report.charts.data.stock_dates import stock_dates_picture
    from ...simulator.report.charts.writing import save_pictures

    save_pictures([stock_dates_picture(found)], chart)


def _stock_tables():
    from ...simulator.report.tables.data import data_budget as stock_tables

    return stock_tables


def _report_writer(report: str, out: str) -> Callable[[Derived], None]:
    """What writes the report of a selection; what can't be written is refused before minutes of work, not after."""
    from ...simulator.report.documents.writing import save_report

    if Path(report).resolve().is_relative_to(Path(out).resolve()):
        raise UsageError(f"--report {report}: lies in --out, which holds the corpus alone; expected another folder")
    writable_report(report)
    from ...simulator.report.documents.contents.selection import selection_document  # which asks for its extra

    again = command_again("as_json", "log_json")
    return lambda found: save_report(selection_document(found, (again,)), report)


def _selection_tables():
    from ...simulator.report.tables.data import selection as selection_tables

    return selection_tables


def _tables():
    from ...simulator.report.tables.data import corpus as data_tables

    return data_tables
