"""`ContinuedRuns`: runs of continued pretraining as arrays, read from run tables, with the losses before them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ....core.errors import InputError
from ....core.reading.suggest import did_you_mean, nearest
from ....core.units import format_count, shown
from ....datasets.runs.run_table import RunTable

__all__ = ["FEWEST_SHARES", "ContinuedRuns"]

FEWEST_SHARES = 3
"""Shares of the domain that there must be runs at, to see how losses bend with it."""


@dataclass(frozen=True)
class ContinuedRuns:
    """Runs that went on from trained weights, one a row; arrays `(n,)`, losses in nats per token."""

    domain: str
    params: np.ndarray
    tokens: np.ndarray
    share: np.ndarray
    """Of the domain, 0 to 1."""
    domain_loss: np.ndarray
    general_loss: np.ndarray
    """Mean over all other domains."""
    seed: np.ndarray
    before: np.ndarray
    """`(sizes, 3)`: parameters, and the loss of the domain and in general before continuing, mean of seeds."""
    tokens_before: float
    """Tokens of pretraining that the longest run of them had."""

    def __len__(self) -> int:
        return len(self.params)

    def where(self, rows: np.ndarray) -> ContinuedRuns:
        """Those rows that a mask chooses."""
        names = ("params", "tokens", "share", "domain_loss", "general_loss", "seed")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    @property
    def ratios(self) -> tuple[np.ndarray, np.ndarray]:
        """The domain's and the general loss of each run over the general loss before, of its size `(n,)`."""
        place = np.abs(np.log(self.params)[:, None] - np.log(self.before[:, 0])).argmin(axis=1)
        return self.domain_loss / self.before[place, 2], self.general_loss / self.before[place, 2]

    @property
    def in_words(self) -> str:
        """What the runs are."""
        sizes, budgets = np.unique(self.params), np.unique(self.tokens)
        shares, seeds = len(np.unique(self.share.round(6))), len(np.unique(self.seed))
        return (
            f"{len(self)} runs of continued pretraining: {_span(sizes)} parameters, {_span(budgets)} tokens after "
            f"{format_count(self.tokens_before)}, {shares} shares of {self.domain}, {seeds} "
            f"seed{'' if seeds == 1 else 's'}"
        )

    @classmethod
    def of_tables(cls, table: RunTable, before: RunTable, domain: str) -> ContinuedRuns:
        """Read runs of continued pretraining, and those that they began from.

        Args:
            table: Runs with a share of the domain (`mix.<domain>`) and losses by domain; `tokens` are those of
                continuing.
            before: The runs whose weights they began from, of the same sizes.
            domain: The domain.

        Raises:
            InputError: A column or a size is missing, or the shares are too few to see how losses bend.
        """
        shares = _column(table, f"mix.{domain}", "its share of the text")
        others = sorted(name for name in table.frame if _is_loss(name) and name != f"loss.{domain}")
        if not others:
            raise InputError(f"{table.where}: has no loss of another domain than {domain}; expected one at least")
        if (shares < 0).any() or (shares > 1).any():
            raise InputError(f"{table.where}: mix.{domain}: expected shares from 0 to 1")
        if (found := len(np.unique(shares.round(6)))) < FEWEST_SHARES:
            raise InputError(
                f"{table.where}: has runs at {found} share{'' if found == 1 else 's'} of {domain}; expected "
                f"{FEWEST_SHARES} at least"
            )
        params = table.column("params")
        runs = cls(
            domain,
            params,
            table.column("tokens"),
            shares,
            _column(table, f"loss.{domain}", "its loss"),
            _mean(table, others),
            table.column("seed") if "seed" in table.frame else np.zeros(len(table)),
            _before(before, domain, others),
            float(before.column("tokens").max()),
        )
        _check_sizes(runs, table, before)
        return runs


def _span(values: np.ndarray) -> str:
    ends = [format_count(float(values.min())), format_count(float(values.max()))]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _is_loss(name: str) -> bool:
    return name.startswith("loss.") and name != "loss.average"


def _column(table: RunTable, name: str, what: str) -> np.ndarray:
    """A column that must be there and whole."""
    if name not in table.frame:
        prefix = name.split(".")[0] + "."
        known = [str(one) for one in table.frame.columns if str(one).startswith(prefix)]
        hint = did_you_mean(nearest(name, known))
        raise InputError(
            f"{table.where}: has no column {name} ({what}); {hint}expected one of {', '.join(known) or 'it'}"
        )
    values = table.frame[name].to_numpy(dtype=float)
    if np.isnan(values).any():
        row = int(np.flatnonzero(np.isnan(values))[0])
        raise InputError(f"{table.where}: {name} is missing in run {shown(str(table.frame['run_id'].iloc[row]))}")
    return values


def _mean(table: RunTable, names: list[str]) -> np.ndarray:
    return np.mean([_column(table, name, "a loss") for name in names], axis=0)


def _before(table: RunTable, domain: str, others: list[str]) -> np.ndarray:
    """Size, loss of the domain and general loss before continuing, by size, mean of seeds; the longest run of each."""
    params, tokens = table.column("params"), table.column("tokens")
    own, general = _column(table, f"loss.{domain}", "its loss before"), _mean(table, others)
    found = []
    for size in np.unique(params):
        last = (params == size) & (tokens == tokens[params == size].max())
        found.append((size, own[last].mean(), general[last].mean()))
    return np.array(found)


def _check_sizes(runs: ContinuedRuns, table: RunTable, before: RunTable) -> None:
    known = runs.before[:, 0]
    for size in np.unique(runs.params):
        if not np.isclose(known, size, rtol=1e-3).any():
            raise InputError(
                f"{before.where}: has no run of {size:g} parameters, which {table.where} has; expected the runs whose "
                f"weights they began from (it has {', '.join(f'{one:g}' for one in known[:10])})"
            )
