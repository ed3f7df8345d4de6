"""Learned rewards optimised too far: best of n and REINFORCE against noisy comparisons, judged by a gold reward.

    python benchmarks/feedback.py            # report, from benchmarks/results/feedback.csv
    python benchmarks/feedback.py run        # sample, learn, train; resumable
    python benchmarks/feedback.py run --quick

`run` trains a policy of 281k parameters on dialogues, has it write 200,000 texts of 48 bytes, compares pairs of them by
a gold reward with labels of which a quarter is wrong, learns reward models from 100 to 30,000 comparisons, and takes
the best of n by them, n up to 2,048, by its exact expectation over a pool of 131,000 texts. The policy itself is then
trained by REINFORCE on two of the rewards under three KL penalties. It may be interrupted: samples, reward models and
results stay in build/benchmarks/feedback. `--quick` goes through the same with a twentieth of everything, in 100 CPU
seconds, and writes a table of its own into build/benchmarks/feedback-quick.

The report prints gold beside learned reward for each n and number of comparisons, where gold turns, α and β of the laws
of Gao et al. 2022 (arXiv:2210.10760) with 90 % intervals, whether they foretell the largest n from the smaller ones,
and what the penalty moves. Nothing must be reached: whether gold turns is what is asked. The picture goes to
build/benchmarks/feedback.svg.
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is there: one thread, so that seconds mean something
os.environ.setdefault("OMP_NUM_THREADS", "1")

from _feedback.plan import FULL, QUICK


def main() -> int:
    """Run or report; return the exit status."""
    parser = argparse.ArgumentParser(description="learned rewards optimised too far")
    parser.add_argument("part", nargs="?", choices=("report", "run"), default="report")
    parser.add_argument("--quick", action="store_true", help="a small pass through everything, in a folder of its own")
    given = parser.parse_args()
    plan = QUICK if given.quick else FULL
    if given.part == "run":
        import torch
        from _feedback import run

        torch.set_num_threads(1)
        run.main(plan)
    from _feedback import report

    report.main(plan)
    return 0


if __name__ == "__main__":
    sys.exit(main())
