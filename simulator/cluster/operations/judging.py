"""What it takes to score the documents of a plan's selection: the judge's inference over all text that it must see."""

from __future__ import annotations

import math

from typing_extensions import override

from ....core.units import format_count, format_flops
from ....datasets.facts.selection import UNKNOWN_STEP, selection_facts
from ...config.model_and_data import DataConfig
from ...config.run_config import RunConfig
from ...config.text.selection import NOT_SELECTED
from .inference import Inference

__all__ = ["Judging", "judging", "judging_notes", "scored_tokens"]

_NORMAL_90 = 1.6449


class Judging(Inference):
    """The judge of a plan's selection: its size, the text that it scores, and what that takes."""

    @property
    @override
    def sentence(self) -> str:
        return (
            f"a judge of {format_count(self.params)} parameters scores {format_count(self.tokens)} tokens before the "
            f"run: {format_flops(self.flops)}"
        )


def judging(config: RunConfig) -> Judging | None:
    """The judge of a plan's selection; None without one, or where scoring costs nothing worth naming.

    Args:
        config: The plan.

    >>> data = {"tokens": "30B", "unique_tokens": "1T", "selection": {"kind": "judge", "keep": 0.3}}
    >>> found = judging(RunConfig.from_mapping({"model": {"params": "7B"}, "data": data}))
    >>> found.sentence
    'a judge of 3.00B parameters scores 100B tokens before the run: 6.00e20 FLOPs'
    """
    selection = config.data.selection
    if selection is None:
        return None
    facts, stated = selection_facts(), selection.judge
    params = None if stated is None else stated.params
    found = facts.judge_params(selection.steps) if params is None else params
    if found is None:
        return None
    efficiency = None if stated is None else stated.efficiency
    return Judging(
        params=found,
        tokens=scored_tokens(config.data),
        efficiency=facts.efficiency if efficiency is None else efficiency,
        efficiency_log_sd=facts.efficiency_log_sd if efficiency is None else 0.0,
        params_stated=params is not None,
    )


def scored_tokens(data: DataConfig) -> float:
    """Tokens that must be scored for the kept ones that a run sees: tokens / keep, and never more than the stock.

    What models wrote isn't drawn from the stock, and isn't scored.

    >>> plan = {"tokens": "300B", "unique_tokens": "500B", "selection": {"kind": "judge", "keep": 0.3}}
    >>> scored_tokens(DataConfig.model_validate(plan))
    500000000000.0
    """
    wanted, mix = data.real_tokens / data.keep, data.mix_of_tokens
    stocks = data.unique_tokens_by_domain
    if stocks is None or mix is None:
        return wanted if data.unique_tokens is None else min(data.unique_tokens, wanted)
    return math.fsum(min(stocks.get(domain, math.inf), share * wanted) for domain, share in mix.items())


def judging_notes(config: RunConfig) -> list[str]:
    """What was taken of a plan's selection without being said, and where its cost isn't counted."""
    selection, found = config.data.selection, judging(config)
    if selection is None or selection.kind == NOT_SELECTED:
        return []
    if found is None:
        facts = selection_facts()
        unknown = [step for step in selection.steps if facts.step(step) == UNKNOWN_STEP]
        lacking = f"data.selection.judge.params isn't stated: what {', '.join(unknown)} costs is not counted"
        return [lacking] if unknown else []
    notes = ["documents are judged before the run: paid as accelerator hours, no part of the wall clock"]
    if not found.params_stated:
        notes.append(
            f"data.selection.judge.params isn't stated: {format_count(found.params)} taken, as published; a classifier "
            "distilled from a few hundred labels costs next to nothing (params: 1M)"
        )
    if found.efficiency_log_sd > 0:
        notes.append(
            f"data.selection.judge.efficiency isn't stated: {found.efficiency:.0%} of the peak taken, within a factor "
            f"of {math.exp(_NORMAL_90 * found.efficiency_log_sd):.1f}"
        )
    return notes
