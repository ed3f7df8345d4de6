"""What a run table says that its fitted law can't express: warned about once, and kept with the predictor."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ....core.errors import FitError
from ....core.units import shown
from ....datasets.runs.columns import columns
from ...fitting import Fit, LawPrior, Observations, collinearity, constant_column, fit_observations
from ...fitting.observations import MANY_STEPS
from .mix_warnings import duplicate_warnings, mix_warnings

if TYPE_CHECKING:
    import pandas as pd

    from ....datasets.runs.run_table import RunTable

_COLLINEAR = 0.98
_EXTRA_KINDS = ("dataset", "family", "router_type")
"""Extra columns whose values set runs apart, beside the registered ones that say so of themselves."""

_ONE_RECIPE = 0.04
"""Mean residual of log loss that no table of one recipe shows: tables of sizes and data are missed by .1 to 1 %, tables
of mixes by 1 to 3 %."""

_WORTH_A_NAME = 0.01  # what a law leaves over, below which no column is held responsible
_EXPLAINS = 0.5  # share of the residual's variance between the values of a column, and of its size after a fit to each
_STRAYS, _STRAYS_AT_LEAST = 10.0, 0.05  # times the median residual, and log loss, beyond which a run is a stray
_FEWEST_STRAYS = 3
_MOST_STRAYING = 0.25  # share of the runs; more of them aren't strays
_FEWEST_OF_A_LEVEL = 4
_MOST_LEVELS = 20
_NAMES = ("run_id", "training_run", "status")


def table_warnings(table: RunTable, told_apart: Collection[str] = ()) -> Iterator[str]:
    """Warnings of fitting one law to the whole table, which tells the levels of the categories `told_apart` apart."""
    ok = table.select((table.frame["status"] == "ok").to_numpy()).frame
    registered = [name for name, one in columns().items() if one.sets_apart and name not in told_apart]
    for column in (*registered, *_EXTRA_KINDS):
        kinds = sorted(set(_known(ok, column).astype(str))) if column in ok.columns else []
        if 1 < len(kinds) <= 20:
            named = ", ".join(shown(kind) for kind in kinds[:4])
            yield f"column {column!r} takes {len(kinds)} values ({named}): one law is fitted over all of them"
    yield from duplicate_warnings(table)


def _known(frame: pd.DataFrame, column: str) -> pd.Series:
    """The cells of a column that say something; a blank one does where the column has a number for it."""
    one = columns().get(column)
    default = None if one is None else one.default
    cells: Any = frame[column]
    return (cells.fillna(default) if isinstance(default, float) else cells).dropna()


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
    found += _few_steps(observations)
    if len(uses) == 2 and collinearity(observations) > _COLLINEAR:
        rests = "rest on the public tables' prior" if prior is not None else "can't be told apart"
        found.append(f"params and tokens rise together in every run: their separate effects {rests}")
    constant = [reason for column in uses if (reason := constant_column(observations, column))]
    found += [f"{reason}: what else it does to the loss rests on the prior" for reason in constant]
    return found + list(mix_warnings(observations, domains, left_out) if domains is not None else ())


def _few_steps(observations: Observations) -> list[str]:
    """That runs of few steps count less, where they do."""
    if not (observations.trust < observations.share_of_a_run).any():
        return []
    return [f"runs of fewer than {MANY_STEPS:,.0f} steps count less: they lie off the law of longer ones"]


@dataclass(frozen=True)
class UnexplainedLoss:
    """What a law leaves over of a target's runs, and which column of text explains it."""

    size: float
    """Mean absolute residual of log loss, for the number of free parameters."""
    is_far: bool
    """Whether it is beyond what runs of one recipe show."""
    straying: str | None = None
    """Which runs lie far above the law, and what they have in common."""
    column: str | None = None
    levels: tuple[str, ...] = ()
    within: float = 0.0
    """The same where a law is fitted to each value of the column."""


def unexplained_loss(
    table: RunTable, target: str, fit: Fit, observations: Observations, prior: LawPrior | None
) -> UnexplainedLoss:
    """How far a fitted law misses its runs, and which text column explains it, if one does.

    Args:
        table: The table that the observations are of.
        target: Its target.
        fit: The law, fitted to them.
        observations: What was fitted.
        prior: The prior of the law's parameters.
    """
    residual = np.log(observations.loss) - fit.log_loss(observations.columns)
    weights = observations.weights * observations.trust
    plain = float(weights @ np.abs(residual) / weights.sum())
    rows = table.fit_rows(target)
    best = UnexplainedLoss(fit.noise, min(plain, fit.noise) > _ONE_RECIPE, straying=_straying(rows, residual))
    if plain < _WORTH_A_NAME:
        return best
    for column in _kinds(rows, observations):
        if column in fit.law.levels:
            continue
        words = rows.frame[column].astype("string").fillna("").to_numpy(dtype=object)
        if _explained(residual, words, weights) < _EXPLAINS:
            continue
        levels, counts = np.unique(words.astype(str), return_counts=True)
        kept = [str(level) for level, count in zip(levels, counts, strict=True) if count >= _FEWEST_OF_A_LEVEL]
        within = _size_within([observations.take(words == level) for level in kept], fit, prior)
        if within < _EXPLAINS * fit.noise and (best.column is None or within < best.within):
            best = replace(best, column=column, levels=tuple(kept), within=within)
    return best


