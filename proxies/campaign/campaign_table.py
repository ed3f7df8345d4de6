"""The run table of one campaign, or of several that follow each other over the same tokens."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ...core.errors import CampaignError, DataWarning
from ...datasets.provenance.regimes import HUMAN, REAL
from .run_rows import rows

if TYPE_CHECKING:
    import pandas as pd

    from ...datasets.runs.run_table import RunTable
    from ..results import RunResult
    from ..runs import ProxyRun
    from .campaign_files import CampaignFile

    Part = tuple[CampaignFile, Iterable[tuple[ProxyRun, RunResult]]]
    """What a campaign's file says, and its finished runs with their results."""

__all__ = ["results_table"]


_REAL_TEXT = {"generator": HUMAN, "regime": REAL, "real_share": 0.0, "generation": 0, "synthetic_share": 0.0}
"""What runs on real text alone say of generations, as plans without a synthetic part do."""


def results_table(parts: Sequence[Part], where: str) -> RunTable:
    """The rows of all that is done so far, campaign by campaign (`run_rows` says what the columns mean).

    `parts` are pairs of a campaign's file and its finished runs with their results. A domain that any campaign trains
    on has a column. `where` stands for the table in messages. Raises CampaignError
    if nothing is done, or if a result is damaged.
    """
    import pandas as pd

    from ...datasets.runs.run_table import RunTable

    runs = [run for file, _ in parts for run in file.runs]
    mixed = sorted({domain for run in runs for domain, share in run.mix.items() if share > 0})
    found = [row for file, outcomes in parts for row in rows(outcomes, file.store, mixed)]
    if not found:
        raise CampaignError(f"{where}: no run is done yet, so there is no table")
    known = pd.DataFrame(found).dropna(axis=1, how="all")
    if "loss" not in known.columns:  # every run so far has diverged
        known = known.assign(loss=math.nan)
    if any(run.texts for run in runs):
        known = _of_generations(known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # proxies are small: no number here is a slip of its unit
        return RunTable.from_frame(known, where=where)


def _of_generations(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of chains and of real text, side by side: distinct tokens by domain would say nothing of those of texts."""
    by_domain = [name for name in frame.columns if name.startswith("unique_tokens.")]
    return frame.drop(columns=by_domain).fillna(_REAL_TEXT)
