"""Pages that agree with themselves: rows multiply, parts sum, chances and `--json` say what the table says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from .case import Case, simulate
from .printed import check_chance, check_json, check_loss, check_machines, check_rows, read_page

_EXAMPLES = Path(__file__).parents[2] / "examples"
_MACHINES = ("llama-7b", "llama-70b", "mixtral-8x7b")
_CHANGES = {
    "as stated": (),
    "CO2": ("energy.grid_g_co2e_per_kwh=380",),
    "own machines": ("hardware.price_usd_per_hour=null", "energy.usd_per_kwh=0.11"),
    "electricity extra": ("energy.usd_per_kwh=0.08",),
    "storage": ("prices.storage_usd_per_gib_month=0.05",),
    "no overhead": ("reliability.overhead=0",),
    "overhead 60 %": ("reliability.overhead=0.6",),
    "failures": ("reliability.failures_per_device_hour=1e-4",),
    "failure rate unknown": ("reliability={failures_per_device_hour: 5e-5, failure_rate_spread: 4}",),
    "maintenance": ("reliability.planned_downtime=0.1",),
    "stragglers": ("reliability.straggler_slowdown=0.2",),
    "spot": (
        "prices={purchase: spot, spot_usd_per_hour: 0.9}",
        "reliability={preemptions_per_device_hour: 1e-5, preemption_wait: 2h}",
    ),
    "reserved": ("prices={purchase: reserved, reserved_usd_per_hour: 1.7, reserved: 200d}",),
    "another seed": ("seed=7",),
    "a short run": ("data.tokens=1B", "optim.warmup_steps=null", "optim.warmup_tokens=null"),
    "a long run": ("data.tokens=60T",),
    "odd batch": ("optim.batch_tokens=3300000",),
    "PUE": ("energy.pue=1.56",),
}
_QUANTILES = {"0.05": 0.05, "0.25": 0.25, "0.5": 0.5, "0.75": 0.75, "0.95": 0.95}


def cases() -> Iterator[Case]:
    """Plans by what is changed of an example, measured steps, targets at printed quantiles, shipped predictors."""
    for example in _MACHINES:
        for name, changes in _CHANGES.items():
            yield Case("page", f"{example}, {name}", partial(_estimate, example, changes))
        for factor in (0.6, 1.1, 2.0):
            yield Case("page", f"{example}, measured {factor:g} times", partial(_calibrated, example, factor))
        for name, share in _QUANTILES.items():
            yield Case("page", f"{example}, deadline at {name}", partial(_deadline, example, share))
            yield Case("page", f"{example}, loss at {name}", partial(_loss_target, example, share))
    from foretrain.simulator.predictor.storage.folder import shipped

    for predictor in shipped():
        yield Case("page", f"llama-7b by {predictor}", partial(_forecast, predictor))


def _asked(folder: Path, command: tuple[str, ...], example: str, *more: object) -> tuple[str, dict[str, Any]]:
    words = (*command, "--config", _EXAMPLES / f"{example}.yaml", *more)
    return simulate(folder, *words).answered().out, json.loads(simulate(folder, *words, "--json").answered().out)


def _sets(*changes: str) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def _estimate(example: str, changes: tuple[str, ...], folder: Path) -> None:
    text, answer = _asked(folder, ("cluster", "estimate"), example, *_sets(*changes))
    page = read_page(text)
    check_rows(page)
    check_json(page, answer)
    check_machines(page, answer)


def _calibrated(example: str, factor: float, folder: Path) -> None:
    _, before = _asked(folder, ("cluster", "estimate"), example)
    measured = f"{factor * before['step_time_s']['median']:.4g}"
    plan = ("--config", _EXAMPLES / f"{example}.yaml")
    simulate(folder, "cluster", "calibrate", *plan, "--step-time", f"{measured}s", "--out", "mine.json").answered()
    text, answer = _asked(folder, ("cluster", "estimate"), example, "--calibration", "mine.json")
    page = read_page(text)
    check_rows(page)
    check_json(page, answer)
    check_machines(page, answer)
    got = answer["step_time_s"]["median"]
    assert abs(got / float(measured) - 1) < 2e-3, f"measured {measured}s, answered {got}"
    assert page.rows["outside steps"].median.value == 0.25, "the measurement took the time outside steps with it"


def _deadline(example: str, share: float, folder: Path) -> None:
    _, before = _asked(folder, ("cluster", "estimate"), example)
    days = _quantile(before["wall_clock_days"], share)
    _, answer = _asked(folder, ("cluster", "estimate"), example, *_sets(f"targets.deadline={days!r}d"))
    check_chance(answer["p_deadline"], share)


def _loss_target(example: str, share: float, folder: Path) -> None:
    none = _sets("targets=null", "hardware=null")
    _, before = _asked(folder, ("predict",), example, *none)
    nats = _quantile(before["loss_nats"], share)
    _, answer = _asked(folder, ("predict",), example, *none, *_sets(f"targets.loss_nats={nats!r}"))
    check_chance(answer["p_target"], share)
    check_chance(answer["p_all"], share)


def _quantile(quantity: dict[str, Any], share: float) -> float:
    """The end of a printed interval, or the median."""
    if share == 0.5:
        return quantity["median"]
    level = f"{abs(1 - 2 * share):.1g}"
    return quantity["intervals"][level][share > 0.5]


def _forecast(predictor: str, folder: Path) -> None:
    changes = ["data.corpus=null", "data.tokenizer=null"]
    if predictor == "routing-moe":
        changes.append("data.tokens=131B")  # as all of its runs
    more = ("--predictor", predictor, *_sets(*changes))
    text, answer = _asked(folder, ("predict",), "llama-7b", *more)
    page = read_page(text)
    check_rows(page)
    check_json(page, answer)
    check_machines(page, answer)
    check_loss(page, answer)
