"""Fitted laws with their bands, a panel for each mixer beside the transformer, and the measured runs on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.report.charts.marks import COUNTS, area, field, line, points
from foretrain.simulator.report.charts.picture import Numbers, Picture, Spec
from foretrain.simulator.report.charts.placing import Scale
from foretrain.simulator.report.charts.writing import save_pictures
from foretrain.simulator.report.theme import colour

from .tables import BASELINE, FEWEST_TOKENS_PER_PARAM, of_mixer, sizes_of, whole_mixers

__all__ = ["draw_laws"]

ACROSS = 3
PANEL_PX = 150
BEYOND = 8
"""Times the most tokens of a mixer that its band is drawn to."""
_PLACES = 60


def draw_laws(table: RunTable, laws: dict[str, Predictor], path: Path) -> None:
    """Write the picture, in the format that the extension says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_pictures([laws_picture(table, laws)], path)


def laws_picture(table: RunTable, laws: dict[str, Predictor]) -> Picture:
    """Loss over training tokens at the largest size of each mixer."""
    others = [name for name in whole_mixers(table) if name != BASELINE]
    rows = []
    for name in others:
        ends = [f"{_band(table, laws[one], name)[-1][key]:.3f}" for one in (name, BASELINE) for key in _ENDS]
        rows.append((name, f"{sizes_of(table, name)[-1]:,.0f}", *ends))
    columns = ("mixer", "parameters", *(f"{who} {what}" for who in ("mixer", "transformer") for what in _ENDS))
    return Picture(
        name="laws-of-mixers",
        title="Laws of the mixers beside the transformer's",
        subtitle="Loss, nats per byte, over training tokens at each mixer's largest size; 90 % bands of the laws",
        caption=f"Blue: the mixer; grey: the transformer at the same parameters. Dots: measured, two seeds. "
        f"Bands go on to {BEYOND} times the tokens that a mixer was trained on.",
        numbers=Numbers(columns, tuple(rows)),
        draw=lambda width: _panels(table, laws, others, width),
        widths=(560, 1040),
    )


_ENDS = ("low", "loss", "high")


def _band(table: RunTable, law: Predictor, mixer: str) -> list[dict[str, float]]:
    """A law along the tokens of a mixer's largest size, and beyond."""
    seen = table.column("tokens")[of_mixer(table, mixer)]
    params = sizes_of(table, mixer)[-1]
    tokens = np.geomspace(FEWEST_TOKENS_PER_PARAM * params, BEYOND * seen.max(), _PLACES)
    said = law.predict({"params": np.full(_PLACES, params), "tokens": tokens}, "loss")
    low, high = said.interval(0.9)
    series = {"tokens": tokens, "loss": said.loss_nats, "low": low, "high": high}
    return [{key: float(values[place]) for key, values in series.items()} for place in range(_PLACES)]


def _dots(table: RunTable, mixer: str) -> list[dict[str, float]]:
    """The measured losses of a mixer's largest size."""
    here = of_mixer(table, mixer) & (table.column("params") == sizes_of(table, mixer)[-1])
    pairs = zip(table.column("tokens")[here], table.column("loss")[here], strict=True)
    return [{"tokens": float(tokens), "loss": float(loss)} for tokens, loss in pairs]


def _panels(table: RunTable, laws: dict[str, Predictor], others: list[str], width: int) -> Spec:
    bands = {name: (_band(table, laws[name], name), _band(table, laws[BASELINE], name)) for name in others}
    ends = [row[key] for both in bands.values() for band in both for row in band for key in ("low", "high")]
    dots = [row["loss"] for name in others for row in _dots(table, name)]
    up = Scale.around([*np.clip(ends, min(dots) - 0.4, max(dots) + 0.2), *dots], 0.03, log=False)
    tokens = [row["tokens"] for name in others for row in (*bands[name][0], *_dots(table, name))]
    across = Scale.around(tokens, 0.02, log=True)
    columns = min(ACROSS, len(others))
    panel = (width - 46) / columns - 26
    parts = []
    for number, name in enumerate(others):
        first = number % columns == 0
        lowest = number >= len(others) - columns
        x = field("tokens", **across.options("training tokens", COUNTS, 4) | ({} if lowest else {"title": None}))
        y = up.options("", grid=True, **({} if first else {"labels": False})) | {"title": None}
        parts.append(
            {
                "width": panel,
                "height": PANEL_PX,
                "title": {"text": name, "anchor": "start", "fontSize": 13, "color": colour("ink")},
                "layer": _layers(*bands[name], _dots(table, name), x, y),
            }
        )
    rows: list[dict[str, Any]] = [
        {"hconcat": parts[start : start + columns], "spacing": 20} for start in range(0, len(parts), columns)
    ]
    return {"vconcat": rows, "spacing": 22}


def _layers(own: Any, others: Any, dots: Any, x: Any, y: Any) -> list[dict[str, Any]]:
    return [
        area(others, "baseline-90", "low", "high", x=x, **y),
        area(own, "plan-90", "low", "high", x=x, **y),
        line(others, "baseline", "loss", x=x, dashed=True, **y),
        line(own, "plan", "loss", x=x, **y),
        points(dots, "plan", size=30, x=x, y=field("loss", **y)),
    ]
