"""What forecasts can rest on, as text for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ....core.units import format_count, format_flops
from ...forecast.offered import DEFAULT, Offered, ShippedPredictor
from .cells import add_row

__all__ = ["predictors_view"]

_TO_THE_LEFT = ("corpus", "by", "tokenizer", "evaluated on")
_TO_THE_RIGHT = ("runs", "params", "tokens", "FLOPs", "width")


def predictors_view(found: Offered) -> RenderableType:
    """The predictors that ship, each with what it rests on, and the texts that a plan may name; 100 columns."""
    blocks: list[RenderableType] = [
        Text("width: upper over lower end of the 90 % interval of the perplexity of 7B parameters on 2T tokens"),
        Text("Predictors that ship, for --predictor:", style="bold"),
        *(_predictor(one) for one in found.predictors),
        Text(""),
        Text(f"Texts that {DEFAULT} knows public runs of (the largest params, tokens, FLOPs):", style="bold"),
        _texts(found),
        Text(f"A plan names its text: {_example(found)}; and data.evaluated_on"),
        Text("where the loss is not on its own mix."),
        Text("Other corpora, and compositions such as {web: 0.8, code: 0.2}, go by their kinds of text."),
        Text("With runs of your own: simulate predict --anchor RUNS, or simulate fit RUNS."),
    ]
    return Group(*blocks)


def _predictor(one: ShippedPredictor) -> Text:
    width = "refuses that plan" if one.perplexity_ratio is None else f"width {_width(one.perplexity_ratio)}"
    params, tokens = (
        " to ".join(dict.fromkeys(map(format_count, ends))) for ends in (one.params, one.tokens)
    )  # one number where both ends read the same
    stated = {"corpus": one.corpus, "tokenizer": one.tokenizer, "evaluated on": one.evaluated_on}
    text = ", ".join(f"{what} {name}" for what, name in stated.items() if name is not None)
    lines = [
        f"  {one.name}{' (the default)' if one.name == DEFAULT else ''}: {width}",
        f"    {one.title}",
        f"    {text or 'corpus, tokenizer and evaluation text as the plan names them'}",
        f"    {one.runs:,} runs, {params} parameters, {tokens} tokens, up to {format_flops(one.training_flops[1])}",
    ]
    return Text("\n".join(lines))


def _texts(found: Offered) -> Table:
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
