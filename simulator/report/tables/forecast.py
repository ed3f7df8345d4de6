"""Results as rich tables for a terminal. Each function takes a result and returns something rich can print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ....core.quantity import Quantity
from ....core.units import format_count, format_decimals, format_flops, format_share
from ...cluster.operations.before_run import before_run
from ...config.run_config import RunConfig
from ...config.stages.in_words import stages_in_words
from ...forecast.forecast import DomainForecast, Forecast
from ...forecast.offered import DEFAULT, Offered, ShippedPredictor
from ...forecast.stages.branches import BranchForecast
from ...predictor.loss_model import LossModel
from ...predictor.predictor import Predictor
from ...predictor.textbook_parameters import most_helpful
from .. import words
from ..bars import Interval, Strips
from .after_pretraining import stages_view
from .cells import add_row, percent, plain_table, quantity_cells, whole_parts
from .cluster import cluster_lines, cluster_rows, machines_text, notes_lines

__all__ = ["backtest_view", "fit_view", "forecast_view", "predictors_view", "run_size", "score_view"]

_DAY_S = 86_400.0
_MANY_LOSSES = 3  # of one predictor, beyond which they share one table
_MANY_TIMES = 10.0  # beyond it a share in percent is hard to read
_TO_THE_LEFT = ("corpus", "by", "tokenizer", "evaluated on")
_TO_THE_RIGHT = ("runs", "params", "tokens", "FLOPs", "width")
_TERMS = {
    "irreducible": "irreducible (E)",
    "capacity": "limited size",
    "data": "limited data",
    "repetition": "repeated data",
    "muennighoff": "repeated data",
    "experts": "experts",
    "lr": "learning rate off its optimum",
    "learning_rate": "learning rate off its optimum",
    "batch": "batch off its optimum",
    "optimizer": "optimizer",
    "lr_batch": "learning rate, batch off their optimum",
    "lr_batch_posynomial": "learning rate, batch off their optimum",
    "mixture": "data mix",
    "exponential_mixture": "data mix",
    "learned": "learned correction",
    "new_domains": "new domains",
    "data_stages": "stages of the data",
    "architecture": "architecture",
    "selection": "selected documents",
    "synthetic": "synthetic text",
}


def forecast_view(result: Forecast) -> RenderableType:
    """The forecast of one run: what was planned, the numbers with intervals, what they rest on, warnings."""
    cluster = result.cluster
    title = f"{result.config.name or 'run'}: {run_size(result.config)}"
    stages = [Text(line) for line in stages_in_words(result.config.data, result.config.optim)]
    blocks: list[RenderableType] = [Text(title, style="bold"), *stages, _numbers(result), Strips(_intervals(result))]
    blocks += [Text(_branch(one)) for one in result.branches]
    targets = result.config.targets
    if result.p_target is not None:
        if targets.perplexity is not None:
            target = f"perplexity {targets.perplexity:g}"
        else:
            target = f"loss {targets.loss_nats:g}"
        if result.predictor["main_in_words"] is not None:
            target += f", {result.predictor['main_in_words']}"
        blocks.append(Text(f"chance of reaching the target ({target}): {percent(result.p_target)}"))
    stated = [value for value in (result.p_target, targets.deadline, targets.budget_usd) if value is not None]
    if len(stated) > 1 and result.p_all is not None:
        blocks.append(Text(f"chance of reaching all targets together: {percent(result.p_all)}"))
    blocks.append(_breakdown(result.headline))
    for name, one in before_run(result.config).items():
        share = one.flops / result.config.training_flops
        relative = f"{format_share(share)} of" if share < _MANY_TIMES else f"{format_count(share)} times"
        blocks.append(Text(f"{name}: {one.sentence}, {relative} those of training"))
    if cluster is None:
        lacking = ", ".join(result.cluster_missing)
        blocks.append(Text(f"no times, memory or cost: the plan lacks {lacking}", style="dim"))
    else:
        blocks.append(Text(f"on {machines_text(cluster)}"))
        blocks += [Text("  ") + line for line in cluster_lines(cluster)]
    if result.after is not None:
        blocks += stages_view(result)
    blocks.append(_basis(result))
    blocks += [Text(one.sentence, style="dim") for one in result.strategies]
    blocks += [Text(f"! {warning}", style="yellow") for warning in result.warnings]
    if cluster is not None:
        blocks += notes_lines(cluster)
    return Group(*blocks)


def _branch(one: BranchForecast) -> str:
    """The end of a branch in one line."""
    low, high = one.loss_nats.intervals[0.9]
    return (
        f"{one.name}: leaves after {format_count(one.left_tokens)} tokens, ends after {format_count(one.tokens)} at "
        f"{one.loss_nats.median:.3f} nats (90 %: {low:.3f} to {high:.3f})"
    )


def _intervals(result: Forecast) -> list[Interval]:
    """What a plan may have targets for, each with its target, to be drawn on a terminal."""
    targets, cluster = result.config.targets, result.cluster
    perplexity = result.headline.perplexity
    said = words.PERPLEXITY.text(perplexity.median, words.width_of(perplexity))
    rows = [Interval("perplexity per token", perplexity, said, targets.perplexity_wanted)]
    if cluster is not None:
        days = cluster.wall_clock_days
        deadline = None if result.config.deadline_s is None else result.config.deadline_s / _DAY_S
        rows.append(Interval("wall clock", days, words.days_unit(days.median).text(days.median), deadline))
    if cluster is not None and cluster.cost_usd is not None:
        cost = cluster.cost_usd
        rows.append(Interval("cost", cost, words.money_unit(cost.median).text(cost.median), targets.budget_usd))
    return rows


def run_size(config: RunConfig) -> str:
    """The size, tokens and FLOPs of a run."""
    model, data = config.model, config.data
    size = format_count(model.params_total)
    if model.params_active != model.params_total:
        size += f" ({format_count(model.params_active)} active)"
    tokens = f"{format_count(data.tokens)} tokens"
    if data.epochs > 1:
        tokens += f" ({data.epochs:.3g} epochs)"
    return f"{size} parameters, {tokens}, {format_flops(config.training_flops)}"


def _numbers(result: Forecast) -> Table:
    """Losses and what the machines take, each with intervals."""
    table = plain_table("", "predicted", "50 % interval", "90 % interval")
    main, average = result.headline, result.average
    of_main = "" if len(result.domains) == 1 else f" on {result.main.removeprefix('loss.')}"
    of_main = ", mean of domains" if main is average else of_main
    _add_quantity(table, f"perplexity per token{of_main}", main.perplexity, _two)
    _add_quantity(table, f"loss, nats per token{of_main}", main.loss_nats, _three)
    if main.bits_per_byte is not None:
        _add_quantity(table, f"bits per byte{of_main}", main.bits_per_byte, _three)
    if average is not None and average is not main:
        _add_quantity(table, "perplexity per token, mean of domains", average.perplexity, _two)
        _add_quantity(table, "loss, nats per token, mean of domains", average.loss_nats, _three)
    for name, domain in result.domains.items():
        if name != result.main:
            of_domain = f" on {name.removeprefix('loss.')}"
            _add_quantity(table, f"perplexity per token{of_domain}", domain.perplexity, _two)
    if result.cluster is not None:
        for cells in cluster_rows(result.cluster):
            add_row(table, *cells)
    return table


def _two(number: float) -> str:
    return format_decimals(number, 2)


def _three(number: float) -> str:
    return format_decimals(number, 3)


def _add_quantity(table: Table, label: str, quantity: Quantity, form: Callable[[float], str]) -> None:
    """A row with a quantity's median and intervals, in the form of its unit."""
    add_row(table, label, *quantity_cells(quantity, form))


