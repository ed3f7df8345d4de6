"""What the stages after pretraining come to, as rows of text and sentences, for the terminal and for reports."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ...core.quantity import Quantity
from ...core.units import format_count, format_decimals, format_flops
from ...datasets.facts.after_pretraining.feedback import LABEL_MINUTES, LABEL_USD, WEEKLY_HOURS
from ..after_pretraining.continued.outlook import ContinuedOutlook
from ..after_pretraining.feedback.outlook import FeedbackOutlook
from ..after_pretraining.machine_time import MachineTime
from ..after_pretraining.oversight.outlook import PUBLISHED, OversightOutlook
from ..config.after_pretraining.law_names import PRIOR, PROXIES
from ..forecast.after_pretraining import AfterPretraining, StagePart
from ..forecast.forecast import Forecast

__all__ = [
    "SUM_HEADINGS",
    "StageRow",
    "days_text",
    "kl_text",
    "share_text",
    "signed_text",
    "stage_rows",
    "stage_sentences",
    "sum_rows",
    "three_text",
]

SUM_HEADINGS = ("", "US dollars", "90 %", "days", "90 %")
"""Headings of `sum_rows`."""

_FEW_DAYS = 0.095
_ARXIV = re.compile(r"arXiv:[\d.]+\d")
_DIGITS = 4  # of a sum
_MOST_DECIMALS = 4
_NOTHING = "–"


@dataclass(frozen=True)
class StageRow:
    """One figure of the stages, in the form of its unit, and what it rests on."""

    label: str
    quantity: Quantity
    form: Callable[[float], str]
    source: str

    @property
    def cells(self) -> tuple[str, str, str]:
        """Median, 50 % and 90 % interval."""
        low, high = (
            f"{self.form(low)} to {self.form(high)}"
            for low, high in (self.quantity.intervals[0.5], self.quantity.intervals[0.9])
        )
        return self.form(self.quantity.median), low, high


def stage_rows(result: Forecast) -> list[StageRow]:
    """Every figure of the stages of a forecast; none of a plan without any."""
    after = result.after
    if after is None:
        return []
    found: list[StageRow] = []
    if after.continued is not None:
        found += _of_continued(result, after.continued)
    if after.feedback is not None:
        found += _of_feedback(result, after.feedback)
    if after.oversight is not None:
        found += _of_oversight(after.oversight)
    parts = f"sum of {len(after.parts)} parts"
    for label, total, form in (
        ("wall clock with all stages, days", after.total_days, days_text),
        ("cost with all stages, USD", after.total_cost_usd, format_count),
    ):
        if total is not None:
            found.append(StageRow(label, total, form, parts))
    return found


def _of_continued(result: Forecast, found: ContinuedOutlook) -> Iterator[StageRow]:
    stage = result.config.continued_pretraining
    law = _law("" if stage is None else stage.law)
    predictor = str(result.predictor["name"])
    both = f"{predictor}, {law}"
    yield StageRow(f"loss on {found.domain}, nats per token", found.domain_loss_nats, three_text, both)
    if found.generalist_loss_nats is not None:
        yield StageRow("  a generalist's, at equal cost", found.generalist_loss_nats, three_text, predictor)
    yield StageRow("general loss, nats per token", found.general_loss_nats, three_text, both)
    label = f"largest share that costs the general loss {100 * found.most_general_rise:g} % at most"
    yield StageRow(label, found.largest_share, share_text, law)


def _of_feedback(result: Forecast, found: FeedbackOutlook) -> Iterator[StageRow]:
    stage = result.config.post_training
    if stage is None:
        return
    law = _law(stage.law)
    yield StageRow(f"gain by feedback at KL {found.kl_nats:.3g} nats", found.gain, signed_text, law)
    if found.preferred is not None:
        yield StageRow("  preferred to the start", found.preferred, share_text, law)
    yield StageRow("  KL at which the gain is largest, nats", found.best_kl_nats, kl_text, law)
    usd = "stated" if stage.label_usd is not None else f"${LABEL_USD:.2f} a comparison, recalled"
    minutes = "stated" if stage.label_minutes is not None else f"{LABEL_MINUTES:g} minutes a comparison, a judgement"
    yield StageRow("labels, USD", found.label_usd, format_count, usd)
    yield StageRow("labels, hours of work", found.label_hours, format_count, minutes)
    if found.label_days is not None:
        how = f"labellers stated, {WEEKLY_HOURS:g} hours a week"
        yield StageRow("labels, days", found.label_days, days_text, how)


def _of_oversight(found: OversightOutlook) -> Iterator[StageRow]:
    named = [_cited(source) for source in found.sources]
    yield StageRow(f"oversight succeeds, {PUBLISHED}", found.success, share_text, named[0])
    if found.label_hours_saved is not None:
        label = f"label hours that debates save, {PUBLISHED}"
        yield StageRow(label, found.label_hours_saved, format_count, named[-1])


def _law(name: str) -> str:
    """The law of a stage, short."""
    return {PRIOR: "prior, nothing measured", PROXIES: "law of our proxies"}.get(name, f"law {name}")


def _cited(source: str) -> str:
    """`Engels et al. 2025, arXiv:2504.18530`: a source without its title."""
    found = _ARXIV.search(source)
    return source.split(",")[0] + ("" if found is None else f", {found[0]}")


def stage_sentences(after: AfterPretraining) -> list[str]:
    """What each stage gives, in a sentence, then what it takes of the machines."""
    stages = (after.continued, after.feedback, after.oversight)
    said = [stage.sentence for stage in stages if stage is not None]
    if after.continued is not None:
        verdict = after.continued.against_generalist
        if verdict is not None:
            said.append(f"against a generalist of equal cost the specialist is {verdict} on {after.continued.domain}")
        said.append(f"continued pretraining takes {_machines(after.continued.machines)}")
    if after.feedback is not None:
        factor = after.feedback.serving_factor
        more = f"; an answer costs {format_count(factor)} times as much to serve" if factor != 1.0 else ""
        said.append(f"feedback takes {_machines(after.feedback.machines)} beside its labels{more}")
    return said


def _machines(machines: MachineTime) -> str:
    """What a stage takes of the machines."""
    said = format_flops(machines.flops)
    if machines.gpu_hours is not None and machines.days is not None:
        said += f", {format_count(machines.gpu_hours)} accelerator hours, {days_text(machines.days)} days"
    return said if machines.usd is None else f"{said}, ${format_count(machines.usd)}"


def sum_rows(after: AfterPretraining) -> list[tuple[str, ...]]:
    """Money and wall clock of pretraining and of every stage, and their sums, by SUM_HEADINGS.

    Numbers are rounded so that the rows add up as they stand; what isn't known, or has no doubt counted, is a dash.
    """
    if not after.parts:
        return []
    every = [*after.parts, StagePart("in all", after.total_cost_usd, after.total_days)]
    columns = []
    for quantities in ([one.cost_usd for one in every], [one.wall_clock_days for one in every]):
        columns += _column(quantities)
    return [(one.name, *(column[place] for column in columns)) for place, one in enumerate(every)]


def _column(quantities: Sequence[Quantity | None]) -> tuple[list[str], list[str]]:
    """Texts of the medians and of the 90 % intervals; the last is the sum of the others."""
    *parts, total = quantities
    money_or_time = [0.0 if one is None else one.median for one in parts]
    decimals = _decimals(sum(money_or_time))
    texts = adding_up(money_or_time, decimals)
    medians = [_NOTHING if one is None else text for one, text in zip(quantities, texts, strict=True)]
    ends = [_ends(one, decimals) for one in (*parts, total)]
    return medians, ends


def _decimals(total: float) -> int:
    """Digits behind the point with which a sum has a few digits."""
    return min(max(_DIGITS - 1 - math.floor(math.log10(max(abs(total), 1e-9))), 0), _MOST_DECIMALS)


def _ends(quantity: Quantity | None, decimals: int) -> str:
    if quantity is None:
        return _NOTHING
    low, high = quantity.intervals[0.9]
    return _NOTHING if low == high else f"{low:,.{decimals}f} to {high:,.{decimals}f}"


def adding_up(parts: Sequence[float], decimals: int) -> list[str]:
    """Numbers, none negative, and behind them their sum, rounded so that they add up: up where most is left.

    >>> adding_up([1.4, 1.4, 1.4], 0)
    ['2', '1', '1', '4']
    """
    scale = 10**decimals
    total = round(sum(parts) * scale)
    whole = [math.floor(part * scale) for part in parts]
    left = sorted(range(len(parts)), key=lambda place: whole[place] - parts[place] * scale)
    for place in left[: total - sum(whole)]:
        whole[place] += 1
    return [f"{number / scale:,.{decimals}f}" for number in (*whole, total)]


def three_text(number: float) -> str:
    """A loss with three digits behind the point."""
    return format_decimals(number, 3)


def signed_text(number: float) -> str:
    """A gain with its sign."""
    return f"{number:+.2f}"


def share_text(number: float) -> str:
    """A share or a chance in whole percent."""
    return f"{100 * number:.0f} %"


def kl_text(number: float) -> str:
    """A KL divergence; that at which a gain turns may be never reached."""
    return "never" if math.isinf(number) else f"{number:.3g}"


def days_text(number: float) -> str:
    """A duration in days."""
    return format_decimals(number, 1) if number > _FEW_DAYS else f"{number:.2g}"
