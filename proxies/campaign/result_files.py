"""One run's outcome on disk: run.json, curve.csv, weights.safetensors where they are kept, and, last of all,
result.json, which makes the run count as done.
"""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from pydantic import Field

from ...core.errors import CampaignError
from ...core.files import read_bounded_text, write_json, write_text
from ...core.reading.fields import Frozen, Label, Real
from ..results import CurvePoint, DomainLoss, RunResult, Status, Validation
from ..runs import ProxyRun
from ..weights import WEIGHTS_NAME, write_weights
from .campaign_files import FORMAT, read_model

__all__ = ["CURVE_NAME", "RESULT_NAME", "RUN_NAME", "is_done", "read_curve", "read_result", "write_result", "write_run"]

RUN_NAME, CURVE_NAME, RESULT_NAME = "run.json", "curve.csv", "result.json"

_MAX_RESULT_BYTES = 16_000_000
_MAX_CURVE_BYTES = 256_000_000


class _Loss(Frozen):
    mean_nats: Real = Field(ge=0)
    standard_error_nats: Real | None = Field(ge=0, description="None where one sequence gives none.")


class _Evaluation(Frozen):
    step: int = Field(ge=1)
    tokens: int = Field(ge=1)
    losses: dict[Label, _Loss] = Field(min_length=1)
    train_tokens: dict[Label, int]
    unique_tokens: dict[Label, int]
    scored_tokens: int = Field(default=0, ge=0)
    diagnostics: dict[Label, Real] = Field(default={})


class _Result(Frozen):
    """All of result.json."""

    format: int
    run_id: Label
    status: Status
    evaluations: tuple[_Evaluation, ...]
    diverged_step: int | None = Field(default=None, ge=0)
    engine: dict[str, object] = Field(default={})


def write_run(folder: Path, run: ProxyRun) -> None:
    """Make a run's folder and write what is trained there. Raises InputError if that isn't possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CampaignError(f"{folder}: can't be made: {error.strerror or error}") from error
    write_json(folder / RUN_NAME, run.model_dump(mode="json"))


def write_result(folder: Path, result: RunResult) -> None:
    """Write a run's curve and weights, then its result, into its folder. Raises InputError if the disk refuses."""
    facts = result.to_dict()
    for loss in (loss for evaluation in facts["evaluations"] for loss in evaluation["losses"].values()):
        if math.isinf(loss["standard_error_nats"]):
            loss["standard_error_nats"] = None  # JSON has no infinity
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CurvePoint._fields)
    writer.writerows(result.curve)
    write_text(folder / CURVE_NAME, text.getvalue())
    if result.weights is not None:
        write_weights(folder, result.weights)
    write_json(folder / RESULT_NAME, {"format": FORMAT, **facts})


def is_done(folder: Path, with_weights: bool = False) -> bool:
    """Whether the run in this folder has a result, and its weights where they are kept."""
    return (folder / RESULT_NAME).is_file() and (not with_weights or (folder / WEIGHTS_NAME).is_file())


def read_result(folder: Path, run: ProxyRun) -> RunResult:
    """Read a run's result, without its curve. Raises CampaignError, naming the file, if it isn't this run's."""
    path = folder / RESULT_NAME
    found = read_model(path, _Result, _MAX_RESULT_BYTES)
    steps = tuple(evaluation.step for evaluation in found.evaluations)
    planned = run.evaluate_steps
    complete = steps == (planned if found.status == "ok" else planned[: len(steps)])
    tokens = [evaluation.step * run.batch_tokens for evaluation in found.evaluations]
    if found.run_id != run.run_id or not complete or tokens != [e.tokens for e in found.evaluations]:
        raise CampaignError(f"{path}: isn't the result of this run; remove the file to train the run again")
    return RunResult(
        run_id=found.run_id,
        status=found.status,
        evaluations=tuple(_evaluation(evaluation) for evaluation in found.evaluations),
        curve=(),
        diverged_step=found.diverged_step,
        engine=found.engine,
    )


def read_curve(folder: Path) -> tuple[CurvePoint, ...]:
    """Read a run's training curve. Raises CampaignError, naming file and line, if it isn't one."""
    path = folder / CURVE_NAME
    lines = list(csv.reader(io.StringIO(read_bounded_text(path, _MAX_CURVE_BYTES, CampaignError))))
    if not lines or tuple(lines[0]) != CurvePoint._fields:
        raise CampaignError(f"{path}: expected the columns {', '.join(CurvePoint._fields)}")
    points = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            step, tokens, loss_nats, lr = line
            points.append(CurvePoint(int(step), int(tokens), float(loss_nats), float(lr)))
        except ValueError:
            raise CampaignError(f"{path}:{number}: expected four numbers, got {','.join(line)[:60]!r}") from None
    return tuple(points)


def _evaluation(found: _Evaluation) -> Validation:
    losses = {
        domain: DomainLoss(loss.mean_nats, math.inf if loss.standard_error_nats is None else loss.standard_error_nats)
        for domain, loss in found.losses.items()
    }
    return Validation(
        found.step,
        found.tokens,
        losses,
        found.train_tokens,
        found.unique_tokens,
        found.scored_tokens,
        found.diagnostics,
    )
