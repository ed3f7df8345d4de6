"""Views of compute-optimal plans: the optimum and what lies around it, curves, what more buys, what each knob moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ....core.quantity import Quantity
from ....core.summary import difference_text
from ....core.units import format_count, format_flops
from ...allocation.compute_optimal.curves import IsoFlop, IsoLoss
from ...allocation.compute_optimal.mixers import Crossing, OptimalMixers
from ...allocation.compute_optimal.optimal import ComputeOptimal
from ...allocation.compute_optimal.over_training import OverTraining
from ...allocation.sensitivity.sensitivity import Sensitivity, Turned
from ...allocation.under_limits.marginal import Change, Marginal
from ...allocation.under_limits.money import MoneyOptimal
from .cells import add_row, percent, plain_table
from .cluster import cluster_rows, layout_text

__all__ = ["curves_view", "mixers_view", "money_view", "more_view", "point_view", "sensitivity_view"]

_COUNTS = {"total": "all", "active": "active", "non_embedding": "non-embedding"}
_MOST_SURE = 3  # numbers of a plan whose effect is told with its interval
_FAR = 0.99e4  # times the median, as far as intervals of compute are looked for
_BINDING = {"cost_usd": "budget", "wall_clock_days": "deadline"}
_OUTCOMES: dict[str, tuple[str, Callable[[float], str]]] = {
    "loss_nats": ("loss, nats", "{:+.4f}".format),
    "perplexity": ("perplexity", "{:+.3f}".format),
    "cost_usd": ("cost, USD", lambda value: _signed(value)),
    "wall_clock_days": ("days", "{:+.2f}".format),
}


def point_view(result: ComputeOptimal) -> RenderableType:
    """The optimum with its intervals, runs of equal compute around it, and the plan's own place."""
    table = plain_table("", "optimum", "50 % interval", "90 % interval")
    counted = _COUNTS.get(result.params_kind, result.params_kind)
    for label, quantity, form in (
        (f"parameters ({counted})", result.params, format_count),
        ("tokens", result.tokens, format_count),
        ("tokens per parameter", result.tokens_per_param, _three),
        ("loss, nats per token", result.loss_nats, "{:.3f}".format),
        ("perplexity per token", result.perplexity, "{:.2f}".format),
    ):
        add_row(table, label, form(quantity.median), *_intervals(quantity, form))
    low, high = result.indifferent_params
    lines = [
        f"within 0.1 % of that loss: {format_count(low)} to {format_count(high)} parameters at equal compute",
        f"law {result.law} of {result.predictor}, {result.method}",
    ]
    if result.epochs > 1.0:
        lines.insert(1, f"its tokens are {result.epochs:.3g} epochs of the stock")
    title = Text(f"compute-optimal for {format_flops(result.flops)}", style="bold")
    blocks: list[RenderableType] = [title, table, *map(Text, lines)]
    if result.plan is not None:
        blocks.append(Text(_standing("the plan", result.plan)))
    blocks += [Text(""), _around(result.around), *_notes(result.notes)]
    return Group(*blocks)


def mixers_view(result: OptimalMixers) -> RenderableType:
    """Mixers at one compute, each at its best size, and where one overtakes another."""
    first = result.rows[0]
    table = plain_table("mixer", "size × tokens", "loss, nats", f"against {first.mixer} (90 %)", "")
    for row in result.rows:
        best, cells = row.optimum, ["", ""]
        if row.difference is not None:
            low, high = row.difference.intervals[0.9]
            cells = [f"{row.difference.median:+.3f} ({low:+.3f} to {high:+.3f})", row.difference.verdict]
        size = f"{format_count(best.params.median)} × {format_count(best.tokens.median)}"
        add_row(table, row.mixer, size, f"{best.loss_nats.median:.3f}", *cells)
    title = Text(f"compute-optimal for {format_flops(result.flops)}, by mixer", style="bold")
    by = Text(f"law {first.optimum.law} of {first.optimum.predictor}")
    return Group(title, table, by, *(Text(_crossing(one)) for one in result.crossings), *_notes(result.notes))


