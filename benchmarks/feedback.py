"""Learned rewards optimised too far: best of n and REINFORCE against noisy comparisons, judged by a gold reward.

    python benchmarks/feedback.py            # report, from benchmarks/results/feedback.csv
    python benchmarks/feedback.py run        # sample, learn, train; resumable
    python benchmarks/feedback.py run --quick

TEXT_OF_RUN
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
