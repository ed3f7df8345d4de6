"""What a plan states although nothing in its forecast reads it, and what lies outside of what the predictor knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...core.model.mixers.members.attention import ATTENTION
from ...datasets.facts.corpora import kinds_of
from ...datasets.facts.optimizers import ADAMW
from ...datasets.runs.columns import columns
from ..cluster.layout_choice import missing
from ..config.run_config import RunConfig
from ..config.text.selection import NOT_SELECTED
from ..predictor.predictor import Predictor
from .adjustments import Effect
from .bits import is_of_plan

__all__ = ["setting_warnings", "unread_warnings"]

_UNLIKE = ("code", "math", "scientific", "books", "dialogue")
_MAINLY = 0.5


def unread_warnings(config: RunConfig, predictor: Predictor, adjustments: Sequence[Effect] = ()) -> list[str]:
    """One line on all that is stated and not read; another where the mix is of a kind that the runs weren't.

    `adjustments` are the effects that published figures know: what they are of counts as read.
    """
    laws = [model.fit.law for model in predictor.models.values()]
    read = {name for law in laws for name in (*law.columns, *law.optional, *law.levels)}
    known = {place for one in adjustments for place in one.places}
    unread = [place for place, names in _stated(config).items() if not read.intersection(names) and place not in known]
    mixed = any(law.domains for law in laws)
    if config.data.mix is not None and not mixed and not _of_corpus(config, predictor):
        unread.append("data.mix")
    found = [f"not read by this predictor: {', '.join(unread)}"] if unread else []
    if "data.mix" in unread and (doubt := _other_text(config, predictor)) is not None:
        found.insert(0, doubt)
    return found


def _stated(config: RunConfig) -> dict[str, tuple[str, ...]]:
    """What the plan states of its optimisation and text, as it is written, with the columns that would read it."""
    optim = config.optim
    own = {one.place: (one.name,) for one in columns().values() if one.place is not None}
    found: dict[str, tuple[str, ...]] = {}
    for key in ("optimizer", "lr", "lr_final", "batch_tokens", "schedule", "weight_decay"):
        if key in optim.model_fields_set and getattr(optim, key) is not None:
            found[f"optim.{key}"] = own.get(f"optim.{key}", ())
    if optim.optimizer == ADAMW:  # which the fitted runs were trained with
        found.pop("optim.optimizer", None)
    if config.model.architecture is not None and config.model.architecture.mixer != ATTENTION:
        found["model.architecture.mixer"] = ("architecture",)
    if config.data.selection is not None and config.data.selection.kind != NOT_SELECTED:
        found["data.selection"] = ("selection",)
    if config.data.synthetic_share > 0:
        found["data.synthetic"] = ("synthetic_share", "generation", "regime", "generator")
    if not missing(config):  # the machines' estimate reads it
        found.pop("optim.batch_tokens", None)
    return found


def _of_corpus(config: RunConfig, predictor: Predictor) -> bool:
    """Whether the mix says what the corpus consists of, for a predictor that follows what a plan names."""
    return is_of_plan(predictor) and config.data.corpus is None and kinds_of(config.data.mix or {}) is not None


def _other_text(config: RunConfig, predictor: Predictor) -> str | None:
    """That the forecast is of other text than the plan trains on, where its mix isn't read and mainly is no web."""
    mix = config.data.mix or {}
    other = [name for name in mix if any(word in name.casefold() for word in _UNLIKE)]
    share = sum(mix[name] for name in other)
    if share <= _MAINLY:
        return None
    corpus = predictor.about.get("corpus") or "web text"
    return (
        f"this is a forecast of {corpus}, not of the plan's text: {share:.0%} of that is {', '.join(other)}, "
        "of which this predictor knows nothing; a loss on it is another number (fit runs of such mixes, or name "
        "data.corpus)"
    )


def setting_warnings(predictor: Predictor, columns: Mapping[str, np.ndarray]) -> list[str]:
    """What is to be said of settings that lie outside those of the fitted runs."""
    found = []
    for name in columns.keys() - {"params", "tokens"}:
        ranges = [model.fitted_ranges[name] for model in predictor.models.values() if name in model.fitted_ranges]
        if not ranges:
            continue
        lowest = min(low for low, _ in ranges)
        highest = max(high for _, high in ranges)
        value = float(columns[name][0])
        if not lowest <= value <= highest:
            by = f" ({_times(value, lowest, highest)})" if lowest > 0 < value else ""
            found.append(f"{name}: {value:g} lies outside the fitted runs, {lowest:g} to {highest:g}{by}")
    return sorted(found)


def _times(value: float, lowest: float, highest: float) -> str:
    """How far a positive value lies outside of a range, in words."""
    if value > highest:
        return f"{value / highest:.3g} times the largest"
    return f"{lowest / value:.3g} times below the smallest"