def _crossing(one: Crossing) -> str:
    """Which of two mixers leads, and where that is undecided, in a sentence."""
    low, high = one.looked_at
    looked_at = f"from {format_flops(low)} to {format_flops(high)}"
    if one.undecided == one.looked_at:
        said = f"which of {one.leads} and {one.then} leads is undecided"
        said += "" if one.flops is None else f"; their losses cross at {format_flops(one.flops)}"
        return f"{said}, {looked_at}{_but(one)}"
    if one.flops is None:
        said = f"{one.leads} leads {one.then} {looked_at}"
    else:
        said = f"{one.leads} leads {one.then} up to {format_flops(one.flops)}, {one.then} beyond"
    if one.undecided is None:
        return said
    start, end = one.undecided
    until = "on" if end == high else f"to {format_flops(end)}"
    within = [part for part in one.decided if start < part[1] and part[2] < end]
    return f"{said}; undecided from {format_flops(start)} {until} (90 %){_but(replace(one, decided=tuple(within)))}"


def _but(one: Crossing) -> str:
    """Where one of the two leads all the same."""
    ranges = [f"{format_flops(low)} to {format_flops(high)}, where {name} leads" for name, low, high in one.decided]
    return f", but for {' and '.join(ranges)} (90 %)" if ranges else ""


def _around(rows: Sequence[OverTraining]) -> Table:
    headings = ("tokens per parameter ×", "parameters", "tokens", "loss, nats", "penalty", "90 % by the law's draws")
    table = plain_table(*headings, "compute for equal loss", "inference saved")
    for row in rows:
        low, high = row.penalty_nats.intervals[0.9]
        more = "never" if row.compute_factor is None else f"{row.compute_factor:.2f} ×"
        numbers = [f"{row.loss_nats:.4f}", f"{row.penalty_nats.median:+.4f}", f"{low:+.4f} to {high:+.4f}"]
        sizes = [format_count(row.params), format_count(row.tokens)]
        add_row(table, f"{row.factor:g}", *sizes, *numbers, more, f"{row.inference_saved:+.0%}")
    return table


def _standing(what: str, row: OverTraining) -> str:
    word = "over-trained" if row.factor >= 1 else "under-trained"
    factor = row.factor if row.factor >= 1 else 1 / row.factor
    more = "" if row.compute_factor is None else f" ({row.compute_factor:.2f} × the compute for the optimum's loss)"
    return (
        f"{what}, {format_count(row.params)} on {format_count(row.tokens)} tokens, is {word} {factor:.3g} ×: "
        f"{row.penalty_nats.median:+.4f} nats against the optimum of its compute{more}"
    )


def money_view(result: MoneyOptimal) -> RenderableType:
    """The best run within the limits, its machines, and the other sizes within the same limits."""
    model, shape = result.config.model, result.config.model.architecture
    table = plain_table("", "best", "50 % interval", "90 % interval")
    rows = [
        ("parameters", result.params, format_count),
        ("tokens", result.tokens, format_count),
        ("loss, nats per token", result.loss_nats, "{:.3f}".format),
        ("perplexity per token", result.perplexity, "{:.2f}".format),
    ]
    wanted = ("wall clock, days", "GPU-hours", "cost, USD", "energy, MWh", "CO2e, t")
    for label, quantity, form in rows:
        add_row(table, label, form(quantity.median), *_intervals(quantity, form))
    for cells in cluster_rows(result.cluster):
        if cells[0] in wanted:
            add_row(table, *cells)
    lines = [_limits(result)]
    if shape is not None:
        heads = f"{shape.layers} layers of width {shape.width}, {shape.heads} heads, feed-forward {shape.ffn_width}"
        active = "" if model.params_active == model.params_total else f"; {format_count(model.params_active)} active"
        lines.append(f"shape: {heads}{active}; layout: {layout_text(result.cluster.layout)}")
    lines.append(_standing("it", result.over_training))
    if result.plan is not None:
        gained = result.plan.loss_nats - result.loss_nats.median
        lines.append(
            f"the plan's own size would get {format_count(result.plan.tokens)} tokens and {result.plan.loss_nats:.4f} "
            f"nats: {gained:.4f} more"
        )
    machines = f"{result.cluster.devices} × {result.cluster.accelerator}"
    title = Text(f"best run on {machines} within {_budget(result)}", style="bold")
    return Group(title, table, *map(Text, lines), Text(""), _sizes(result), *_notes(result.notes))


