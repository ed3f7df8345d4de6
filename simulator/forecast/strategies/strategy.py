"""`Strategy`: the level of a category that a forecast rests on, from which runs it is known, and what it is worth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....core.columns import level_column
from ....core.quantity import Difference
from ....core.units import format_count, shown
from ...config.run_config import RunConfig
from ...laws import Columns, OfLevels, Synthetic, Variant
from ...predictor.predictor import Predictor
from ..adjustments import ADJUSTMENTS, Architecture
from ..adjustments.architecture import ARCHITECTURE, MIXER_PLACE, PROXIES, TRANSFORMER
from ..adjustments.effect import NORMAL_90
from ..law_inputs import planned, planned_loss, run_columns, split_columns
from .architecture import as_transformer, remarks, shape_in_words
from .levels import level_stated, place_of, runs_behind, shares_shown, side_by_side
from .synthetic import setting_of, synthetic_doubts, without_synthetic

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
    baseline_loss_nats: float = math.nan
    """The loss of the same plan at the baseline."""
    held_against: str = ""
    """That plan in words, where there is more to say of it than its level."""
    known_from: str = ""
    """The predictor that knows the level, where it isn't the one of the forecast."""
    remarks: tuple[str, ...] = ()
    """What is to be kept in mind of the difference."""
    setting: str = ""
    """What else of it matters, such as the share of synthetic text, in a few words."""
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
        said = [
            f"{self.place}: {self.what}{',' if self.setting else ''} {self._rests_on()}",
            f"{self._worth()}: {self.verdict}, {100 * self.share_of_variance:.0f} % of the interval's variance",
            *self.remarks,
        ]
        if self.lower_bound:
            said.append(
                "what removing copies gains is a lower bound: copies hurt large models more than small ones "
                "(arXiv:2603.06603)"
            )
        return "; ".join(said)

    @property
    def loss_percent(self) -> tuple[float, float, float]:
        """The difference relative to the loss at the baseline and its 90 % interval, percent."""
        ends = (self.difference.median, *self.difference.intervals[0.9])
        middle, low, high = (100.0 * end / self.baseline_loss_nats for end in ends)
        return middle, low, high

    def _worth(self) -> str:
        """The difference with its interval."""
        low, high = self.difference.intervals[0.9]
        if not self.held_against:
            against = f"nats against {shown(self.baseline)}"
            return f"{_signed(self.difference.median)} {against} (90 %: {low:+.3f} to {high:+.3f})"
        middle, low, high = self.loss_percent
        return (
            f"as {self.held_against}: {self.baseline_loss_nats:.3f} nats; {self.level}: {middle:+.1f} % "
            f"(90 %: {low:+.1f} to {high:+.1f})"
        )

    @property
    def what(self) -> str:
        """The level, and what else of it matters."""
        return f"{shown(self.level)}, {self.setting}" if self.setting else shown(self.level)

    def _rests_on(self) -> str:
        """From which runs it is known, and how far beyond them the plan is."""
        others = ", ".join(shown(level) for level in self.known_levels if level != self.baseline)
        said = "rests on" if self.known else f"is no level of the fitted runs: it may differ as {others} do, from"
        if self.runs is None:
            return f"{said} runs that this predictor keeps no facts of"
        of = f" of {self.known_from}" if self.known_from else ""
        seeds = self.runs.get("seeds")
        keep = self.runs.get("keep")
        sizes = f"{_span(self.runs['params'])} parameters and {_span(self.runs['tokens'])} tokens"
        said += f" {self.runs['runs']} runs{of} of {sizes}"
        more = [] if seeds is None else [f"{seeds} seed{'' if seeds == 1 else 's'}"]
        if keep is not None:
            more.append(f"keeping {shares_shown(keep)}")
        if "synthetic_share" in self.runs:
            more.append(f"synthetic shares {shares_shown(self.runs['synthetic_share'])}")
        if "generation" in self.runs:
            more.append(f"generations {shares_shown(self.runs['generation'])}")
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
            "baseline_loss_nats": self.baseline_loss_nats,
            "loss_percent": self.loss_percent[0],
            "loss_percent_90": list(self.loss_percent[1:]),
            "verdict": self.verdict,
            "share_of_variance": self.share_of_variance,
            "lower_bound": self.lower_bound,
            "known_from": self.known_from or None,
            "remarks": list(self.remarks),
            "setting": self.setting,
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
    terms = {term.category: term for model in parts for term in model.fit.law.terms if isinstance(term, OfLevels)}
    found = []
    for category, term in terms.items():
        level = level_stated(category, columns)
        if level is None or level == term.baseline:
            continue
        runs = runs_behind(predictor, term, level)
        if isinstance(term, Synthetic):
            plain, setting = without_synthetic(config, predictor), setting_of(columns)
            doubts = synthetic_doubts(predictor, columns, runs)
        elif isinstance(term, Variant):
            plain, setting = _at_baseline(config, predictor, columns, term, level), ""
            doubts = _doubts_of_strictness(predictor, target, term, level, columns, runs)
        else:
            continue
        both = side_by_side(plain, columns)
        one = _strategy(config, predictor, target, both, term, level, runs)
        one = replace(one, setting=setting, doubts=(*_doubts_of_new_level(term, level), *doubts))
        found.append(_of_architecture(one, config) if category == ARCHITECTURE else one)
    if ARCHITECTURE not in terms and (one := _by_proxies(config, predictor, target, columns)) is not None:
        found.append(_of_architecture(one, config))
    return tuple(found)


