"""`simulate proxies generations`: chains of proxies that are trained on what those before them wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...core.errors import UsageError
from ...core.units import shown
from .._shared import command_again, json_option, log_json_option, progress_bar, show, writable_report
from .proxies import TABLES, workers_option

if TYPE_CHECKING:
    from ...proxies.generations.comparison import ChainLoss, Difference
    from ...proxies.generations.generations import Generations

_YAML = (".yaml", ".yml", ".json")
_BESIDE = "generations"


@click.command()
@click.argument("where", metavar="DIR|SPACE")
@click.option("--out", metavar="DIR", help="The chains' folder (default: generations, beside the space).")
@click.option("--engine", default="local", show_default=True, metavar="NAME", help="local (this machine) or ray.")
@click.option("--address", metavar="ADDRESS", help="ray: the cluster to use (default: this machine's).")
@workers_option
@click.option("--status", "only_status", is_flag=True, help="Train nothing; say how far it is and how to go on.")
@click.option("--write-lost-again", is_flag=True, help="Have texts that are lost written again, to the same digest.")
@click.option("--table", "table_out", metavar="FILE", help="The run table (default: generations.csv in the folder).")
@click.option(
    "--report",
    metavar="[FILE]",
    is_flag=False,
    flag_value="generations.html",
    help="Also write a report: .html (default: generations.html), .md or .pdf.",
)
@log_json_option
@json_option
def generations(
    where: str,
    out: str | None,
    engine: str,
    address: str | None,
    workers: int | None,
    only_status: bool,
    write_lost_again: bool,
    table_out: str | None,
    report: str | None,
    log_json: bool,
    as_json: bool,
) -> None:
    """Train generations of proxies, each on text that those before it wrote, and write their run table.

    SPACE is a space of proxies with a section `generations`: how many, under which regimes (replace, accumulate,
    accumulate_fixed, subsample, and fresh as the control), with which shares of real text, and what writes. Interrupted
    at any moment, the same command goes on from there. With a higher `generations.count` it adds generations.

    \b
    Example:  simulate proxies generations space.yaml
              simulate proxies generations space.yaml --report
              simulate proxies generations generations --status
              simulate fit generations/generations.csv --out predictor
    """
    from ...proxies.executors import get_executor
    from ...proxies.generations.comparison import differences
    from ...proxies.generations.generations import Generations

    if table_out is not None and not table_out.endswith(TABLES):
        raise UsageError(f"--table: got {shown(table_out)}; expected a file that ends in {', '.join(TABLES)}")
    write = None if report is None else _report_writer(report)
    is_space = Path(where).suffix in _YAML
    if out is not None and not is_space:
        raise UsageError("--out goes with a SPACE (a .yaml file); a folder of chains is where it is")
    folder = (Path(where).parent / _BESIDE if out is None else Path(out)) if is_space else Path(where)
    if only_status:
        status = Generations.open(folder).status()
        show(as_json, status.to_dict(), lambda: _view().generations_status_view(status))
        return
    executor = get_executor(engine, workers, address)
    if is_space:
        with progress_bar("preparing", log_json) as step:
            chains = Generations.create(folder, where, step)
    else:
        chains = Generations.open(folder)
    with progress_bar("training", log_json) as step:
        try:
            status = chains.train(executor, step, write_lost_again=write_lost_again)
        except KeyboardInterrupt:
            click.echo(chains.status().next_step, err=True)
            raise
    table = str(folder / "generations.csv") if table_out is None else table_out
    chains.write_table(table)
    losses = chains.losses()
    pairs = differences(losses)
    found = _shown(chains, losses, pairs)
    facts = {
        **status.to_dict(),
        "table": table,
        "texts": found.store.to_dict().get("texts", {}),
        "losses": [row.to_dict() for row in losses],
        "differences": [pair.to_dict() for pair in pairs],
    }
    if write is not None:
        write(found)
        click.echo(f"wrote {report}", err=True)
    show(as_json, facts, lambda: _view().generations_view(found, table, report))


def _shown(chains: Generations, losses: Sequence[ChainLoss], pairs: Sequence[Difference]) -> Any:
    """Chains as they are shown."""
    from ...simulator.report.generations import Generations as Shown

    store = chains.store()
    unit = "nats per byte" if store.tokenizer is not None and store.tokenizer.kind == "bytes" else "nats per token"
    return Shown(str(chains.folder), chains.space.generations.writer, losses, pairs, store, unit)


def _report_writer(report: str) -> Callable[[Any], None]:
    """What writes the report; what can't be written is refused before minutes of work, not after."""
    writable_report(report)
    from ...simulator.report.documents.contents.generations import generations_document  # which asks for its extra
    from ...simulator.report.documents.writing import save_report

    again = command_again("as_json", "log_json")
    return lambda found: save_report(generations_document(found, (again,)), report)


def _view() -> Any:
    from ...simulator.report.tables.data import generations as generation_tables

    return generation_tables
