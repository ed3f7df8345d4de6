"""GPU-hours of published pretraining runs against what the plan alone would have said: layout searched, nothing tuned.

    python benchmarks/published_runs.py        (a few seconds)

The step-time model speaks of good software on a healthy cluster in the best layout; what real runs took beyond that is
`reliability.overhead`, whose default is made here: the geometric mean of published over estimated. Each run is then
judged with the mean of the others. Exit status 1 if the 80 % interval holds in fewer than 60 % of the runs, or if the
shipped default is not the mean.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from foretrain.simulator.cluster.estimate import estimate
from foretrain.simulator.config.operations import OVERHEAD
from foretrain.simulator.config.run_config import RunConfig

LLAMA = {"vocab_size": 32000, "context_length": 2048}
GPT = {"family": "gpt", "context_length": 2048}
LATENT = {"q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_width": 64, "qk_nope_width": 128, "v_head_width": 128}
A100, A100_40, H100, H800 = "A100-SXM-80", "A100-SXM-40", "H100-SXM-80", "H800-SXM-80"
Fact = tuple[str, dict[str, Any], float, str, int, float, float, dict[str, Any], str]


def shape(layers: int, width: int, heads: int, ffn_width: int, **more: Any) -> dict[str, Any]:
    """Architecture of one run."""
    return {"layers": layers, "width": width, "heads": heads, "ffn_width": ffn_width, **more}


# name, architecture, tokens, accelerator, how many, batch in tokens, GPU-hours, what else is published, source
RUNS: list[Fact] = [
    ("LLaMA 7B", shape(32, 4096, 32, 11008, **LLAMA), 1e12, A100, 1024, 2**22, 82_432, {}, "arXiv:2302.13971"),
    ("LLaMA 13B", shape(40, 5120, 40, 13824, **LLAMA), 1e12, A100, 1024, 2**22, 135_168, {}, "arXiv:2302.13971"),
    ("LLaMA 33B", shape(60, 6656, 52, 17920, **LLAMA), 1.4e12, A100, 2048, 2**22, 530_432, {}, "arXiv:2302.13971"),
    ("LLaMA 65B", shape(80, 8192, 64, 22016, **LLAMA), 1.4e12, A100, 2048, 2**22, 1_022_362, {}, "arXiv:2302.13971"),
    (
        "Llama 2 7B", shape(32, 4096, 32, 11008, vocab_size=32000, context_length=4096),
        2e12, A100, 1024, 2**22, 184_320, {}, "arXiv:2307.09288",
    ),
    (
        "Llama 2 13B", shape(40, 5120, 40, 13824, vocab_size=32000, context_length=4096),
        2e12, A100, 1024, 2**22, 368_640, {}, "arXiv:2307.09288",
    ),
    (
        "Llama 2 70B", shape(80, 8192, 64, 28672, kv_heads=8, vocab_size=32000, context_length=4096),
        2e12, A100, 2048, 2**22, 1_720_320, {}, "arXiv:2307.09288",
    ),
    (
        "Llama 3.1 405B", shape(126, 16384, 128, 53248, kv_heads=8, vocab_size=128256, context_length=8192),
        15.6e12, H100, 16384, 2**24, 30_840_000, {}, "arXiv:2407.21783 and its model card",
    ),
    (
        "MPT 7B", shape(32, 4096, 32, 16384, vocab_size=50432, **GPT),
        1e12, A100_40, 440, 1760 * 2048, 100_320, {"framework": "fsdp"}, "mosaicml.com/blog/mpt-7b",
    ),
    (
        "BLOOM 176B", shape(70, 14336, 112, 57344, vocab_size=250880, **GPT),
        366e9, A100, 384, 2**22, 1_082_990, {"framework": "deepspeed", "flash_attention": False}, "arXiv:2211.05100",
    ),
    (
        "Falcon 180B", shape(80, 14848, 232, 59392, kv_heads=8, head_width=64, vocab_size=65024, **GPT),
        3.5e12, A100_40, 4096, 2**22, 7_000_000, {}, "arXiv:2311.16867",
    ),
    (
        "DeepSeek-V3",
        shape(
            61, 7168, 128, 18432, vocab_size=129280, context_length=4096, num_experts=256, experts_per_token=8,
            shared_experts=1, expert_ffn_width=2048, dense_layers=3, **LATENT,
        ),
        14.8e12, H800, 2048, 15360 * 4096, 2_664_000, {"precision": "fp8"}, "arXiv:2412.19437",
    ),
]  # fmt: skip


def plan(fact: Fact, overhead: float) -> RunConfig:
    """The plan of one run as it could have been written before it."""
    _, architecture, tokens, accelerator, count, batch, _, more, _ = fact
    hardware = {"accelerator": accelerator, "count": count, "precision": more.get("precision", "bf16")}
    mapping = {
        "model": {"architecture": architecture},
        "data": {"tokens": tokens},
        "optim": {"batch_tokens": batch},
        "hardware": hardware | ({"framework": more["framework"]} if "framework" in more else {}),
        "layout": {"flash_attention": more.get("flash_attention", True)},
        "reliability": {"overhead": overhead},
    }
    return RunConfig.from_mapping(mapping)


def main() -> None:
    """Print the table, the overhead, and how often the interval held."""
    plain = [estimate(plan(fact, 0.0)) for fact in RUNS]
    hours = np.array([fact[6] for fact in RUNS])
    beyond = np.log(hours / np.array([one.gpu_hours.median for one in plain]))
    held = 0
    print("run              GPU-hours  estimated  published/  with the others' overhead    MFU  layout  source")
    print("                                       estimated   80 % interval")
    for i, (fact, one) in enumerate(zip(RUNS, plain, strict=True)):
        others = float(np.expm1(np.delete(beyond, i).mean()))
        low, high = estimate(plan(fact, others)).gpu_hours.intervals[0.8]
        inside = low <= fact[6] <= high
        held += inside
        split = f"tp {one.layout.tp} pp {one.layout.pp} cp {one.layout.cp} ep {one.layout.ep}"
        said = "in " if inside else "OUT"
        print(
            f"{fact[0]:15s} {fact[6] / 1e3:9,.0f}k {one.gpu_hours.median / 1e3:9,.0f}k {np.exp(beyond[i]):9.2f}  "
            f"{low / 1e3:9,.0f}k to {high / 1e3:7,.0f}k {said} {one.mfu.median:6.0%}  {split}  {fact[8]}"
        )
    mean = float(np.expm1(beyond.mean()))
    spread = float(beyond.std(ddof=1))
    print(
        f"overhead: {mean:.3f} (geometric mean), standard deviation of the logarithm {spread:.2f}; shipped {OVERHEAD}"
    )
    print(f"inside the 80 % interval, overhead of the others: {held} of {len(RUNS)}")
    sys.exit(0 if held >= 0.6 * len(RUNS) and abs(mean - OVERHEAD) < 0.02 else 1)


if __name__ == "__main__":
    main()
