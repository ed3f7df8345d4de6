"""Continued pretraining: general models that go on with a share of one domain, real text, paired seeds.

    python benchmarks/continued.py                                  # report, from benchmarks/results/continued.csv
    python benchmarks/continued.py train [base continued specialists generalists]
    python benchmarks/continued.py collect                          # write what is trained so far, also on the way

`train` goes through four campaigns of transformers of about 60k and 250k parameters, three seeds each, with a context
of 128 bytes. `base`: 8M tokens of four domains in equal parts (computer science abstracts, books, C++, German law), the
learning rate falling at the end; their weights are kept. `continued`: each goes on with 0, 10, 25, 50, 75 or 100 % of
dialogue, the rest in proportion of the four, to 0.25M, 0.5M, 1M and 2M tokens, at the base's highest rate, constant.
`specialists`: the same with 10, 25 or 50 % to 1M tokens, the rate falling. `generalists`: for comparison at equal cost,
models from random weights on a mix with 10, 25 or 50 % of dialogue from the start, for 8M + 1M tokens, the rate falling
as the base's. What is there is gone on with. On one core of its own `base` takes about 19 minutes, `continued` 33,
`specialists` 9 and `generalists` 65.

The report prints the loss on dialogue and the mean loss on the four other domains, nats per byte, by size, tokens and
share of dialogue: means over seeds, and differences to the weights before, paired by seed, with their 95 % intervals.
Then specialists less generalists, and what the shipped law foretells that it wasn't fitted to: a left-out share must be
within 2 % (median), the larger size from the smaller and twice the tokens within 3 %, and 90 % of the runs inside the
90 % interval; else the exit status is 1. Beside it the published form of the law, on the same cuts.
"""

from __future__ import annotations

import argparse
import sys

from _continued.campaigns import TABLES, collect, train
from _continued.gates import check, continued_runs
from _continued.report import report


def main() -> int:
    """Train or report; return the exit status."""
    parser = argparse.ArgumentParser(description="continued pretraining, trained for real")
    parser.add_argument("part", nargs="?", choices=("report", "train", "collect"), default="report")
    parser.add_argument("campaigns", nargs="*", metavar="CAMPAIGN", help=f"of {', '.join(TABLES)}; by default all")
    given = parser.parse_args()
    if unknown := [name for name in given.campaigns if name not in TABLES]:
        parser.error(f"unknown campaign {unknown[0]!r}; expected one of {', '.join(TABLES)}")
    if given.part == "report":
        report()
        missed = check(continued_runs())
        for what in missed:
            print(f"missed: {what}")
        return 1 if missed else 0
    for name in TABLES:  # base first
        if name in (given.campaigns or TABLES):
            train(name) if given.part == "train" else collect(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
