"""How the transformer knows places: rotary (RoFormer, arXiv:2104.09864), learned, or none, side by side.

    python benchmarks/positions.py

Each with and without a short convolution of four taps before attention, which sees order by itself; a decoder without
positions still sees how much came before. Two sizes, three seeds, one learning rate: those of a seed read the same text
in the same order, so differences are paired. Rotary runs are computed by native kernels where there is a compiler, the
others by torch. Interrupted, the same command goes on. The run table goes to benchmarks/results/positions.csv, where
`source` says which is which.
"""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import pandas as pd
from _proxies import WORK, corpora, train
from foretrain.datasets.runs.run_table import RunTable

DOMAINS = ("arxiv_math", "books", "code_cpp", "dialogue", "law_german")
POSITIONS = ("rotary", "learned", "none")
TAPS = (4, 0)
KINDS = tuple(product(POSITIONS, TAPS))
SPACE = {
    "sizes": ["30k", "125k"],
    "tokens": ["0.125M", "0.25M", "0.5M"],
    "seeds": 3,
    "mix": "uniform",
    "lr": 0.008,  # near the best of ladders at these sizes; one for all
    "engine": {"eval_tokens": 20_000},
}
RESULTS = Path(__file__).parent / "results" / "positions.csv"


def main() -> None:
    """Train one kind after the other and add it to the run table; print the differences."""
    frames, seconds = [], 0.0
    for positions, taps in KINDS:
        space = {**SPACE, "positions": positions, "short_conv": taps}
        project, took = train(WORK / "positions" / f"{positions}-{taps}", corpora(DOMAINS), space)
        frames.append(labelled(project.table().frame, positions, taps))
        seconds += took
        table = RunTable.from_frame(pd.concat(frames, ignore_index=True), where="positions")
        RESULTS.parent.mkdir(exist_ok=True)
        table.write(RESULTS)
    print(f"{len(table)} rows in {seconds / 60:.1f} min (of this call)")
    report(table.frame)


def labelled(frame: pd.DataFrame, positions: str, taps: int) -> pd.DataFrame:
    """The runs of one kind, which `source` and `run_id` name."""
    ids = f"{positions}-{taps}-" + frame["run_id"].astype(str)
    return frame.assign(source=named(positions, taps), run_id=ids)


def named(positions: str, taps: int) -> str:
    """How `source` names a kind of run."""
    return f"positions {positions}, short_conv {taps}"


def report(frame: pd.DataFrame) -> None:
    """Print the mean loss of each kind and its paired difference to rotary with as many taps."""
    losses = frame.assign(size=[int(width) for width in frame["width"]]).pivot_table(
        index=["size", "tokens", "seed"], columns="source", values="loss"
    )
    print("loss, nats per byte (mean of seeds); difference to rotary with as many taps ± its standard error")
    for (size, tokens), rows in losses.groupby(level=["size", "tokens"]):
        for positions, taps in KINDS:
            if named(positions, taps) not in rows:
                continue
            mean = rows[named(positions, taps)].mean()
            gap = rows[named(positions, taps)] - rows[named("rotary", taps)]
            beside = (
                "" if positions == "rotary" else f"  {gap.mean():+.3f} ± {gap.std(ddof=1) / math.sqrt(len(gap)):.3f}"
            )
            print(f"width {size:>3} {tokens / 1e6:>5.2f}M  {named(positions, taps):<32}{mean:.3f}{beside}")


if __name__ == "__main__":
    main()
