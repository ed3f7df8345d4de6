"""Mixtures of experts against dense models at equal active size: from where is the gain larger than the seeds'?

    python benchmarks/experts.py [train]

Dense and 4, 8 and 16 experts, of which a token visits two half as wide as the dense network: a token meets as many
parameters in each. One size, 0.25 to 8M tokens, three seeds, the same text in the same order, learning rates tuned at
the dense model and each number of experts. Differences are paired by seed. `train` takes about two hours of one core;
interrupted, the same command goes on. What is validated so far goes to benchmarks/results/experts.csv, which is what
the report reads.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from _architectures.campaigns import so_far
from _proxies import WORK, corpora, train
from foretrain.datasets.runs.run_table import RunTable
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.campaign.campaign_table import results_table

DOMAINS = ("arxiv_math", "books", "code_cpp", "dialogue", "law_german")
NUMBERS = (1, 4, 8, 16)
SPACE = {
    "widths": [32],
    "tokens": ["0.25M", "0.5M", "1M", "2M", "4M", "8M"],
    "seeds": 3,
    "mix": "uniform",
    "lr": {"low": 0.002, "high": 0.016, "points": 4, "tokens": "0.5M"},
}
RESULTS = Path(__file__).parent / "results" / "experts.csv"
_T_90 = 2.92  # 95th percentile of Student's t with two degrees of freedom: three pairs


def main() -> None:
    """Train if asked to, write the table of what there is, and print the differences."""
    if sys.argv[1:] == ["train"]:
        for number in NUMBERS:
            experts = {} if number == 1 else {"num_experts": number, "experts_per_token": 2}
            project, seconds = train(WORK / "experts" / str(number), corpora(DOMAINS), {**SPACE, **experts})
            choice = project.learning_rate()
            print(f"{number} experts: {seconds / 60:.1f} min of this call; {choice.reason if choice else 'fixed lr'}")
    campaigns = {n: WORK / "experts" / str(n) / "proxies" / "main" for n in NUMBERS}
    trained = {number: Campaign.open(path) for number, path in campaigns.items() if path.is_dir()}
    if trained:
        frames = [_frame(campaign, number) for number, campaign in trained.items()]
        RunTable.from_frame(pd.concat(frames, ignore_index=True)).write(RESULTS)
    if not RESULTS.is_file():
        raise SystemExit(f"{RESULTS} is absent: train first, `python benchmarks/experts.py train`")
    report(RunTable.read(RESULTS))
    for number, campaign in trained.items():
        if number > 1:
            _report_routing(campaign, number)


def _frame(campaign: Campaign, number: int) -> pd.DataFrame:
    """What a campaign has given so far, its runs named by their number of experts."""
    frame = results_table([(campaign.file, so_far(campaign))], str(number)).frame
    frame["run_id"] = f"e{number}-" + frame["run_id"].astype(str)
    frame["num_experts"] = float(number)
    frame["experts_per_token"] = float(min(2, number))
    return frame


def report(table: RunTable) -> None:
    """Print the loss of the dense model, and what each number of experts gives less, paired by seed."""
    experts, tokens, seed, loss = (table.column(name) for name in ("num_experts", "tokens", "seed", "loss"))
    print(f"{'tokens':>8}{'dense':>9}" + "".join(f"{f'{number} experts':>22}" for number in NUMBERS[1:]))
    larger: dict[int, float] = {}
    for budget in sorted(set(tokens)):
        at = {
            number: pd.Series(loss[here], seed[here])
            for number in NUMBERS
            for here in [(experts == number) & (tokens == budget)]
        }
        line = f"{budget / 1e6:>7.2f}M{at[1].mean():>9.4f}"
        for number in NUMBERS[1:]:
            pairs = (at[number] - at[1]).dropna().to_numpy()
            if len(pairs) < 2:
                line += f"{'not trained so far':>22}"
                continue
            mean, error = pairs.mean(), pairs.std(ddof=1) / math.sqrt(len(pairs))
            line += f"{f'{mean:+.4f} ± {error:.4f}':>22}"
            if mean + _T_90 * error < 0:
                larger.setdefault(number, budget)
            else:
                larger.pop(number, None)
        print(line)
    for number in NUMBERS[1:]:
        where = f"from {larger[number] / 1e6:.2f}M tokens on" if number in larger else "at none of these budgets"
        print(f"{number} experts are better than dense by more than the seeds' noise (90 %) {where}")


def _report_routing(campaign: Campaign, number: int) -> None:
    """Print how evenly the experts were used at the last validation of the runs."""
    last = [result.evaluations[-1].diagnostics for _, result in so_far(campaign) if result.evaluations]
    load, idle = np.mean([[noted["router_load"], noted["router_idle"]] for noted in last], axis=0)
    print(f"{number} experts: the busiest has {load:.2f} of an even share, {idle:.1%} are idle")


if __name__ == "__main__":
    main()
