"""The table of all measurements: a row for each n of best of n, and for each few steps of REINFORCE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from .plan import Plan

__all__ = ["BEST_OF_N", "COLUMNS", "REINFORCE", "read", "write"]

BEST_OF_N, REINFORCE = "best_of_n", "reinforce"
COLUMNS = (
    *("method", "comparisons", "reward_params", "seed", "n", "kl_nats", "kl_penalty", "step"),
    *("gold", "gold_se", "proxy"),
)
"""`gold` and `proxy`, the learned reward, in sd over the policy's samples, 0 their mean; `kl_nats` from the policy."""

_WHOLE = ("comparisons", "reward_params", "seed", "n", "step")
_DIGITS = {"kl_nats": 5, "gold": 5, "gold_se": 5, "proxy": 5}


def write(path: Path, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Write rows, whole; a column that a row lacks stays empty."""
    table = pd.DataFrame(rows, columns=list(COLUMNS)).round(_DIGITS)
    table = table.astype(dict.fromkeys(_WHOLE, "Int64"))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    table.to_csv(unfinished, index=False)
    unfinished.replace(path)
    return table


def read(plan: Plan) -> pd.DataFrame:
    """The table of a plan; SystemExit where it isn't made yet."""
    if not plan.table.is_file():
        raise SystemExit(f"{plan.table} is absent: make it first, `python benchmarks/feedback.py run`")
    return pd.read_csv(plan.table)
