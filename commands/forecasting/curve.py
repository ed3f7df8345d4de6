"""`simulate curve`: laws of the loss along a run under any learning-rate schedule: fit, predict, score."""

from __future__ import annotations

import math
import time
from typing import Any

import click

from ...core.errors import UsageError
from .._shared import chart_option, json_option, positive, progress_bar, show, stated_in


def views() -> Any:
    """The views of loss curves, imported when they are needed."""
    from ...simulator.report.tables import curve as curve_tables

    return curve_tables


@click.group()
def curve() -> None:
    """The loss along a run under any learning-rate schedule: fit whole curves, predict others, score.

    \b
    Example:  simulate curve fit loss_curves --train cosine_a,constant_a,wsd_a --out curves
    """


@curve.command()
@click.argument("curves", metavar="CURVES")
@click.option("--train", metavar="ID,…", help="The runs to fit (default: all in the folder).")
@click.option("--out", required=True, metavar="DIR", help="Write the fitted library here.")
@click.option("--strict", is_flag=True, help="Refuse curves that can't tell what a decay does, instead of warning.")
@json_option
def fit(curves: str, train: str | None, out: str, strict: bool, as_json: bool) -> None:
    """Fit the multi-power law to whole loss curves; runs of one source share its shape, those of one size its level.

    CURVES is a folder with runs.csv (run_id, source, size_label or params, schedule, total_steps, warmup_steps,
    decay_start, lr_peak, lr_final) and curves/<run_id>.csv (step, loss, and lr where it was logged; schedule `logged`
    takes the rates from there). Three runs under different schedules are enough; one of them must decay.

    \b
    Example:  simulate curve fit loss_curves --train cosine_a,constant_a,wsd_a --out curves
              simulate curve predict curves --config run.yaml --final-loss 2.31
    """
    from ...simulator.curve.law.transfer import fit_library
    from ...simulator.curve.reading import read_curves
    from ...simulator.curve.store import check_destination, save, to_dict

    check_destination(out)
    trained_on = read_curves(curves, _ids(train, "--train"))
    start = time.perf_counter()
    with progress_bar("fitting") as step:
        library = fit_library(trained_on.values(), strict=strict, progress=step)
    seconds = time.perf_counter() - start
    save(library, out)
    facts = {**to_dict(library), "seconds": seconds, "out": out}
    show(as_json, facts, lambda: views().fit_view(library, seconds, out))


@curve.command()
@click.argument("library", metavar="[DIR]", required=False)
@click.option("--config", metavar="FILE", help="The planned run, YAML or JSON; optim states its learning rates.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value, e.g. optim.schedule=wsd."
)
@click.option(
    "--schedule", metavar="TEXT|CSV", help="Instead of --config: wsd,steps=24000,warmup=2000,final=0.1; or a file."
)
@click.option("--size", metavar="N", help="Parameters, such as 100M (default: the plan's, or the only size of DIR).")
@click.option("--family", metavar="NAME", help="Which of the families of DIR, or which public recipe, the run is like.")
@click.option("--final-loss", type=float, metavar="NATS", help="The run's final loss, taken as accurate to 0.2 %.")
@click.option("--predictor", metavar="NAME|DIR", help="Take the final loss from a predictor, with its uncertainty.")
@chart_option("the curve")
@json_option
def predict(
    library: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    schedule: str | None,
    final_loss: float | None,
    predictor: str | None,
    chart: str | None,
    as_json: bool,
    size: str | None,
    family: str | None,
) -> None:
    """Predict the loss at each step of a planned run, with intervals.

    DIR is a folder made by `simulate curve fit`. A size that was fitted needs nothing more. Another size takes the
    shape (and what the law misses under the same schedule) from the fitted ones, and its level from where it will end:
    --final-loss or --predictor. Without DIR the laws of the public curves serve: what their makers have in common, or
    one recipe that --family names; a plan then ends at the forecast of web-text unless told otherwise.

    \b
    Example:  simulate curve predict --config run.yaml --chart curve.html
              simulate curve predict curves --config run.yaml --predictor web-text
              simulate curve predict curves --schedule wsd,steps=24000,warmup=2160,final=0.1,form=sqrt --size 100M
    """
    from dataclasses import replace

    from ...simulator.curve.forecasting import FINAL_SD, forecast_curve
    from ...simulator.curve.law.transfer import Library
    from ...simulator.curve.store import load

    if (config is None) == (schedule is None):
        raise UsageError("simulate curve predict: expected either --config or --schedule")
    if final_loss is not None and (predictor is not None or not (math.isfinite(final_loss) and final_loss > 0)):
        raise UsageError(
            f"--final-loss: got {final_loss:g}; expected nats per token above 0, and no --predictor beside it"
        )
    if config is None and (predictor is not None or overrides):
        raise UsageError("simulate curve predict: --predictor and --set go with --config; expected --final-loss")
    known = Library.public() if library is None else load(library)
    if library is None and config is not None and final_loss is None:
        predictor = predictor or "web-text"
    final, notes = None, ()
    if config is not None:
        run, final, notes = _run_of_config(known, config, overrides, predictor, size, family)
    else:
        run = _run_of_schedule(known, str(schedule), size, family)
    if final_loss is not None:
        final = (final_loss, FINAL_SD)
    result = forecast_curve(known, run, final)
    result = replace(result, notes=(*result.notes, *notes))
    if chart is not None:
        from ...simulator.report.charts.runs.curve import curve_picture
        from ...simulator.report.charts.writing import save_pictures

        save_pictures([curve_picture(result)], chart)
    show(as_json, result.to_dict(), lambda: views().forecast_view(result))