def _by_proxies(config: RunConfig, predictor: Predictor, target: str, columns: Columns) -> Strategy | None:
    """The architecture of a plan whose predictor has none, by the shipped proxies; None for a transformer."""
    member = next(one for one in ADJUSTMENTS if isinstance(one, Architecture))
    level = level_stated(MIXER_PLACE, columns)
    if level is None or member.proxies is None:
        return None
    laws = member.proxies.models[member.proxies.main_loss].fit.law
    term = next(term for term in laws.terms if term.category == ARCHITECTURE)
    assert isinstance(term, OfLevels)
    transformer = as_transformer(config)
    plain = {name: values for name, values in columns.items() if not name.startswith(MIXER_PLACE)}
    if transformer is not None:
        plain = run_columns(transformer, predictor, [])
    both = side_by_side(plain, columns)
    open_ = []
    for model in predictor.parts(target).values():
        effect = member.effect(model, planned(config, model, both)[1], split_columns(both)[1])
        if effect is None:
            return None
        open_.append(float(effect.sd[1]))
    runs = runs_behind(member.proxies, term, level)
    one = _strategy(config, predictor, target, both, term, level, runs, float(np.mean(open_)))
    return replace(one, known_from=PROXIES, doubts=tuple(_doubts_of_new_level(term, level)))


def _at_baseline(
    config: RunConfig, predictor: Predictor, columns: Columns, term: OfLevels, level: str
) -> dict[str, np.ndarray]:
    """The columns of the plan at the baseline, `(1,)` each."""
    category = str(term.category)
    plain = dict(columns)
    if category == ARCHITECTURE and (transformer := as_transformer(config)) is not None:
        plain = run_columns(transformer, predictor, [])
        plain[level_column(category, TRANSFORMER)] = np.zeros(1)
    plain[level_column(category, level)] = np.zeros(1)
    plain[level_column(category, term.baseline)] = np.ones(1)
    return plain


def _of_architecture(one: Strategy, config: RunConfig) -> Strategy:
    """What more is to be said of an architecture."""
    transformer = as_transformer(config)
    return replace(
        one,
        held_against="" if transformer is None else shape_in_words(transformer),
        remarks=remarks(one.level, None if one.runs is None else one.runs["params"][1]),
    )


def _strategy(
    config: RunConfig,
    predictor: Predictor,
    target: str,
    both: Columns,
    term: OfLevels,
    level: str,
    runs: Mapping[str, Any] | None,
    of_effect: float | None = None,
) -> Strategy:
    """What a level is worth: `both` is the plan at the baseline, then the plan, `(2,)` each.

    `of_effect` is what is open of its effect, one sd in log loss, where that isn't in the predictor's law.
    """
    category = str(term.category)
    prediction = planned_loss(config, predictor, target, both, joint=True)
    if of_effect is None:
        open_ = [model.sd_between(split_columns(both)[0]) for model in predictor.parts(target).values()]
        of_level = float(np.mean(open_))
    else:  # in units of `scale`, so that the 90 % interval is that of the effect
        of_level = of_effect * NORMAL_90 / float(prediction.widths(np.array([0.9]))[1, 0])
    # of the mean of several targets their errors count as shared
    difference = replace(prediction.difference(1), scale_nats=float(prediction.loss_nats[1]) * of_level)
    return Strategy(
        category=category,
        place=place_of(category),
        level=level,
        baseline=term.baseline,
        known=level in term.levels,
        known_levels=term.levels,
        runs=runs,
        beyond_decades={} if runs is None else {name: _decades(both[name][1:], runs[name]) for name in _IN_WORDS},
        difference=difference.summary(),
        baseline_loss_nats=float(prediction.loss_nats[0]),
        share_of_variance=min(1.0, (of_level / float(prediction.scale[1])) ** 2),
    )


def _doubts_of_new_level(term: OfLevels, level: str) -> Iterator[str]:
    """That no fitted run had a level."""
    if level not in term.levels:
        known = ", ".join(shown(one) for one in term.levels)
        yield (
            f"{place_of(str(term.category))}: no fitted run had {shown(level)}, so it counts as "
            f"{shown(term.baseline)}, with what levels differ by in the interval; known are {known}"
        )


def _doubts_of_strictness(
    predictor: Predictor, target: str, term: Variant, level: str, columns: Columns, runs: Mapping[str, Any] | None
) -> Iterator[str]:
    """What is to be known of how strict a level is."""
    if term.strictness is None or term.strictness not in columns:
        return
    share, where = float(columns[term.strictness][0]), place_of(term.strictness)
    read = all(term.strictness in model.fit.reference.values for model in predictor.parts(target).values())
    ends = (runs or {}).get(term.strictness)
    if not read and share < 1.0:
        yield f"{where}: the fitted runs don't say theirs, so {share:g} counts as what they had"
    elif read and share == 1.0:
        yield f"{where}: is 1, so {shown(level)} changes nothing; expected the share that it keeps, below 1"
    elif read and ends is not None and not ends[0] - _WHOLE_DOCUMENTS <= share <= ends[1] + _WHOLE_DOCUMENTS:
        yield f"{where}: {share:g} lies outside the runs of {shown(level)}, {shares_shown(ends)}"


def _decades(values: np.ndarray, ends: Sequence[float]) -> float:
    """How far a single run lies above the largest of some runs, decades."""
    return max(0.0, float(np.log10(values[0] / ends[1])))


def _signed(nats: float) -> str:
    """Nats with their sign, which what is nothing has none of."""
    return f"{nats:+.3f}" if round(nats, 3) else "0.000"


def _span(ends: Sequence[float]) -> str:
    low, high = (format_count(end) for end in ends)
    return high if low == high else f"{low} to {high}"
