"""The run table extended by the results of proposals, and the predictor that is fitted on both."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ....core.errors import DataWarning, UsageError
from ....datasets.runs.columns import columns, is_text
from ...config.run_config import RunConfig
from ...forecast.law_inputs import run_columns
from ...laws import mix_column, stock_column
from ...predictor.predictor import Predictor
from .outcomes.outcome import RunOutcome

if TYPE_CHECKING:
    import pandas as pd

    from ....datasets.runs.run_table import RunTable

__all__ = ["FIT_OPTIONS", "Refit", "lacking", "outcome_row"]

_log = logging.getLogger(__name__)

FIT_OPTIONS = ("law", "prior", "fixed", "surrogate", "seed")
_SETTINGS = ("lr", "batch_tokens")
_OF_ONE_RUN = ("run_id", "status", "source")
"""Text columns that are not copied to a new run, even where all runs of the table share one value."""


@dataclass
class Refit:
    """A run table and its fit options. Each warning is issued only once in the object's life."""

    base: RunTable
    options: Mapping[str, Any]
    _said: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        unknown = [name for name in self.options if name not in FIT_OPTIONS]
        if unknown:
            raise UsageError(f"fit: got {unknown[0]!r}; expected some of {', '.join(FIT_OPTIONS)}")

    def table(self, rows: Sequence[Mapping[str, Any]]) -> RunTable:
        """The base table with rows of reported runs appended, except runs whose run_id the table has already."""
        import pandas as pd

        from ....datasets.runs.run_table import RunTable

        known = set(self.base.frame["run_id"].astype(str))
        new = [dict(row) for row in rows if row["run_id"] not in known]
        if not new:
            return self.base
        frame = pd.concat([self.base.frame.astype(object), pd.DataFrame(new, dtype=object)], ignore_index=True)
        shares = [name for name in frame.columns if name.startswith("mix.")]
        # a domain that only reported runs have was not used by the others
        frame = frame.assign(**{name: frame[name].where(frame[name].notna(), 0.0) for name in shares})
        with self._each_once():
            read = RunTable.from_frame(_plain(frame), where=self.base.where)
        return replace(read, notes=self.base.notes, labels=self.base.labels)

    def predictor(self, rows: Sequence[Mapping[str, Any]]) -> Predictor:
        """A predictor fitted on the base table and the rows of reported runs. Raises FitError as `Predictor.fit`."""
        table = self.table(rows)
        with self._each_once():
            fitted = Predictor.fit(table, **self.options, name="planner")
        _log.info("refitted on %d runs, %d of them told", len(table), len(table) - len(self.base))
        return fitted.renamed("planner", {"told_runs": len(table) - len(self.base)})

    @contextmanager
    def _each_once(self) -> Iterator[None]:
        """A context in which a DataWarning is issued only if this object hasn't issued it before."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DataWarning)
            yield
        for warning in caught:
            text = str(warning.message)
            if text not in self._said:
                self._said.add(text)
                warnings.warn(warning.message, stacklevel=4)


def outcome_row(
    base: RunTable, predictor: Predictor, run_id: str, config: RunConfig, told: RunOutcome
) -> dict[str, Any]:
    """A reported run as a row with the columns of `base`: size, data and settings of its plan, and its losses.

    Settings that the plan doesn't state are taken from the run's own log, or else from the value that all runs of the
    table share.

    Args:
        base: The run table whose columns the row gets.
        predictor: A predictor fitted on `base`, which states how the table counts parameters.
        run_id: The row's run_id.
        config: The run's plan.
        told: The reported outcome, losses in nats per token.
    """
    fitted = run_columns(config, predictor, [])["params"]
    plain = [one for one in columns().values() if not one.is_family]
    facts = {one.name: one.value_in(config) for one in plain}
    facts |= {"params": float(fitted[0]), "weight": 1.0}  # counted as the table counts
    for domain, share in (config.data.mix or _common_mix(base)).items():
        facts[mix_column(domain)] = share
    for domain, stock in (config.data.distinct_tokens_by_domain or {}).items():
        facts[stock_column(domain)] = stock
    kept = [name for name in base.frame.columns if name not in ("flops", "epochs", "steps")]
    kept += [name for name in facts if name.startswith("mix.") and name not in kept and base.domains]
    row = {name: _known(facts.get(name), told.columns.get(name), base, name) for name in kept}
    losses = {target: told.losses.get(target) for target in base.loss_columns}
    return {**row, **losses, "run_id": run_id, "status": "ok"}


def lacking(base: RunTable, row: Mapping[str, Any]) -> tuple[str, ...]:
    """Notes on settings that every run of the table states and the new row doesn't, so that the fit ignores them."""
    blank = [name for name in _SETTINGS if base.has(name) and row.get(name) is None]
    every = [name for name in blank if bool(base.frame.loc[base.frame["status"] == "ok", name].notna().all())]
    return tuple(f"neither the plan nor the run says its {name}: the fit no longer reads it" for name in every)


def _known(planned: Any, told: Any, base: RunTable, name: str) -> Any:
    """A setting from the plan, else from the run's own log, else the value that all runs of the table share."""
    if planned is not None:
        return planned
    if told is not None or not is_text(name) or name in _OF_ONE_RUN:
        return told
    kinds = set(base.frame[name].dropna().astype(str))
    return kinds.pop() if len(kinds) == 1 else None


def _common_mix(base: RunTable) -> dict[str, float]:
    """The mix that all runs of a table share; empty where it varies."""
    shares = {domain: base.column(f"mix.{domain}") for domain in base.domains}
    return {d: float(s[0]) for d, s in shares.items() if len(s) and np.ptp(s) == 0}


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with columns that hold only numbers converted back to a numeric type."""
    return frame.infer_objects()
