"""Public runs of two families side by side: the largest of one family from its smaller ones and the other's ladder.

    python benchmarks/families_side_by_side.py

Families are levels of the column `architecture`, with dense transformers as the baseline: routers of experts (Clark et
al. 2022, arXiv:2202.01169: three routers with 8, 64 and 512 experts, one budget of tokens) and experts of one size over
tokens (Li et al. 2025, arXiv:2502.18969: 4 to 256 experts). No shared table has tokens mixed in another way.
Number of experts and sizes of all experts are left out, so that no other term can explain a family.

Left out is the top of each family but the transformer. Each is predicted by one law of both families with the term
`architecture`, by one law without it, and by a law of the family's own small runs. The last two rest on the model over
public tables, which has seen the dense ladder of the second table but no routed run.

The routers show where the term fails: it has more parameters than there are runs, so that these leave its noise open
and intervals hold anything.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from _tables import best_per_cell, read
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import AUTO, known_columns
from foretrain.simulator.predictor.predictor import Predictor

_BASELINE = "transformer"
_EXPERTS = (8, 64, 512)
_LARGEST = 0.5
"""Beyond this share of a family's highest value, runs are left out."""
_WITH, _WITHOUT, _ALONE = "with the term", "without it", "the family alone"


@dataclass(frozen=True)
class SideBySide:
    """A table of families, and the column along which the top of each family is left out."""

    name: str
    frame: pd.DataFrame
    along: str
    law: str
    """With the term; without it a table is plain, and `auto` takes the model over tables, whose runs may be few."""

    def left_out(self) -> np.ndarray:
        """Which rows are predicted, `(n,)`."""
        top = self.frame.groupby("architecture")[self.along].transform("max")
        return ((self.frame.architecture != _BASELINE) & (self.frame[self.along] > _LARGEST * top)).to_numpy()


def routers() -> SideBySide:
    """Routed models and dense ones of the same active size, at one budget of tokens."""
    runs = read("routing_moe/runs.csv")
    runs = runs[(runs.routing_frequency == 0.5) & (runs.k == 1) & (runs.seed == 42)]
    dense = runs[(runs.router_type == "Dense") & (runs.flop_increase.fillna(1) == 1)].assign(architecture=_BASELINE)
    routed = runs[runs.num_experts.isin(_EXPERTS) & (runs.router_type != "Dense")]
    routed = routed.assign(architecture=routed.router_type + "-" + routed.num_experts.astype(str))
    both = pd.concat([_once(dense), *(_once(one) for _, one in routed.groupby("architecture"))])
    return SideBySide("routers (arXiv:2202.01169)", both, "params", "params_only+architecture")


def over_tokens() -> SideBySide:
    """Experts of one size over tokens, and the dense ladder of the same authors."""
    runs = read("misfitting/runs.csv").drop(columns=["status"])
    dense = runs[runs.family == "dense_v1"].assign(architecture=_BASELINE)
    routed = runs[runs.family == "moe_gshard"]
    routed = routed.assign(architecture="gshard-" + routed.num_experts.astype(str))
    both = pd.concat([_once(dense), *(_once(one) for _, one in routed.groupby("architecture"))])
    return SideBySide("experts over tokens (arXiv:2502.18969)", both, "tokens", "general+architecture")


def _once(runs: pd.DataFrame) -> pd.DataFrame:
    """The best run of each size and budget, by the columns of a plain table."""
    return best_per_cell(runs)[["params", "tokens", "loss", "architecture"]]


def judged(families: SideBySide) -> pd.DataFrame:
    """Signed error in percent of each left-out run by each way of fitting, and whether its 90 % interval holds it."""
    frame = families.frame.reset_index(drop=True)
    out = families.left_out()
    rows = []
    for way in (_WITH, _WITHOUT, _ALONE):
        alone = way == _ALONE
        law = families.law if way == _WITH else AUTO
        names = [name for name in frame.architecture.unique() if name != _BASELINE]
        for some in [[name] for name in names] if alone else [names]:
            of_some = frame.architecture.isin(some).to_numpy()
            fitted_on = frame[~out & of_some if alone else ~out]
            if way != _WITH:
                fitted_on = fitted_on.drop(columns="architecture")
            predictor = Predictor.fit(_table(fitted_on), law, prior="public", surrogate="none")
            asked = frame[out & of_some]
            columns = known_columns(_table(asked))
            prediction = predictor.predict(columns, "loss")
            low, high = prediction.interval(0.9)
            for place, (_, run) in enumerate(asked.iterrows()):
                rows.append({
                    "way": way, "family": run.architecture, "params": run.params, "tokens": run.tokens,
                    "error": 100.0 * (prediction.loss_nats[place] / run.loss - 1.0),
                    "inside": bool(low[place] <= run.loss <= high[place]),
                    "width": 100.0 * (high[place] / low[place] - 1.0),
                })  # fmt: skip
    return pd.DataFrame(rows)


def _table(frame: pd.DataFrame) -> RunTable:
    return RunTable.from_frame(frame.reset_index(drop=True), where="families")


def main() -> None:
    """Print a line for each table and way of fitting."""
    for families in (routers(), over_tokens()):
        counts = families.frame.architecture.value_counts()
        print(f"{families.name}: {counts.pop(_BASELINE)} runs of transformers, {len(counts)} families beside them")
        print(f"  {'':18s}{'runs':>5s}{'median':>9s}{'largest':>9s}  inside 90 %   width")
        for way, found in judged(families).groupby("way", sort=False):
            error = found.error.abs()
            print(
                f"  {way:18s}{len(found):5d}{error.median():8.2f}%{error.max():8.2f}%  "
                f"{found.inside.sum():4d} of {len(found):<4d}{found.width.median():7.1f}%"
            )


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
