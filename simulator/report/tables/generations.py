"""Generations of proxies as tables for a terminal: losses by chain, differences between chains, how far it is.

Results come as values whose attributes are read here; nothing of `proxies` is imported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ....core.units import format_count, format_duration
from .cells import add_row, plain_table

__all__ = ["generations_status_view", "generations_view"]


def generations_view(losses: Sequence[Any], differences: Sequence[Any], table_file: str) -> RenderableType:
    """Losses (`ChainLoss`) by chain and generation, each seed's beside the mean; then differences (`Difference`)."""
    numbers = sorted({row.generation for row in losses})
    seeds = sorted({row.seed for row in losses})
    chains = list(dict.fromkeys(row.chain for row in losses if row.chain is not None))
    table = plain_table("loss, nats per token", *(f"generation {number}" for number in numbers))
    for chain in chains:
        cells = [
            _mean_and_each([row.loss_nats for row in losses if row.generation == number and row.chain in (chain, None)])
            for number in numbers
        ]
        add_row(table, chain.name, *cells)
    rises = plain_table("rise over generation 0", *(f"generation {number}" for number in numbers[1:]))
    for chain in chains:
        cells = [
            _mean_and_each([row.rise_nats for row in losses if (row.generation, row.chain) == (number, chain)], "+")
            for number in numbers[1:]
        ]
        add_row(rises, chain.name, *cells)
    told = Text(f"seeds {', '.join(map(str, seeds))}, in this order in brackets behind the mean")
    parts: list[RenderableType] = [table, Text(), rises, told]
    if differences:
        parts += [Text(), _differences(differences)]
        if len(seeds) < 2:
            parts.append(Text("! one seed shows no luck; expected seeds: 2 or more", style="yellow"))
    return Group(*parts, Text(f"wrote {table_file}; simulate fit {table_file} --out predictor"))


def generations_status_view(status: Any) -> RenderableType:
    """A `GenerationsStatus`: runs by generation, failures by name, and what goes on from there."""
    table = plain_table("generation", "done", "of", "tokens", "time left")
    failures = []
    for number, one in enumerate(status.generations):
        done = one.counts["done"] + one.counts["diverged"]
        left = "" if one.eta_s is None else format_duration(one.eta_s)
        add_row(table, f"{number}", f"{done}", f"{len(one.runs)}", format_count(one.tokens_done), left)
        failures += [Text(f"! {run.run_id}: {run.failure}", style="red") for run in one.runs if run.failure]
    return Group(*([table] if status.generations else []), *failures, Text(status.next_step))


def _differences(differences: Sequence[Any]) -> RenderableType:
    """Differences over common seeds; one whose interval holds 0 is undecided."""
    numbers = sorted({pair.generation for pair in differences})
    table = plain_table("difference, ± 90 %", *(f"generation {number}" for number in numbers))
    for first, second in dict.fromkeys((pair.first, pair.second) for pair in differences):
        found = {p.generation: p for p in differences if (p.first, p.second) == (first, second)}
        cells = [_difference(found[number]) if number in found else "" for number in numbers]
        add_row(table, f"{first.name} - {second.name}", *cells)
    return table


def _difference(pair: Any) -> str:
    if not math.isfinite(pair.half_nats):
        return f"{pair.mean_nats:+.3f}"
    return f"{pair.mean_nats:+.3f} ± {pair.half_nats:.3f}{'' if pair.decided else ' undecided'}"


def _mean_and_each(values: Sequence[float], sign: str = "") -> str:
    """The mean, and behind it each value where there are several; empty without any."""
    if not values:
        return ""
    mean = f"{math.fsum(values) / len(values):{sign}.3f}"
    return mean if len(values) == 1 else f"{mean} ({' '.join(f'{value:{sign}.3f}' for value in values)})"
