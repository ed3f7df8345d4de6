"""The tutorial, run from its first command to its last: does the forecast hold what the trained plan shows?

Runs the commands of docs/tutorial/from-text-to-a-plan.md in their order, in an empty folder, each in a process of its
own, and checks that every one succeeds, that the planned run's loss, the mean of its domains, is predicted within 5 %
and lies inside its 90 % interval. `--write` puts what was printed into the page. About a quarter of an hour on two
cores with nothing else to do, most of it training.

python benchmarks/tutorial.py [--write]
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs/tutorial/from-text-to-a-plan.md"
BLOCK = re.compile(r"(?<=<!-- output: begin -->\n```console\n).*?(?=```\n<!-- output: end -->)", flags=re.DOTALL)
SCORE = "simulate score predictor planned.csv"
LARGEST_ERROR = 0.05
WIDTH = 118  # of a line that is shown


def main() -> None:
    """Run the page, check what it claims, and with `--write` write what was printed into it."""
    with tempfile.TemporaryDirectory(prefix="tutorial-") as name:
        folder = Path(name)
        shown: dict[str, str] = {}
        for block in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
            for command in commands(block):
                shown[command] = run(command, folder)
                if command.startswith("simulate init "):
                    folder /= command.split()[-1]
        scored = json.loads(output(f"{SCORE} --json", folder))["targets"]
    if "--write" in sys.argv:
        page = PAGE.read_text(encoding="utf-8")  # again: it may have been edited meanwhile
        PAGE.write_text(BLOCK.sub(lambda block: with_outputs(block[0], shown), page), encoding="utf-8")
    for target, found in scored.items():
        print(f"{target:14s} {beside(found)}")
    (mean,) = scored["loss"]["runs"]
    low, high = mean["interval_nats"]
    held = low <= mean["observed_nats"] <= high and scored["loss"]["max_relative_error"] <= LARGEST_ERROR
    sys.exit(0 if held else "the loss of the planned run is not as forecast")


def beside(found: dict) -> str:
    """Forecast and truth of the one run."""
    (run,) = found["runs"]
    low, high = run["interval_nats"]
    where = "inside" if low <= run["observed_nats"] <= high else "outside"
    share = run["predicted_nats"] / run["observed_nats"] - 1
    return (
        f"observed {run['observed_nats']:.4f}, forecast {run['predicted_nats']:.4f} ({share:+.1%}), "
        f"{where} {low:.4f} to {high:.4f}"
    )


def commands(block: str) -> list[str]:
    """The command lines of a block."""
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]


def with_outputs(block: str, shown: dict[str, str]) -> str:
    """The block with what its commands printed; as it was where one of them wasn't run."""
    lines = commands(block)
    return "".join(f"$ {line}\n{shown[line]}" for line in lines) if all(line in shown for line in lines) else block


def run(command: str, folder: Path) -> str:
    """Run a command of the page, say how long it took, and return what it printed, in lines that fit the page."""
    started = time.perf_counter()
    printed = output(command, folder)
    print(f"{time.perf_counter() - started:7.1f} s  {command}", flush=True)
    lines = [
        textwrap.fill(line, WIDTH, subsequent_indent="  ") if len(line) > WIDTH else line
        for line in printed.split("\n")
    ]
    return "\n".join(lines).rstrip() + "\n"


def output(command: str, folder: Path) -> str:
    """What a command prints; the benchmark ends where it fails."""
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    words = [sys.executable, "-m", "foretrain", *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        sys.exit(f"{command}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
