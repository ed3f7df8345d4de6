"""Loss of each mixer less that of the transformer at the same parameters, tokens and seed, with standard errors.

No two mixers have a size in common, as widths come in steps of 8: the transformer's loss at a mixer's parameters is
read off the cubic through its four sizes, log loss over log parameters, of the same seed and tokens. Both then trained
on the same text in the same order. A standard error is that of the mean of the seeds' differences; as two seeds say
little of their own spread, the spread is pooled over the sizes of a mixer at the same tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from foretrain.datasets.runs.run_table import RunTable

from .tables import BASELINE, by_tokens, mixers_of, of_mixer, sizes_of

__all__ = ["Cell", "differences", "report_differences", "report_losses"]


@dataclass(frozen=True)
class Cell:
    """A mixer at a size and a token budget: difference to the transformer by seed, nats, and its standard error."""

    mixer: str
    params: float
    tokens: float
    by_seed: tuple[float, ...]
    error: float = math.nan

    @property
    def mean(self) -> float:
        return float(np.mean(self.by_seed))


def differences(table: RunTable, mixer: str) -> list[Cell]:
    """The cells of a mixer that both it and the transformer have, ascending in size and tokens."""
    seeds = sorted(set(table.column("seed")[of_mixer(table, mixer)]))
    found: dict[tuple[float, float], list[float]] = {}
    for seed in seeds:
        own, of_transformer = by_tokens(table, mixer, seed), by_tokens(table, BASELINE, seed)
        for tokens in own.columns.intersection(of_transformer.columns):
            known = of_transformer[tokens].dropna()
            through = np.polynomial.Polynomial.fit(np.log(known.index), np.log(known), min(3, len(known) - 1))
            for params, loss in own[tokens].dropna().items():
                found.setdefault((params, tokens), []).append(loss - math.exp(through(math.log(params))))
    cells = [Cell(mixer, *place, tuple(by_seed)) for place, by_seed in sorted(found.items()) if len(by_seed) > 1]
    return [Cell(c.mixer, c.params, c.tokens, c.by_seed, _pooled(cells, c)) for c in cells]


def _pooled(cells: list[Cell], of: Cell) -> float:
    """The standard error of a cell's mean, with the variance between seeds pooled over the sizes."""
    alike = [cell.by_seed for cell in cells if cell.tokens == of.tokens]
    variance = np.mean([np.var(by_seed, ddof=1) for by_seed in alike])
    return math.sqrt(variance / len(of.by_seed))


def report_losses(table: RunTable) -> None:
    """Print loss × size × tokens × mixer, mean and half the range of the seeds."""
    budgets = sorted(set(table.column("tokens")))
    head = f"{'mixer':<14}{'parameters':>11}  " + "".join(f"{tokens / 1e6:>14.2f}M" for tokens in budgets)
    print(f"\nloss, nats per byte: mean ± half the range of the seeds\n{head}")
    for name in mixers_of(table):
        for params in sizes_of(table, name):
            texts = []
            for tokens in budgets:
                here = of_mixer(table, name) & (table.column("params") == params) & (table.column("tokens") == tokens)
                loss = table.column("loss")[here]
                texts.append(f"{loss.mean():.4f} ± {np.ptp(loss) / 2:.4f}" if len(loss) else "")
            print(f"{name:<14}{params:>11.0f}  " + "".join(f"{text:>15}" for text in texts))


def report_differences(table: RunTable) -> None:
    """Print each mixer's difference to the transformer; an asterisk where its 90 % interval holds 0."""
    budgets = sorted(set(table.column("tokens")))
    head = f"{'mixer':<14}{'parameters':>11}  " + "".join(f"{tokens / 1e6:>14.2f}M" for tokens in budgets)
    print(f"\nloss less the transformer's at the same parameters, tokens and seed, nats ± standard error\n{head}")
    for name in mixers_of(table)[1:]:
        cells = {(cell.params, cell.tokens): cell for cell in differences(table, name)}
        for params in sizes_of(table, name):
            texts = [_text(cells.get((params, tokens))) for tokens in budgets]
            print(f"{name:<14}{params:>11.0f}  " + "".join(f"{text:>15}" for text in texts))
    print("* undecided: 0 lies within the 90 % interval (1.645 standard errors of four pooled pairs: t of 4, 2.13)")


_T90 = 2.13
"""Of Student's t with four degrees of freedom: a pair of each of four sizes."""


def _text(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return f"{cell.mean:+.3f} ± {cell.error:.3f}" + ("*" if abs(cell.mean) < _T90 * cell.error else " ")
