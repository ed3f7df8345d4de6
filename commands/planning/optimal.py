"""`simulate optimal`: compute-optimal size and tokens, curves, what more buys, what each number of a plan moves."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import click

from ...core.errors import ConfigError, UsageError
from .._shared import chart_option, json_option, positive, progress_bar, show, stated_in, step_times

predictor_option = click.option(
    "--predictor",
    default="web-text",
    show_default=True,
    metavar="NAME|DIR",
    help="What predicts the loss, as for `simulate predict`.",
)
config_option = click.option("--config", required=True, metavar="FILE", help="The planned run, YAML or JSON.")
maybe_config_option = click.option(
    "--config", metavar="FILE", help="A planned run: its mix, distinct tokens, experts, hardware and prices."
)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value, e.g. hardware.count=1024."
)
calibration_option = click.option(
    "--calibration", metavar="FILE", help="Step times of your cluster, by `simulate cluster calibrate`."
)
stock_option = click.option(
    "--unique-tokens", metavar="COUNT", help="Distinct tokens there are, such as 300B; more tokens repeat them."
)


def views() -> Any:
    """The views of compute-optimal plans, imported when they are needed."""
    from ...simulator.report.tables import optimal as optimal_tables

    return optimal_tables


@click.group()
def optimal() -> None:
    """The best size and tokens for a compute, a budget or a deadline; what more of each buys; what each number moves.

    \b
    Example:  simulate optimal point --flops 5.76e23 --predictor chinchilla-massivetext
    """


@optimal.command()
@click.option("--flops", metavar="FLOPS", help="Training FLOPs, such as 5.76e23.")
@maybe_config_option
@set_option
@click.option("--budget", metavar="USD", help="US dollars, such as 2M, on the plan's hardware and at its prices.")
@click.option("--deadline", metavar="TIME", help="Wall clock, such as 30d, on the plan's hardware.")
@click.option("--chance", metavar="SHARE", help="Required probability of meeting each limit (default: 50%).")
@click.option(
    "--mixers", metavar="NAME,…", help="Instead of one optimum that of each token mixer, such as attention,hyena."
)
@stock_option
@predictor_option
@calibration_option
@chart_option("it")
@json_option
def point(
    flops: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    mixers: str | None,
    unique_tokens: str | None,
    predictor: str,
    chart: str | None,
    as_json: bool,
    **limits: str | None,
) -> None:
    """Find the size and the tokens of lowest predicted loss, with intervals.

    For a compute in FLOPs (--flops, or that of the plan): from the law alone, C = 6·N·D with N as the predictor counts
    it. For --budget, --deadline or both: sizes of the plan's family on its machines, each with the tokens that the
    limits allow at its own speed and price. Beside it: what a smaller model trained for longer costs and saves.
    --mixers gives the optimum of each token mixer, how their losses differ, and where one overtakes the other; its
    chart draws the differences over compute.

    \b
    Example:  simulate optimal point --flops 5.76e23 --predictor chinchilla-massivetext
              simulate optimal point --budget 2M --config examples/llama-7b.yaml
    """
    from ...simulator.allocation.compute_optimal.curves import isoflop
    from ...simulator.allocation.compute_optimal.optimal import compute_optimal
    from ...simulator.predictor.storage.folder import load

    if limits["budget"] is not None or limits["deadline"] is not None:
        if mixers is not None:
            raise UsageError("simulate optimal point: --mixers goes with --flops or --config, without limits")
        if config is None or flops is not None or unique_tokens is not None:
            raise UsageError(
                "simulate optimal point: --budget and --deadline go with --config, and not with --flops or "
                "--unique-tokens (a plan states its stock: --set data.unique_tokens=300B)"
            )
        _point_within_limits(config, overrides, predictor, chart, as_json, **limits)
        return
    for option in ("calibration", "chance"):
        if limits[option] is not None:
            raise UsageError(f"simulate optimal point: --{option} goes with --budget or --deadline")
    if flops is None and config is None:
        raise UsageError("simulate optimal point: expected --flops, --config, or --config with --budget or --deadline")
    fitted = load(predictor)
    stock = _count("--unique-tokens", unique_tokens)
    run = _run(config, overrides)
    amounts = _flops("--flops", flops)
    if len(amounts) > 1:
        raise UsageError("--flops: got several; expected one (`simulate optimal curves` draws many)")
    amount = amounts[0] if amounts else None
    if mixers is not None:
        from ...simulator.allocation.compute_optimal.mixers import mixers_optimal

        names = [name.strip() for name in mixers.split(",")]
        with _stated(config):
            several = mixers_optimal(fitted, names, amount, config=run, unique_tokens=stock)
        if chart is not None:
            from ...simulator.report.charts.planning.mixers import mixers_picture
            from ...simulator.report.charts.writing import save_pictures

            save_pictures([mixers_picture(several)], chart)
        show(as_json, several.to_dict(), lambda: views().mixers_view(several))
        return
    with _stated(config):
        result = compute_optimal(fitted, amount, config=run, unique_tokens=stock)
    if chart is not None:
        from ...simulator.report.charts.planning.isoflop import isoflop_picture
        from ...simulator.report.charts.writing import save_pictures

        curve = isoflop(fitted, [result.flops], config=run, unique_tokens=stock)
        own = result.plan if flops is None else None
        save_pictures([isoflop_picture(curve, None if own is None else (own.params, own.loss_nats))], chart)
    show(as_json, result.to_dict(), lambda: views().point_view(result))


def _point_within_limits(
    config: str,
    overrides: tuple[str, ...],
    predictor: str,
    chart: str | None,
    as_json: bool,
    budget: str | None,
    deadline: str | None,
    chance: str | None,
    calibration: str | None,
) -> None:
    """The point for a budget, a deadline or both."""
    from ...core.units import parse_duration_s
    from ...simulator.allocation.under_limits.money import money_optimal
    from ...simulator.config.run_config import RunConfig
    from ...simulator.predictor.storage.folder import load

    run = RunConfig.load(config, overrides)
    fitted = load(predictor)
    times = step_times(calibration)
    probability = 0.5 if chance is None else _share("--chance", chance, most=0.999)
    deadline_days = None
    if deadline is not None:
        deadline_s = positive("--deadline", deadline, parse_duration_s, "a time above 0, such as 30d")
        deadline_days = deadline_s / 86_400.0
    with stated_in(config), progress_bar("sizes") as step:
        result = money_optimal(
            run,
            fitted,
            budget_usd=_count("--budget", budget),
            deadline_days=deadline_days,
            chance=probability,
            step_times=times,
            progress=step,
        )
    if chart is not None:
        from ...simulator.report.charts.planning.money import money_picture
        from ...simulator.report.charts.writing import save_pictures

        save_pictures([money_picture(result)], chart)
    show(as_json, result.to_dict(), lambda: views().money_view(result))


@optimal.command()
@click.option("--flops", metavar="FLOPS,…", help="Compute of each curve, such as 1e21,1e22,1e23.")
@click.option("--loss", "losses", metavar="NATS,…", help="Losses to reach, such as 2.2,2.0.")
@maybe_config_option
@set_option
@stock_option
@predictor_option
@chart_option("it")
@json_option
def curves(
    flops: str | None,
    losses: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    unique_tokens: str | None,
    predictor: str,
    chart: str | None,
    as_json: bool,
) -> None:
    """Curves of equal compute (loss over size) and of equal loss (tokens over size), with the optimum of each.

    \b
    Example:  simulate optimal curves --flops 1e21,1e22,1e23 --loss 2.2,2.0 --chart curves.html
    """
    from ...simulator.allocation.compute_optimal.curves import isoflop, isoloss
    from ...simulator.predictor.storage.folder import load

    if flops is None and losses is None:
        raise UsageError("simulate optimal curves: expected --flops, --loss or both, such as --flops 1e21,1e22")
    fitted = load(predictor)
    run = _run(config, overrides)
    stock = _count("--unique-tokens", unique_tokens)
    amounts = _flops("--flops", flops)
    reached = _counts("--loss", losses)
    with _stated(config):
        equal_flops = isoflop(fitted, amounts, config=run, unique_tokens=stock)
        equal_loss = isoloss(fitted, reached, config=run, unique_tokens=stock)
    if chart is not None:
        from ...simulator.report.charts.planning.isoflop import isoflop_picture
        from ...simulator.report.charts.planning.isoloss import isoloss_picture
        from ...simulator.report.charts.writing import save_pictures

        pictures = [isoflop_picture(equal_flops)] if equal_flops else []
        save_pictures([*pictures, *([isoloss_picture(equal_loss, equal_flops)] if equal_loss else [])], chart)
    facts = {
        "isoflop": [curve.to_dict() for curve in equal_flops],
        "isoloss": [curve.to_dict() for curve in equal_loss],
    }
    show(as_json, facts, lambda: views().curves_view(equal_flops, equal_loss))


@optimal.command()
@config_option
@set_option
@click.option("--weeks", default="1", show_default=True, metavar="COUNT", help="More wall clock, in weeks.")
@click.option(
    "--gpus",
    type=click.IntRange(1, 10**7),
    metavar="COUNT",
    help="More accelerators, beside a quarter more of the plan's.",
)
@click.option("--budget", default="10%", show_default=True, metavar="SHARE", help="More money, as a share of the cost.")
@predictor_option
@calibration_option
@chart_option("it")
@json_option
def more(
    config: str,
    overrides: tuple[str, ...],
    weeks: str,
    gpus: int | None,
    budget: str,
    predictor: str,
    calibration: str | None,
    chart: str | None,
    as_json: bool,
) -> None:
    """Say what one more week, more accelerators, more money or twice the tokens buy.

    Each is answered twice: for the planned model, trained on as many tokens as that allows, and for the best size of
    its family within the same limits. Differences of the loss are between the same draws of the law.

    \b
    Example:  simulate optimal more --config examples/llama-7b.yaml --weeks 1 --gpus 1000 --budget 10%
    """
    from ...simulator.allocation.under_limits.marginal import what_more_buys
    from ...simulator.config.run_config import RunConfig
    from ...simulator.predictor.storage.folder import load

    share = _share("--budget", budget)
    more_weeks = _count("--weeks", weeks) or 1.0
    run = RunConfig.load(config, overrides)
    fitted = load(predictor)
    times = step_times(calibration)
    with stated_in(config), progress_bar("what more buys") as step:
        result = what_more_buys(run, fitted, weeks=more_weeks, gpus=gpus, budget=share, step_times=times, progress=step)
    if chart is not None:
        from ...simulator.report.charts.planning.more import more_picture
        from ...simulator.report.charts.writing import save_pictures

        save_pictures([more_picture(result)], chart)
    show(as_json, result.to_dict(), lambda: views().more_view(result))


@optimal.command()
@config_option
@set_option
@click.option(
    "--step", "step_share", default="10%", show_default=True, metavar="SHARE", help="How far each number is changed."
)
@predictor_option
@calibration_option
@chart_option("it")
@json_option
def sensitivity(
    config: str,
    overrides: tuple[str, ...],
    step_share: str,
    predictor: str,
    calibration: str | None,
    chart: str | None,
    as_json: bool,
) -> None:
    """Turn each number of a plan a little, one at a time, and say what loss, cost and time do.

    \b
    Example:  simulate optimal sensitivity --config examples/llama-7b.yaml --step 10%
    """
    from ...simulator.allocation.sensitivity.sensitivity import sensitivity as turned
    from ...simulator.config.run_config import RunConfig
    from ...simulator.predictor.storage.folder import load

    share = _share("--step", step_share, most=0.5)
    run = RunConfig.load(config, overrides)
    fitted = load(predictor)
    times = step_times(calibration)
    with stated_in(config), progress_bar("turning") as step:
        result = turned(run, fitted, step=share, step_times=times, progress=step)
    if chart is not None:
        from ...simulator.report.charts.planning.tornado import tornado_picture
        from ...simulator.report.charts.writing import save_pictures

        save_pictures([tornado_picture(result)], chart)
    show(as_json, result.to_dict(), lambda: views().sensitivity_view(result))


def _run(config: str | None, overrides: tuple[str, ...]) -> Any:
    """The planned run, None where none is given. Raises UsageError for overrides of none."""
    from ...simulator.config.run_config import RunConfig

    if config is not None:
        return RunConfig.load(config, overrides)
    if overrides:
        raise UsageError("simulate optimal: --set goes with --config")
    return None


def _count(option: str, text: str | None) -> float | None:
    """A positive count, or None where the option isn't given. Raises UsageError."""
    from ...core.units import parse_count

    if text is None:
        return None
    return positive(option, text, parse_count, "a number above 0")


def _counts(option: str, text: str | None) -> list[float]:
    """Positive numbers between commas, none where the option isn't given. Raises UsageError."""
    from ...core.units import parse_count

    if not text:
        return []
    return [positive(option, part, parse_count, "a number above 0") for part in text.split(",")]


def _flops(option: str, text: str | None) -> list[float]:
    """Training FLOPs between commas. Raises UsageError for what is no number, InputError for what no run has."""
    from ...simulator.allocation.compute_optimal.optimum import check_flops

    found = _counts(option, text)
    for amount in found:
        check_flops(amount)
    return found


def _stated(config: str | None) -> Any:
    """`stated_in` where there is a plan to name."""
    return nullcontext() if config is None else stated_in(config)


def _share(option: str, text: str, most: float = 100.0) -> float:
    """`10%` or `0.1` as a fraction. Raises UsageError."""
    from ...core.units import parse_share, percent_hint, shown

    try:
        value = parse_share(text)
    except ConfigError:
        value = float("nan")
    bare = "" if "%" in text else percent_hint(value)
    if not 0 < value <= most or bare:
        raise UsageError(f"{option}: got {shown(text)}{bare}; expected a share such as 10% or 0.1, at most {most:.3g}")
    return value
