"""What a search found, for a terminal: the best plan beside the run as it was, limits, the front, what mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ....core.quantity import Quantity
from ....core.units import format_count
from ...search.alternatives import Alternative, plan_text
from ...search.candidate import Candidate
from ...search.evaluate import PlanEvaluation
from ...search.result import Optimization
from ...search.study import BoundLimit, Study
from ..bars import Amount, Bars
from .cells import add_row, percent, plain_table
from .comparison import difference_cell, difference_lines

__all__ = ["form", "study_view"]

_MOST_ON_FRONT = 12
_MOST_IMPORTANT = 8
_LEAST_IMPORTANCE = 0.005  # what rounds to 0 % is left out
_COUNTED = 1_000_000  # whole numbers below it are written out
_FIGURES = {"loss_nats": "loss, nats", "cost_usd": "cost, USD", "wall_clock_days": "days"}  # of alternatives
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
    study = found.study
    blocks: list[RenderableType] = [
        Text(f"{study.name}: {_decision(found)}", style="bold" if found.feasible else "red")
    ]
    blocks += [Text(f"  {relaxation.text}") for relaxation in found.relaxations[1:]]
    blocks += _alternatives(found)
    blocks += [_best_beside_own(found), _limits(found)]
    if found.best.difference:
        blocks.append(Text("against the run as it is (less is better):"))
        blocks += difference_lines(found.best.difference)
    blocks += _repeats(found)
    if len(study.goals) > 1 and found.front:
        blocks.append(Text("the front: no plan here is better than another in every goal"))
        blocks.append(Padding(_front(found), (0, 0, 0, 2), expand=False))
        blocks.append(Padding(_bars(found), (0, 0, 0, 2), expand=False))
    blocks += [Text(f"! {warning}", style="yellow") for warning in _warnings(found)]
    blocks += [Text(line, style="dim") for line in (_history(found), *_importances(found))]
    if found.storage is not None:
        blocks.append(Text(f"kept in {found.storage}: the same command goes on from there"))
    return Group(*blocks)


def form(name: str, value: float | None) -> str:
    """A measure's value as a reader wants it; a dash for none. A domain at the end of the name makes no difference."""
    if value is None:
        return "–"
    measure = name.partition(".")[0]
    if measure == "loss_nats":
        return f"{value:.4f}"
    if measure == "perplexity":
        return f"{value:.3f}"
    if measure in ("mfu", "goodput", "p_fit"):
        return f"{value:.1%}"
    if measure in ("wall_clock_days", "epochs", "step_time_s", "peak_memory_gib", "inference_usd_per_mtok"):
        return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
    return format_count(value)


def _decision(found: Optimization) -> str:
    """What to do, in a sentence: the best plan against the run as it is, or the smallest relaxation."""
    return found.why_infeasible or found.alternatives[0].sentence


def _alternatives(found: Optimization) -> list[RenderableType]:
    """The best plan, what else is worth knowing and the run as it is, a row each."""
    if not found.alternatives:
        return []
    own = found.alternatives[0].baseline
    figures = [figure for figure in _FIGURES if figure in own or figure in found.alternatives[0].figures]
    table = plain_table("", "plan", *(_FIGURES[figure] for figure in figures), "loss against the run", "of the gain")
    for one in found.alternatives:
        add_row(table, one.title, one.plan, *_medians(one.figures, figures), *_against(one))
    if own:
        add_row(table, "the run as it is", plan_text(found.baseline), *_medians(own, figures), "", "")
    return [table]


def _medians(of: Mapping[str, Quantity], figures: Sequence[str]) -> list[str]:
    return [form(figure, of[figure].median if figure in of else None) for figure in figures]


def _against(one: Alternative) -> tuple[str, str]:
    """The difference in loss with its interval, and the share of the best plan's gain."""
    loss = one.candidate.difference.get("loss_nats")
    share = one.share_of_gain
    return "" if loss is None else difference_cell("loss_nats", loss), "" if share is None else f"{share:.0%}"


