"""`simulate continued`: what continued pretraining gives a domain and costs in general, as a law for plans."""

from __future__ import annotations

import click

from .._shared import chart_option, columns_option, json_option, read_table, show


@click.group()
def continued() -> None:
    """Continued pretraining on a share of one domain: its law, fitted to your own runs.

    \b
    Example:  simulate continued fit continued.csv --before base.csv --domain law --out law.json
    """


@continued.command()
@click.argument("runs", metavar="RUNS")
@click.option("--before", required=True, metavar="RUNS", help="The runs whose weights they began from.")
@click.option("--domain", required=True, metavar="NAME", help="The domain, as in mix.NAME and loss.NAME.")
@click.option(
    "--out", metavar="FILE", help="Write the law here, as JSON; a plan names it as continued_pretraining.law."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Seed of the draws.")
@columns_option
@chart_option("both losses by share, with the law and its intervals")
@json_option
def fit(
    runs: str,
    before: str,
    domain: str,
    out: str | None,
    seed: int,
    columns: str | None,
    chart: str | None,
    as_json: bool,
) -> None:
    """Fit L = E + A/N^α + B·r^η/D^β + C/(r + ε)^γ (D-CPT) to runs that went on from trained weights.

    RUNS is a run table with mix.NAME (r), loss.NAME and the losses of other domains, whose mean is the general loss;
    D are tokens of continuing. At least three shares, and better two sizes and three budgets.

    \b
    Example:  simulate continued fit continued.csv --before base.csv --domain law --out law.json
              simulate predict --config run.yaml --set continued_pretraining.law=law.json
    """
    from ...simulator.after_pretraining.continued.fitting import fit_continued
    from ...simulator.after_pretraining.continued.runs import ContinuedRuns
    from ...simulator.after_pretraining.continued.storage import save_laws
    from ...simulator.after_pretraining.continued.summary import ContinuedSummary

    found = ContinuedRuns.of_tables(read_table(runs, columns), read_table(before, columns), domain)
    laws = fit_continued(found, seed)
    if out is not None:
        save_laws(laws, out)
    if chart is not None:
        from ...simulator.report.charts.after_pretraining.continued import continued_pictures
        from ...simulator.report.charts.writing import save_pictures

        save_pictures(continued_pictures(found, laws, seed), chart)
    summary = ContinuedSummary.of(laws, seed)

    def view():
        from ...simulator.report.tables.after_pretraining import continued_view

        return continued_view(summary, out)

    show(as_json, {**summary.to_dict(), "out": out}, view)
