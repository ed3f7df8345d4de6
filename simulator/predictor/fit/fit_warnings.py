"""What a run table says that its fitted law can't express: warned about once, and kept with the predictor."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ....core.units import shown
from ....datasets.runs.columns import columns
from ...fitting import LawPrior, Observations, collinearity, constant_column
from .mix_warnings import duplicate_warnings, mix_warnings

if TYPE_CHECKING:
    from ....datasets.runs.run_table import RunTable

_COLLINEAR = 0.98
_EXTRA_KINDS = ("dataset", "family", "router_type")
"""Extra columns whose values set runs apart, beside the registered ones that say so of themselves."""


def table_warnings(table: RunTable, told_apart: Collection[str] = ()) -> Iterator[str]:
    """Warnings of fitting one law to the whole table, which tells the levels of the categories `told_apart` apart."""
    ok = table.select((table.frame["status"] == "ok").to_numpy()).frame
    registered = [name for name, one in columns().items() if one.sets_apart and name not in told_apart]
    for column in (*registered, *_EXTRA_KINDS):
        kinds = sorted(set(ok[column].dropna().astype(str))) if column in ok.columns else []
        if 1 < len(kinds) <= 20:
            named = ", ".join(shown(kind) for kind in kinds[:4])
            yield f"column {column!r} takes {len(kinds)} values ({named}): one law is fitted over all of them"
    yield from duplicate_warnings(table)


def fit_warnings(
    observations: Observations,
    left_out: Mapping[str, str],
    prior: LawPrior | None,
    uses: Sequence[str],
    domains: Sequence[str] | None = None,
) -> list[str]:
    """Doubts about what the runs can identify, for a law that `uses` params or tokens and reads shares of `domains`."""
    found = [
        f"{left_out[column]}: the law leaves {column} out and refuses runs far from that value"
        for column in ("params", "tokens")
        if column in left_out
    ]
    if len(uses) == 2 and collinearity(observations) > _COLLINEAR:
        rests = "rest on the public tables' prior" if prior is not None else "can't be told apart"
        found.append(f"params and tokens rise together in every run: their separate effects {rests}")
    constant = [reason for column in uses if (reason := constant_column(observations, column))]
    found += [f"{reason}: what else it does to the loss rests on the prior" for reason in constant]
    return found + list(mix_warnings(observations, domains, left_out) if domains is not None else ())
