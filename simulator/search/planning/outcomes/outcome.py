"""The outcome of a run that was really trained, as a search is told it, and what is asked of whoever reads one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .....core.errors import LogError
from .....core.units import shown
from .....datasets.run_logs.columns import number
from ....config.run_config import RunConfig

__all__ = ["TRIAL_KEY", "Asked", "RunOutcome", "Status", "status_word", "trial_of"]

Status = Literal["ok", "diverged", "failed"]
"""`ok` has losses; a run that diverged or failed has none."""

TRIAL_KEY = "foretrain_trial"
"""Column, parameter or tag in which a run carries the number of the proposal that it tries."""

_MOST_TRIALS = 10**9


@dataclass(frozen=True)
class RunOutcome:
    """What became of one run: `losses` by target (`loss`, `loss.<domain>`) in nats per token, its size and its data.

    `columns` are the other columns of the run table that were found, `trial` the proposal's number if it says so.
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
        """SHA-256 of what is told, wherever it was read: the same outcome in another file is no news."""
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
        """What is told, without where it was read."""
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
    """What is known of the runs whose outcomes are read.

    `config` is the plan of every run, `configs` of single proposals by their number; `study` the name that, with a
    number after it, names a run; `columns` says which column is which, as for a run table; `whole` that nothing is
    being written any more.
    """

    config: RunConfig | None = None
    configs: Mapping[int, RunConfig] = field(default_factory=dict)
    study: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    whole: bool = True

    def config_of(self, trial: int | None) -> RunConfig | None:
        """The plan of a proposal, None where none is known."""
        return self.config if trial is None else self.configs.get(trial, self.config)


def trial_of(facts: Mapping[str, Any], names: Iterable[Any], asked: Asked, where: str) -> int | None:
    """The proposal that a run tries: by its own word, or by its name `<study>-<number>`. `LogError` for a bad one."""
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
    """The word for a run's state, in lower case, under `state` or `status`; None without one."""
    words = (value for key, value in facts.items() if str(key).strip().lower() in ("state", "status"))
    return next((word.strip().lower() for word in words if isinstance(word, str) and word.strip()), None)


def _last_part(key: str) -> str:
    return re.split(r"[./]", str(key))[-1].strip().lower()