def unexplained_warnings(unexplained: Mapping[str, UnexplainedLoss]) -> Iterator[str]:
    """What the laws leave over says of the table: that it isn't of one recipe, and which column would split it."""
    far = {target: one for target, one in unexplained.items() if one.is_far}
    if far:
        low, high = (100 * limit([one.size for one in far.values()]) for limit in (min, max))
        size = f"{high:.0f} %" if len(far) == 1 else f"{low:.0f} to {high:.0f} %"
        of = "" if len(unexplained) == 1 else f" ({', '.join(list(far)[:3])}{', …' if len(far) > 3 else ''})"
        yield f"the law misses these runs by {size} on average{of}: they aren't one recipe"
    else:
        yield from list(filter(None, (one.straying for one in unexplained.values())))[:1]
    by_column: dict[str, list[UnexplainedLoss]] = {}
    for one in unexplained.values():
        if one.column is not None:
            by_column.setdefault(one.column, []).append(one)
    for column, found in by_column.items():
        worst = max(found, key=lambda one: one.size)
        levels = ", ".join(shown(level) for level in worst.levels[:4])
        yield (
            f"column {column!r} explains most of what the law leaves over: {100 * worst.size:.2g} % on average, and "
            f"{100 * worst.within:.2g} % where each of its values ({levels}) has its own law; fit one value at a time "
            f"(--where {column}={worst.levels[0]}), or a law for each (--by {column})"
        )


def _straying(rows: RunTable, residual: np.ndarray) -> str | None:
    """The few finished runs far above their law, if some setting of theirs is extreme."""
    usual = float(np.median(np.abs(residual)))
    far = (residual > max(_STRAYS * usual, _STRAYS_AT_LEAST)) & (rows.progress == 1)
    if far.sum() < _FEWEST_STRAYS or far.mean() > _MOST_STRAYING:
        return None
    why = " and ".join(_extremes(rows, far))
    if not why:
        return None
    first = ", ".join(shown(name) for name in rows.frame["run_id"][far].astype(str)[:3])
    more = ", …" if far.sum() > 3 else ""
    low, high = 100 * residual[far].min(), 100 * residual[far].max()
    return f"{int(far.sum())} runs lie {low:.0f} to {high:.0f} % above the law ({first}{more}); they have {why}"


def _extremes(rows: RunTable, far: np.ndarray) -> Iterator[str]:
    """The settings of which the runs where `far` holds have the fewest or the most of all runs."""
    tokens, params = rows.column("tokens"), rows.column("params")
    settings = {"steps": rows.steps, "tokens per parameter": tokens / params}
    for name, words in (("batch_tokens", "tokens of a batch"), ("lr", "learning rate"), ("epochs", "epochs")):
        if rows.has(name):
            settings[words] = rows.column(name)
    if rows.has("warmup_steps"):
        settings["share of warm-up"] = rows.column("warmup_steps") / rows.steps
    for name, values in settings.items():
        known = np.isfinite(values)
        if not known[far].all() or not (known & ~far).any():
            continue
        for word, sign in (("lowest", 1.0), ("highest", -1.0)):
            others = np.quantile(sign * values[known & ~far], _MOST_STRAYING)
            if (sign * values[far] < others).all():
                yield f"the {word} {name} ({values[far].min():.3g} to {values[far].max():.3g})"


def _kinds(rows: RunTable, observations: Observations) -> Iterator[str]:
    """The columns of text with few values, none of which merely names the sizes."""
    sizes = observations.columns["params"]
    for column in rows.frame.columns:
        cells = rows.frame[column]
        if column in _NAMES or cells.dtype.kind in "biuf":
            continue
        words = cells.astype("string").fillna("").to_numpy(dtype=object)
        levels = set(words) - {""}
        of_several_sizes = any(len(np.unique(sizes[words == level])) > 1 for level in levels)
        if 2 <= len(levels) <= _MOST_LEVELS and of_several_sizes:
            yield str(column)


def _explained(residual: np.ndarray, words: np.ndarray, weights: np.ndarray) -> float:
    """Share of the variance of `residual: (n,)` that lies between the values of a column, for their number."""
    _, level = np.unique(words.astype(str), return_inverse=True)
    total = np.bincount(level, weights)
    mean = np.bincount(level, weights * residual) / np.maximum(total, 1e-300)
    within = weights @ (residual - mean[level]) ** 2
    whole = weights @ (residual - weights @ residual / weights.sum()) ** 2
    freedom = max(len(residual) - len(total), 1) / max(len(residual) - 1, 1)
    return float(1.0 - within / max(whole, 1e-300) / freedom)


def _size_within(parts: Sequence[Observations], fit: Fit, prior: LawPrior | None) -> float:
    """Mean noise of fits of the same law to each part; infinite where too little could be fitted."""
    sizes = []
    for part in parts:
        try:
            sizes.append((fit_observations(fit.law, part, prior).noise, len(part)))
        except (FitError, np.linalg.LinAlgError):
            continue
    if not sizes:
        return np.inf
    return float(np.average([size for size, _ in sizes], weights=[runs for _, runs in sizes]))
