"""Gold and learned reward over √KL: best of n and REINFORCE, a panel for each number of comparisons, with both laws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from foretrain.simulator.report.charts.marks import field, line, points, rule
from foretrain.simulator.report.charts.picture import Numbers, Picture, Spec
from foretrain.simulator.report.charts.placing import Scale
from foretrain.simulator.report.charts.writing import save_pictures
from foretrain.simulator.report.theme import colour

from .best_of_n import kl_nats
from .law import averaged, fitted, gold_of
from .table import BEST_OF_N

__all__ = ["REACH_NATS", "draw"]

_ACROSS = 3
REACH_NATS = kl_nats(2_048)
"""How far both methods are drawn and REINFORCE is fitted: beyond it, that writes one phrase again and again."""
_PANEL_PX = 165
_PLACES = 60


def draw(table: pd.DataFrame, path: Path) -> None:
    """Write the picture, in the format that the extension says: reward models of the larger capacity."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_pictures([_picture(table[table["reward_params"] == table["reward_params"].max()])], path)


def _picture(table: pd.DataFrame) -> Picture:
    panels = []
    for (method, comparisons), rows in table.groupby(["method", "comparisons"]):
        name = "best of n" if method == BEST_OF_N else "REINFORCE"
        panels.append((f"{name}, {int(str(comparisons)):,} comparisons", _series(str(method), rows)))
    best = table[table["method"] == BEST_OF_N]
    last = best[best["n"] == best["n"].max()].groupby("comparisons")[["gold", "proxy"]].mean()
    fewest, most = last.iloc[0], last.iloc[-1]
    return Picture(
        name="feedback",
        title=f"Best of {best['n'].max():.0f}: gold {fewest['gold']:+.1f} to {most['gold']:+.1f} sd by comparisons",
        subtitle="gold and learned reward over √KL, sd over the policy's samples",
        caption="Blue dots: gold reward, means over seeds; line: its law. Grey: learned reward, which is optimised.",
        numbers=Numbers(
            ("panel", "√KL", "gold", "learned"),
            tuple(
                (title, f"{dot['distance']:.2f}", f"{dot['gold']:.3f}", f"{dot['proxy']:.3f}")
                for title, series in panels
                for dot in series["dots"]
            ),
        ),
        draw=lambda width: _panels(panels, width),
        widths=(560, 1040),
    )


def _series(method: str, rows: pd.DataFrame) -> dict[str, list[dict[str, float]]]:
    """Dots of gold and learned reward, and the law's line as far as they go."""
    found = averaged(rows) if method == BEST_OF_N else rows[rows["kl_nats"] <= REACH_NATS]
    dots = [
        {"distance": float(np.sqrt(row.kl_nats)), "gold": float(row.gold), "proxy": float(row.proxy)}
        for row in found.sort_values("kl_nats").itertuples()
    ]
    along = np.linspace(1e-3, max(dot["distance"] for dot in dots), _PLACES)
    law = gold_of(fitted(rows[rows["kl_nats"] <= REACH_NATS]), along**2)
    fit = [{"distance": float(at), "law": float(value)} for at, value in zip(along, law, strict=True)]
    return {"dots": dots, "law": fit}


def _panels(panels: list[tuple[str, dict[str, Any]]], width: int) -> Spec:
    columns = min(_ACROSS, len(panels))
    panel = (width - 46) / columns - 26
    drawn = [_panel(title, series, panel) for title, series in panels]
    rows: list[dict[str, Any]] = [
        {"hconcat": drawn[start : start + columns], "spacing": 20} for start in range(0, len(drawn), columns)
    ]
    return {"vconcat": rows, "spacing": 22}


def _panel(title: str, series: Mapping[str, Any], width: float) -> dict[str, Any]:
    """A panel of its own axes: learned rewards differ in reach."""
    dots, law = series["dots"], series["law"]
    values = [value for dot in dots for value in (dot["gold"], dot["proxy"])]
    up = Scale.around([0.0, *values], 0.04, log=False)
    across = Scale.around([0.0, *(dot["distance"] for dot in dots)], 0.03, log=False)
    x = field("distance", **across.options("√KL, √nats", most=5))
    y = up.options("", grid=True, most=5) | {"title": None}
    return {
        "width": width,
        "height": _PANEL_PX,
        "title": {"text": title, "anchor": "start", "fontSize": 13, "color": colour("ink")},
        "layer": [
            rule([{"zero": 0.0}], "line", y=field("zero", **y)),
            points(dots, "baseline", size=14, x=x, y=field("proxy", **y)),
            line(law, "plan", "law", x=x, **y),
            points(dots, "plan", size=22, x=x, y=field("gold", **y)),
        ],
    }
