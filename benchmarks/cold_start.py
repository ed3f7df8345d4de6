"""Start-up: `simulate predict` and `simulate --help` against the imports that any such tool pays, interleaved.

python benchmarks/cold_start.py [--rounds 15]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "llama-7b.yaml"
COMMANDS = {
    "simulate predict": ["-m", "foretrain", "predict", "--config", str(EXAMPLE)],
    "import pandas, pydantic": ["-c", "import pandas, pydantic"],
    "simulate --help": ["-m", "foretrain", "--help"],
    "import click, rich": ["-c", "import click, rich"],
}


def main() -> None:
    """Print medians and the two ratios."""
    rounds = int(sys.argv[sys.argv.index("--rounds") + 1]) if "--rounds" in sys.argv else 15
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            if turn:  # the first round warms the file cache
                times[name].append(time.perf_counter() - start)
    middle = {name: statistics.median(values) for name, values in times.items()}
    for name, value in middle.items():
        print(f"{name:26s} {value:.3f} s (median of {rounds})")
    print(f"predict / (pandas, pydantic): {middle['simulate predict'] / middle['import pandas, pydantic']:.2f}")
    print(f"--help / (click, rich):       {middle['simulate --help'] / middle['import click, rich']:.2f}")


if __name__ == "__main__":
    main()
