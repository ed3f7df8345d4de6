"""`simulate track`: a running job against its plan."""

from __future__ import annotations

import click

from .._shared import chart_option, json_option, progress_bar, show, stated_in, step_times

EXIT_BEHIND = 4
"""A run that is behind its plan, has diverged, or whose loss has shifted."""


@click.command()
@click.option("--config", required=True, metavar="FILE", help="The plan of the run, YAML or JSON.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value, e.g. data.tokens=2T.")
@click.option(
    "--log", required=True, metavar="PATH", help="The log so far: JSON lines, CSV, console, TensorBoard; see below."
)
@click.option("--predictor", metavar="NAME|DIR", help="What predicts the final loss (default: the plan's target).")
@click.option("--curves", metavar="DIR", help="Curves of smaller runs, by `simulate curve fit` (default: public ones).")
@click.option("--family", metavar="NAME", help="Family in --curves, or public recipe, that the run belongs to.")
@click.option("--metric", metavar="KEY", help="Name of the loss in the log, where there are several.")
@click.option(
    "--step-unit",
    "unit",
    default="auto",
    show_default=True,
    metavar="UNIT",
    help="Unit of the log's steps.",
)
@click.option("--calibration", metavar="FILE", help="Step times of your cluster, by `simulate cluster calibrate`.")
@chart_option("the run inside its predicted band")
@json_option
def track(
    config: str,
    overrides: tuple[str, ...],
    log: str,
    predictor: str | None,
    curves: str | None,
    family: str | None,
    metric: str | None,
    unit: str,
    calibration: str | None,
    chart: str | None,
    as_json: bool,
) -> None:
    """Track a running job: is it on track, ahead or behind, where will its loss end, and when is it done?

    One call reads the log so far and answers. The exit code is 0 on track, ahead or too early to tell; 4 behind,
    diverged, or where the loss has risen above what its own past promised; 3 if the log can't be read.

    The log is JSON lines, CSV, trainer_state.json, a TensorBoard event file or a folder of them, or what a trainer
    prints on a console, with steps and losses under their usual names. Steps are optimizer steps: other units are
    found out where they can be, or stated by --step-unit steps, tokens, samples, steps/8 for 8 micro-batches to a
    step, or 500steps for one record every 500. The final loss is held against the plan's targets, or against the
    forecast of --predictor (web-text if there is no target either); a run with less than a 10 % chance of its target
    is behind. What loss curves look like is taken from the public ones, of any recipe or of one that --family names,
    or from your own: --curves.

    \b
    Example:  simulate track --config run.yaml --log metrics.jsonl --chart track.html
    """
    from ...simulator.config.run_config import RunConfig
    from ...simulator.tracking.relatives import load_curves, public_curves
    from ...simulator.tracking.track import predictor_for
    from ...simulator.tracking.track import track as track_run

    run = RunConfig.load(config, overrides)
    shapes = public_curves(run, family) if curves is None else load_curves(curves, run, family)
    fitted = predictor_for(run, predictor)
    times = step_times(calibration)
    with stated_in(config), progress_bar("tracking") as step:
        result = track_run(run, log, fitted, shapes, metric=metric, unit=unit, step_times=times, progress=step)
    if chart is not None:
        from ...simulator.report.charts.runs.track import track_picture
        from ...simulator.report.charts.writing import save_pictures

        save_pictures([track_picture(result)], chart)
    show(as_json, result.to_dict(), lambda: _view(result))
    if not result.ok:
        click.get_current_context().exit(EXIT_BEHIND)


def _view(result):
    from ...simulator.report.tables.tracking import tracking_view

    return tracking_view(result)
