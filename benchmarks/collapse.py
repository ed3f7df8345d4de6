"""Training on text that models wrote, generation after generation, by part. Exits with 1 where a requirement is missed.

    python benchmarks/collapse.py PART... [--seeds 2] [options of the part]

ngrams: chains of 5-grams under every regime, over 5 generations and over many
proxies: chains of small transformers, as campaigns, with common seeds
law: the law of the first generations foretells later ones; which form accumulation has in the long run

Each part is a module of `_collapse/` with `main(options: list[str]) -> list[str]`, which prints its table and returns
what it missed. Parts read the shared corpora in place.
"""

from __future__ import annotations

import importlib
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is there: one thread, so that seconds mean something
os.environ.setdefault("OMP_NUM_THREADS", "1")

PARTS = ("ngrams", "proxies", "law")


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
        raise SystemExit(f"collapse.py: {what}; expected one or more of {', '.join(PARTS)}")
    missed: list[str] = []
    for part in parts:
        missed += [f"{part}: {what}" for what in importlib.import_module(f"_collapse.{part}").main(options)]
    for what in missed:
        print("MISSED", what)
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
