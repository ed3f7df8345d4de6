"""`simulate predict`: a planned run's loss, time, memory, cost; `compare`: several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...core.errors import UsageError
from .._shared import (
    chart_option,
    columns_option,
    json_option,
    read_table,
    show,
    stated_in,
    step_times,
    tables,
)
from .._sketch import named, say_assumed, sketch, sketch_options

if TYPE_CHECKING:
    from ...simulator.config.run_config import RunConfig

predictor_option = click.option(
    "--predictor", default="web-text", show_default=True, metavar="NAME|DIR", help="What predicts it, see below."
)
allow_new_domain_option = click.option(
    "--allow-new-domain", is_flag=True, help="Forecast mixes with domains that no fitted run had."
)
allow_extrapolation_option = click.option(
    "--allow-extrapolation", is_flag=True, help="Forecast oversight across Elo gaps beyond the published ones."
)
calibration_option = click.option(
    "--calibration", metavar="FILE", help="Step times of your cluster, by `simulate cluster calibrate`."
)
anchor_option = click.option(
    "--anchor", metavar="RUNS", help="A table of runs of your own, from one up, that the forecast is to agree with."
)
_NEW_DOMAINS = "data.allow_new_domains=true"
_EXTRAPOLATED = "oversight.allow_extrapolation=true"


@click.command()
@click.option("--config", metavar="FILE", help="The planned run, YAML or JSON.")
@sketch_options
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value, e.g. data.tokens=2T.")
@predictor_option
@anchor_option
@columns_option
@allow_new_domain_option
@allow_extrapolation_option
@calibration_option
@chart_option("what perplexity to expect, where money and time go, and memory")
@json_option
def predict(
    config: str | None,
    overrides: tuple[str, ...],
    predictor: str,
    anchor: str | None,
    columns: str | None,
    allow_new_domain: bool,
    allow_extrapolation: bool,
    calibration: str | None,
    chart: str | None,
    as_json: bool,
    **words: str | None,
) -> None:
    """Predict a planned run's perplexity, time, memory and cost, with intervals, and say what they rest on.

    The plan is a file, or made of --params, --model or --from as `simulate init` writes it.
    PREDICTOR is a folder made by `simulate fit`, or one that ships with foretrain (`simulate list predictors`).
    By default what the plan names of its text counts: data.corpus, data.tokenizer, data.evaluated_on. With --anchor,
    or known_runs in the plan, runs of the same kind count as well: one finished run brings the level in.

    \b
    Example:  simulate predict --params 7B --tokens 2T --on 512xH100
              simulate predict --config examples/llama-7b.yaml --set data.tokens=1T
              simulate predict --config run.yaml --anchor my_runs.csv
    """
    from ...simulator.forecast.for_plan import anchored
    from ...simulator.forecast.forecast import forecast
    from ...simulator.predictor.storage.folder import load

    if allow_new_domain:
        overrides = (*overrides, _NEW_DOMAINS)
    if allow_extrapolation:
        overrides = (*overrides, _EXTRAPOLATED)
    run, where = _planned(config, overrides, words)
    fitted = load(predictor)
    if anchor is not None:
        if run.known_runs is not None:
            raise UsageError("--anchor: the plan names known_runs too; expected only one of the two")
        if not fitted.about.get("follows_plan"):
            raise UsageError(f"--anchor: {predictor} has runs of its own; expected the default predictor, web-text")
        fitted = anchored(run, read_table(anchor, columns))
    times = step_times(calibration)
    with stated_in(where):
        result = forecast(run, fitted, times)
    if chart is not None:
        from ...simulator.report.charts.writing import save_pictures
        from ...simulator.report.documents.contents.judged import Judged
        from ...simulator.report.documents.contents.plan_sections import plan_pictures

        save_pictures(plan_pictures(Judged(result, fitted)), chart)
    show(as_json, result.to_dict(), lambda: tables().forecast_view(result))


def _planned(config: str | None, overrides: tuple[str, ...], words: dict[str, str | None]) -> tuple[RunConfig, str]:
    """The plan of a file, or of a few words, and what messages call it. Raises UsageError for both and for neither."""
    from ...simulator.config.run_config import RunConfig

    given = named(words)
    if config is not None:
        if given:
            raise UsageError(f"--config: is given beside {', '.join(given)}; expected a file, or these without one")
        return RunConfig.load(config, overrides), config
    if not given:
        raise UsageError("--config: is missing; expected the planned run, or what it is to be: --params 7B --tokens 2T")
    plan = sketch(words)
    run = plan.config(overrides, folder=".")
    say_assumed(plan)
    return run, "plan"


@click.command()
@click.argument("configs", nargs=-1, required=True, metavar="FILE FILE…")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value in every plan.")
@predictor_option
@allow_new_domain_option
@calibration_option
@chart_option("the best of the others against the first")
@json_option
def compare(
    configs: tuple[str, ...],
    overrides: tuple[str, ...],
    predictor: str,
    allow_new_domain: bool,
    calibration: str | None,
    chart: str | None,
    as_json: bool,
) -> None:
    """Compare planned runs with the first of them: how they differ, how sure that is, and which is better.

    What is unknown of all plans alike (the corpus, how fast the cluster is, prices) is no part of the differences.
    PREDICTOR as of `simulate predict`.

    \b
    Example:  simulate compare small.yaml large.yaml --predictor olmo-c4
    """
    from ...simulator.config.run_config import RunConfig
    from ...simulator.forecast.compare import compare as compared
    from ...simulator.predictor.storage.folder import load
    from ...simulator.report.tables.comparison import comparison_view

    if allow_new_domain:
        overrides = (*overrides, _NEW_DOMAINS)
    runs = [RunConfig.load(path, overrides) for path in configs]
    fitted = load(predictor)
    result = compared(runs, fitted, step_times(calibration))
    if chart is not None:
        from ...simulator.report.charts.writing import save_pictures
        from ...simulator.report.documents.contents.plan_sections import plan_pictures
        from ...simulator.report.documents.contents.plans import judged_best

        save_pictures(plan_pictures(judged_best(result, fitted)), chart)
    show(as_json, result.to_dict(), lambda: comparison_view(result))
