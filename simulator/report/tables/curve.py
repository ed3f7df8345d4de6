"""Views of loss curves: a fitted library, a planned run's curve, scores on curves that weren't seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from ....core.quantity import Quantity
from ....core.units import format_count
from ...curve.forecasting import CurveForecast
from ...curve.law.fitting import CurveFit
from ...curve.law.multipower import LEVEL, S_REF, SHAPE
from ...curve.law.transfer import Library
from ...curve.library import Curve
from .cells import add_row, plain_table

__all__ = ["fit_view", "forecast_view", "score_view"]

_ROWS = 11  # steps of a curve that a table shows


def fit_view(library: Library, seconds: float, out: str) -> RenderableType:
    """The laws of a library: the shape that sizes share, and each size's level."""
    parts: list[RenderableType] = []
    for family, fit in library.family_fits().items():
        curves = [curve for curve in library.curves if curve.family == family]
        parts += _family(family, fit, curves)
    return Group(*parts, Text(f"fitted in {seconds:.2f} s; written to {out}"))


def _family(family: str, fit: CurveFit, curves: list[Curve]) -> list[RenderableType]:
    points = sum(len(curve.step) for curve in curves)
    shape = dict(zip(SHAPE, fit.shape, strict=True))
    law = ", ".join(f"{name} {shape[name]:.3f}" for name in ("alpha", "beta", "gamma"))
    table = plain_table("size", "curves", *LEVEL, "nats")
    for group, level in fit.level.items():
        mine = [curve for curve in curves if curve.group == group]
        add_row(table, format_count(mine[0].size), str(len(mine)), *(f"{value:.4f}" for value in level), "")
    lines = [
        Text(f"{family}: {len(curves)} curves, {points} points, typical miss {fit.residual_sd:.2%}", style="bold"),
        Text(f"shape: {law}, C {np.exp(shape['log_c']):.3g} per step at the peak rate"),
        table,
        Text(f"A is read off at {S_REF:,.0f} steps at the peak rate"),
    ]
    if not fit.identified:
        lines.append(Text("! no curve decays: the effect of a decay (B) is assumed", style="yellow"))
    return lines


def forecast_view(result: CurveForecast) -> RenderableType:
    """The curve of a planned run at a few steps, and its end."""
    steps = result.steps[np.linspace(0, len(result.steps) - 1, _ROWS).round().astype(int)]
    table = plain_table("step", "of the run", "tokens", "rate / peak", "loss", "90 % interval", "perplexity")
    for row in result.rows(np.unique(steps)):
        step, tokens = float(row["step"] or 0), row["tokens"]
        loss, low, high = (float(row[key] or 0) for key in ("loss_nats", "low90_nats", "high90_nats"))
        cells = (f"{step:,.0f}", f"{step / result.run.path.steps:.0%}", "" if tokens is None else format_count(tokens))
        add_row(
            table, *cells, f"{row['lr_share']:.3f}", f"{loss:.4f}", f"{low:.4f} to {high:.4f}", f"{np.exp(loss):.2f}"
        )
    final = result.final
    low, high = final.intervals[0.9]
    title = f"{result.run.name}: {format_count(result.run.size)} parameters, {result.run.path.steps:,} steps"
    lines = [
        Text(f"{name}: ends at step {steps:,} at {loss.median:.4f} nats (90 %: {_ends(loss)})")
        for name, (steps, loss) in result.branch_ends.items()
    ]
    lines += [Text(line) for line in result.planned_steps]
    end = f"ends at {final.median:.4f} nats (90 %: {low:.4f} to {high:.4f}), perplexity {np.exp(final.median):.2f}"
    notes = [Text(f"! {note}", style="yellow") for note in result.notes]
    return Group(Text(title, style="bold"), table, Text(end), *lines, Text(f"rests on {result.sources}"), *notes)


def _ends(loss: Quantity) -> str:
    low, high = loss.intervals[0.9]
    return f"{low:.4f} to {high:.4f}"


def score_view(result: dict[str, Any]) -> RenderableType:
    """Errors by curve, and their means."""
    table = plain_table("curve", "R²", "MAE, nats", "largest", "final", "final inside 90 %")
    for name, score in {**result["curves"], "mean": result["mean"]}.items():
        covered = score["final_covered_90"]
        inside = ("yes" if covered else "no") if isinstance(covered, bool) else f"{covered:.0%}"
        numbers = f"{score['r2']:.4f}", f"{score['mae_nats']:.4f}"
        shares = f"{score['max_relative_error']:.2%}", f"{score['final_relative_error']:.2%}"
        add_row(table, name, *numbers, *shares, inside)
    seen = f"the first {result['prefix']:.0%} of each run seen, the rest scored" if result["prefix"] else "whole runs"
    skipped = [Text(f"! {rows} skipped: {why} (--prefix 0.2 takes them)") for why, rows in result["skipped"].items()]
    return Group(table, Text(seen), *skipped)
