"""What a search found, for a terminal: the best plan beside the run as it was, limits, the front, what mattered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ....core.units import format_count
from ...search.evaluate import PlanEvaluation
from ...search.result import Candidate, Optimization
from ...search.study import BoundLimit, Study
from .cells import add_row, percent, plain_table

__all__ = ["form", "study_view"]

_MOST_ON_FRONT = 12
_MOST_IMPORTANT = 8
_COUNTED = 1_000_000  # whole numbers below it are written out
_HEADLINE = (
    ("perplexity per token", "perplexity"),
    ("loss, nats per token", "loss_nats"),
    ("cost, USD", "cost_usd"),
    ("wall clock, days", "wall_clock_days"),
    ("GPU-hours", "gpu_hours"),
    ("MFU", "mfu"),
)


def study_view(found: Optimization) -> RenderableType:
    """The answer of a search."""
    study, trials = found.study, found.trials
    head = (
        f"{study.name}: {trials['complete']} plans tried{_earlier(trials)}, {trials['feasible']} keep every limit "
        f"({found.sampler}, seed {study.options.seed})"
    )
    blocks: list[RenderableType] = [Text(head, style="bold")]
    blocks.append(Text(_sentence(found), style="" if found.feasible else "red"))
    blocks.append(_plans(found))
    blocks.append(_limits(found))
    blocks += _repeats(found)
    if len(study.goals) > 1 and found.front:
        blocks += [
            Text("the front: no plan here is better than another in every goal"),
            Padding(_front(found), (0, 0, 0, 2), expand=False),
        ]
    blocks += _importances(found)
    blocks += [_relaxed(found)] if found.relaxations else []
    blocks += [Text(f"! {text}", style="yellow") for text in _warnings(found)]
    blocks += [] if found.storage is None else [Text(f"kept in {found.storage}: the same command goes on from there")]
    return Group(*blocks)


def _earlier(trials: Mapping[str, int]) -> str:
    return f" ({trials['earlier']} of them earlier)" if trials.get("earlier") else ""


def form(name: str, value: float | None) -> str:
    """A measure's value as a reader wants it."""
    if value is None:
        return "–"
    stem = name.partition(".")[0]
    if stem in ("loss_nats", "perplexity"):
        return f"{value:.4f}" if stem == "loss_nats" else f"{value:.3f}"
    if stem in ("mfu", "goodput"):
        return f"{value:.1%}"
    if stem in ("wall_clock_days", "epochs", "step_time_s", "peak_memory_gib", "inference_usd_per_mtok"):
        return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
    return format_count(value)


def _sentence(found: Optimization) -> str:
    best = found.best
    if not found.feasible:
        return "no plan keeps every limit; below, the one that misses them least"
    what = "the best" if len(found.study.goals) == 1 else "the balanced one"
    by = {"sampler": "found by the sampler", "polish": "polished"}.get(best.origin, f"the recipe “{best.origin}”")
    return f"{what}: {by}" if best.number is None else f"{what}: trial {best.number}, {by}"


def _plans(found: Optimization) -> Table:
    table = plain_table("", "as it is", "best" if found.feasible else "nearest", "90 % interval")
    own, best = found.baseline, found.best
    for path in _paths(found.study, best.evaluation):
        add_row(table, path, _value(own.evaluation, path), _value(best.evaluation, path), "")
    for number, goal in enumerate(found.study.goals):
        quantile = goal.goal.quantile
        label = f"{goal.goal.direction[:-3]}ise {goal.label}" + (
            "" if quantile == 0.5 else f", {quantile:.0%} quantile"
        )
        cells = [form(goal.name, None if one.why else one.goals[number]) for one in (own.evaluation, best.evaluation)]
        add_row(table, label, *cells, "")
    for label, key in _HEADLINE:
        cells = [_quantity(one, key) for one in (own, best)]
        if cells[1] is not None:
            add_row(
                table, label, *("–" if c is None else form(key, c["median"]) for c in cells), _interval(key, cells[1])
            )
    return table


def _paths(study: Study, best: PlanEvaluation) -> list[str]:
    """Rows of what varies; the shares of a mix one by one."""
    found = []
    for path in study.space.paths:
        mix = best.values.get(path)
        found += [f"{path}.{domain}" for domain in mix] if isinstance(mix, Mapping) else [path]
    return found


