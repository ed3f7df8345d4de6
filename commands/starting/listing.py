"""`simulate list`: what a plan may name, and what it may state."""

from __future__ import annotations

import click

from .._shared import json_option, show, tables

_KINDS = ("accelerators", "predictors", "corpora", "models", "prices", "fields")


@click.command("list")
@click.argument("kind", type=click.Choice(_KINDS))
@json_option
def listing(kind: str, as_json: bool) -> None:
    """List accelerators, predictors, corpora, models, prices, or the fields of a plan.

    \b
    accelerators  what --on and hardware.accelerator may name
    predictors    what --predictor may name, and the corpora of which public runs are known
    corpora       what data.corpus and data.evaluated_on may name
    models        what --model may name: published shapes
    prices        what --price and prices.preset may name, with date and source
    fields        everything that a plan may state: type, unit, default, meaning

    \b
    Example:  simulate list models
              simulate list fields --json
    """
    if kind == "predictors":
        show_predictors(as_json)
        return
    from ...simulator.config.starting.known import known

    facts = known(kind)
    show(as_json, facts, lambda: _view(kind, facts))


def show_predictors(as_json: bool) -> None:
    """Show what forecasts can rest on: each with its text, its runs, and how wide an interval it gives."""
    from ...simulator.forecast.offered import offered

    found = offered()
    show(as_json, found.to_dict(), lambda: tables().predictors_view(found))


def _view(kind: str, facts: dict):
    from ...simulator.report.tables.starting.known import known_view

    return known_view(kind, facts)


@click.command(hidden=True)
@json_option
def predictors(as_json: bool) -> None:
    """Former name of `simulate list predictors`.

    \b
    Example:  simulate predictors --json
    """
    import warnings

    from ...core.errors import ForetrainWarning

    warnings.warn(
        "simulate predictors is deprecated and goes with version 0.4; use simulate list predictors",
        ForetrainWarning,
        stacklevel=2,
    )
    show_predictors(as_json)
