"""What a fit sees of a run table: plain arrays of the columns that laws read, one target, and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...core.columns import Column, level_column
from ...core.errors import FitError, RegistryError
from ...datasets.runs.chains import joined_by_chain
from ...datasets.runs.columns import columns
from ..laws import DOMAIN_FAMILIES, MOST_LEVELS, Columns, Law, get_law, levels_of, terms, varying_domains

if TYPE_CHECKING:
    from ...datasets.runs.run_table import RunTable

_WEIGHT_BY_COMPUTE = 1 / 3
"""Tuned leave-one-table-out on rolling cuts (benchmarks/extrapolation.py): 0.25 to 0.4 is flat."""

_EARLY_POWER = 8.0
"""Points count by this power of their progress: chosen on curves of GPT-3, OPT, Llama 2, OLMo 1 and 3 and the OLMo
ladder, each left out in turn (their mean error 4.8 to 2.9 %; 6 to 12 are alike)."""

_RUNS_OF_A_CURVE = 1.5  # a curve of any number of points weighs at most this many runs

_FEWEST_EQUAL = 3  # runs, from which on equal losses are no chance

MANY_STEPS = 5000.0
_FEW_STEPS_SD = 0.1
"""Runs of fewer steps lie off a tuned run's log loss by .1·ln(5000/steps), one standard deviation; measured on nine
sources."""

_TUNED_SD = 0.01
"""Of runs that are tuned, beside that. Fitted on at most a tenth of the compute of their largest runs, the five corpora
of loss_to_loss err by 2.0 % without this rule and .4 % with it (.005: .4, .02: .6, .05: 1.2), misfitting by 3.4 and
1.2 %."""

_ENOUGH_LONG_RUNS = 8.0
"""Fewer can't carry a law, and the rule is left alone: of a fortieth of loss_to_loss two would be left, which err by
5.6 instead of 3.8 %."""

_ENOUGH_TOKENS_PER_PARAM = 5.0  # below this, runs are under-trained and follow another curve (same source)


@dataclass(frozen=True)
class Observations:
    """Runs to fit: `columns[name]: (n,)`, `loss: (n,)` in nats, and the user's `weights: (n,)` (ones by default).

    `origins: (n,)` numbers the training run that each row comes from, where some gave several, or the chain of
    generations; else None.
    """

    columns: Mapping[str, np.ndarray]
    loss: np.ndarray
    weights: np.ndarray
    origins: np.ndarray | None = None
    progress: np.ndarray | None = None
    """Share of its run's planned tokens at each row, `(n,)`; None where every row is at the end of its schedule."""
    steps: np.ndarray | None = None
    """Optimizer steps up to each row, `(n,)`, NaN where unknown; None where no row says."""
    flops: np.ndarray | None = None
    """Training FLOPs as the table states them, `(n,)`, NaN where unknown; None where nobody says."""
    target: str | None = None
    """What text the loss is of, `arxiv` of `loss.arxiv`; None where it has no name."""

    @classmethod
    def from_table(cls, table: RunTable, target: str) -> Observations:
        """The `ok` rows of a run table that have a finite `target`. Raises FitError if there are none."""
        rows = table.fit_rows(target)
        if not len(rows):
            raise FitError("no row with status ok has a loss; there is nothing to fit")
        _refuse_equal_losses(rows, target)
        plain = cls.from_columns(known_columns(rows), rows.column(target), _column(rows, "weight"))
        fitted = table.fit_mask(target)
        progress, steps = table.progress[fitted], table.steps[fitted]
        origins = joined_by_chain(rows.frame, None if table.origins is None else table.origins[fitted])
        return replace(
            plain,
            origins=None if origins is None else _numbered(origins),
            progress=progress if (progress < 1).any() else None,
            steps=steps if np.isfinite(steps).any() else None,
            flops=_column(rows, "flops"),
            target=target.removeprefix("loss.") if target.startswith("loss.") else None,
        )

    @classmethod
    def from_columns(cls, columns: Columns, loss: np.ndarray, weights: np.ndarray | None = None) -> Observations:
        """From arrays that are already clean."""
        loss = np.asarray(loss, dtype=float)
        weights = np.ones(len(loss)) if weights is None else np.asarray(weights, dtype=float)
        return cls(dict(columns), loss, weights)

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """Levels of each category that some run has, by the category's column."""
        return levels_of(self.columns)

    @property
    def domains(self) -> tuple[str, ...]:
        """Training domains whose share varies over the runs: those that a mixture law can speak of."""
        return varying_domains(self.columns)

    def law(self, name: str) -> Law:
        """The law of this name over these runs' domains and levels. FitError as `get_law`."""
        return get_law(name, self.domains, self.levels).of_target(self.target)

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def compute(self) -> np.ndarray:
        """6·N·D of each run `(n,)`, by the law's own N and D."""
        return 6.0 * self.columns["params"] * self.columns["tokens"]

    def take(self, rows: np.ndarray) -> Observations:
        """The runs at `rows` (a mask or indices)."""

        def some(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        columns = {name: values[rows] for name, values in self.columns.items()}
        return Observations(
            columns,
            self.loss[rows],
            self.weights[rows],
            some(self.origins),
            some(self.progress),
            some(self.steps),
            some(self.flops),
            self.target,
        )

    def thinned(self, rows: int) -> Observations:
        """At most `rows` runs, evenly spread over the order of compute."""
        n = len(self)
        if n <= rows:
            return self
        order = np.argsort(self.compute, kind="stable")
        places = np.linspace(0, n - 1, rows).round().astype(int)
        return self.take(np.sort(order[places]))

    @property
    def trust(self) -> np.ndarray:
        """How much each row counts beside a run at the end of a long schedule, `(n,)`, the most trusted one 1.

        Points before the end of a schedule lie above the run that would have ended there, the more the earlier, and a
        curve tells no more than a run or two. Runs of few steps lie above tuned ones where others take many.
        """
        return self.share_of_a_run * self._of_few_steps()

    @property
    def runs_worth(self) -> float:
        """How many runs the rows are worth, at most their number: a curve is a run or two."""
        return float(self.share_of_a_run.sum())

    @property
    def share_of_a_run(self) -> np.ndarray:
        """`trust` by how far along its schedule each row is alone, `(n,)`."""
        if self.progress is None:
            return np.ones(len(self))
        early = self.progress**_EARLY_POWER
        runs = np.arange(len(self)) if self.origins is None else self.origins
        total = np.bincount(runs, early)
        return early * np.minimum(1.0, _RUNS_OF_A_CURVE / np.maximum(total, 1e-300))[runs]

    def _of_few_steps(self) -> np.ndarray:
        if self.steps is None or self._batch_varies():
            return np.ones(len(self))
        fewer = np.maximum(1.0, MANY_STEPS / np.nan_to_num(self.steps, nan=MANY_STEPS))
        trust = 1.0 / (1.0 + (_FEW_STEPS_SD * np.log(fewer) / _TUNED_SD) ** 2)
        return trust if trust.sum() >= _ENOUGH_LONG_RUNS else np.ones(len(self))

    def _batch_varies(self) -> bool:
        """Whether runs alike in size and data differ in batch, so that laws see for themselves what few steps cost."""
        if "batch_tokens" not in self.columns:
            return False
        cells = np.stack([self.columns[name] for name in ("params", "tokens", "batch_tokens")])
        return np.unique(cells, axis=1).shape[1] > np.unique(cells[:2], axis=1).shape[1]

    def extrapolation_weights(self) -> np.ndarray:
        """Weights for a fit that is to extrapolate: more to large runs, less to under-trained ones, `(n,)`."""
        tokens_per_param = self.columns["tokens"] / self.columns["params"]
        enough = np.minimum(1.0, tokens_per_param / _ENOUGH_TOKENS_PER_PARAM)
        by_compute = (self.compute / self.compute.max()) ** _WEIGHT_BY_COMPUTE
        # a table of nothing but under-trained runs must not be weighed down as a whole
        return self.weights * by_compute * self.trust * enough / enough.max()


def law_columns() -> list[Column]:
    """The registered columns that some registered term reads, families among them.

    Raises RegistryError for a term that reads a column nobody has registered.
    """
    read_by: dict[str, str] = {}
    for term in terms().values():
        names = [*getattr(term, "columns", ()), *term.optional, *term.further_levels]
        if term.category is not None:
            names.append(term.category)
        for name in names:
            read_by.setdefault(name, term.name)

    known = columns()
    for name, term_name in read_by.items():
        if name not in known:
            raise RegistryError(
                f"term {term_name!r} reads the column {name!r}, which isn't registered; expected a "
                "foretrain.core.columns.Column of that name, added by foretrain.datasets.runs.columns.add"
            )
    return [one for name, one in known.items() if name in read_by]


def known_columns(table: RunTable) -> dict[str, np.ndarray]:
    """The columns that laws read, completed by their defaults: blank unique_tokens mean one pass, for example.

    A column without a default that is blank in some rows is left out: no default would be honest. Shares and stocks of
    domains are as they are; a blank stock means more than any run sees. A category becomes a column of 0 and 1 for
    each of its levels.
    """
    found = {name: table.column(name) for name in ("params", "tokens")}
    for one in law_columns():
        if one.category:
            found |= _levels(table, one)
            continue
        values = _column(table, one.name)
        if values is None:
            continue
        if one.default is not None:
            default = found[one.default] if isinstance(one.default, str) else one.default
            values = np.where(np.isfinite(values), values, default)
        if not np.isfinite(values).all():
            continue
        if one.as_read is not None:
            beside = None if one.beside is None else _column(table, one.beside)
            values = one.as_read(values, beside)
        found[one.name] = values

    for prefix in DOMAIN_FAMILIES:
        for domain in table.domains:
            name = prefix + domain
            if name in table.frame.columns:
                found[name] = table.column(name)
    return found


def _levels(table: RunTable, category: Column) -> dict[str, np.ndarray]:
    """A column of 0 and 1 `(n,)` for each level of a category.

    None where a run doesn't say and there is no default, and none of a column with too many to be one.
    """
    if not table.has(category.name):
        return {}
    cells = table.frame[category.name]
    if category.default is not None:
        cells = cells.fillna(category.default)
    if bool(cells.isna().any()):
        return {}
    words = cells.astype(str).to_numpy()
    levels, found = sorted(set(words)), {}
    if len(levels) > MOST_LEVELS:
        return {}
    for level in levels:
        found[level_column(category.name, level)] = (words == level).astype(float)
    return found


def _numbered(origins: np.ndarray) -> np.ndarray | None:
    """Training runs of some rows, numbered from 0 without gaps, `(n,)`; None if every row is a run of its own."""
    distinct, numbers = np.unique(origins, return_inverse=True)
    return None if len(distinct) == len(origins) else numbers


def _column(table: RunTable, name: str) -> np.ndarray | None:
    """A column as numbers `(n,)`; None where the table lacks it."""
    if not table.has(name):
        return None
    return table.column(name)


def _refuse_equal_losses(rows: RunTable, target: str) -> None:
    """Raise FitError where several runs of different sizes or data all have one loss, which tells nothing of either."""
    loss = rows.column(target)
    differ = len(np.unique(rows.column("params"))) > 1 or len(np.unique(rows.column("tokens"))) > 1
    if len(loss) >= _FEWEST_EQUAL and differ and loss.min() == loss.max():
        raise FitError(
            f"all {len(loss)} losses are {loss[0]:.6g}: there is nothing to fit; expected losses that differ"
        )
