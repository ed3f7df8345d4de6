"""The fitted efficiencies: the share of the machines' nominal rates that training reaches, by generation and software.

Every parameter is positive and fitted as its logarithm around a prior from common profiling experience; the shipped
values are in `datasets/facts/step_time.json`, made by `benchmarks/facts_cluster.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .steps import FRAMEWORKS, GENERATIONS

__all__ = ["PARAMETERS", "Efficiencies", "EfficiencyPrior"]


@dataclass(frozen=True)
class EfficiencyPrior:
    """The prior of a parameter: lognormal, given by its median and log standard deviation."""

    median: float
    log_sd: float
    meaning: str


def _each(stem: str, kinds: tuple[str, ...], medians: Mapping[str, float], log_sd: float, meaning: str):
    return {f"{stem}.{kind}": EfficiencyPrior(medians.get(kind, 1.0), log_sd, f"{meaning}, {kind}") for kind in kinds}


PARAMETERS: dict[str, EfficiencyPrior] = {
    "matmul": EfficiencyPrior(0.88, 0.15, "share of the best measured matrix product that large ones get in training"),
    # systolic arrays keep their clock: runs published by MaxText on TPU v5e reach 0.89 of the peak, all work counted
    **_each("matmul", GENERATIONS, {"tpu": 1.1}, 0.1, "factor on matmul"),
    "matmul.fp8": EfficiencyPrior(1.0, 0.1, "factor on matmul in fp8"),
    "matmul.mxfp8": EfficiencyPrior(0.95, 0.1, "factor on matmul.fp8 with block scales"),
    "matmul.fp4": EfficiencyPrior(0.8, 0.3, "factor on matmul in 4 bits"),
    "matmul.experts": EfficiencyPrior(0.7, 0.3, "factor on matmul in grouped products of experts"),
    "matmul_traffic": EfficiencyPrior(
        1.0, 0.3, "share of a matrix product's memory traffic that adds to its arithmetic"
    ),
    **_each(
        "flash",
        GENERATIONS,
        {"ampere": 0.55, "hopper": 0.45, "blackwell": 0.4, "tpu": 0.45},
        0.2,
        "share of the best matrix product that fused attention gets",
    ),
    **_each("flash", ("megatron", "fsdp", "xla"), {"megatron": 1.1, "fsdp": 0.82}, 0.2, "factor on flash"),
    "score_passes": EfficiencyPrior(9.0, 0.4, "times that unfused attention moves its matrix of scores, forward"),
    # without tensor cores: an A100's fp32 rate of 19.5 TFLOP/s against 312 (its datasheet)
    "misaligned": EfficiencyPrior(16.0, 0.5, "slowdown of unfused attention whose head width isn't a multiple of 8"),
    "elementwise": EfficiencyPrior(18.0, 0.3, "times that a layer moves its residual stream, forward"),
    "elementwise_ffn": EfficiencyPrior(
        3.0, 0.4, "times that a layer moves the inside of its feed-forward network, forward"
    ),
    **_each(
        "elementwise",
        FRAMEWORKS,
        {"fsdp": 1.5, "deepspeed": 1.2, "megatron": 0.67, "xla": 0.5},
        0.3,
        "factor on both for how far kernels are fused",
    ),
    "quantise": EfficiencyPrior(4.0, 0.5, "passes over activations to make fp8 or fp4 operands"),
    "permute": EfficiencyPrior(12.0, 0.5, "times that tokens are moved to and from their experts, forward"),
    "launch_s": EfficiencyPrior(3e-4, 0.5, "seconds at least per layer and pass: kernels are launched one by one"),
    "launch_experts_s": EfficiencyPrior(4e-4, 0.5, "seconds more where the layer has experts"),
    **_each("launch", FRAMEWORKS, {"xla": 0.15}, 0.3, "factor on both"),
    "tp_exposed": EfficiencyPrior(0.6, 0.3, "share of tensor-parallel traffic that arithmetic doesn't hide"),
    **_each("tp_exposed", FRAMEWORKS, {"deepspeed": 1.5, "xla": 0.4}, 0.3, "factor on it"),
    "cp_exposed": EfficiencyPrior(0.3, 0.5, "share of context-parallel traffic that isn't hidden"),
    "ep_exposed": EfficiencyPrior(0.7, 0.3, "share of the experts' all-to-all that isn't hidden"),
    "pp_exposed": EfficiencyPrior(0.5, 0.5, "share of the traffic between pipeline stages that isn't hidden"),
    **_each("pp_exposed", FRAMEWORKS, {"deepspeed": 2.0}, 0.4, "factor on it"),
    "dp_exposed": EfficiencyPrior(0.3, 0.5, "share of gradient and weight traffic that isn't hidden"),
    **_each("dp_exposed", FRAMEWORKS, {"deepspeed": 3.0}, 0.4, "factor on it"),
    "fsdp_exposed": EfficiencyPrior(0.15, 0.5, "the same where weights are gathered for every micro-batch"),
    "offload_exposed": EfficiencyPrior(0.3, 0.5, "share of the traffic with the host that isn't hidden"),
    "intra_node": EfficiencyPrior(0.7, 0.2, "share of the nominal bandwidth of fast links"),
    "inter_node": EfficiencyPrior(0.7, 0.15, "share of the nominal bandwidth between nodes"),
    "host": EfficiencyPrior(0.7, 0.2, "share of the nominal bandwidth to the host"),
    "latency_s": EfficiencyPrior(2e-5, 0.5, "seconds for a message of a collective"),
    "bubble": EfficiencyPrior(1.0, 0.1, "the pipeline's bubble over the textbook's"),
    "accumulate_bytes": EfficiencyPrior(8.0, 0.4, "bytes moved per parameter to add up the gradients of a micro-batch"),
    "optimizer_bytes": EfficiencyPrior(30.0, 0.3, "bytes moved per parameter in an optimizer step"),
    "step_s": EfficiencyPrior(0.01, 1.0, "seconds of everything that happens once a step"),
    "straggling": EfficiencyPrior(0.003, 0.7, "share by which a step is longer for every doubling of nodes"),
}
"""Every fitted parameter: its prior, and what it means. Bounds of arithmetic come from the machines, not from here."""


@dataclass(frozen=True)
class Efficiencies:
    """Values of all parameters, looked up by name, or by name and kind for arrays of kinds.

    A value is a number, or an array `(k, 1)` for k sets of values at once: what is worked out from them is `(k, n)`.
    """

    values: Mapping[str, Any]

    @classmethod
    def from_logs(cls, logs: np.ndarray) -> Efficiencies:
        """From logarithms in the order of PARAMETERS."""
        return cls(dict(zip(PARAMETERS, np.exp(logs).tolist(), strict=True)))

    @classmethod
    def side_by_side(cls, logs: np.ndarray) -> Efficiencies:
        """Many sets of values, from their logarithms `(k, parameters)`."""
        return cls(dict(zip(PARAMETERS, np.exp(logs).T[:, :, None], strict=True)))

    @classmethod
    def prior(cls) -> Efficiencies:
        """The medians of the priors."""
        return cls({name: prior.median for name, prior in PARAMETERS.items()})

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def logs(self) -> np.ndarray:
        """Logarithms in the order of PARAMETERS."""
        return np.array([math.log(self.values[name]) for name in PARAMETERS])

    def by(self, stem: str, kinds: tuple[str, ...], index: np.ndarray, *, direct: bool = False) -> np.ndarray:
        """`stem` times its factor for the kind of each element; kinds past the last, or without one, have factor 1.

        With `direct`, the kinds hold whole values, and what has none takes their geometric mean.
        """
        own = [self.values.get(f"{stem}.{kind}") for kind in kinds]
        if direct:
            known = [value for value in own if value is not None]
            rest = np.exp(sum(map(np.log, known)) / len(known))
            return np.choose(index.astype(int), [*[rest if v is None else v for v in own], rest])
        factors = np.choose(index.astype(int), [*[1.0 if v is None else v for v in own], 1.0])
        return factors * self.values.get(stem, 1.0)