def _value(one: PlanEvaluation, path: str) -> str:
    """A varied value; of a shape or a batch what it came to."""
    section, _, key = path.partition(".")
    together = one.values.get(section)  # settings that do
    value = together.get(key) if path not in one.values and isinstance(together, Mapping) else one.values.get(path)
    config = one.config
    if path.startswith("data.mix."):
        share = (one.values.get("data.mix") or {}).get(path.removeprefix("data.mix."))
        return "–" if share is None else f"{share:.1%}"
    if config is not None and path == "model.params":
        value = config.model.params_total
    if config is not None and path == "optim.batch_tokens":
        value = config.optim.batch_tokens
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value.get("name", value) if isinstance(value, Mapping) else value)
    if isinstance(value, int) and value < _COUNTED:
        return f"{value:,}"
    return f"{value:.3g}" if abs(value) < 1 else format_count(float(value))


def _quantity(one: Candidate, key: str) -> dict[str, Any] | None:
    facts = None if one.forecast is None else one.forecast.to_dict().get(key)
    return facts if isinstance(facts, dict) else None


def _interval(key: str, facts: Mapping[str, Any]) -> str:
    low, high = facts["intervals"]["0.9"]
    return f"{form(key, low)} to {form(key, high)}"


def _limits(found: Optimization) -> Table:
    table = plain_table("limit", "bound", "at the stated chance", "chance kept", "")
    for limit in found.study.limits:
        value = found.best.evaluation.measured.get(limit.name)
        kept = "" if value is None else ("kept" if limit.excess(value) <= 0 else "MISSED")
        chance = f" ({limit.chance:.0%})" if limit.measure.uncertain else ""
        name = limit.measure.name
        bound = ("≤ " if limit.side == "at_most" else "≥ ") + form(name, limit.bound)
        add_row(table, f"{name}{_source(limit)}", bound, form(name, value) + chance, _chance(found, limit), kept)
    return table


def _repeats(found: Optimization) -> list[RenderableType]:
    """How often the best plan sees each stock, where any is stated."""
    config = found.best.evaluation.config
    if config is None or config.data.epochs <= 1.0:
        return []
    data = config.data
    stocks, mix = data.unique_tokens_by_domain or {}, data.mix or {}
    each = ", ".join(f"{d} {data.tokens * mix.get(d, 0.0) / stock:.2g}" for d, stock in stocks.items())
    return [Text(f"epochs of the best: {data.epochs:.3g} in all" + (f" ({each})" if each else ""))]


def _source(limit: BoundLimit) -> str:
    return "" if limit.source == "constraints" else f" ({limit.source})"


def _chance(found: Optimization, limit: BoundLimit) -> str:
    """How likely the best plan keeps a limit, where draws can tell."""
    forecast = found.best.forecast
    if forecast is None or forecast.cluster is None:
        return ""
    draws = {
        "cost_usd": forecast.cluster.draws.cost_usd,
        "wall_clock_days": forecast.cluster.draws.wall_clock_s / 86_400,
    }
    known = draws.get(limit.measure.name)
    if known is None:
        return ""
    return percent(float((known <= limit.bound).mean() if limit.side == "at_most" else (known >= limit.bound).mean()))


def _front(found: Optimization) -> Table:
    names = [goal.name for goal in found.study.goals]
    varied = [path for path in found.study.space.paths if path != "data.mix"]
    table = plain_table("trial", *names, *varied)
    step = max(1, -(-len(found.front) // _MOST_ON_FRONT))
    for one in found.front[::step]:
        goals = [form(name, value) for name, value in zip(names, one.evaluation.goals, strict=True)]
        add_row(table, str(one.number), *goals, *(_value(one.evaluation, path) for path in varied))
    return table


def _importances(found: Optimization) -> list[RenderableType]:
    blocks: list[RenderableType] = []
    for name, shares in found.importances.items():
        ordered = sorted(shares.items(), key=lambda pair: -pair[1])[:_MOST_IMPORTANT]
        parts = ", ".join(f"{key.removesuffix('.u')} {share:.0%}" for key, share in ordered if share >= 0.005)
        blocks.append(Text(f"what sets good trials apart in {name} (PED-ANOVA): {parts}"))
    return blocks


def _relaxed(found: Optimization) -> RenderableType:
    lines = [Text("smallest relaxations that make a plan feasible:")]
    return Group(*lines, *(Text(f"  {one.text}") for one in found.relaxations))


def _warnings(found: Optimization) -> list[str]:
    forecast, why = found.best.forecast, found.baseline.evaluation.why
    own = [] if why is None else [f"as it is: {why.splitlines()[0].removeprefix('trial: ')}"]
    return [*(() if forecast is None else forecast.warnings), *own, *found.notes]