def _limits(result: MoneyOptimal) -> str:
    chances = {"budget": result.cluster.p_budget, "deadline": result.cluster.p_deadline}
    said = [f"to the {name} {percent(share)}" for name, share in chances.items() if share is not None]
    return (
        f"the {_BINDING[result.binding]} ends it; chance of keeping {', '.join(said)} (limits are held by the median)"
    )


def _budget(result: MoneyOptimal) -> str:
    parts = [] if result.limits.cost_usd is None else [f"{format_count(result.limits.cost_usd)} USD"]
    days = result.limits.wall_clock_days
    return " and ".join(parts + ([] if days is None else [f"{days:.3g} days"]))


def _sizes(result: MoneyOptimal) -> Table:
    table = plain_table("parameters", "layers × width", "tokens", "loss, nats", "cost, USD", "days", "ends at the")
    for row in result.sizes:
        cost = "" if row.cost_usd is None else format_count(row.cost_usd)
        mark = " ←" if row.params_total == result.config.model.params_total else ""
        numbers = [f"{row.loss_nats:.4f}", cost, f"{row.wall_clock_days:.1f}", _BINDING[row.binding] + mark]
        add_row(
            table, format_count(row.params_total), f"{row.layers} × {row.width}", format_count(row.tokens), *numbers
        )
    return table


def curves_view(flops: Sequence[IsoFlop], losses: Sequence[IsoLoss]) -> RenderableType:
    """The optimum of each compute, and the cheapest compute of each loss."""
    blocks: list[RenderableType] = []
    if flops:
        table = plain_table("compute", "parameters", "90 % interval", "tokens", "per parameter", "loss, nats", "90 %")
        for one in flops:
            best = one.optimum
            numbers = [format_count(best.params.median), _intervals(best.params, format_count)[1]]
            numbers += [format_count(best.tokens.median), _three(best.tokens_per_param.median)]
            numbers += [f"{best.loss_nats.median:.3f}", _intervals(best.loss_nats, "{:.3f}".format)[1]]
            add_row(table, format_flops(one.flops), *numbers)
        blocks += [Text("lowest loss for a compute", style="bold"), table]
    if losses:
        table = plain_table("loss, nats", "least compute", "50 % interval", "90 % interval", "parameters", "tokens")
        for row in losses:
            cheapest = row.cheapest_flops
            numbers = [_flops(cheapest.median), *(_ends(cheapest, level) for level in (0.5, 0.9))]
            sizes = [format_count(row.cheapest_params), format_count(row.cheapest_tokens)]
            add_row(table, f"{row.loss_nats:g}", *numbers, *sizes)
        blocks += [Text(""), Text("least compute for a loss", style="bold"), table] if blocks else [
            Text("least compute for a loss", style="bold"), table
        ]  # fmt: skip
    notes = flops[0].optimum.notes[:1] if flops else ()
    return Group(*blocks, *_notes(notes))


def more_view(result: Marginal) -> RenderableType:
    """What more of each thing buys, for the planned model and the best one."""
    cost = "" if result.cost_usd is None else f", {format_count(result.cost_usd.median)} USD"
    title = (
        f"{result.name or 'plan'}: {format_count(result.params_total)} on {format_count(result.tokens)} tokens, "
        f"{result.devices} accelerators, {result.wall_clock_days.median:.1f} days{cost}; loss "
        f"{result.loss_nats.median:.4f} nats, perplexity {result.perplexity.median:.3f}"
    )
    headings = ("", "model", "tokens", "loss, nats", "90 % interval", "better with", "perplexity", "days", "cost, USD")
    table = plain_table(*headings)
    for row in result.rows:
        first = row.what
        for which, change in (("as planned", row.same_model), ("best shape", row.best_model)):
            if change is None or (change.loss_change_nats.median == 0.0 == change.days_change):
                continue
            add_row(table, first, *_change_cells(which, change))
            first = ""
        if first:
            add_row(table, first, "not possible" if row.note else "as planned", *[""] * 7)
    noted = [f"{row.what}: {row.note}" for row in result.rows if row.note]
    return Group(Text(title, style="bold"), table, *_notes([*noted, *result.notes]))


