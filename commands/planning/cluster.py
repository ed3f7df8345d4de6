"""`simulate cluster`: how long a step takes, whether it fits, what it costs; calibrate, score, search layouts."""

from __future__ import annotations

import time
from typing import Any

import click

from ...core.errors import UsageError
from .._shared import json_option, show, stated_in, step_times

config_option = click.option("--config", required=True, metavar="FILE", help="The planned run, YAML or JSON.")
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value, e.g. hardware.count=1024."
)
calibration_option = click.option(
    "--calibration", metavar="FILE", help="Step times of your cluster, by `simulate cluster calibrate`."
)


def views() -> Any:
    """The views of cluster estimates, imported when they are needed."""
    from ...simulator.report.tables import cluster as cluster_tables

    return cluster_tables


@click.group()
def cluster() -> None:
    """Step time, memory, layouts, goodput, money and energy of a planned run.

    \b
    Example:  simulate cluster estimate --config examples/llama-70b.yaml
    """


@cluster.command()
@config_option
@set_option
@calibration_option
@json_option
def estimate(config: str, overrides: tuple[str, ...], calibration: str | None, as_json: bool) -> None:
    """Estimate a plan's step time, memory, wall clock, cost and energy, each with an interval.

    Without `layout` in the plan, the fastest layout that fits is taken. A plan that can't run exits with 4 and says
    what is in the way, and the smallest change that would do.

    \b
    Example:  simulate cluster estimate --config examples/llama-70b.yaml --set hardware.count=1024
    """
    from ...simulator.cluster.estimate import estimate as estimated
    from ...simulator.config.run_config import RunConfig

    run = RunConfig.load(config, overrides)
    times = step_times(calibration)
    with stated_in(config):
        result = estimated(run, times)
    show(as_json, result.to_dict(), lambda: views().estimate_view(result))


@cluster.command()
@click.argument("runs", required=False, metavar="[RUNS]")
@click.option("--config", metavar="FILE", help="The run whose step was measured, instead of a table of RUNS.")
@set_option
@click.option(
    "--step-time",
    "times",
    multiple=True,
    metavar="DURATION",
    help="Measured time of one step, such as 1.93s; may be repeated.",
)
@click.option("--from", "earlier", metavar="FILE", help="Add to an earlier calibration of the same cluster.")
@click.option("--out", required=True, metavar="FILE", help="Write the calibration here (JSON).")
@json_option
def calibrate(
    runs: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    times: tuple[str, ...],
    earlier: str | None,
    out: str,
    as_json: bool,
) -> None:
    """Tighten the estimate with one to three measured step times of your own cluster.

    Give either a plan and the time of its step, once warmed up, or a table of RUNS, one row per measured layout
    (columns as `simulate cluster score` reads them). Different layouts tell more than repetitions.

    \b
    Example:  simulate cluster calibrate --config run.yaml --step-time 1.93s --out cluster.json
              simulate cluster calibrate --config other.yaml --step-time 3.1s --from cluster.json --out cluster.json
    """
    from ...simulator.cluster.step_time.calibrate import calibrate_on_plan, calibrate_on_rows
    from ...simulator.cluster.step_time.measurements.table import load_measurements
    from ...simulator.cluster.step_time.step_model import StepTimeModel
    from ...simulator.config.run_config import RunConfig

    known = step_times(earlier) or StepTimeModel.shipped()
    if (runs is None) == (config is None):
        raise UsageError("simulate cluster calibrate: expected either a table of RUNS or --config with --step-time")
    if runs is not None:
        if times or overrides:
            raise UsageError("simulate cluster calibrate: --step-time and --set go with --config, not with a table")
        data = load_measurements(runs)
        with stated_in(runs):
            calibrated, facts = calibrate_on_rows(data, known)
    else:
        measured_s = _step_times_s(times)
        run = RunConfig.load(str(config), overrides)
        with stated_in(str(config)):
            calibrated, facts = calibrate_on_plan(run, measured_s, known)
    calibrated.save(out)
    show(as_json, {**facts, "out": out}, lambda: views().calibration_view(facts, out))


def _step_times_s(times: tuple[str, ...]) -> list[float]:
    """Measured step times in seconds. Raises UsageError for none, or for what is no duration above 0."""
    from ...core.units import parse_duration_s

    if not times:
        raise UsageError("simulate cluster calibrate: --config needs --step-time, a measured step such as 1.93s")
    seconds = []
    for text in times:
        try:
            seconds.append(parse_duration_s(text))
        except ValueError as error:
            raise UsageError(f"--step-time: {error}") from None
        if seconds[-1] == 0.0:
            raise UsageError(f"--step-time: got {text!r}; expected a duration above 0, such as 1.93s")
    return seconds


@cluster.command()
@click.argument("runs", metavar="RUNS")
@calibration_option
@json_option
def score(runs: str, calibration: str | None, as_json: bool) -> None:
    """Score step times, memory and the ranking of layouts on measured runs.

    RUNS is CSV or Parquet, one row per measured configuration: n_layers, d_model, n_heads, d_ff, vocab, seq_len, gpu,
    n_gpus, tp, pp, dp, micro_batch, global_batch, …, and step_time_s or peak_mem_gib. Rows that the model can't express
    are counted by reason.

    \b
    Example:  simulate cluster score measured.csv --json
    """
    from ...simulator.cluster.step_time.measurements.table import load_measurements
    from ...simulator.cluster.step_time.scoring import score as scored
    from ...simulator.cluster.step_time.step_model import StepTimeModel

    times = step_times(calibration) or StepTimeModel.shipped()
    result = scored(times, load_measurements(runs))
    show(as_json, result, lambda: views().score_view(result))


@cluster.command()
@config_option
@set_option
@calibration_option
@click.option("--top", default=10, show_default=True, type=click.IntRange(1, 1000), help="How many layouts to show.")
@json_option
def search(config: str, overrides: tuple[str, ...], calibration: str | None, top: int, as_json: bool) -> None:
    """Rank the fastest layouts of a plan that fit its accelerators.

    What the plan's `layout` states is kept: tp: 8 searches among layouts with tp 8. Where none surely fits, those
    that may are shown, the leanest first.

    \b
    Example:  simulate cluster search --config examples/llama-70b.yaml --set hardware.count=512
    """
    from ...simulator.cluster.layout_choice import search_layouts
    from ...simulator.config.run_config import RunConfig

    start = time.perf_counter()
    run = RunConfig.load(config, overrides)
    times = step_times(calibration)
    with stated_in(config):
        found, rows = search_layouts(run, times, top)
    seconds = time.perf_counter() - start
    facts = {"layouts": rows, "seconds": seconds}
    show(as_json, facts, lambda: views().search_view(found, rows, seconds))
