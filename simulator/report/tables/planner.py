"""What a planner says, for a terminal: proposals, results beside what was forecast, what waits."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ....core.units import format_count
from ...search.planning.planner import Planner
from ...search.planning.proposals import Expected, Proposal, ProposalResult
from .cells import add_row, plain_table

__all__ = ["proposals_view", "results_view", "status_view"]

_BLANK = "–"


def proposals_view(name: str, proposals: Sequence[Proposal]) -> RenderableType:
    """Plans to train."""
    head = Text(f"{name}: {_some(len(proposals), 'plan')} to train", style="bold")
    return Group(head, _proposals(proposals), *_warnings(proposals))


def results_view(name: str, results: Sequence[ProposalResult]) -> RenderableType:
    """What came of some proposals."""
    if not results:
        return Text(f"{name}: nothing new was told")
    fresh = sum(one.news for one in results)
    again = "" if fresh == len(results) else f" ({len(results) - fresh} told before)"
    return Group(
        Text(f"{name}: {_some(len(results), 'result')}{again}", style="bold"), _results(results), *_notes(results)
    )


def status_view(planner: Planner) -> RenderableType:
    """What waits, and what was told."""
    waiting, history = planner.waiting, planner.history
    head = f"{planner.name}: {_some(len(waiting), 'plan')} waiting, {_some(len(history), 'result')} told"
    blocks: list[RenderableType] = [Text(head, style="bold")]
    blocks += [_proposals(waiting)] if waiting else []
    blocks += [_results(history), *_notes(history)] if history else []
    return Group(*blocks)


def _proposals(proposals: Sequence[Proposal]) -> Table:
    table = plain_table("trial", "run's name", "plan", "loss, nats per token", "90 % interval")
    for one in proposals:
        loss = one.forecast.headline.loss_nats
        low, high = loss.intervals[0.9]
        add_row(table, str(one.number), one.name, _plan(one), f"{loss.median:.4f}", f"{low:.4f} to {high:.4f}")
    return table


def _plan(one: Proposal) -> str:
    """What was chosen, in a line."""
    parts = []
    for path, value in one.values.items():
        if isinstance(value, dict):
            parts.append(f"{path} " + " ".join(f"{domain} {share:.1%}" for domain, share in value.items()))
        elif isinstance(value, bool) or not isinstance(value, int | float):
            parts.append(f"{path} {value}")
        else:
            parts.append(f"{path} {format_count(value) if abs(value) >= 1000 else format(value, '.3g')}")
    return ", ".join(parts)


def _results(results: Sequence[ProposalResult]) -> Table:
    table = plain_table("trial", "target", "observed", "was forecast", "90 % interval", "quantile", "now forecast")
    for one in results:
        if not one.told.losses:
            add_row(table, str(one.number), _BLANK, one.told.status, *[_BLANK] * 4)
        for target, loss in one.told.losses.items():
            before = one.before.get(target)
            place = one.places.get(target)
            add_row(
                table,
                str(one.number),
                target,
                f"{loss:.4f}",
                _median(before),
                _BLANK if before is None else f"{before.low:.4f} to {before.high:.4f}",
                _BLANK if place is None else f"{place:.1%}",
                _median(one.after.get(target)),
            )
    return table


def _median(expected: Expected | None) -> str:
    return _BLANK if expected is None else f"{expected.median:.4f}"


def _notes(results: Sequence[ProposalResult]) -> list[Text]:
    return [Text(f"! {one.name}: {note}", style="yellow") for one in results for note in one.notes]


def _warnings(proposals: Sequence[Proposal]) -> list[Text]:
    found = dict.fromkeys(warning for one in proposals for warning in one.forecast.warnings)
    return [Text(f"! {warning}", style="yellow") for warning in found]


def _some(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