def _change_cells(which: str, change: Change) -> list[str]:
    low, high = change.loss_change_nats.intervals[0.9]
    return [
        f"{which}, {format_count(change.params_total)}",
        format_count(change.tokens),
        f"{change.loss_change_nats.median:+.4f}",
        f"{low:+.4f} to {high:+.4f}",
        percent(change.loss_change_nats.chance_lower),
        f"{change.perplexity_change.median:+.3f}",
        f"{round(change.days_change, 1) + 0.0:+.1f}",
        "" if change.cost_change_usd is None else _signed(change.cost_change_usd),
    ]


def sensitivity_view(result: Sensitivity) -> RenderableType:
    """What each number moves when it is turned, the largest effect on the loss first."""
    watched = [name for name, value in result.outcomes.items() if value is not None]
    headings = [heading for name in watched for heading in (f"{_OUTCOMES[name][0]} ↓", "↑")]
    table = plain_table("turned", "from", "down to", "up to", *headings, "loss per 1 %")
    for row in result.rows:
        if row.read:
            add_row(table, *_turned_cells(row, watched))
    base = ", ".join(f"{_OUTCOMES[name][0]} {_amount(result.outcomes[name])}" for name in watched)
    lines = [Text(f"not read here: {', '.join(result.not_read)}", style="dim")] if result.not_read else []
    lines += [Text(f"! {key}: {why}", style="yellow") for key, why in result.cannot.items()]
    lines += [Text(f"  {row.key}: {row.note}", style="dim") for row in result.rows if row.read and row.note]
    lines[:0] = _surest(result)
    title = f"{result.name or 'plan'}: {base}; each number ± {result.step:.0%}, shares of the mix ± 1 point"
    return Group(Text(title, style="bold"), table, *lines)


def _surest(result: Sensitivity) -> list[Text]:
    """How sure the largest effects on the loss are, a line each."""
    lines = []
    for row in result.rows[:_MOST_SURE]:
        for value, found in ((row.value_down, row.difference_down), (row.value_up, row.difference_up)):
            if "loss_nats" in found and found["loss_nats"].median != 0.0:
                told = difference_text(found["loss_nats"], "{:+.4f}".format, "nats")
                lines.append(Text(f"  {row.key} at {_value(row, value)}: {told}"))
    return lines


def _turned_cells(row: Turned, watched: Sequence[str]) -> list[str]:
    values = [_value(row, value) for value in (row.value, row.value_down, row.value_up)]
    changes = [
        "" if side[name] is None else _OUTCOMES[name][1](side[name] or 0.0) for name in watched for side in _sides(row)
    ]
    elasticity = row.elasticity["loss_nats"]
    return [row.key, *values, *changes, "" if elasticity is None else f"{elasticity:+.3f} %"]


def _sides(row: Turned) -> tuple[Mapping[str, float | None], Mapping[str, float | None]]:
    return row.down, row.up


def _value(row: Turned, value: float | None) -> str:
    if value is None:
        return ""
    if row.key.startswith("data.mix."):
        return f"{value:.1%}"
    return format_count(value) if value >= 1000 else f"{value:.4g}"


def _notes(notes: Sequence[str]) -> list[Text]:
    return [Text(f"! {note}", style="yellow") for note in notes]


def _intervals(quantity: Quantity, form: Callable[[float], str]) -> list[str]:
    return [f"{form(low)} to {form(high)}" for low, high in (quantity.intervals[0.5], quantity.intervals[0.9])]


def _three(number: float) -> str:
    return f"{number:.3g}"


def _flops(number: float) -> str:
    return format_flops(number).removesuffix(" FLOPs")


def _ends(quantity: Quantity, level: float) -> str:
    """An interval of compute, whose ends are open where they reach the last that was looked at."""
    low, high = quantity.intervals[level]
    ends = [_flops(low), _flops(high)]
    if low < quantity.median / _FAR:
        ends[0] = f"under {ends[0]}"
    if high > quantity.median * _FAR:
        ends[1] = f"over {ends[1]}"
    return " to ".join(ends)


def _signed(number: float) -> str:
    return ("+" if number >= 0 else "") + format_count(round(number))


def _amount(number: float | None) -> str:
    return "" if number is None else format_count(number) if number >= 1000 else f"{number:.4g}"
