"""How strictly to choose, by budget: the best share to keep, by small transformers, and by a law fitted to them.

A judge distilled from 200 labels ranks the documents of the noisy pool of 2.2 MB; every seed is trained on the best
shares of it and on all of it, up to 4M tokens, so that what is kept is repeated. A law of size, tokens, repetition and
selections is fitted to the run table, and a study of `data.selection.keep` finds the share for each budget.

Must reach: the best share measured, and the one found, grow from the smallest budget to the largest; the loss measured
at the share found is within .02 nats of the budget's best; and the same search without the stock of text, whose
repetition it then doesn't see, keeps less of the largest budget. The budget at which keeping all first beats keeping
the strictest share is printed with a 90 % interval, by the seeds.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from foretrain.core.units import format_count
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.search.evaluate import Evaluator
from foretrain.simulator.search.local_search.polish import improve
from foretrain.simulator.search.study import Study
from scipy import stats

from .contenders import write_labels
from .ladder import Ladder, train
from .pool import SIZE_BYTES, make_pool

__all__ = ["main"]

KEEPS = (0.2, 0.4, 0.6, 0.8, 1.0)
TOKENS = (250_000, 500_000, 1_000_000, 2_000_000, 4_000_000)
WIDTHS = (16, 32)
TERMS = "+muennighoff+selection"
NEAR = 0.02  # nats per byte, of the loss measured at the share found, by interpolation between measured shares
STOCKS = {"with repetition": float(SIZE_BYTES), "without it": None}


def main(options: list[str]) -> list[str]:
    """Print the tables; return what was missed."""
    parser = argparse.ArgumentParser(prog="selection.py strictness_proxies")
    parser.add_argument("--seeds", type=int, default=2, help="paired seeds of the runs")
    parser.add_argument("--pool", type=int, default=0, help="seed of the pool and its labels")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--tokens", type=float, nargs="+", default=TOKENS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--table", type=Path, help="file that the runs are kept in, so that they are trained once")
    words = parser.parse_args(options)
    if words.table is not None and words.table.exists():
        frame = pd.read_csv(words.table)
    else:
        frame = _trained(words.pool, Ladder(words.widths, words.tokens, words.seeds, words.workers))
        if words.table is not None:
            frame.to_csv(words.table, index=False)
    losses = _by_cell(frame)
    print(_table(losses))
    print(_crossing_text(frame))
    found = _searched(frame)
    print(_found_table(losses, found))
    return list(_missed(losses, found))


def _trained(seed: int, ladder: Ladder) -> pd.DataFrame:
    """The runs: `loss` is the natural mean over topics, and the only one; `share` what the judge was asked to keep."""
    with tempfile.TemporaryDirectory(prefix="selection-") as folder:
        pool = make_pool(Path(folder), seed)
        write_labels(pool, seed)
        # Shares of one judge are levels of strictness of one kind of selection.
        judges = [{"judge": {"labels": "labels.csv", "keep": keep, "seed": seed}} for keep in KEEPS if keep < 1]
        selections = [*(("judge", [judge]) for judge in judges), ("none", [])]
        frame, seconds = train(pool, selections, ladder)
    ends = frame["run_id"].str.contains("@").eq(False).sum()
    print(f"{ends} runs of {len(frame)} rows, {seconds:.0f} worker seconds of training")
    kept = ["run_id", "params", "tokens", "unique_tokens", "selection", "keep", "seed", "lr", "batch_tokens"]
    shares = np.array(KEEPS)[np.abs(frame["keep"].to_numpy()[:, None] - np.array(KEEPS)).argmin(axis=1)]
    return frame.reindex(columns=kept).assign(loss=frame["natural"], share=shares)


def _by_cell(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean losses over seeds by size and tokens (rows) and share (columns)."""
    return frame.groupby(["params", "tokens", "share"])["loss"].mean().unstack("share")


def _best(row: pd.Series) -> float:
    return float(row.idxmin())


def _table(losses: pd.DataFrame) -> str:
    shares = [float(share) for share in losses.columns]
    lines = [
        f"Natural mean, nats per byte, by share kept of {SIZE_BYTES / 1e6:g} MB (columns), size and tokens",
        f"{'params':>8s} {'tokens':>7s}" + "".join(f"{share:>8g}" for share in shares) + "   best",
    ]
    for (params, tokens), row in losses.iterrows():  # type: ignore[misc]  # a row's name is both
        cells = "".join(f"{loss:8.3f}" for loss in row)
        lines.append(f"{params:8,.0f} {format_count(tokens):>7s}{cells}{_best(row):7g}")
    return "\n".join(lines)


def _crossing_text(frame: pd.DataFrame) -> str:
    """Where each looser share first beats the one before, and all of the text the strictest one."""
    lines = ["Budget (tokens) from which more is better, by interpolation over log tokens; 90 % intervals over seeds"]
    largest = frame[frame["params"] == frame["params"].max()]
    shares = sorted(largest["share"].unique())
    for strict, loose in [*itertools.pairwise(shares), (shares[0], shares[-1])]:
        logs = np.array([_crossing(of_seed, strict, loose) for _, of_seed in largest.groupby("seed")])
        lines.append(f"  {loose:g} beats {strict:g} from {_around(logs)}")
    return "\n".join(lines)


