"""What a run table says that its fitted law can't express: warned about once, and kept with the predictor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...core.units import shown
from ..fitting import LawPrior, Observations, collinearity, constant_column
from .mix_warnings import duplicate_warnings, mix_warnings

if TYPE_CHECKING:
    from ...datasets.runs.run_table import RunTable

_COLLINEAR = 0.98
_KINDS = ("dataset", "corpus", "source", "tokenizer", "family", "architecture", "val_domain", "router_type")
"""Columns whose values set runs apart that should hardly share one law."""


def table_warnings(table: RunTable) -> Iterator[str]:
    """Doubts about fitting one law to the whole table."""
    ok = table.select((table.frame["status"] == "ok").to_numpy()).frame
    for column in _KINDS:
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
