"""Watermarks: marked text found, real text not, filters, traces in models. Exits with 1 where something is missed.

    python benchmarks/watermark.py [--seeds 1] [--skip real] [--domains dialogue]

Proxies of 53k parameters, trained on 208 kB of the shared corpora, write bytes that are marked (δ 2, γ ½, contexts of
3). Must reach, for one of 205k tokens: found at p <= 3e-5 in 95 % of samples of 64 bytes and 99 % of 128, in 95 % of
256 after a tenth of the bytes was edited and of 512 after a fifth. Of 120,000 real windows, of documents and whole
domains no more may be called marked than the binomial says, as a mean of keys. A half-polluted corpus, filtered, is
within .02 nats of the clean one, and so are chains of generations that are filtered. Counts of four bytes in which 5 %
of the text or more was marked show it in what they foretell; for proxies the figures are printed. The shared corpora
are read in place.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is there: one thread, so that seconds mean something
os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> None:
    """Run every part on one proxy."""
    parser = argparse.ArgumentParser(prog="watermark.py", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="of the proxies that are trained on marked text")
    parser.add_argument("--skip", nargs="*", default=[], choices=["real", "found", "filter", "generations"])
    parser.add_argument(
        "--domains", nargs="*", help="of the shared corpora, for proxies (default: all; fewer: no must)"
    )
    words = parser.parse_args()

    import torch
    from _watermark import chain, found, real
    from _watermark.proxies import DOMAINS, TOKENS, World
    from foretrain.datasets.watermark.green import Watermark

    torch.set_num_threads(1)
    key = "benchmark, key of the mark"
    mark = Watermark(key=key)
    missed: list[str] = []
    if "real" not in words.skip:
        missed += real.main()
        _spent("real text")
    with tempfile.TemporaryDirectory(prefix="watermark-") as folder:
        world = World(Path(folder), words.domains or DOMAINS)
        (proxy,) = world.train([{}], seed=0)
        if "found" not in words.skip:
            (free,) = world.train([{}], seed=0, tokens=TOKENS / 2)
            for one, gated in ((free, not words.domains), (proxy, False)):
                print(f"\nA proxy of {one.model.shape.params_total:,} parameters: {world.loss(one):.3f} nats per byte")
                missed += found.main(world, one, mark, gated)
            _spent("training two, finding samples")
        if "filter" not in words.skip:
            missed += chain.ngram_filter(world, proxy, mark, key)
            _spent("filtering")
        if "generations" not in words.skip:
            for seed in range(1, words.seeds + 1):
                missed += chain.generations(world, proxy, mark, seed)
                _spent("generations")
    print(f"{time.process_time():.0f} CPU seconds")
    for what in missed:
        print("MISSED", what)
    sys.exit(bool(missed))


_before = 0.0


def _spent(what: str) -> None:
    """Print the CPU seconds since the last time."""
    global _before
    now = time.process_time()
    print(f"[{what}: {now - _before:.0f} CPU s]", flush=True)
    _before = now


if __name__ == "__main__":
    main()
