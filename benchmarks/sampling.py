"""Speed of sampling proxies: with cached keys and values, with the rest computed again, and of training the same model.

    python benchmarks/sampling.py [--widths 32,64] [--copies 1,4,8]

Tokens per CPU second of one thread, the best of two turns, in windows of 128 tokens and one: models of depth 3 (width
32, 52k parameters) and 4 (width 64, 223k) over bytes. Training is the engine's own measurement on this machine. Exits 1
unless the cache makes it five times as fast as without; FLOPs say 64 times, but small steps are bound by other things.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch
from foretrain.core.model.architecture import Architecture
from foretrain.core.processors import one_torch_thread
from foretrain.datasets.watermark.green import Watermark
from foretrain.proxies.design.family import ModelFamily
from foretrain.proxies.engine import measure_training
from foretrain.proxies.engine._buffers import WeightLayout
from foretrain.proxies.models import ProxyModel
from foretrain.proxies.models.transformer import Transformer
from foretrain.proxies.runs import ProxyRun
from foretrain.proxies.sampling.cost import sampling_flops
from foretrain.proxies.sampling.sampling import sample
from foretrain.proxies.sampling.settings import SamplingSettings
from foretrain.proxies.settings import EngineSettings

CONTEXT, SEQUENCES = 128, 128
DEPTHS = {32: 3}  # else 4
LEAST_GAIN = 5.0
PLAIN = SamplingSettings()
WAYS = {
    "plain": PLAIN,
    "top_p 0.9": SamplingSettings(top_p=0.9),
    "greedy": SamplingSettings(temperature=0),
    "marked": SamplingSettings(watermark=Watermark(key="0123456789abcdef")),
}


class Recomputing(Transformer):
    """The same model without its cache."""

    cached, start, step = False, ProxyModel.start, ProxyModel.step


def tokens_per_s(model: ProxyModel, copies: int, settings: SamplingSettings, turns: int = 2) -> float:
    """Tokens of all copies per CPU second."""
    layout = WeightLayout(model)
    weights = {name: weight.contiguous() for name, weight in layout.split(layout.initial(list(range(copies)))).items()}
    first = np.full((copies, SEQUENCES), 32)
    seconds = []
    for _ in range(turns):
        began = time.process_time()
        sample(model, weights, first, CONTEXT + 1, settings, list(range(copies)))
        seconds.append(time.process_time() - began)
    return copies * SEQUENCES * CONTEXT / min(seconds)


def training_tokens_per_s(shape: Architecture) -> float | None:
    """Tokens that the kernels train on in a second of one thread; None where there is no compiler for them."""
    run = ProxyRun(run_id="r", shape=shape, tokens=1e6, mix={"a": 1.0})
    flops = measure_training([run], EngineSettings(device="cpu", precision="fp32")).get(shape.width)
    return None if flops is None else flops / shape.training_flops_per_token()


def main() -> int:
    """Print the tables; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", default="32,64")
    parser.add_argument("--copies", default="1,4,8")
    options = parser.parse_args()
    copies = [int(part) for part in options.copies.split(",")]
    missed = 0
    for width in (int(part) for part in options.widths.split(",")):
        shape = ModelFamily(256, CONTEXT, DEPTHS.get(width, 4), 32, 2.5, 4, False).of_width(width)
        model = Transformer(shape)
        print(f"{shape.params_total:,} parameters, {sampling_flops(shape, 1):,.0f} FLOPs a token; thousand tokens/s")
        for count in copies:
            print(f"  {count} copies: {tokens_per_s(model, count, PLAIN) / 1e3:.1f}", flush=True)
        rates = {name: tokens_per_s(model, 4, settings) / 1e3 for name, settings in WAYS.items()}
        print("  4 copies:", ", ".join(f"{name} {rate:.1f}" for name, rate in rates.items()))
        trained = training_tokens_per_s(shape)
        print("  training one copy:", "no compiler" if trained is None else f"{trained / 1e3:.1f}")
        again = tokens_per_s(Recomputing(shape), 1, PLAIN, turns=1)
        gain = tokens_per_s(model, 1, PLAIN) / again
        missed += gain < LEAST_GAIN
        print(f"  1 copy without a cache: {again / 1e3:.2f}; with one {gain:.0f} times as fast (must: {LEAST_GAIN:g})")
    return 1 if missed else 0


if __name__ == "__main__":
    torch.manual_seed(0)
    with one_torch_thread():
        sys.exit(main())