def _breakdown(domain: DomainForecast) -> Text:
    """The loss as a sum of its terms."""
    # thousandths that sum to the loss as it is written
    thousandths = whole_parts(domain.decomposition_nats, round(1000 * domain.loss_nats.median))
    terms = [
        f"{_TERMS.get(term, term)} {thousandths[term] / 1000:+.3f}"
        for term in domain.decomposition_nats
        if term in thousandths
    ]
    # the first term needs no plus
    return Text("loss, nats = " + ", ".join(terms).replace("+", "", 1))


def _basis(result: Forecast) -> Text:
    """The fitted runs that the forecast rests on."""
    about = result.predictor
    least_params, most_params = about["fitted_params"]
    least_tokens, most_tokens = about["fitted_tokens"]
    _, most_flops = about["fitted_flops"]
    runs = "1 run" if about["rows"] == 1 else f"{about['rows']:,} runs"
    params = f"{_span(least_params, most_params)} parameters"
    tokens = f"{_span(least_tokens, most_tokens)} tokens"
    counted = str(about["params_kind"]).replace("_", "-")
    lines = [f"rests on {about['name']}: {about['title'] or about['table']}"]
    if about["text_of_plan"]:
        lines += _text_lines(about)
    lines += [
        f"  {runs}, {params}, {tokens}, up to {format_flops(most_flops)}",
        f"  law {about['law']}, N counts {counted} parameters",
    ]
    return Text("\n".join(lines), style="dim")