def _crossing(of_seed: pd.DataFrame, strict: float, loose: float) -> float:
    """Log tokens at which the loss with the looser share gets lower for good; infinite where it does at no budget."""
    by_share = of_seed.set_index(["share", "tokens"])["loss"]
    gain = (by_share[strict] - by_share[loose]).sort_index()  # above 0: the looser share is better
    logs, gains = np.log(gain.index.to_numpy(float)), gain.to_numpy()
    below = np.flatnonzero(gains <= 0)
    if not len(below):
        return -np.inf
    last = below[-1]
    if last == len(gains) - 1:
        return np.inf
    part = gains[last] / (gains[last] - gains[last + 1])
    return float(logs[last] + part * (logs[last + 1] - logs[last]))


def _around(logs: np.ndarray) -> str:
    if not np.isfinite(logs).all():
        words = {np.inf: "beyond the largest", -np.inf: "the smallest"}
        return ", ".join(words.get(log) or format_count(float(np.exp(log))) for log in logs.tolist()) + " (by seed)"
    middle = float(np.exp(logs.mean()))
    if len(logs) < 2:
        return format_count(middle)
    half = float(stats.t.ppf(0.95, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs)))
    low, high = (format_count(float(np.exp(logs.mean() + sign * half))) for sign in (-1, 1))
    return f"{format_count(middle)} ({low} to {high})"


def _searched(frame: pd.DataFrame) -> dict[str, dict[tuple[float, float], float]]:
    """The share that a search finds for each size and budget, with the stock of text and without."""
    table = RunTable.from_frame(frame.drop(columns=["share"]), where="proxies")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predictor = Predictor.fit(table, _law(frame), prior="public", name="proxies")
    pairs = zip(frame["params"].astype(float), frame["tokens"].astype(float), strict=True)
    cells = sorted(set(pairs))
    return {name: {cell: _share(predictor, *cell, stock) for cell in cells} for name, stock in STOCKS.items()}


def _law(frame: pd.DataFrame) -> str:
    """Runs of a single size say nothing of size."""
    return ("general" if frame["params"].nunique() > 1 else "tokens_only") + TERMS


def _share(predictor: Predictor, params: float, tokens: float, stock: float | None) -> float:
    data = {"tokens": tokens, "unique_tokens": stock, "selection": {"kind": "judge", "keep": 0.5}}
    space = {"data.selection.keep": {"low": KEEPS[0], "high": 1}}
    run = {"model": {"params": params}, "data": data}
    study = Study.from_mapping({"run": run, "space": space, "objective": "loss_nats"}, predictor=predictor)
    evaluator = Evaluator(study)
    starts = (0.25, 0.5, 0.8)
    ends = [
        improve(evaluator, evaluator({"data.selection.keep": keep}), lambda one: one.goals[0], budget=200)
        for keep in starts
    ]
    return float(min(ends, key=lambda one: one.goals).values["data.selection.keep"])


def _above(losses: pd.DataFrame, cell: tuple[float, float], keep: float) -> float:
    """Nats above the budget's best, of the loss measured at a share, by interpolation."""
    row = losses.loc[cell]
    return float(np.interp(keep, losses.columns.to_numpy(float), row.to_numpy(float)) - row.min())


def _found_table(losses: pd.DataFrame, found: dict[str, dict[tuple[float, float], float]]) -> str:
    lines = [
        "Share found by a search with a law of the runs, and what is measured there above the best, nats per byte",
        f"{'params':>8s} {'tokens':>7s} {'measured best':>14s}" + "".join(f"{name:>20s}" for name in found),
    ]
    for cell in next(iter(found.values())):
        cells = "".join(f"{f'{of[cell]:.2f}, {_above(losses, cell, of[cell]):+.3f}':>20s}" for of in found.values())
        lines.append(f"{cell[0]:8,.0f} {format_count(cell[1]):>7s} {_best(losses.loc[cell]):14g}{cells}")
    return "\n".join(lines)


def _missed(losses: pd.DataFrame, found: dict[str, dict[tuple[float, float], float]]) -> Iterator[str]:
    keeps, plain = found["with repetition"], found["without it"]
    for params in sorted({cell[0] for cell in keeps}):
        cells = [cell for cell in keeps if cell[0] == params]
        first, last = cells[0], cells[-1]
        of_size = f"{params:,.0f} parameters"
        if not _best(losses.loc[last]) > _best(losses.loc[first]):
            yield f"{of_size}: the best share measured doesn't grow from the smallest budget to the largest"
        if not keeps[last] > keeps[first]:
            yield f"{of_size}: the share found doesn't grow from the smallest budget to the largest"
        if not plain[last] < keeps[last]:
            yield f"{of_size}: without repetition the search keeps {plain[last]:.2f} of the pool, no less than with it"
    worst = max(keeps, key=lambda cell: _above(losses, cell, keeps[cell]))
    if (above := _above(losses, worst, keeps[worst])) > NEAR:
        yield f"the share found for {format_count(worst[1])} tokens is {above:.3f} above the best; at most {NEAR}"
