"""The outcome of a real training run, as it is reported to a planner, and the request that a reader of logs gets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .....core.errors import LogError
from .....core.units import shown
from .....datasets.run_logs.names import number
from ....config.run_config import RunConfig

__all__ = ["TRIAL_KEY", "Asked", "RunOutcome", "Status", "status_word", "trial_of"]

Status = Literal["ok", "diverged", "failed"]
"""`ok` has losses; a run that diverged or failed has none."""

TRIAL_KEY = "foretrain_trial"
"""Column, parameter or tag in which a run states the number of its proposal."""

_MOST_TRIALS = 10**9


@dataclass(frozen=True)
class RunOutcome:
    """The outcome of one run: `losses` by target (`loss`, `loss.<domain>`) in nats per token, parameters and tokens.

    `columns` are the other columns of the run table that were found; `trial` is the proposal's number, if stated.
    """

    run_id: str
    status: Status
    losses: Mapping[str, float]
    tokens: float | None
    params: float | None
    trial: int | None
    where: str
    columns: Mapping[str, float] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the outcome without its location, so that the same outcome in another file has the same digest."""
        return hashlib.sha256(json.dumps(self._facts(), sort_keys=True).encode("utf-8")).hexdigest()

    def row(self) -> dict[str, Any]:
        """One row of a run table."""
        sizes = {"tokens": self.tokens, "params": self.params}
        known = {name: value for name, value in sizes.items() if value is not None}
        return {"run_id": self.run_id, "status": self.status, **known, **self.losses, **self.columns}

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys, for JSON."""
        return {**self._facts(), "where": self.where, "notices": list(self.notices), "digest": self.digest}

    def _facts(self) -> dict[str, Any]:
        """The outcome without the location that it was read from."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "losses_nats": dict(self.losses),
            "tokens": self.tokens,
            "params_total": self.params,
            "trial": self.trial,
            "columns": dict(self.columns),
        }


@dataclass(frozen=True)
class Asked:
    """What is known beforehand of the runs whose outcomes are read.

    `config` is the plan of every run, `configs` the plans of single proposals by number. `study` is the name with
    which the runs' names `<study>-<number>` begin. `columns` gives the standard name of each column, as for a run
    table. `whole` states that the files are no longer being written.
    """

    config: RunConfig | None = None
    configs: Mapping[int, RunConfig] = field(default_factory=dict)
    study: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    whole: bool = True

    def config_of(self, trial: int | None) -> RunConfig | None:
        """The plan of a proposal; None if none is known."""
        return self.config if trial is None else self.configs.get(trial, self.config)


def trial_of(facts: Mapping[str, Any], names: Iterable[Any], asked: Asked, where: str) -> int | None:
    """The number of a run's proposal, as stated or by its name `<study>-<number>`. `LogError` for an invalid one."""
    for key, value in facts.items():
        if _last_part(key) == TRIAL_KEY and value not in (None, ""):
            found = number(value)
            if found is None or not 0 <= found < _MOST_TRIALS or found != int(found):
                raise LogError(f"{where}: {key}: got {shown(value)}; expected the number of a proposal, such as 12")
            return int(found)
    if asked.study:
        for name in names:
            match = re.fullmatch(re.escape(asked.study) + r"-([0-9]{1,9})", str(name).strip())
            if match:
                return int(match[1])
    return None


def status_word(facts: Mapping[str, Any]) -> str | None:
    """A run's `state` or `status`, in lower case; None without one."""
    words = (value for key, value in facts.items() if str(key).strip().lower() in ("state", "status"))
    return next((word.strip().lower() for word in words if isinstance(word, str) and word.strip()), None)


def _last_part(key: str) -> str:
    return re.split(r"[./]", str(key))[-1].strip().lower()
