"""A ladder of proxies on one GPU: the largest size's losses are forecast and written down, then it is trained."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
from foretrain.core.units import format_count
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.predictor.predictor import Predictor

from .case import Ladder
from .processes import LostError, Remote

__all__ = ["best_lr", "climb", "compare", "forecast"]

_LEAST_S = 5.0
_LEVEL = 0.9
_FEWEST_SIZES = 2
_HALF = 0.5  # of the limit, for compiling: nothing else can be done meanwhile


def climb(ladder: Ladder, store: str, device: str, domains: Sequence[str], limit_s: float, out: Path) -> dict[str, Any]:
    """Train the ladder within the limit, printing as it goes; write forecast.json before the largest size is trained.

    Returns what became of it: the learning rate, the rows, the forecast and, as far as the largest got, its errors.
    """
    ends = time.monotonic() + limit_s
    compiled_by = time.monotonic() + _HALF * limit_s
    search = Remote(store, device, ladder.lr_rung)
    remotes = [Remote(store, device, rung) for rung in ladder.rungs]
    found: dict[str, Any] = {"rows": [], "speeds": []}
    try:
        for remote in remotes:  # all compile at once, for any learning rate
            remote.send("warm", ladder.runs(remote.case, domains, ladder.lrs[0]), ladder.eval_tokens)
        found["lr"] = _search(ladder, search, domains, compiled_by)
        *smaller, largest = remotes
        for remote in smaller:
            try:
                found["rows"] += _train(ladder, remote, domains, found, compiled_by, ends)
            except LostError as lost:
                print(f"{format_count(remote.case.shape.params_total)} parameters: left out: {lost}")
        if len({row["params"] for row in found["rows"]}) < _FEWEST_SIZES:
            raise LostError(f"fewer than {_FEWEST_SIZES} sizes were trained")
        case = largest.case
        at = [step * case.batch_tokens for step in ladder.runs(case, domains, found["lr"])[0].evaluate_steps]
        found["forecast"] = forecast(found["rows"], case.shape.params_total, at)
        (out / "forecast.json").write_text(json.dumps(found["forecast"], indent=1), encoding="utf-8")
        print(
            f"forecast of {format_count(case.shape.params_total)} written at {found['forecast']['written']}", flush=True
        )
        found["largest"] = _train(ladder, largest, domains, found, compiled_by, ends)
        found["errors"] = compare(found["forecast"], found["largest"])
    except LostError as lost:
        print(f"the ladder ends here: {lost}")
        found["lost"] = str(lost)
    finally:
        for remote in [search, *remotes]:
            remote.close()
    return found


def _search(ladder: Ladder, remote: Remote, domains: Sequence[str], until: float) -> float:
    """The best of the ladder's learning rates."""
    left = until - time.monotonic()
    trained = remote.call(left, "train", ladder.lr_runs(domains), ladder.eval_tokens, left)
    remote.close()
    lr = best_lr(trained["rows"])
    ends = ", ".join(f"{row['lr']:g}: {row['loss']:.4f}" for row in trained["rows"])
    size = format_count(ladder.lr_rung.shape.params_total)
    print(f"learning rates at {size} parameters: {ends}; taken: {lr:g}", flush=True)
    return lr


def _train(
    ladder: Ladder, remote: Remote, domains: Sequence[str], found: dict[str, Any], compiled_by: float, ends: float
) -> list[dict[str, Any]]:
    """The rows of one size, which has begun to compile; its speed is added to what was found."""
    remote.receive(compiled_by - time.monotonic())
    left = ends - time.monotonic()
    if left < _LEAST_S:
        raise LostError("no time is left")
    runs = ladder.runs(remote.case, domains, found["lr"])
    # its last step, validation and answer come after the limit
    trained = remote.call(left + _LEAST_S, "train", runs, ladder.eval_tokens, left)
    remote.close()
    rows = trained.pop("rows")
    params = remote.case.shape.params_total
    found["speeds"].append({"params": params, "copies": remote.case.copies, **trained})
    print(f"{format_count(params):>8} parameters: {trained['seconds']:.0f} s, {trained['tokens_per_s']:.3g} tokens/s, "
          f"loss {rows[-1]['loss'] if rows else float('nan'):.4f}{'' if trained['finished'] else ', not finished'}"
          f"{', diverged: ' + ', '.join(trained['diverged']) if trained['diverged'] else ''}", flush=True)  # fmt: skip
    return rows


def best_lr(rows: Sequence[dict[str, Any]]) -> float:
    """The learning rate whose run ended with the lowest loss; a run that diverged has no row."""
    ends: dict[float, float] = {}
    for row in sorted(rows, key=lambda row: row["tokens"]):
        ends[row["lr"]] = row["loss"]
    if not ends:
        raise LostError("every learning rate diverged")
    return min(ends, key=lambda lr: ends[lr])


def forecast(rows: Sequence[dict[str, Any]], params: int, tokens: Sequence[float]) -> dict[str, Any]:
    """What runs of this size will end at, at these token counts, from the rows of smaller sizes, with an interval."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on few rows, which is what a ladder has
        table = RunTable.from_frame(pd.DataFrame(rows)[["run_id", "params", "tokens", "loss"]])
        predicted = Predictor.fit(table).predict(
            {"params": np.full(len(tokens), float(params)), "tokens": np.asarray(tokens, dtype=float)}, "loss"
        )
        low, high = predicted.interval(_LEVEL)
    return {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "fitted_rows": len(rows),
        "largest_fitted": max(row["params"] for row in rows),
        "params": params,
        "level": _LEVEL,
        "tokens": [float(count) for count in tokens],
        "loss": np.asarray(predicted.loss_nats).tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
    }


def compare(said: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Print forecast and outcome at every token count that was reached; return the largest error and the coverage."""
    print(f"{'tokens':>8}{'measured':>10}{'forecast':>10}{'90 % interval':>18}{'error, %':>10}")
    errors, inside = [], []
    for tokens, loss, low, high in zip(said["tokens"], said["loss"], said["low"], said["high"], strict=True):
        seen = [row["loss"] for row in rows if row["tokens"] == tokens]
        if not seen:
            continue
        errors.append(100 * (loss / mean(seen) - 1))
        inside.append(low <= mean(seen) <= high)
        print(f"{format_count(tokens):>8}{mean(seen):>10.4f}{loss:>10.4f}{low:>9.3f} to {high:.3f}{errors[-1]:>+10.2f}")
    if not errors:
        print("the largest was not validated within its time")
        return {}
    facts = {"largest_error_percent": max(map(abs, errors)), "last_error_percent": errors[-1], "inside": mean(inside)}
    print(f"largest error {facts['largest_error_percent']:.2f} %, {facts['inside']:.0%} inside the 90 % interval; "
          f"{said['params'] / said['largest_fitted']:.1f} × the largest fitted size")  # fmt: skip
    return facts
