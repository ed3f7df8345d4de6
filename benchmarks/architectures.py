"""Token mixers beside a transformer: a ladder of proxies each, laws of their own, and what stays undecided.

    python benchmarks/architectures.py                         # report, from benchmarks/results/architectures.csv
    python benchmarks/architectures.py train [MIXER ...] [--tokens 2M]
    python benchmarks/architectures.py conformance [MIXER ...]

`train` goes through four sizes of depth 4 (about 30k to 250k parameters), two seeds, five corpora in equal parts, a
context of 128 bytes, the learning rate of each mixer tuned at 60k; the same text in the same order for all. It may be
interrupted, and asked for more tokens later: what is there is gone on with. To 2M tokens a mixer takes about twelve
minutes of one core, the transformer, by its kernels, a fifth of that. Mixers are trained one after the other in one
process; two processes with different mixers may run side by side.

`conformance` puts each mixer through `foretrain.testing.check_architecture`: among others it learns a known source to
its entropy, and copies that are trained together give what each gives alone.

The report prints loss by size, tokens and mixer; the differences to the transformer at equal parameters, by pairs of
equal seeds; the largest size of each mixer foretold from its smaller ones, by its own law and by that of all mixers;
each mixer's E, α, β with intervals; where laws cross. It must reach a median error of 3 % at every mixer's largest
size, inside the 90 % interval; else the exit status is 1. The picture goes to build/benchmarks/architectures.svg. The
report takes about four minutes of one core.
"""

from __future__ import annotations

import argparse
import sys
import warnings

from _architectures.campaigns import MIXERS, collect, train
from _architectures.crossing import joint_law, report_by_compute, report_crossings
from _architectures.differences import report_differences, report_losses
from _architectures.extrapolation import report_halves, report_largest
from _architectures.laws import own_laws, report_laws
from _architectures.picture import draw_laws
from _architectures.tables import BASELINE, mixers_of, read, whole_mixers
from _proxies import WORK
from foretrain.core.errors import DataWarning
from foretrain.core.units import parse_count

PICTURE = WORK / "architectures.svg"


def main() -> int:
    """Train, check or report; return the exit status."""
    parser = argparse.ArgumentParser(description="token mixers beside a transformer")
    parser.add_argument("part", nargs="?", choices=("report", "train", "conformance"), default="report")
    parser.add_argument("mixers", nargs="*", metavar="MIXER", help=f"of {', '.join(MIXERS)}; by default all")
    parser.add_argument("--tokens", type=parse_count, default=2e6, help="how far to train each (default: 2M)")
    given = parser.parse_args()
    if unknown := [name for name in given.mixers if name not in MIXERS]:
        parser.error(f"unknown mixer {unknown[0]!r}; expected one of {', '.join(MIXERS)}")
    names = given.mixers or list(MIXERS)
    warnings.simplefilter("ignore", DataWarning)  # sizes and losses of proxies look like slips of unit
    if given.part == "conformance":
        return conformance(names)
    if given.part == "train":
        for name in names:
            train(name, given.tokens)
        print(f"{len(collect())} rows in the run table")
        return 0
    return report()


def conformance(names: list[str]) -> int:
    """Put mixers through the checks of architectures; return 1 where one fails."""
    from foretrain.testing import check_architecture

    failed = 0
    for name in names:
        try:
            check_architecture(name)
        except ExceptionGroup as failures:
            failed = 1
            print(f"{name}: {failures}")
        else:
            print(f"{name}: learns the known source to its entropy, stacks with its like; every check holds")
    return failed


def report() -> int:
    """Print what the run table says; return 1 where a mixer's largest size isn't foretold."""
    table = read()
    whole = whole_mixers(table)
    if BASELINE not in whole or len(whole) < 2:
        raise SystemExit("no mixer is trained at every size beside the transformer: see `architectures.py train`")
    report_losses(table)
    report_differences(table)
    if unfinished := [name for name in mixers_of(table) if name not in whole]:
        print(f"not every size is trained yet of {', '.join(unfinished)}: no law of theirs below")
    missed = report_largest(table)
    laws = own_laws(table)
    report_laws(laws)
    joint = joint_law(table)
    report_crossings(table, laws, joint)
    report_by_compute(table, joint)
    report_halves(table)
    draw_laws(table, laws, PICTURE)
    print(f"\n{PICTURE}")
    if missed:
        print(f"missed: the largest size of {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
