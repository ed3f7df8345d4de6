"""`simulate proxies curves`: loss curves of proxies as `simulate curve fit` and `simulate track` read them."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.disk.array_folders import check_folder
from ..core.errors import CampaignError, PredictorError
from ..core.files import write_text
from ..proxies.campaign.result_files import read_curve

if TYPE_CHECKING:
    from ..proxies.project import Project
    from ..proxies.results import CurvePoint
    from ..proxies.runs import ProxyRun

__all__ = ["WrittenCurves", "write_curves"]

_RUNS, _CURVES, _PLANS = "runs.csv", "curves", "plans"
_COLUMNS = ("run_id", "source", "params", "schedule", "total_steps", "warmup_steps", "lr_peak", "lr_final")


@dataclass(frozen=True)
class WrittenCurves:
    """The folder that was written, its runs, the largest of them, and those that diverged and were left out."""

    folder: Path
    run_ids: tuple[str, ...]
    largest: str
    left_out: tuple[str, ...]
    averaged: bool
    """Whether the runs were validated with averaged weights, which are better than those that the curves speak of."""

    def files(self, run_id: str) -> tuple[str, str]:
        """A run's plan and its curve, inside the folder."""
        return f"{_PLANS}/{run_id}.yaml", f"{_CURVES}/{run_id}.csv"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "out": str(self.folder),
            "runs": list(self.run_ids),
            "largest": self.largest,
            "left_out": list(self.left_out),
        }


def write_curves(project: Project, folder: str | os.PathLike[str]) -> WrittenCurves:
    """Write `runs.csv`, `curves/<run_id>.csv` and `plans/<run_id>.yaml` of the runs that are done.

    Runs of one mix are one source, for a law's level depends on the text. The stage that tunes the learning rate is
    left out, as in the run table.

    Raises:
        CampaignError: No run is done, or a curve is damaged.
        PredictorError: The folder holds something else, or can't be made.
        InputError: A file can't be written.
    """
    path = check_folder(folder, {_RUNS, _CURVES, _PLANS}.__contains__, "folder of curves")
    curves: list[tuple[ProxyRun, tuple[CurvePoint, ...]]] = []
    left_out: list[str] = []
    for campaign in project.campaigns():
        for run, result in campaign.results():
            if result.status == "ok":
                curves.append((run, read_curve(campaign.layout.run(run.run_id))))
            else:
                left_out.append(run.run_id)
    if not curves:
        raise CampaignError(f"{project.folder}: no run is done yet, so there is no curve")
    try:
        for part in (_CURVES, _PLANS):
            (path / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PredictorError(f"{folder}: can't be written: {error.strerror or error}") from None
    for run, points in curves:
        rows = [(point.step, point.loss_nats, point.lr) for point in points]
        write_text(path / _CURVES / f"{run.run_id}.csv", _csv(("step", "loss", "lr"), rows))
        write_text(path / _PLANS / f"{run.run_id}.yaml", json.dumps(_plan(run), indent=2) + "\n")  # JSON is YAML
    write_text(path / _RUNS, _csv(_COLUMNS, _rows([run for run, _ in curves])))  # last: it says which curves there are
    runs = [run for run, _ in curves]
    largest = max(runs, key=lambda run: run.training_flops)
    averaged = any(run.recipe.averaging for run in runs)
    return WrittenCurves(path, tuple(run.run_id for run in runs), largest.run_id, tuple(left_out), averaged)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _rows(runs: Sequence[ProxyRun]) -> list[tuple[object, ...]]:
    """Rows of `runs.csv`; rates are those that the curves have."""
    mixes = list(dict.fromkeys(tuple(sorted(run.mix.items())) for run in runs))
    return [
        (
            run.run_id,
            f"mix {mixes.index(tuple(sorted(run.mix.items()))) + 1}",
            run.shape.params_total,
            "logged",
            run.steps,
            run.schedule.warmup_steps,
            run.recipe.lr,
            run.recipe.lr * float(run.schedule.at(run.steps - 1)),
        )
        for run in runs
    ]


def _plan(run: ProxyRun) -> dict[str, Any]:
    """The run as a plan, which `simulate track` holds its curve against."""
    recipe = run.recipe
    final = {} if recipe.schedule == "constant" else {"lr_final": recipe.lr * run.schedule.final}
    return {
        "name": run.run_id,
        "model": {"architecture": run.shape.model_dump(mode="json", exclude_none=True)},
        "data": {"tokens": run.steps * run.batch_tokens, "mix": {k: v for k, v in run.mix.items() if v > 0}},
        "optim": {
            "lr": recipe.lr,
            **final,
            "batch_tokens": run.batch_tokens,
            "schedule": recipe.schedule,
            "warmup_steps": run.schedule.warmup_steps,
        },
    }