def _span(low: float, high: float) -> str:
    """Two counts, or one where they read the same."""
    least, most = format_count(low), format_count(high)
    return most if least == most else f"{least} to {most}"


def _text_lines(about: Mapping[str, Any]) -> list[str]:
    """The text that a forecast is of, as far as the plan names it, and what else it could name."""
    named, lacking = [], {}
    if about["corpus"] is None:
        lacking["corpus"] = "data.corpus"
    else:
        count = about["public_runs"]
        named.append(f"corpus {about['corpus']} ({count or 'no'} public run{'' if count == 1 else 's'} on it)")
    if about["tokenizer"] is None:
        lacking["tokenizer"] = "data.tokenizer"
    else:
        named.append(f"tokenizer {about['tokenizer']}")
    if about["val_domain"] is None:
        lacking["evaluation text"] = "data.evaluated_on"
    else:
        named.append(f"evaluated on {about['val_domain']}")
    lines = [f"  {', '.join(named)}"] if named else []
    if lacking:
        what = ", ".join(lacking)
        what = " and ".join(what.rsplit(", ", 1))
        it = "it" if len(lacking) == 1 else "them"
        lines += [
            f"  {what} not named: naming {it} narrows the interval",
            f"  ({', '.join(lacking.values())})",
        ]
    return lines


def fit_view(predictor: Predictor, where: str | None) -> RenderableType:
    """What was fitted, for each loss column (in one table where there are many), and where it was written."""
    blocks: list[RenderableType] = []
    if len(predictor.models) > _MANY_LOSSES:
        blocks.append(_fit_table(predictor))
        blocks.append(Text("all parameters: --json, or the predictor's MODEL_CARD.md", style="dim"))
    else:
        for name, model in predictor.models.items():
            blocks.append(Text(f"{name}: {model.fit.law.name}", style="bold"))
            blocks.append(Padding(_fit_facts(model), (0, 0, 0, 2), expand=False))
    blocks += [Text(f"! {note}", style="yellow") for note in predictor.notes]
    if where is None:
        blocks.append(Text("not saved: give --out DIR to keep this predictor", style="dim"))
    else:
        blocks.append(Text(f"wrote {where}: simulate predict --predictor {where} --config run.yaml"))
    return Group(*blocks)


def _fit_table(predictor: Predictor) -> Table:
    """A row for each loss: what corrects its law, errors on runs left out, which training domains help it most."""
    mixed = any(model.fit.law.domains for model in predictor.models.values())
    headings = ["target", "law", "on top", "runs", "law alone", "chain"]
    if mixed:
        headings.append("most help from")
    table = plain_table(*headings)
    for name, model in predictor.models.items():
        learned = model.choice.get("surrogate") or {"chosen": "law", "errors": {}}
        chosen = learned["chosen"]
        cells = [name, model.fit.law.name, "–" if chosen == "law" else chosen, str(model.rows)]
        for part in ("law", chosen):
            cells.append(_or_dash(learned["errors"].get(part), "{:.2%}"))
        if mixed:
            cells.append(", ".join(most_helpful(model.fit)))
        add_row(table, *cells)
    return table


