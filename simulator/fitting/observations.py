"""What a fit sees of a run table: plain arrays of the columns that laws read, one target, and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import FitError
from ..laws import Columns, varying_domains

if TYPE_CHECKING:
    from ...datasets.runs.run_table import RunTable

FAMILIES = ("mix.", "unique_tokens.")
"""Prefixes of the columns that laws of the mix read, one for each domain."""
OPTIONAL = ("unique_tokens", "num_experts", "lr", "batch_tokens")
"""Columns beyond params and tokens that some term reads."""
_WEIGHT_BY_COMPUTE = (
    1 / 3
)  # tuned leave-one-table-out on rolling cuts (benchmarks/extrapolation.py): 0.25 to 0.4 is flat
_ENOUGH_TOKENS_PER_PARAM = 5.0  # below this, runs are under-trained and follow another curve (same source)


@dataclass(frozen=True)
class Observations:
    """Runs to fit: `columns[name]: (n,)`, `loss: (n,)` in nats, and the user's `weights: (n,)` (ones by default).

    `origins: (n,)` numbers the training run that each row comes from, where some gave several; else None.
    """

    columns: Mapping[str, np.ndarray]
    loss: np.ndarray
    weights: np.ndarray
    origins: np.ndarray | None = None

    @classmethod
    def from_table(cls, table: RunTable, target: str) -> Observations:
        """The `ok` rows of a run table that have a finite `target`. Raises FitError if there are none."""
        rows = table.fit_rows(target)
        if not len(rows):
            raise FitError("no row with status ok has a loss; there is nothing to fit")
        found = cls.from_columns(known_columns(rows), rows.column(target), _column(rows, "weight"))
        return replace(found, origins=_origins(rows))

    @classmethod
    def from_columns(cls, columns: Columns, loss: np.ndarray, weights: np.ndarray | None = None) -> Observations:
        """From arrays that are already clean."""
        loss = np.asarray(loss, dtype=float)
        weights = np.ones(len(loss)) if weights is None else np.asarray(weights, dtype=float)
        return cls(dict(columns), loss, weights)

    @property
    def domains(self) -> tuple[str, ...]:
        """Training domains whose share varies over the runs: those that a mixture law can speak of."""
        return varying_domains(self.columns)

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def compute(self) -> np.ndarray:
        """6·N·D of each run `(n,)`, by the law's own N and D."""
        return 6.0 * self.columns["params"] * self.columns["tokens"]

    def take(self, rows: np.ndarray) -> Observations:
        """The runs at `rows` (a mask or indices)."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        origins = None if self.origins is None else self.origins[rows]
        return Observations(columns, self.loss[rows], self.weights[rows], origins)

    def thinned(self, rows: int) -> Observations:
        """At most `rows` runs, evenly spread over the order of compute."""
        n = len(self)
        if n <= rows:
            return self
        order = np.argsort(self.compute, kind="stable")
        return self.take(np.sort(order[np.linspace(0, n - 1, rows).round().astype(int)]))

    def extrapolation_weights(self) -> np.ndarray:
        """Weights for a fit that is to extrapolate: more to large runs, less to under-trained ones, `(n,)`."""
        ratio = self.columns["tokens"] / self.columns["params"]
        enough = np.minimum(1.0, ratio / _ENOUGH_TOKENS_PER_PARAM)
        # a table of nothing but under-trained runs must not be weighed down as a whole
        return self.weights * (self.compute / self.compute.max()) ** _WEIGHT_BY_COMPUTE * enough / enough.max()


def known_columns(table: RunTable) -> dict[str, np.ndarray]:
    """The columns that laws read, completed: blank unique_tokens means one pass, blank or 0 num_experts a dense model.

    A learning rate or batch size that is blank in some rows is left out: no default would be honest. Shares and stocks
    of domains are as they are; a blank stock means more than any run sees.
    """
    columns = {name: table.column(name) for name in ("params", "tokens")}
    fill = {"unique_tokens": columns["tokens"], "num_experts": np.ones(len(table))}
    for name in OPTIONAL:
        values = _column(table, name)
        if values is not None and name in fill:
            values = np.where(np.isfinite(values), values, fill[name])
        if values is not None and np.isfinite(values).all():
            columns[name] = values
    families = [prefix + domain for prefix in FAMILIES for domain in table.domains]
    columns |= {name: table.column(name) for name in families if name in table.frame.columns}
    if "num_experts" in columns:
        columns["num_experts"] = sparsity(columns["num_experts"], _column(table, "experts_per_token"))
    return columns


def sparsity(num_experts: np.ndarray, experts_per_token: np.ndarray | None) -> np.ndarray:
    """The expert count that laws read, `(n,)`: experts per visited expert, as in runs that visit one. Dense is 1."""
    visited = 1.0 if experts_per_token is None else np.maximum(np.nan_to_num(experts_per_token, nan=1.0), 1.0)
    return np.maximum(num_experts / visited, 1.0)


def _origins(table: RunTable) -> np.ndarray | None:
    """The training run of each row, numbered, `(n,)`; None if every row is a run of its own.

    Rows on the way of a run are named `<run_id>@<tokens>`, as campaigns of proxies write them.
    """
    if not table.has("run_id"):
        return None
    names = [str(name).partition("@")[0] for name in table.frame["run_id"]]
    return None if len(set(names)) == len(names) else np.unique(names, return_inverse=True)[1]


def _column(table: RunTable, name: str) -> np.ndarray | None:
    return table.column(name) if table.has(name) else None
