"""A ladder of proxies on real text, its largest size predicted from the smaller ones.

    python benchmarks/ladder.py

Six sizes of constant depth, 0.5 to 8M tokens, two seeds, learning rate tuned at two sizes; the largest is three times
the next. The law is fitted without it and predicts its loss at every token budget. Trains for about a quarter of
an hour on two cores; interrupted, the same command goes on. The run table goes to benchmarks/results/ladder.csv.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _proxies import WORK, corpora, train
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.predictor.predictor import Predictor

DOMAINS = ("arxiv_math", "books", "code_cpp", "dialogue", "law_german")
SPACE = {
    "widths": [16, 24, 32, 40, 56, 104],
    "tokens": ["0.5M", "1M", "2M", "4M", "8M"],
    "seeds": 2,
    "mix": "uniform",
    "lr": {"low": 0.002, "high": 0.016, "points": 4, "sizes": [24, 56], "tokens": "1M"},
}
RESULTS = Path(__file__).parent / "results" / "ladder.csv"
FEWEST_TOKENS_PER_PARAM = 5  # shorter runs are hardly past their warm-up, and bend the law of the rest


def main() -> None:
    """Train, fit, print the table."""
    project, seconds = train(WORK / "ladder", corpora(DOMAINS), SPACE)
    table = project.table()
    RESULTS.parent.mkdir(exist_ok=True)
    table.write(RESULTS)
    choice = project.learning_rate()
    print(f"{len(table)} rows in {seconds / 60:.1f} min (of this call); {choice.reason if choice else 'fixed lr'}")
    engine = next(iter(_results(project))).engine
    print(", ".join(f"{key} {engine[key]}" for key in ("device_name", "precision", "torch_version")))
    report(table)


def report(table: RunTable) -> None:
    """Fit without the largest size; print its losses, predicted and observed."""
    params, tokens = table.column("params"), table.column("tokens")
    largest = params == params.max()
    small = ~largest & (tokens >= FEWEST_TOKENS_PER_PARAM * params)
    print(f"largest {params.max():.0f} parameters, {params.max() / params[~largest].max():.2f} x the next; ", end="")
    print(f"fitted on {small.sum()} rows of {len(set(params[small]))} sizes")
    fitted = Predictor.fit(table.select(small))
    head = f"{'target':<18}{'tokens':>9}{'seeds':>18}{'predicted':>11}"
    print(f"{head}{'90 % interval':>18}{'error, %':>10}{'seed sd, %':>12}")
    for target in table.loss_columns:
        _report_target(table, fitted, target, largest)


def _report_target(table: RunTable, fitted: Predictor, target: str, largest: np.ndarray) -> None:
    rows = table.select(largest)
    loss, tokens = rows.column(target), rows.column("tokens")
    prediction = fitted.predict({name: rows.column(name) for name in ("params", "tokens")}, target)
    low, high = prediction.interval(0.9)
    worst, inside = 0.0, []
    for budget in sorted(set(tokens)):
        at = tokens == budget
        seen, said = loss[at], prediction.loss_nats[at][0]
        error = 100 * (said / seen.mean() - 1)
        worst, inside = max(worst, abs(error)), [*inside, *((low[at] <= seen) & (seen <= high[at]))]
        seeds = " ".join(f"{value:.4f}" for value in seen)
        noise = 100 * seen.std(ddof=1) / seen.mean() if len(seen) > 1 else float("nan")
        print(
            f"{target:<18}{budget / 1e6:>8.2f}M{seeds:>18}{said:>11.4f}"
            f"{low[at][0]:>10.3f} to {high[at][0]:.3f}{error:>+9.2f}{noise:>12.2f}"
        )
    print(f"{target:<18}largest error {worst:.2f} %, {np.mean(inside):.0%} inside the 90 % interval")


def _results(project):
    from foretrain.proxies.campaign.campaign import Campaign

    return (result for _, result in Campaign.open(project.main).results())


if __name__ == "__main__":
    main()
