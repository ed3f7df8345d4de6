"""What a table's `params` count, and the same table counted as a predictor counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ...datasets.runs.run_table import RunTable

NON_EMBEDDING = "non_embedding"
_LABEL = "params without params_embedding (nonemb)"


def params_kind(table: RunTable) -> str:
    """What the table's `params` count: `non_embedding` by its name there, else `total`, or `active` for routed runs.

    Routed runs count by what one token uses unless the table has that in a column of its own.
    """
    label = table.labels.get("params", "params")
    if "nonemb" in label.lower().replace("_", "").replace("-", ""):
        return NON_EMBEDDING
    routed = table.has("num_experts") and bool(np.nanmax(table.column("num_experts")) > 1)
    if not routed:
        return "total"
    if not table.has("params_active"):
        return "active"
    differ = np.abs(table.column("params_active") / table.column("params") - 1.0) > 0.01
    if differ.any():
        return "total"
    return "active"


def without_embeddings(table: RunTable) -> RunTable:
    """The table with `params` that leave the embeddings out, where it states them for every run; else the same.

    Laws extrapolate better so: fitted on at most a tenth of the compute of their largest runs, those of loss_to_loss
    err by .5 % instead of 1.5, those of delphi by .3 instead of .6 (benchmarks/known_corpora.py).
    """
    if params_kind(table) != "total" or not table.has("params_embedding"):
        return table
    params, embedding = table.column("params"), table.column("params_embedding")
    if not np.all(embedding < params):  # also false where one is blank
        return table
    return table.with_params(params - embedding, _LABEL)


def counted_as(table: RunTable, kind: object) -> RunTable:
    """The table counted as a predictor of this `params_kind` counts, as far as its columns tell."""
    return without_embeddings(table) if kind == NON_EMBEDDING else table
