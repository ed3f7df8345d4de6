"""How well a predictor does on runs it has not seen: errors, ranks, and whether its intervals hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ....core.errors import RunTableError
from ....core.progress import Progress
from ....core.quantity import LEVELS
from ...fitting import known_columns
from ..loss_model import LossModel
from ..params_kind import counted_as
from ..prediction import LossPrediction
from ..predictor import Predictor

if TYPE_CHECKING:
    from ....datasets.runs.run_table import RunTable


FEW_RUNS = 12
"""Up to so many runs are listed one by one, beside the figures over all."""


def score(predictor: Predictor, table: RunTable, *, progress: Progress | None = None) -> dict[str, Any]:
    """Errors of a predictor on runs with known losses.

    Args:
        predictor: The predictor.
        table: The runs; those of status `ok` are scored.
        progress: Called with each target and the share done, 0 to 1.

    Returns:
        Errors by target (nats per token, or fractions of the loss), coverage and width of the intervals, under the
        stable keys of `simulate score --json`.

    Raises:
        RunTableError: The table has none of the predictor's targets.
        InputError: The predictor does not apply to one of the runs.

    >>> import pandas as pd
    >>> import foretrain
    >>> frame = pd.DataFrame({"params": ["1B", "7B"], "tokens": ["100B", "1T"], "loss": [2.45, 2.05]})
    >>> table = foretrain.RunTable.from_frame(frame)
    >>> found = foretrain.score(foretrain.load_predictor("web-text"), table)
    >>> found["rows"], found["targets"]["loss"]["max_relative_error"] < 0.2
    (2, True)
    """
    by = predictor.about.get("by")
    if isinstance(by, str) and "loss" in table.loss_columns:
        table = table.split_by(by, [name.removeprefix("loss.") for name in predictor.models])
    table = counted_as(table, predictor.about.get("params_kind"))
    pairs = matching_targets(predictor, table)
    results = {}
    for number, (name, column) in enumerate(pairs.items()):
        if progress is not None:
            progress(name, number / len(pairs))
        results[name] = _score_target(predictor.models[name], table, column)
    scored = {"rows": max(r["rows"] for r in results.values()), "targets": results}
    average = _score_average(predictor, table, {n: c for n, c in pairs.items() if n != "loss"})
    return scored if average is None else scored | {"average": average}


def _score_average(predictor: Predictor, table: RunTable, pairs: dict[str, str]) -> dict[str, Any] | None:
    """The same figures for the plain mean over domains, on rows that have all of them; None for a single domain."""
    if len(pairs) < 2:
        return None
    rows = table
    for column in pairs.values():
        rows = rows.fit_rows(column)
    if not len(rows):
        return None
    observed = np.mean([rows.column(column) for column in pairs.values()], axis=0)
    return _figures(predictor.average(known_columns(rows), dict.fromkeys(pairs, 1.0)), observed)


def matching_targets(predictor: Predictor, table: RunTable) -> dict[str, str]:
    """Which column of the table holds each of the predictor's targets.

    Same names match. A plain `loss` matches `loss.<domain>` where the other side says that its domain is that one.
    """
    pairs = {name: name for name in predictor.models if name in table.loss_columns}
    domain = predictor.about.get("val_domain")
    if "loss" in predictor.models and "loss" not in pairs and f"loss.{domain}" in table.loss_columns:
        pairs["loss"] = f"loss.{domain}"
    if "loss" in table.loss_columns and "loss" not in pairs and "val_domain" in table.frame.columns:
        domains = table.frame["val_domain"].dropna().unique()
        if len(domains) == 1 and f"loss.{domains[0]}" in predictor.models:
            pairs[f"loss.{domains[0]}"] = "loss"
    if not pairs:
        theirs, ours = ", ".join(table.loss_columns), ", ".join(predictor.models)
        raise RunTableError(f"{table.where}: its targets are {theirs}; the predictor has {ours}")
    return pairs


def _score_target(model: LossModel, table: RunTable, column: str) -> dict[str, Any]:
    rows = table.fit_rows(column)
    if not len(rows):
        raise RunTableError(f"{table.where}: no row with status ok has a {column!r}; there is nothing to score")
    observed = rows.column(column)
    return _figures(model.predict(known_columns(rows)), observed)


def _figures(prediction: LossPrediction, observed: np.ndarray) -> dict[str, Any]:
    error = prediction.loss_nats - observed
    relative = np.abs(error) / observed
    intervals = {level: prediction.interval(level) for level in LEVELS}
    width = intervals[0.9][1] - intervals[0.9][0]
    few = {"runs": _beside(prediction, observed)} if len(observed) <= FEW_RUNS else {}
    return {
        "rows": len(observed),
        **few,
        "mae_nats": float(np.abs(error).mean()),
        "rmse_nats": float(np.sqrt((error**2).mean())),
        "bias_nats": float(error.mean()),
        "median_relative_error": float(np.median(relative)),
        "p90_relative_error": float(np.quantile(relative, 0.9)),
        "max_relative_error": float(relative.max()),
        "r2": _r2(error, observed),
        "spearman": _spearman(prediction.loss_nats, observed),
        "coverage": {
            f"{level:g}": float(np.mean((a <= observed) & (observed <= b))) for level, (a, b) in intervals.items()
        },
        "median_interval_width_nats": {"0.9": float(np.median(width))},
        "interval_score_nats": {
            f"{level:g}": interval_score(observed, *interval, level) for level, interval in intervals.items()
        },
    }


def _beside(prediction: LossPrediction, observed: np.ndarray) -> list[dict[str, Any]]:
    """Forecast and truth of each run, where there are few enough to look at, nats per token."""
    low, high = prediction.interval(0.9)
    rows = zip(observed, prediction.loss_nats, low, high, strict=True)
    return [
        {"observed_nats": float(true), "predicted_nats": float(forecast), "interval_nats": [float(a), float(b)]}
        for true, forecast, a, b in rows
    ]


def interval_score(observed: np.ndarray, low: np.ndarray, high: np.ndarray, level: float) -> float:
    """Mean interval score in nats, lower is better: the width, and 2/(1 - level) times what lies outside.

    Proper: nobody gains by a narrower or a wider interval than is believed (Gneiting and Raftery 2007, eq. 43).
    """
    outside = np.maximum(low - observed, 0.0) + np.maximum(observed - high, 0.0)
    return float(np.mean(high - low + 2.0 / (1.0 - level) * outside))


def _r2(error: np.ndarray, observed: np.ndarray) -> float | None:
    total = float(((observed - observed.mean()) ** 2).sum())
    return None if total == 0 else 1.0 - float((error**2).sum()) / total


def _spearman(predicted: np.ndarray, observed: np.ndarray) -> float | None:
    """Rank correlation; None where one side doesn't vary."""
    if len(observed) < 2 or np.ptp(predicted) == 0 or np.ptp(observed) == 0:
        return None
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(predicted), rankdata(observed))[0, 1])
