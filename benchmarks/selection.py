"""Choosing the training documents: what selections are worth, by part. Exits with 1 where a requirement is missed.

    python benchmarks/selection.py PART... [--seeds 2] [options of the part]

screening: selections at equal bytes, by a 5-gram trained on each; minutes
judge: a classifier distilled from a few hundred labels, and what it costs
proxies: selections at equal tokens, by small transformers with paired seeds
strictness: the best share kept, by budget
strictness_proxies: the same by small transformers, and by a law that is fitted to them, with and without repetition
subset: the subset refreshed during training, gain per FLOP
scale: a million documents on two cores
survival: a campaign over five selections that is killed, and goes on
levels: a law's effects of levels where they are known, of levels that no run had too

Each part is a module of `_selection/` with `main(options: list[str]) -> list[str]`, which prints its table and returns
what it missed. Parts read the shared corpora in place.
"""

from __future__ import annotations

import importlib
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is there: one thread, so that seconds mean something
os.environ.setdefault("OMP_NUM_THREADS", "1")

PARTS = (
    "screening",
    "judge",
    "proxies",
    "strictness",
    "strictness_proxies",
    "subset",
    "scale",
    "survival",
    "levels",
)


def main() -> None:
    """Run the parts that were asked for, one after the other."""
    words = sys.argv[1:]
    if words[:1] in (["--help"], ["-h"]):
        print(__doc__)
        return
    first_option = next((number for number, word in enumerate(words) if word.startswith("-")), len(words))
    parts, options = words[:first_option], words[first_option:]
    unknown = [part for part in parts if part not in PARTS]
    if not parts or unknown:
        what = f"no part called {', '.join(unknown)}" if unknown else "names no part"
        raise SystemExit(f"selection.py: {what}; expected one or more of {', '.join(PARTS)}")
    missed: list[str] = []
    for part in parts:
        missed += [f"{part}: {what}" for what in importlib.import_module(f"_selection.{part}").main(options)]
    for what in missed:
        print("MISSED", what)
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
