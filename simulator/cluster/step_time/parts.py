"""Seconds of one optimizer step, by part: layers, pipeline, data parallelism, optimizer, host.

The slowest pipeline stage sets the pace, the one with the output head or a fuller one; `pp − 1` of its turns are lost
at both ends together, divided by the number of chunks if stages are interleaved (Narayanan et al. 2021,
arXiv:2104.04473, section 2.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..memory.activations import layer_activations
from .efficiency import Efficiencies
from .network import Network
from .operators import LayerTimes, layer_times, output_head_s
from .steps import FRAMEWORKS, Steps

__all__ = ["StepTime", "local_params", "stage_layers", "step_time"]

_FSDP = FRAMEWORKS.index("fsdp")
_DATA_WINDOW = 0.5  # share of a micro-batch's time, its backward pass, that gradients can hide behind
_OVERLAP_SHARPNESS = 6.0  # p-norm of arithmetic and gathered weights, which run side by side
_NODE = 8.0  # devices by which nodes are counted for straggling, whatever the fast links join
# An optimizer on the host: fp32 gradients down and weights up over the link, and Adam at the host's memory bandwidth,
# about 25 GB/s per device on two-socket servers with eight devices (Ren et al. 2021, arXiv:2101.06840, section 5).
_HOST_TRAFFIC, _HOST_BYTES_PER_S = 6.0, 25e9


@dataclass(frozen=True)
class StepTime:
    """Seconds of one optimizer step. `parts` add up to `total_s`; arrays (n,)."""

    total_s: np.ndarray
    parts: Mapping[str, np.ndarray]
    """matmul, attention, elementwise, launch, recompute, output_head, gradients, tensor_parallel, context_parallel,
    expert_parallel, pipeline, bubble, data_parallel, optimizer, offload, straggling, other."""

    def take(self, rows: np.ndarray) -> StepTime:
        """The steps chosen by a mask or by indices."""
        return StepTime(self.total_s[rows], {name: part[rows] for name, part in self.parts.items()})


def step_time(steps: Steps, fitted: Efficiencies) -> StepTime:
    """Time of every step, without the learned residual."""
    layouts, network = steps.layouts, Network(steps, fitted)
    layer = _layer(steps, network, layer_times(steps, fitted))
    turn = {name: stage_layers(steps) * value for name, value in layer.items()}
    turn |= {"output_head": output_head_s(steps, fitted), "pipeline": network.pipeline_s()}
    turn["gradients"] = fitted["accumulate_bytes"] * sum(local_params(steps)) / steps.machines.hbm_bytes_per_s
    # where the head takes less than the layer that its stage lacks, it waits for the others
    behind = np.maximum(0.0, np.asarray(sum(layer.values())) - turn["output_head"])
    waiting = np.where(_lacks_a_layer(steps), behind, 0.0)
    turn_s = np.asarray(sum(turn.values()) + waiting)
    lost = np.where(layouts.pp > 1, (layouts.pp - 1) / layouts.vpp * fitted["bubble"], 0.0)
    parts = {name: layouts.accumulation * value for name, value in turn.items()}
    parts["bubble"] = lost * turn_s + layouts.accumulation * waiting
    parts["data_parallel"] = _data_parallel_s(steps, network, turn_s, fitted)
    doublings = np.log2(np.maximum(1.0, layouts.devices / _NODE))
    parts["straggling"] = fitted["straggling"] * doublings * sum(parts.values())
    parts["optimizer"] = _optimizer_s(steps, fitted)
    parts["offload"] = _offload_s(steps, fitted, parts["optimizer"])
    parts["other"] = np.asarray(fitted["step_s"])
    total_s = sum(parts.values())
    return StepTime(np.asarray(total_s), {name: np.broadcast_to(v, np.shape(total_s)) for name, v in parts.items()})


def _layer(steps: Steps, network: Network, times: LayerTimes) -> dict[str, np.ndarray]:
    """One layer and micro-batch, all passes, by part."""
    layouts, forward, backward = steps.layouts, times.forward, times.backward
    both = {
        name: getattr(forward, name) + getattr(backward, name)
        for name in ("matmul", "attention", "elementwise", "launch")
    }
    tensor, context = network.tensor_parallel_s(), network.context_parallel_s()
    experts = steps.models.moe_layers / steps.models.layers * network.expert_parallel_s()
    again = forward.total + tensor + context + experts
    # PyTorch's trainers keep attention's output and every second matrix product's (memory/activations.py)
    by_operator = 0.5 * forward.matmul + forward.elementwise + forward.launch
    selective = np.where(layouts.framework == _FSDP, by_operator, forward.attention)
    recompute = layouts.recompute_full * again + layouts.recompute_selective * selective
    return both | {
        "recompute": recompute,
        "tensor_parallel": 2.0 * tensor,
        "context_parallel": 3.0 * context,
        "expert_parallel": 2.0 * experts,
    }


def stage_layers(steps: Steps) -> np.ndarray:
    """Layers of the pipeline stage with the output head.

    Where chunks don't divide the layers, frameworks count the embedding and the head as a layer each, so that the last
    stage has one layer fewer than others.
    """
    models, layouts = steps.models, steps.layouts
    chunks = layouts.pp * layouts.vpp
    uneven = np.ceil((models.layers + 2) / chunks) * layouts.vpp - 1
    return np.where(_lacks_a_layer(steps), np.maximum(uneven, 1.0), models.layers / layouts.pp)


def _lacks_a_layer(steps: Steps) -> np.ndarray:
    """Whether the stage with the output head has one layer fewer than others."""
    layouts = steps.layouts
    return (layouts.pp > 1) & (steps.models.layers % (layouts.pp * layouts.vpp) != 0)


def local_params(steps: Steps) -> tuple[np.ndarray, np.ndarray]:
    """Parameters on one device of a stage with one vocabulary table, before ZeRO: dense ones, and experts'."""
    models, layouts = steps.models, steps.layouts
    dense_layers = models.layers - models.moe_layers
    body = models.layers * models.mixer_params + dense_layers * models.ffn_params
    body = body + models.moe_layers * models.shared_experts * models.expert_params
    tables = np.where((layouts.pp > 1) | (models.tied_embeddings > 0), 1.0, 2.0) * models.table_params
    experts = models.moe_layers * models.num_experts * models.expert_params / layouts.ep / layouts.pp
    return body / layouts.tp / layouts.pp + tables / layouts.tp, experts


