"""The gate: what users, their files and their machines do to the program, and whether it answers rightly.

At least 500 cases by kind: configs and YAML, tables and logs as people have them, predictors that were damaged, kills
and full disks while something is written, bombs, terminal escapes, implausible plans, pages that must agree with
themselves. Prints one table; exits with 1 where a case is wrong. About 10 minutes of one core.

python benchmarks/gate.py [--kind KIND] [--name WORD] [--list] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is there; cases are small
os.environ["FORETRAIN_NO_PLUGINS"] = "1"

from _gate import Case, all_cases


def main() -> None:
    """Run the cases that were asked for and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", help="cases of this kind only")
    parser.add_argument("--name", default="", help="cases whose name holds this")
    parser.add_argument("--list", action="store_true", help="name the cases, run none")
    parser.add_argument("--json", action="store_true")
    words = parser.parse_args()
    cases = [case for case in all_cases() if words.kind in (None, case.kind) and words.name in case.name]
    if words.list:
        print("\n".join(f"{case.kind}: {case.name}" for case in cases))
        return
    started = time.process_time()
    wrong: dict[str, dict[str, str]] = defaultdict(dict)
    for case in cases:
        if (why := fault(case)) is not None:
            wrong[case.kind][case.name] = why
    cpu_s = time.process_time() - started + os.times().children_user + os.times().children_system
    print(
        json.dumps({"cases": len(cases), "cpu_s": cpu_s, "wrong": wrong}) if words.json else table(cases, wrong, cpu_s)
    )
    sys.exit(bool(wrong))


def fault(case: Case) -> str | None:
    """What is wrong with the answer to a case; None where it is right."""
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        try:
            case.check(Path(folder))
        except AssertionError as error:
            return str(error) or traceback.format_exc(limit=-2)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return None


def table(cases: list[Case], wrong: dict[str, dict[str, str]], cpu_s: float) -> str:
    """One row per kind, then every case that was wrong."""
    kinds = list(dict.fromkeys(case.kind for case in cases))
    lines = [f"{'kind':24s}{'cases':>8s}{'right':>8s}"]
    for kind in kinds:
        count = sum(case.kind == kind for case in cases)
        lines.append(f"{kind:24s}{count:8d}{count - len(wrong.get(kind, ())):8d}")
    lines.append(f"{'all':24s}{len(cases):8d}{len(cases) - sum(map(len, wrong.values())):8d}   {cpu_s:.0f} s of CPU")
    lines += [f"WRONG {kind}: {name}: {why}" for kind, found in wrong.items() for name, why in found.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
