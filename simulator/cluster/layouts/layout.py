"""How a model and its batch are split over devices: one complete layout. `layout_problems` says what is impossible."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ....core.errors import ConfigError
from ....core.model.architecture import Architecture
from ....core.model.mixers.members.attention import ATTENTION
from ...config.hardware import LayoutConfig, Recompute

__all__ = ["ParallelLayout", "batch_sequences", "layout_warnings"]

# "4M" for 4,194,304 is 4.6 % off, "1M" for 1,048,576 4.9 %.
_ROUNDING = 0.05
_WHOLE = 1e-9
_MOST_SEQUENCES = 10**8  # a thousand times any published batch; keeps the search for divisors short


@dataclass(frozen=True, slots=True)
class ParallelLayout:
    """One layout. tp · pp · cp · dp devices; experts are spread over `ep` of each tp · cp · dp of them.

    `accumulation` is the number of micro-batches of `micro_batch` sequences that a replica computes in one step.
    """

    tp: int = 1
    pp: int = 1
    vpp: int = 1
    cp: int = 1
    ep: int = 1
    dp: int = 1
    zero_stage: int = 1
    sequence_parallel: bool = False
    micro_batch: int = 1
    accumulation: int = 1
    recompute: Recompute = "none"
    flash_attention: bool = True
    offload_optimizer: bool = False
    offload_weights: bool = False
    offload_activations: bool = False
    loss_chunks: int = 1
    """Chunks of the logits that exist one after the other; 0 where the loss is fused with the output head."""

    @property
    def devices(self) -> int:
        """Number of devices."""
        return self.tp * self.pp * self.cp * self.dp

    @property
    def global_batch(self) -> int:
        """Sequences of one optimizer step."""
        return self.dp * self.micro_batch * self.accumulation

    def stated(self) -> LayoutConfig:
        """As a plan states it."""
        parts = ("tp", "pp", "vpp", "cp", "ep", "dp", "zero_stage", "sequence_parallel", "micro_batch", "recompute")
        offload = [name for name in ("optimizer", "weights", "activations") if getattr(self, f"offload_{name}")]
        stated = {name: getattr(self, name) for name in (*parts, "flash_attention")}
        if self.tp == 1:
            del stated["sequence_parallel"]
        if self.loss_chunks != 1:
            stated["loss"] = {"chunked": self.loss_chunks} if self.loss_chunks else "fused"
        return LayoutConfig.model_validate(stated | ({"offload": offload} if offload else {}))


def batch_sequences(batch_tokens: float, context_length: int) -> int:
    """Sequences of a batch that is stated in tokens.

    A whole number of sequences is taken as it is. Otherwise the tokens were rounded, as "4M" for 1,024 sequences of
    4,096: of the numbers within 5 % it is the one with the most factors of two, the nearest of those, and the nearest
    number at all where none is within 5 %. `ConfigError` for half a sequence or less, or more than 10^8.
    """
    ratio = batch_tokens / context_length
    nearest = round(ratio)
    if nearest < 1:
        raise ConfigError(
            f"optim.batch_tokens: got {batch_tokens:g}; expected at least one sequence, "
            f"model.architecture.context_length {context_length}"
        )
    if nearest > _MOST_SEQUENCES:
        most = _MOST_SEQUENCES * context_length
        raise ConfigError(f"optim.batch_tokens: got {batch_tokens:g}; expected at most 10^8 sequences, {most} tokens")
    if abs(ratio - nearest) <= _WHOLE * ratio:
        return nearest
    low, high = math.ceil(ratio * (1 - _ROUNDING)), math.floor(ratio * (1 + _ROUNDING))
    if low > high:
        return nearest
    step = 1
    while -(-low // (2 * step)) * 2 * step <= high:
        step *= 2
    multiples = range(-(-low // step) * step, high + 1, step)
    return min(multiples, key=lambda sequences: abs(sequences - ratio))


def layout_warnings(architecture: Architecture, layout: ParallelLayout, per_node: int) -> list[str]:
    """What is possible but slow, of no effect, or not in every framework."""
    return list(_warnings(architecture, layout, per_node))


def _warnings(architecture: Architecture, layout: ParallelLayout, per_node: int) -> Iterator[str]:
    kv_heads, stages = architecture.kv_heads or architecture.heads, layout.pp * layout.vpp
    if layout.tp > per_node:
        yield f"tp {layout.tp} goes beyond the {per_node} devices that fast links join: all layers wait for the network"
    if layout.tp > kv_heads and architecture.mixer == ATTENTION:
        yield f"tp {layout.tp} copies each of the {kv_heads} key-value heads; not every framework does"
    if architecture.layers % stages:
        largest = -(-architecture.layers // stages)
        yield f"{architecture.layers} layers over {stages} stages are uneven: the largest has {largest}"
    if layout.accumulation < layout.pp:
        yield f"{layout.accumulation} micro-batches can't fill {layout.pp} pipeline stages"
    if layout.pp > 1 and layout.zero_stage == 2:
        yield "ZeRO stage 2 with a pipeline is no faster than stage 1: gradients stay whole and are reduced once a step"
    if layout.pp > 1 and layout.zero_stage >= 3:
        yield "ZeRO stage 3 with a pipeline gathers weights for every micro-batch, or (PyTorch's FSDP) keeps them whole"
    if layout.zero_stage and layout.dp * layout.cp == 1:
        yield f"ZeRO stage {layout.zero_stage} shards nothing over a single replica"