def _fit_facts(model: LossModel) -> Table:
    """All facts of one fitted loss, a row each."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    law = model.fit.law
    parameters = []
    for name, value in model.parameters.items():
        if not name.startswith("worth."):  # one a domain: "most help from" sums them up
            parameters.append(f"{name} {value:.5g}")
    _, most_flops = model.fitted_ranges["compute"]
    own, within = model.calibration, model.within
    width = f"± {own.width(0.9):.2f} × a forecast's own error scale; "
    width += f"{own.own_scores} own back-test errors, {own.own_cuts} cuts"
    if within is not None:
        width += f"; among runs like these ± {within.width(0.9):.2f} ×, {within.own_scores} runs left out"

    add_row(table, "law", law.member.title)
    add_row(table, "why", str(model.choice.get("why")))
    add_row(table, "parameters", ", ".join(parameters))
    add_row(table, "runs", f"{model.rows}, up to {format_flops(most_flops)}")
    residual = f"{model.fit.noise:.2%} of the loss (mean absolute), objective {model.fit.objective:.10g}"
    add_row(table, "residual", residual)
    if law.domains:
        add_row(table, "most help from", ", ".join(most_helpful(model.fit)))
    add_row(table, "on top", _learned(model))
    add_row(table, "90 % interval", width)
    left_out = model.choice.get("left_out")
    if isinstance(left_out, Mapping) and left_out:
        reasons = [f"{name}: {reason}" for name, reason in left_out.items()]
        add_row(table, "left out", "; ".join(reasons))
    return table


def _learned(model: LossModel) -> str:
    """What was learned on top of the law, and the errors on runs left out."""
    learned = model.choice.get("surrogate")
    if not isinstance(learned, Mapping):
        return "nothing (too few runs, or a law asked for by name)"
    if learned["backtest_errors"]:
        judged_on, errors = "rolling cuts", learned["backtest_errors"]
    else:
        judged_on, errors = "runs left out", learned["errors"]
    listed = ", ".join(f"{name} {error:.2%}" for name, error in errors.items())
    chosen = "nothing" if learned["chosen"] == "law" else learned["chosen"]
    return f"{chosen}; errors on {judged_on}: {listed}"


def score_view(result: Mapping[str, Any]) -> RenderableType:
    """Errors, coverage and interval score (of 90 % intervals) by target, in two tables that fit 80 columns.

    Of a few runs, a third one holds each forecast against what was observed.
    """
    errors = plain_table("target", "rows", "median error", "p90", "max", "bias, nats", "R²", "rank ρ")
    covers = plain_table("interval covers", "50 %", "80 %", "90 %", "95 %", "90 % width, nats", "score, nats")
    few = plain_table("nats per token", "observed", "forecast", "90 % interval", "observed is")
    scores = dict(result["targets"])
    if "average" in result:
        scores["mean of domains"] = result["average"]
    for name, scored in scores.items():
        add_row(
            errors,
            name,
            str(scored["rows"]),
            f"{scored['median_relative_error']:.2%}",
            f"{scored['p90_relative_error']:.2%}",
            f"{scored['max_relative_error']:.2%}",
            f"{scored['bias_nats']:+.4f}",
            _or_dash(scored["r2"], "{:.3f}"),
            _or_dash(scored["spearman"], "{:.3f}"),
        )
        for run in scored.get("runs", ()):
            low, high = run["interval_nats"]
            inside = "inside" if low <= run["observed_nats"] <= high else "outside"
            ends = f"{low:.4f} to {high:.4f}"
            add_row(few, name, f"{run['observed_nats']:.4f}", f"{run['predicted_nats']:.4f}", ends, inside)
        covered = [f"{share:.0%}" for share in scored["coverage"].values()]
        width = scored["median_interval_width_nats"]["0.9"]
        interval_score = scored["interval_score_nats"]["0.9"]
        add_row(covers, name, *covered, f"{width:.4f}", f"{interval_score:.4f}")
    return Group(*([few, Text("")] if few.rows else []), errors, Text(""), covers)


def backtest_view(results: Mapping[str, Mapping[str, Any]]) -> RenderableType:
    """Back-tests of every applicable law, and of the chosen one with what can be learned on top, by target."""
    blocks: list[RenderableType] = []
    for target, result in results.items():
        chosen = result["chosen"]
        surrogate = result.get("surrogate")
        if surrogate and surrogate.get("chosen", "law") != "law":
            chosen += f" + {surrogate['chosen']}"
        table = plain_table(target, "median error", "max", "90 % interval covers", "judged on")
        for name, scored in result["laws"].items():
            coverage = scored["coverage"] or {}
            left_out = scored.get("evidence") == "leave-one-out"
            add_row(
                table,
                f"{name} (chosen)" if name == chosen else name,
                _or_dash(scored["median_relative_error"], "{:.2%}"),
                _or_dash(scored["max_relative_error"], "{:.2%}"),
                _or_dash(coverage.get("0.9"), "{:.0%}"),
                f"{scored['cuts']} runs left out" if left_out else f"{scored['cuts']} cuts",
            )
        blocks.append(table)
        blocks.append(Text(f"{result['chosen']}: {result['why']}", style="dim"))
    return Group(*blocks)


def _or_dash(value: float | None, form: str) -> str:
    """A number in its form; a dash where there is none."""
    return "–" if value is None else form.format(value)


def predictors_view(found: Offered) -> RenderableType:
    """The predictors that ship, each with what it rests on, and the texts that a plan may name; 100 columns."""
    blocks: list[RenderableType] = [
        Text("width: upper over lower end of the 90 % interval of the perplexity of 7B parameters on 2T tokens"),
        Text("Predictors that ship, for --predictor:", style="bold"),
        *(_shipped(one) for one in found.predictors),
        Text(""),
        Text(f"Texts that {DEFAULT} knows public runs of (the largest params, tokens, FLOPs):", style="bold"),
        _known_texts(found),
        Text(f"A plan names its text: {_example(found)}; and data.evaluated_on"),
        Text("where the loss is not on its own mix."),
        Text("Other corpora, and compositions such as {web: 0.8, code: 0.2}, go by their kinds of text."),
        Text("With runs of your own: simulate predict --anchor RUNS, or simulate fit RUNS."),
    ]
    return Group(*blocks)


def _shipped(one: ShippedPredictor) -> Text:
    width = "refuses that plan" if one.perplexity_ratio is None else f"width {_width(one.perplexity_ratio)}"
    params, tokens = _span(*one.params), _span(*one.tokens)
    stated = {"corpus": one.corpus, "tokenizer": one.tokenizer, "evaluated on": one.evaluated_on}
    text = ", ".join(f"{what} {name}" for what, name in stated.items() if name is not None)
    lines = [
        f"  {one.name}{' (the default)' if one.name == DEFAULT else ''}: {width}",
        f"    {one.title}",
        f"    {text or 'corpus, tokenizer and evaluation text as the plan names them'}",
        f"    {one.runs:,} runs, {params} parameters, {tokens} tokens, up to {format_flops(one.training_flops[1])}",
    ]
    return Text("\n".join(lines))


def _known_texts(found: Offered) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in _TO_THE_LEFT:
        table.add_column(Text(heading), overflow="fold")
    for heading in _TO_THE_RIGHT:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for one in sorted(found.texts, key=lambda text: (str(text.corpus), str(text.source))):
        sizes = (format_count(ends[1]) for ends in (one.params, one.tokens))
        add_row(
            table,
            *(name or "–" for name in (one.corpus, one.source, one.tokenizer, one.evaluated_on)),
            str(one.runs),
            *sizes,
            format_flops(one.training_flops[1]).removesuffix(" FLOPs"),
            "–" if one.perplexity_ratio is None else _width(one.perplexity_ratio),
        )
    return table


def _width(ratio: float) -> str:
    return f"×{ratio:.2f}" if ratio < 10 else f"×{ratio:.0f}"


def _example(found: Offered) -> str:
    """The narrowest of the texts, as a plan names it."""
    known = [one for one in found.texts if one.tokenizer is not None and one.perplexity_ratio is not None]
    best = min(known, key=lambda one: one.perplexity_ratio or 0.0)
    return f"data.corpus: {best.corpus}, data.tokenizer: {best.tokenizer}"
