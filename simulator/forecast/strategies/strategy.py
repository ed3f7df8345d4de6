"""`Strategy`: the level of a category that a forecast rests on, from which runs it is known, and what it is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....core.columns import level_column, level_of
from ....core.quantity import Difference
from ....core.units import format_count, shown
from ....datasets.runs.columns import columns as run_table_columns
from ...config.run_config import RunConfig
from ...laws import Columns, Variant
from ...predictor.predictor import Predictor
from ..law_inputs import planned_loss, split_columns

__all__ = ["Strategy", "strategies"]

_COPIES = "dedup"
_IN_WORDS = {"params": "parameters", "tokens": "tokens"}
_LEAST_DECADES = 0.05
_WHOLE_DOCUMENTS = 0.01  # of the text, by which a step may miss the share that it was asked for


@dataclass(frozen=True)
class Strategy:
    """A level of a category, held against the same plan at the baseline.

    >>> from foretrain.core.quantity import Difference
    >>> gain = Difference(-0.02, {0.9: (-0.05, 0.01)}, 0.86)
    >>> runs = {"runs": 12, "params": [1e5, 3e6], "tokens": [5e5, 6e7], "seeds": 3}
    >>> one = Strategy("selection", "data.selection", "dedup", "none", True, ("dedup", "none"), runs, {}, gain, 0.3)
    >>> one.verdict
    'undecided'
    >>> print(one.sentence)  # doctest: +NORMALIZE_WHITESPACE
    data.selection: 'dedup' rests on 12 runs of 100k to 3.00M parameters and 500k to 60.0M tokens (3 seeds); -0.020 nats
    against 'none' (90 %: -0.050 to +0.010): undecided, 30 % of the interval's variance; what removing copies gains is a
    lower bound: copies hurt large models more than small ones (arXiv:2603.06603)
    """

    category: str
    """The column of run tables."""
    place: str
    """Where a plan states it."""
    level: str
    baseline: str
    known: bool
    """Whether some fitted run had it. Else it stands for any level: the baseline, with what levels differ by."""
    known_levels: tuple[str, ...]
    runs: Mapping[str, Any] | None
    """The fitted runs of the level, see `runs_by_level`; of a new one those of all levels but the baseline. None where
    nobody noted them."""
    beyond_decades: Mapping[str, float]
    """How far the plan lies beyond those runs, in decades of `params` and of `tokens`."""
    difference: Difference
    """The loss of the plan minus that of the same plan at the baseline, nats; neither run's own luck is part of it."""
    share_of_variance: float
    """Of the variance of the log loss of the forecast, what is open of the level's effect."""
    doubts: tuple[str, ...] = ()
    """What is to be known of the level and of how strict it is, in plain sentences."""

    @property
    def verdict(self) -> str:
        """Whether it is `better` or `worse` than the baseline; `undecided` where the 90 % interval contains 0."""
        return self.difference.verdict

    @property
    def lower_bound(self) -> bool:
        """Whether its gain on larger models is likely to be larger than on proxies: copies hurt those more."""
        return _COPIES in self.level.casefold()

    @property
    def sentence(self) -> str:
        """All of this in one sentence."""
        low, high = self.difference.intervals[0.9]
        said = [
            f"{self.place}: {shown(self.level)} {self._rests_on()}",
            f"{_signed(self.difference.median)} nats against {shown(self.baseline)} (90 %: {low:+.3f} to {high:+.3f}): "
            f"{self.verdict}, {100 * self.share_of_variance:.0f} % of the interval's variance",
        ]
        if self.lower_bound:
            said.append(
                "what removing copies gains is a lower bound: copies hurt large models more than small ones "
                "(arXiv:2603.06603)"
            )
        return "; ".join(said)

    def _rests_on(self) -> str:
        """From which runs it is known, and how far beyond them the plan is."""
        others = ", ".join(shown(level) for level in self.known_levels if level != self.baseline)
        said = "rests on" if self.known else f"is no level of the fitted runs: it may differ as {others} do, from"
        if self.runs is None:
            return f"{said} runs that this predictor keeps no facts of"
        seeds = self.runs.get("seeds")
        keep = self.runs.get("keep")
        sizes = f"{_span(self.runs['params'])} parameters and {_span(self.runs['tokens'])} tokens"
        said += f" {self.runs['runs']} runs of {sizes}"
        more = [] if seeds is None else [f"{seeds} seed{'' if seeds == 1 else 's'}"]
        if keep is not None:
            more.append(f"keeping {_shares(keep)}")
        said += f" ({', '.join(more)})" if more else ""
        beyond = [
            f"{decades:.2g} decades of {_IN_WORDS[name]}"
            for name, decades in self.beyond_decades.items()
            if decades > _LEAST_DECADES
        ]
        return f"{said}, {' and '.join(beyond)} below this run" if beyond else said

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys, for JSON."""
        return {
            "category": self.category,
            "place": self.place,
            "level": self.level,
            "baseline": self.baseline,
            "known": self.known,
            "known_levels": list(self.known_levels),
            "runs": None if self.runs is None else dict(self.runs),
            "beyond_decades": dict(self.beyond_decades),
            "difference_nats": self.difference.to_dict(),
            "verdict": self.verdict,
            "share_of_variance": self.share_of_variance,
            "lower_bound": self.lower_bound,
            "sentence": self.sentence,
        }


def strategies(config: RunConfig, predictor: Predictor, target: str, columns: Columns) -> tuple[Strategy, ...]:
    """The levels that the forecast of a target rests on, but baselines; one for each category.

    Args:
        config: The plan.
        predictor: The predictor.
        target: The target.
        columns: What `run_columns` made of the plan, `(1,)` each.
    """
    parts = list(predictor.parts(target).values())
    terms = {term.category: term for model in parts for term in model.fit.law.terms if isinstance(term, Variant)}
    found = []
    for category, term in terms.items():
        level = _level(category, columns)
        if level is not None and level != term.baseline:
            found.append(_strategy(config, predictor, target, columns, term, level))
    return tuple(found)


def _level(category: str | None, columns: Columns) -> str | None:
    """The level of a single run, `(1,)` each."""
    named = [level_of(name) for name, values in columns.items() if level_of(name) is not None and values[0] == 1.0]
    return next((one[1] for one in named if one is not None and one[0] == category), None)


def _strategy(
    config: RunConfig, predictor: Predictor, target: str, columns: Columns, term: Variant, level: str
) -> Strategy:
    category = str(term.category)
    both = {name: np.repeat(values, 2) for name, values in columns.items()}
    both[level_column(category, level)] = np.array([0.0, 1.0])
    both[level_column(category, term.baseline)] = np.array([1.0, 0.0])
    prediction = planned_loss(config, predictor, target, both, joint=True)
    of_level = float(np.mean([model.sd_between(split_columns(both)[0]) for model in predictor.parts(target).values()]))
    # of the mean of several targets their errors count as shared
    difference = replace(prediction.difference(1), scale_nats=float(prediction.loss_nats[1]) * of_level)
    runs = _runs(predictor, term, level)
    return Strategy(
        category=category,
        place=_place(category),
        level=level,
        baseline=term.baseline,
        known=level in term.levels,
        known_levels=term.levels,
        runs=runs,
        beyond_decades={} if runs is None else {name: _decades(columns[name], runs[name]) for name in _IN_WORDS},
        difference=difference.summary(),
        share_of_variance=min(1.0, (of_level / float(prediction.scale[1])) ** 2),
        doubts=tuple(_doubts(predictor, target, term, level, columns, runs)),
    )


def _doubts(
    predictor: Predictor, target: str, term: Variant, level: str, columns: Columns, runs: Mapping[str, Any] | None
) -> Iterator[str]:
    """What is to be known of the level and of how strict it is."""
    if level not in term.levels:
        known = ", ".join(shown(one) for one in term.levels)
        yield (
            f"{_place(str(term.category))}: no fitted run had {shown(level)}, so it counts as {shown(term.baseline)}, "
            f"with what levels differ by in the interval; known are {known}"
        )
    if term.strictness is None or term.strictness not in columns:
        return
    share, where = float(columns[term.strictness][0]), _place(term.strictness)
    read = all(term.strictness in model.fit.reference.values for model in predictor.parts(target).values())
    ends = (runs or {}).get(term.strictness)
    if not read and share < 1.0:
        yield f"{where}: the fitted runs don't say theirs, so {share:g} counts as what they had"
    elif read and share == 1.0:
        yield f"{where}: is 1, so {shown(level)} changes nothing; expected the share that it keeps, below 1"
    elif read and ends is not None and not ends[0] - _WHOLE_DOCUMENTS <= share <= ends[1] + _WHOLE_DOCUMENTS:
        yield f"{where}: {share:g} lies outside the runs of {shown(level)}, {_shares(ends)}"


def _place(column: str) -> str:
    """Where a plan states a column; of the kind of something the section."""
    return (run_table_columns()[column].place or column).removesuffix(".kind")


def _runs(predictor: Predictor, term: Variant, level: str) -> Mapping[str, Any] | None:
    """The runs behind a level, or behind all but the baseline for a new one; None where the predictor doesn't say."""
    facts: Any = predictor.about.get("levels")
    of_category = facts.get(term.category) if isinstance(facts, Mapping) else None
    if not isinstance(of_category, Mapping):
        return None
    if level in of_category:
        return of_category[level]
    every = [of_category[one] for one in term.variants if one in of_category]
    if not every:
        return None
    merged: dict[str, Any] = {"runs": sum(one["runs"] for one in every)}
    for name in {name for one in every for name in one} - {"runs", "seeds"}:
        ends = [one[name] for one in every if name in one]
        merged[name] = [min(low for low, _ in ends), max(high for _, high in ends)]
    seeds = [one["seeds"] for one in every if "seeds" in one]
    return merged | ({"seeds": max(seeds)} if seeds else {})


def _decades(values: np.ndarray, ends: Sequence[float]) -> float:
    """How far a single run lies above the largest of some runs, decades."""
    return max(0.0, float(np.log10(values[0] / ends[1])))


def _signed(nats: float) -> str:
    """Nats with their sign, which what is nothing has none of."""
    return f"{nats:+.3f}" if round(nats, 3) else "0.000"


def _shares(ends: Sequence[float]) -> str:
    low, high = (f"{end:.2g}" for end in ends)
    return high if low == high else f"{low} to {high}"


def _span(ends: Sequence[float]) -> str:
    low, high = (format_count(end) for end in ends)
    return high if low == high else f"{low} to {high}"
