"""Loss of each mixer less that of the transformer at the same parameters, tokens and seed, with standard errors.

No two mixers have a size in common, as widths come in steps of 8: the transformer's loss at a mixer's parameters is
read off the cubic through its four sizes, log loss over log parameters, of the same seed and tokens. Both then trained
on the same text in the same order. A standard error is that of the mean of the seeds' differences; as two seeds say
little of their own spread, the spread is pooled over the sizes of a mixer at the same tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from foretrain.datasets.runs.run_table import RunTable
from scipy.stats import t as student

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
    freedom: int = 1
    """Degrees of freedom of the standard error."""

    @property
    def mean(self) -> float:
        return float(np.mean(self.by_seed))

    @property
    def decided(self) -> bool:
        """Whether 0 lies outside the 90 % interval."""
        return abs(self.mean) > float(student.ppf(0.95, self.freedom)) * self.error


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
    return [replace(cell, **_pooled(cells, cell)) for cell in cells]


def _pooled(cells: list[Cell], of: Cell) -> dict[str, Any]:
    """The standard error of a cell's mean, the variance between seeds pooled over sizes, and its degrees of freedom."""
    alike = [cell.by_seed for cell in cells if cell.tokens == of.tokens]
    freedom = sum(len(by_seed) - 1 for by_seed in alike)
    variance = sum(np.var(by_seed) * len(by_seed) for by_seed in alike) / freedom
    return {"error": math.sqrt(variance / len(of.by_seed)), "freedom": freedom}


def report_losses(table: RunTable) -> None:
    """Print loss × size × tokens × mixer, mean and half the range of the seeds."""
    budgets = sorted(set(table.column("tokens")))
    head = f"{'mixer':<14}{'parameters':>11}  " + "".join(f"{tokens / 1e6:>16.2f}M" for tokens in budgets)
    print(f"\nloss, nats per byte: mean ± half the range of the seeds\n{head}")
    for name in mixers_of(table):
        for params in sizes_of(table, name):
            texts = []
            for tokens in budgets:
                here = of_mixer(table, name) & (table.column("params") == params) & (table.column("tokens") == tokens)
                loss = table.column("loss")[here]
                texts.append(f"{loss.mean():.4f} ± {np.ptp(loss) / 2:.4f}" if len(loss) else "")
            print(f"{name:<14}{params:>11.0f}  " + "".join(f"{text:>17}" for text in texts))


def report_differences(table: RunTable) -> None:
    """Print each mixer's difference to the transformer; an asterisk where its 90 % interval holds 0."""
    budgets = sorted(set(table.column("tokens")))
    head = f"{'mixer':<14}{'parameters':>11}  " + "".join(f"{tokens / 1e6:>16.2f}M" for tokens in budgets)
    print(f"\nloss less the transformer's at the same parameters, tokens and seed, nats ± standard error\n{head}")
    for name in mixers_of(table)[1:]:
        cells = {(cell.params, cell.tokens): cell for cell in differences(table, name)}
        for params in sizes_of(table, name):
            texts = [_text(cells.get((params, tokens))) for tokens in budgets]
            print(f"{name:<14}{params:>11.0f}  " + "".join(f"{text:>17}" for text in texts))
    print("* undecided: 0 lies within the 90 % interval, by Student's t with a degree of freedom for each size")


def _text(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return f"{cell.mean:+.3f} ± {cell.error:.3f}" + (" " if cell.decided else "*")
