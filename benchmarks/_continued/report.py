"""What the run tables say: losses before and after, differences paired by seed, specialists beside generalists."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from foretrain.core.errors import DataWarning
from foretrain.core.units import format_count
from foretrain.datasets.runs.run_table import RunTable
from scipy import stats

from .campaigns import BASE_TOKENS, EQUAL_COST_TOKENS, GENERAL, TABLES, TARGET


def read(name: str) -> pd.DataFrame | None:
    """Losses of a campaign: params, seed, tokens, share of the target, `target` and `general`; None if there is none.

    `general` is the mean of the losses on the other domains.
    """
    if not TABLES[name].is_file():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # sizes and losses of proxies look like slips of unit
        frame = RunTable.read(TABLES[name]).frame
    share = frame[f"mix.{TARGET}"].fillna(0.0) if f"mix.{TARGET}" in frame else 0.0
    general = frame[[f"loss.{domain}" for domain in GENERAL]].mean(axis=1, skipna=False)
    found = frame[["params", "seed", "tokens"]].assign(share=share, target=frame[f"loss.{TARGET}"], general=general)
    return found[frame["status"] == "ok"].sort_values(["params", "tokens", "share", "seed"])


def report() -> None:
    """Print the tables. SystemExit where nothing is trained."""
    base, continued, specialists, generalists = (read(name) for name in TABLES)
    if base is None or continued is None:
        raise SystemExit("nothing is trained yet: see `continued.py train`")
    _print_base(base)
    _print_continued(base, continued)
    if specialists is not None and generalists is not None:
        _print_generalists(specialists, generalists)


def _print_base(base: pd.DataFrame) -> None:
    print(f"before continuing, {format_count(BASE_TOKENS)} tokens, nats per byte (standard deviation over seeds)")
    for params, runs in base.groupby("params"):
        cells = (f"{name} {runs[name].mean():.3f} ({runs[name].std():.3f})" for name in ("target", "general"))
        print(f"  {format_count(params):>6} parameters, {len(runs)} seeds: {', '.join(cells)}")


def _print_continued(base: pd.DataFrame, continued: pd.DataFrame) -> None:
    print(f"\ncontinued with a share of {TARGET}: means, and differences to the weights before, paired by seed (95 %)")
    print(f"{'params':>8} {'tokens':>7} {'share':>5}  {'target':>6} {'difference':>17}  {'general':>7} difference")
    for (params, tokens, share), runs in continued.groupby(["params", "tokens", "share"]):
        before = base[base["params"] == params].set_index("seed")
        after = runs.set_index("seed")
        cells = [
            f"{after[name].mean():7.3f} {_interval(after[name] - before[name]):>17}" for name in ("target", "general")
        ]
        print(f"{format_count(params):>8} {format_count(tokens):>7} {share:5.0%} {'  '.join(cells)}")


def _print_generalists(specialists: pd.DataFrame, generalists: pd.DataFrame) -> None:
    cost = format_count(BASE_TOKENS + EQUAL_COST_TOKENS)
    print(f"\nspecialist less generalist at equal cost, {cost} tokens in all, the same share of {TARGET} (95 %)")
    for (params, share), runs in specialists.groupby(["params", "share"]):
        alike = (generalists["params"] == params) & np.isclose(generalists["share"], share)
        one, other = runs.set_index("seed"), generalists[alike].set_index("seed")
        cells = (
            f"{name} {one[name].mean():.3f}, {_interval(one[name] - other[name])}" for name in ("target", "general")
        )
        print(f"  {format_count(params):>6} parameters, {share:.0%}: {'; '.join(cells)}")


def _interval(differences: pd.Series) -> str:
    """The mean of paired differences with the half-width of its 95 % interval (Student's t)."""
    known = differences.dropna().to_numpy()
    if len(known) < 2:
        return "too few pairs"
    half = stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    return f"{known.mean():+.3f} ± {half:.3f}"