def _history(found: Optimization) -> str:
    """How many plans were tried, and what found the best."""
    trials = found.trials
    tried = f"{trials['complete']} plans tried"
    if trials.get("earlier"):
        tried += f" ({trials['earlier']} of them earlier)"
    how = f"{found.sampler}, seed {found.study.options.seed}"
    return f"{tried}, {trials['feasible']} keep every limit ({how}); {_where_from(found)}"


def _where_from(found: Optimization) -> str:
    """What found the best plan, or the nearest."""
    best = found.best
    what = "the best" if len(found.study.goals) == 1 else "the balanced one"
    if not found.feasible:
        what = "the one that misses them least"
    if best.number is not None:
        what += f": trial {best.number}, "
    else:
        what += ": "
    if best.origin == "sampler":
        return what + "found by the sampler"
    if best.origin == "polish":
        return what + "polished"
    return what + f"the recipe “{best.origin}”"


def _best_beside_own(found: Optimization) -> Table:
    """The best plan beside the run as it is: what varies, the goals, the headline of the forecast."""
    table = plain_table("", "as it is", "best" if found.feasible else "nearest", "90 % interval")
    own, best = found.baseline, found.best
    for path in _varied_paths(found.study, best.evaluation):
        add_row(table, path, _value(own.evaluation, path), _value(best.evaluation, path), "")
    for number, goal in enumerate(found.study.goals):
        stated = goal.goal
        label = f"{stated.direction.replace('ize', 'ise')} {goal.label}"
        if stated.quantile != 0.5:
            label += f", {stated.quantile:.0%} quantile"
        cells = []
        for one in (own.evaluation, best.evaluation):
            value = one.goals[number] if one.why is None else None
            cells.append(form(goal.name, value))
        add_row(table, label, *cells, "")
    for label, key in _HEADLINE:
        best_facts = _quantity(best, key)
        if best_facts is None:
            continue
        own_facts = _quantity(own, key)
        own_median = None if own_facts is None else own_facts["median"]
        low, high = best_facts["intervals"]["0.9"]
        interval = f"{form(key, low)} to {form(key, high)}"
        add_row(table, label, form(key, own_median), form(key, best_facts["median"]), interval)
    return table


def _varied_paths(study: Study, best: PlanEvaluation) -> list[str]:
    """What varies, a row each; the shares of a mix one by one."""
    rows = []
    for path in study.space.paths:
        mix = best.values.get(path)
        if isinstance(mix, Mapping):
            rows += [f"{path}.{domain}" for domain in mix]
        else:
            rows.append(path)
    return rows


def _value(one: PlanEvaluation, path: str) -> str:
    """A varied value; of a shape or a batch what it came to."""
    if path.startswith("data.mix."):
        mix = one.values.get("data.mix") or {}
        share = mix.get(path.removeprefix("data.mix."))
        return "–" if share is None else f"{share:.1%}"
    value = one.values.get(path)
    section, _, key = path.partition(".")
    together = one.values.get(section)  # a choice among settings of a whole section
    if path not in one.values and isinstance(together, Mapping):
        value = together.get(key)
    if one.config is not None and path == "model.params":
        value = one.config.model.params_total
    if one.config is not None and path == "optim.batch_tokens":
        value = one.config.optim.batch_tokens
    return _shown_value(value)


