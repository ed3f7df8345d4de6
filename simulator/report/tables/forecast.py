"""Results as rich tables for a terminal. Each function takes a result and returns something rich can print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ....core.quantity import Quantity
from ....core.units import format_count, format_flops
from ...forecast.forecast import DomainForecast, Forecast
from ...predictor.loss_model import LossModel
from ...predictor.predictor import Predictor
from ...predictor.textbook_parameters import most_helpful
from .cells import add_row, percent, plain_table
from .cluster import cluster_lines, cluster_rows, notes_lines

_MANY_TARGETS = 3
_PARTS = {
    "irreducible": "irreducible (E)",
    "capacity": "limited size",
    "data": "limited data",
    "repetition": "repeated data",
    "muennighoff": "repeated data",
    "experts": "experts",
    "lr": "learning rate off its optimum",
    "lr_batch": "learning rate, batch off their optimum",
    "lr_batch_posynomial": "learning rate, batch off their optimum",
    "mixture": "data mix",
    "exponential_mixture": "data mix",
    "learned": "learned correction",
    "new_domains": "new domains",
}


def forecast_view(result: Forecast) -> RenderableType:
    """The forecast of one run: what was planned, the numbers with intervals, what they rest on, warnings."""
    model, data = result.config.model, result.config.data
    repeats = f" ({data.epochs:.3g} epochs)" if data.epochs > 1 else ""
    size = format_count(model.params_total)
    if model.params_active != model.params_total:
        size += f" ({format_count(model.params_active)} active)"
    title = (
        f"{result.config.name or 'run'}: {size} parameters, {format_count(data.tokens)} tokens{repeats}, "
        f"{format_flops(result.config.training_flops)}"
    )
    blocks: list[RenderableType] = [Text(title, style="bold"), _numbers(result)]
    if result.p_target is not None:
        blocks.append(Text(f"chance of reaching the target ({_target(result)}): {percent(result.p_target)}"))
    if _stated(result) > 1 and result.p_all is not None:
        blocks.append(Text(f"chance of reaching all targets together: {percent(result.p_all)}"))
    blocks += [_breakdown(result.headline), *_machines(result), _basis(result)]
    blocks += [Text(f"! {text}", style="yellow") for text in result.warnings]
    blocks += [] if result.cluster is None else notes_lines(result.cluster)
    return Group(*blocks)


def _numbers(result: Forecast) -> Table:
    table = plain_table("", "predicted", "50 % interval", "90 % interval")
    if result.average is not None:
        add_row(table, *_row("perplexity per token, mean of domains", result.average.perplexity, 2))
        add_row(table, *_row("loss, nats per token, mean of domains", result.average.loss_nats, 3))
    for name, domain in result.domains.items():
        label = "" if len(result.domains) == 1 else f" on {name.removeprefix('loss.')}"
        add_row(table, *_row(f"perplexity per token{label}", domain.perplexity, 2))
        if name == result.main:
            add_row(table, *_row(f"loss, nats per token{label}", domain.loss_nats, 3))
            if domain.bits_per_byte is not None:
                add_row(table, *_row(f"bits per byte{label}", domain.bits_per_byte, 3))
    for label, quantity, form in [] if result.cluster is None else cluster_rows(result.cluster):
        add_row(table, *_cells(label, quantity, form))
    return table


def _row(label: str, quantity: Quantity, digits: int) -> list[str]:
    return _cells(label, quantity, f"{{:.{digits}f}}".format)


def _cells(label: str, quantity: Quantity, form: Callable[[float], str]) -> list[str]:
    cells = [f"{form(low)} to {form(high)}" for low, high in (quantity.intervals[0.5], quantity.intervals[0.9])]
    return [label, form(quantity.median), *cells]


def _machines(result: Forecast) -> list[Text]:
    """What times and cost rest on, or what is missing for them."""
    if result.cluster is None:
        return [Text(f"no times, memory or cost: the plan lacks {', '.join(result.cluster_missing)}", style="dim")]
    made = result.cluster
    title = f"on {made.devices} × {made.accelerator}, {made.precision}, {made.framework}"
    return [Text(title), *(Text("  ") + line for line in cluster_lines(made))]


def _breakdown(domain: DomainForecast) -> Text:
    parts = [f"{_PARTS.get(k, k)} {v:+.3f}" for k, v in domain.decomposition_nats.items() if abs(v) >= 5e-4]
    return Text("loss, nats = " + ", ".join(parts).replace("+", "", 1))


def _basis(result: Forecast) -> Text:
    about = result.predictor
    params, tokens, flops = about["fitted_params"], about["fitted_tokens"], about["fitted_flops"]
    lines = [
        f"rests on {about['name']}: {about['title'] or about['table']}",
        f"  {about['rows']} runs, {format_count(params[0])} to {format_count(params[1])} parameters, "
        f"{format_count(tokens[0])} to {format_count(tokens[1])} tokens, up to {format_flops(flops[1])}",
        f"  law {about['law']}, N counts {str(about['params_kind']).replace('_', '-')} parameters",
    ]
    if about["table"] == "pooled":
        lines.append(
            "  most of the interval is the spread between corpora and tokenizers: --predictor with one closer to"
        )
        lines.append("  your data, or one fitted on a dozen small runs of your own (simulate fit), narrows it")
    return Text("\n".join(lines), style="dim")


def _stated(result: Forecast) -> int:
    """How many kinds of targets the plan states: loss, deadline, budget."""
    targets = result.config.targets
    return sum(value is not None for value in (result.p_target, targets.deadline, targets.budget_usd))


def _target(result: Forecast) -> str:
    targets = result.config.targets
    return f"perplexity {targets.perplexity:g}" if targets.perplexity is not None else f"loss {targets.loss_nats:g}"


def fit_view(predictor: Predictor, where: str | None) -> RenderableType:
    """What was fitted, for each target (in one table where there are many), and where it was written."""
    blocks: list[RenderableType] = []
    if len(predictor.models) > _MANY_TARGETS:
        blocks += [_fit_table(predictor), Text("all parameters: --json, or the predictor's MODEL_CARD.md", style="dim")]
    else:
        for name, model in predictor.models.items():
            blocks += [
                Text(f"{name}: {model.fit.law.name}", style="bold"),
                Padding(_fit_facts(model), (0, 0, 0, 2), expand=False),
            ]
    blocks += [Text(f"! {note}", style="yellow") for note in predictor.notes]
    if where is None:
        blocks.append(Text("not saved: give --out DIR to keep this predictor", style="dim"))
    else:
        blocks.append(Text(f"wrote {where}: simulate predict --predictor {where} --config run.yaml"))
    return Group(*blocks)


def _fit_table(predictor: Predictor) -> Table:
    """A row for each target: what corrects its law, errors on runs left out, which training domains help it most."""
    mixed = any(model.fit.law.domains for model in predictor.models.values())
    table = plain_table(
        "target", "law", "on top", "runs", "law alone", "chain", *(("most help from",) if mixed else ())
    )
    for name, model in predictor.models.items():
        learned = model.choice.get("surrogate") or {"chosen": "law", "errors": {}}
        errors = learned["errors"]
        chosen = learned["chosen"]
        cells = [name, model.fit.law.name, "–" if chosen == "law" else chosen, str(model.rows)]
        cells += [f"{errors[key]:.2%}" if key in errors else "–" for key in ("law", chosen)]
        add_row(table, *cells, *((", ".join(most_helpful(model.fit)),) if mixed else ()))
    return table


def _learned(model: LossModel) -> str:
    """What was learned on top of the law, and the errors on runs left out."""
    learned = model.choice.get("surrogate")
    if not isinstance(learned, Mapping):
        return "nothing (too few runs, or a law asked for by name)"
    on = "rolling cuts" if learned["backtest_errors"] else "runs left out"
    errors = learned["backtest_errors"] or learned["errors"]
    listed = ", ".join(f"{name} {error:.2%}" for name, error in errors.items())
    chosen = "nothing" if learned["chosen"] == "law" else learned["chosen"]
    return f"{chosen}; errors on {on}: {listed}"


def _fit_facts(model: LossModel) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    values = ", ".join(f"{k} {v:.5g}" for k, v in model.parameters.items() if not k.startswith("worth."))
    seen = model.fitted_ranges
    add_row(table, "law", model.fit.law.member.title)
    add_row(table, "why", str(model.choice.get("why")))
    add_row(table, "parameters", values)
    add_row(table, "runs", f"{model.rows}, up to {format_flops(seen['compute'][1])}")
    add_row(
        table, "residual", f"{model.fit.noise:.2%} of the loss (mean absolute), objective {model.fit.objective:.10g}"
    )
    if model.fit.law.domains:
        add_row(table, "most help from", ", ".join(most_helpful(model.fit)))
    add_row(table, "on top", _learned(model))
    own = model.calibration
    width = f"± {own.width(0.9):.2f} s; {own.own_scores} own back-test errors, {own.own_cuts} cuts"
    if model.within is not None:
        width += f"; among runs like these ± {model.within.width(0.9):.2f} s, {model.within.own_scores} runs left out"
    add_row(table, "90 % interval", width)
    left_out = model.choice.get("left_out")
    if isinstance(left_out, Mapping) and left_out:
        add_row(table, "left out", "; ".join(f"{name}: {reason}" for name, reason in left_out.items()))
    return table


def score_view(result: Mapping[str, Any]) -> RenderableType:
    """Errors, coverage and interval score (of 90 % intervals) by target, in two tables that fit 80 columns."""
    errors = plain_table("target", "rows", "median error", "p90", "max", "bias, nats", "R²", "rank ρ")
    covers = plain_table("interval covers", "50 %", "80 %", "90 %", "95 %", "90 % width, nats", "score, nats")
    average = {"mean of domains": result["average"]} if "average" in result else {}
    for name, r in {**result["targets"], **average}.items():
        shares = [f"{r[k]:.2%}" for k in ("median_relative_error", "p90_relative_error", "max_relative_error")]
        add_row(errors, name, str(r["rows"]), *shares, f"{r['bias_nats']:+.4f}", _maybe(r["r2"]), _maybe(r["spearman"]))
        held = [f"{share:.0%}" for share in r["coverage"].values()]
        sharp = [f"{r[key]['0.9']:.4f}" for key in ("median_interval_width_nats", "interval_score_nats")]
        add_row(covers, name, *held, *sharp)
    return Group(errors, Text(""), covers)


def backtest_view(results: Mapping[str, Mapping[str, Any]]) -> RenderableType:
    """Back-tests of every applicable law, and of the chosen one with what can be learned on top, by target."""
    blocks: list[RenderableType] = []
    for target, result in results.items():
        learned = (result.get("surrogate") or {}).get("chosen", "law")
        chosen = result["chosen"] if learned == "law" else f"{result['chosen']} + {learned}"
        table = plain_table(target, "median error", "max", "90 % interval covers", "judged on")
        for name, r in result["laws"].items():
            cover = "–" if r["coverage"] is None else f"{r['coverage']['0.9']:.0%}"
            errors = [_maybe(r[k], "{:.2%}") for k in ("median_relative_error", "max_relative_error")]
            alone = r.get("evidence") == "leave-one-out"
            judged = f"{r['cuts']} runs left out" if alone else f"{r['cuts']} cuts"
            add_row(table, name + (" (chosen)" if name == chosen else ""), *errors, cover, judged)
        blocks += [table, Text(f"{result['chosen']}: {result['why']}", style="dim")]
    return Group(*blocks)


def _maybe(value: float | None, form: str = "{:.3f}") -> str:
    return "–" if value is None else form.format(value)


__all__ = ["backtest_view", "fit_view", "forecast_view", "score_view"]