@curve.command()
@click.argument("library", metavar="DIR")
@click.argument("curves", metavar="CURVES")
@click.option("--ids", metavar="ID,…", help="The runs to score (default: all that weren't fitted).")
@click.option(
    "--prefix", type=click.FloatRange(0, 1, max_open=True), default=0.0, metavar="SHARE", help="Share seen before."
)
@json_option
def score(library: str, curves: str, ids: str | None, prefix: float, as_json: bool) -> None:
    """Score a fitted library on curves that it hasn't seen: R², mean and largest errors, the error of the final loss.

    With --prefix 0.2 the first fifth of each run is seen and the rest scored, which also takes sizes that weren't
    fitted. The final loss of a curve is the mean of its last three points.

    \b
    Example:  simulate curve score curves loss_curves --ids cosine_b,wsd_b --json
    """
    from ...simulator.curve.reading import read_curves
    from ...simulator.curve.scoring import score as scored
    from ...simulator.curve.store import load

    known = load(library)
    fitted = {run.run_id for run in known.curves}
    asked_for = _ids(ids, "--ids")
    chosen = []
    for run_id, run in read_curves(curves, asked_for).items():
        if asked_for is not None or run_id not in fitted:
            chosen.append(run)
    with stated_in(curves), progress_bar("scoring") as step:
        result = scored(known, chosen, prefix, progress=step)
    show(as_json, result, lambda: views().score_view(result))


def _ids(text: str | None, option: str) -> list[str] | None:
    """`a,b,c` as a list; None for all."""
    if text is None:
        return None
    ids = [part.strip() for part in text.split(",")]
    if not all(ids) or len(set(ids)) < len(ids):
        raise UsageError(f"{option}: got {text!r}; expected run_ids, each once, such as cosine_a,wsd_a")
    return ids


def _run_of_config(
    known: Any, config: str, overrides: tuple[str, ...], predictor: str | None, size: str | None, family: str | None
) -> tuple[Any, tuple[float, float] | None, tuple[str, ...]]:
    """The run of a configuration, its final loss where a predictor tells it, and what is to be said of that."""
    from dataclasses import replace

    from ...simulator.config.run_config import RunConfig
    from ...simulator.curve.forecasting import Run, choose_family
    from ...simulator.forecast.stages.levels import expected_path
    from ...simulator.predictor.storage.folder import load

    planned = RunConfig.load(config, overrides)
    chosen_family = choose_family(known, family)
    params = None if size is None else _count(size)
    final, notes = None, ()
    with stated_in(config):
        run = Run.of_config(known, planned, family=chosen_family, size=params)
        if predictor is not None:
            final, notes = _final_loss(planned, predictor)
            run = replace(run, path=expected_path(planned, load(predictor)))
    return run, final, notes


def _run_of_schedule(known: Any, schedule: str, size: str | None, family: str | None) -> Any:
    """The run of a schedule that the command line spells."""
    from ...simulator.curve.forecasting import Run, choose_family, choose_size
    from ...simulator.curve.schedule_text import path_of_text

    chosen_family = choose_family(known, family)
    path = path_of_text(schedule)
    params = None if size is None else _count(size)
    return Run(chosen_family, choose_size(known, chosen_family, params), path)


def _final_loss(run: Any, predictor: str) -> tuple[tuple[float, float], tuple[str, ...]]:
    """Final loss in nats and the standard deviation of its logarithm, as a predictor forecasts them, and notes."""
    from ...simulator.curve.prefix import Z
    from ...simulator.forecast.forecast import forecast
    from ...simulator.forecast.stages.levels import end_nats
    from ...simulator.predictor.storage.folder import load

    fitted = load(predictor)
    loss = forecast(run, fitted).headline.loss_nats
    low, high = loss.intervals[0.9]
    log_sd = math.log(high / low) / (2 * Z[0.9])
    end = end_nats(run, fitted, loss.median)
    if end == loss.median:
        return (end, log_sd), ()
    note = (
        "data.stages: the curve is that of the training loss, on each stage's own text; on one text, mixed of all "
        f"stages, the forecast is {loss.median:.3f} nats (simulate predict)"
    )
    return (end, log_sd), (note,)


def _count(text: str) -> float:
    from ...core.units import parse_count

    return positive("--size", text, parse_count, "parameters above 0, such as 100M")