def _shown_value(value: object) -> str:
    """A value of a run as a reader wants it: numbers rounded, a named choice by its name."""
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return str(value.get("name", value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{len(value)} entries"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) and value < _COUNTED:
        return f"{value:,}"
    if abs(value) < 1:
        return f"{value:.3g}"
    return format_count(float(value))


def _quantity(one: Candidate, key: str) -> Mapping[str, Any] | None:
    """A quantity of a plan's forecast by its JSON key; None where there is none."""
    if one.forecast is None:
        return None
    facts = one.forecast.to_dict().get(key)
    return facts if isinstance(facts, dict) else None


def _limits(found: Optimization) -> Table:
    """Each limit, and what the best plan has of it."""
    table = plain_table("limit", "bound", "at the stated chance", "chance kept", "")
    for limit in found.study.limits:
        measure = limit.measure.name
        label = measure if limit.source == "constraints" else f"{measure} ({limit.source})"
        sign = "≤" if limit.side == "at_most" else "≥"
        value = found.best.evaluation.measured.get(limit.name)
        reached = form(measure, value)
        if limit.measure.uncertain:
            reached += f" ({limit.chance:.0%})"
        verdict = ""
        if value is not None:
            verdict = "kept" if limit.excess(value) <= 0 else "MISSED"
        add_row(table, label, f"{sign} {form(measure, limit.bound)}", reached, _chance(found, limit), verdict)
    return table


def _chance(found: Optimization, limit: BoundLimit) -> str:
    """How likely the best plan keeps a limit, where draws can tell."""
    forecast = found.best.forecast
    if forecast is None or forecast.cluster is None:
        return ""
    draws = forecast.cluster.draws
    if limit.measure.name == "cost_usd":
        drawn = draws.cost_usd
    elif limit.measure.name == "wall_clock_days":
        drawn = draws.wall_clock_s / 86_400
    else:
        return ""
    if drawn is None:
        return ""
    kept = drawn <= limit.bound if limit.side == "at_most" else drawn >= limit.bound
    return percent(float(kept.mean()))


def _repeats(found: Optimization) -> list[Text]:
    """How often the best plan sees each stock of tokens, where any is stated."""
    config = found.best.evaluation.config
    if config is None or config.data.epochs <= 1.0:
        return []
    data = config.data
    line = f"epochs of the best: {data.epochs:.3g} in all"
    each = [f"{domain} {epochs:.2g}" for domain, epochs in data.domain_epochs.items()]
    if each:
        line += f" ({', '.join(each)})"
    return [Text(line)]


def _front(found: Optimization) -> Table:
    """Plans of the front: their goals and what varies but the mix."""
    goals = [goal.name for goal in found.study.goals]
    varied = [path for path in found.study.space.paths if path != "data.mix"]
    compared = [goal for goal in goals if all(goal in plan.difference for plan in found.front)]
    against = [f"{goal} against the run" for goal in compared]
    table = plain_table("trial", *goals, *varied, *against)
    stride = math.ceil(len(found.front) / _MOST_ON_FRONT)
    for plan in found.front[::stride]:
        cells = [str(plan.number)]
        for goal, value in zip(goals, plan.evaluation.goals, strict=True):
            cells.append(form(goal, value))
        for path in varied:
            cells.append(_value(plan.evaluation, path))
        cells += [difference_cell(goal, plan.difference[goal]) for goal in compared]
        add_row(table, *cells)
    return table


def _bars(found: Optimization) -> Bars:
    """The front's second goal for each first one, to be drawn on a terminal."""
    first, second = (goal.name for goal in found.study.goals[:2])
    rows = []
    for plan in found.front[:: math.ceil(len(found.front) / _MOST_ON_FRONT)]:
        goals = plan.evaluation.goals
        name = f"{first} {form(first, goals[0])}"
        rows.append(Amount(name, max(goals[1], 0.0), f"{second} {form(second, goals[1])}"))
    return Bars(rows)


def _importances(found: Optimization) -> list[str]:
    """What sets good trials apart, a line for each goal."""
    lines = []
    for goal, shares in found.importances.items():
        ordered = sorted(shares.items(), key=lambda pair: -pair[1])
        parts = []
        for name, share in ordered[:_MOST_IMPORTANT]:
            if share >= _LEAST_IMPORTANCE:
                parts.append(f"{name.removesuffix('.u')} {share:.0%}")
        lines.append(f"what sets good trials apart in {goal} (PED-ANOVA): {', '.join(parts)}")
    return lines


def _warnings(found: Optimization) -> list[str]:
    """What the best plan's forecast warns of, why the run itself is impossible, notes of the search."""
    warnings: list[str] = []
    if found.best.forecast is not None:
        warnings += found.best.forecast.warnings
    why = found.baseline.evaluation.why
    if why is not None:
        first_line = why.splitlines()[0]
        warnings.append(f"as it is: {first_line.removeprefix('trial: ')}")
    return [*warnings, *found.notes]