def _data_parallel_s(steps: Steps, network: Network, turn_s: np.ndarray, fitted: Efficiencies) -> np.ndarray:
    """Gradients reduced and weights gathered: once a step, or with every micro-batch where they are sharded."""
    layouts = steps.layouts
    gather, latency = network.gather_s(*local_params(steps)), network.gather_latency_s()
    # stage 2 scatters gradients with every micro-batch, since it keeps only its shard of them; with a pipeline, whose
    # micro-batches follow each other closely, frameworks keep gradients whole and reduce them once a step
    rounds = np.where((layouts.zero_stage == 2) & (layouts.pp == 1), layouts.accumulation, 1.0)
    once = (1.0 + rounds) * gather + 4.0 * latency
    exposed = np.minimum(fitted.by("dp_exposed", FRAMEWORKS, layouts.framework), 1.0)
    plain = exposed * once + np.maximum(0.0, (1.0 - exposed) * once - _DATA_WINDOW * turn_s * rounds)
    per_turn = 3.0 * gather + 3.0 * latency * steps.models.layers
    kin = fitted.by("dp_exposed", FRAMEWORKS, layouts.framework) / fitted["dp_exposed"]
    waited = np.minimum(kin * fitted["fsdp_exposed"], 1.0)
    hidden = np.maximum((1.0 - waited) * per_turn, 1e-12)
    p = _OVERLAP_SHARPNESS
    beside = (hidden**p + turn_s**p) ** (1 / p) - turn_s
    sharded = layouts.accumulation * (waited * per_turn + beside)
    # with a pipeline, PyTorch's FSDP keeps weights and gradients whole between micro-batches (memory/memory_stages.py)
    whole = (layouts.framework == _FSDP) & (layouts.pp > 1)
    each_turn = (layouts.zero_stage >= 3) & ~whole
    return np.where(layouts.data_ranks > 1, np.where(each_turn, sharded, plain), 0.0)


def _optimizer_s(steps: Steps, fitted: Efficiencies) -> np.ndarray:
    """The optimizer's pass over its shard of the weights, on the device."""
    shard = _optimizer_params(steps)
    return fitted["optimizer_bytes"] * shard / steps.machines.hbm_bytes_per_s


def _optimizer_params(steps: Steps) -> np.ndarray:
    """Parameters whose optimizer state a device holds."""
    layouts, (dense, experts) = steps.layouts, local_params(steps)
    sharded = layouts.zero_stage >= 1
    return dense / np.where(sharded, layouts.data_ranks, 1.0) + experts / np.where(sharded, layouts.expert_ranks, 1.0)


def _offload_s(steps: Steps, fitted: Efficiencies, on_device_s: np.ndarray) -> np.ndarray:
    """What the host's memory costs: its optimizer instead of the device's, weights and activations back and forth."""
    layouts, machines = steps.layouts, steps.machines
    anything = layouts.offload_optimizer + layouts.offload_weights + layouts.offload_activations
    if not np.any(anything > 0):
        return np.zeros(())
    link = machines.host_bytes_per_s * fitted["host"]
    shard = _optimizer_params(steps)
    optimizer = shard * (_HOST_TRAFFIC / link + fitted["optimizer_bytes"] / _HOST_BYTES_PER_S) - on_device_s
    weights = 2.0 * layouts.accumulation * machines.value_bytes * sum(local_params(steps)) / link
    activations = 2.0 * layouts.accumulation * stage_layers(steps) * _kept_bytes(steps) / link
    moved = layouts.offload_weights * weights + layouts.offload_activations * activations
    hidden = np.where(layouts.offload_optimizer > 0, optimizer, 0.0)
    return hidden + np.where(moved > 0, fitted["offload_exposed"] * moved, 0.0)


def _kept_bytes(steps: Steps) -> np.ndarray:
    """Bytes that a mean layer keeps of a micro-batch for its backward pass, as the memory model counts them."""
    layouts, layer = steps.layouts, layer_activations(steps)
    share = steps.models.moe_layers / steps.models.layers
    whole = (1.0 - share) * layer.dense + share * layer.experts
    selective = (1.0 - share) * layer.dense_selective + share * layer.experts_selective
    some = np.where(layouts.recompute_selective > 0, selective, whole)
    return np.where(layouts.recompute_full > 0, layer.layer_input, some)
