"""Memory of the fullest device of a training step, by part, and whether it fits.

States of the optimizer and their sharding: Rajbhandari et al. 2020 (arXiv:1910.02054), section 3 and 5. Micro-batches
in flight: Narayanan et al. 2021 (arXiv:2104.04473), section 2.2. Activations: `activations.py`. What frameworks add:
`memory_software.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .activations import LayerActivations, layer_activations
from .memory_software import SOFTWARE, Software, by_framework
from .steps import FRAMEWORKS, Steps

__all__ = ["GIB", "VERDICTS", "Memory", "memory"]

GIB = 2.0**30

VERDICTS = ("fits", "tight", "does not fit")
"""fits: with the reserve to spare. tight: the estimate's interval reaches both sides of the limit. does not fit: not
even the lower end of the interval does, with nothing in reserve."""

RESERVE = 0.03
"""Share of a device's memory to keep free for what grows later: evaluation, uneven routing, checkpoints."""

_LEVEL = 1.2816  # normal quantile of an 80 % interval
_CONTEXT_GIB = 0.6  # CUDA context and libraries' handles on data-centre GPUs: 0.4 to 0.8 as nvidia-smi shows it
_GROUP_GIB = 0.25  # buffers of one communicator between devices
_FEW_DENSE = 0.25  # up to this share of dense layers they are taken to come first
_FSDP = FRAMEWORKS.index("fsdp")
_DEEPSPEED = FRAMEWORKS.index("deepspeed")
_CHUNK = 16_384  # elements worked on together: their arrays stay in the processor's cache

PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "workspace", "buffers")
"""What a framework's allocator sees, at the moment of the peak and on the device where it is highest."""


@dataclass(frozen=True)
class Memory:
    """Memory of the fullest device. Arrays (n,); names say bytes or GiB."""

    parts: Mapping[str, np.ndarray]
    """Bytes by part; they add up to `allocated_bytes`."""
    reserve_bytes: np.ndarray
    """What the framework's allocator holds beyond that."""
    context_bytes: np.ndarray
    """What the driver and communication libraries hold."""
    capacity_bytes: np.ndarray
    log_sd: np.ndarray
    """Standard deviation of log(measured / estimated) of what is allocated."""

    @property
    def allocated_bytes(self) -> np.ndarray:
        """The framework's peak: what torch.cuda.max_memory_allocated tells."""
        return sum(self.parts.values(), np.zeros(()))

    @property
    def allocated_gib(self) -> np.ndarray:
        """The framework's peak, GiB."""
        return self.allocated_bytes / GIB

    @property
    def reserved_gib(self) -> np.ndarray:
        """The allocator's peak, GiB: what torch.cuda.max_memory_reserved tells."""
        return (self.allocated_bytes + self.reserve_bytes) / GIB

    @property
    def device_gib(self) -> np.ndarray:
        """The device's peak, GiB: what nvidia-smi tells."""
        return self.reserved_gib + self.context_bytes / GIB

    @property
    def usable_gib(self) -> np.ndarray:
        """What a plan may need at most to fit: the device's memory less the reserve, GiB."""
        return (1.0 - RESERVE) * self.capacity_bytes / GIB

    def interval_gib(self, level_quantile: float = _LEVEL) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of the device's peak, GiB; an 80 % interval unless another normal quantile is given."""
        spread = np.exp(level_quantile * self.log_sd)
        context = self.context_bytes / GIB
        return self.reserved_gib / spread + context, self.reserved_gib * spread + context

    @property
    def fits(self) -> np.ndarray:
        """Whether the estimate leaves the reserve free."""
        return self.device_gib <= self.usable_gib

    @property
    def possible(self) -> np.ndarray:
        """Whether it may run: the low end of the interval, the allocator's surplus given back, is below the limit."""
        low = self.allocated_bytes / np.exp(_LEVEL * self.log_sd) + self.context_bytes
        return low <= self.capacity_bytes

    @property
    def verdict(self) -> np.ndarray:
        """One of VERDICTS for each."""
        return np.where(self.fits, VERDICTS[0], np.where(self.possible, VERDICTS[1], VERDICTS[2]))


def memory(steps: Steps, software: Mapping[str, Software] = SOFTWARE) -> Memory:
    """Estimate the memory of every step. 300,000 layouts of one model take about half a second."""
    size = len(steps)
    if size <= _CHUNK:
        return _memory(steps, software)
    chunks = [
        _memory(steps.take(np.arange(start, min(start + _CHUNK, size))), software) for start in range(0, size, _CHUNK)
    ]
    names = ("reserve_bytes", "context_bytes", "capacity_bytes", "log_sd")
    joined = {name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names}
    parts = {name: np.concatenate([chunk.parts[name] for chunk in chunks]) for name in PARTS}
    return Memory(parts=parts, **joined)


def _memory(steps: Steps, software: Mapping[str, Software]) -> Memory:
    """All steps at once: the first, the second and the last pipeline stage, and of each step the fullest of them."""
    shape = np.broadcast_shapes(steps.layouts.tp.shape, steps.models.layers.shape, steps.machines.per_node.shape)
    stages = _Stages(steps, software)
    parts = _fuller(_fuller(stages.first(), stages.second()), stages.last())
    total = sum(parts.values(), np.zeros(()))
    framework = steps.layouts.framework
    numbers = {
        "reserve_bytes": by_framework(software, framework, "reserve") * total,
        "context_bytes": GIB * (_CONTEXT_GIB + _GROUP_GIB * _groups(steps)),
        "capacity_bytes": steps.machines.memory_bytes,
        "log_sd": by_framework(software, framework, "log_sd"),
    }
    return Memory(
        parts={name: np.broadcast_to(value, shape) for name, value in parts.items()},
        **{name: np.broadcast_to(value, shape) for name, value in numbers.items()},
    )


def _fuller(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of two stages the one that needs more, element by element."""
    chosen = sum(other.values(), np.zeros(())) > sum(one.values(), np.zeros(()))
    return {name: np.where(chosen, other[name], one[name]) for name in PARTS}


def _groups(steps: Steps) -> np.ndarray:
    """Communicators of a device: one for each kind of parallelism that it takes part in."""
    layouts = steps.layouts
    kinds = (layouts.tp, layouts.pp, layouts.cp, layouts.ep, layouts.data_ranks)
    return sum((np.where(kind > 1, 1.0, 0.0) for kind in kinds), np.zeros(()))


@dataclass(frozen=True)
class _Contents:
    """What a pipeline stage holds on one device before ZeRO. Arrays (n,)."""

    dense_layers: np.ndarray
    expert_layers: np.ndarray
    tables: np.ndarray
    """Parameters of vocabulary tables."""
    dense: np.ndarray
    """Parameters outside of experts, tables included."""
    experts: np.ndarray
    """Parameters of experts."""


class _Stages:
    """Pipeline stages of a set of steps. Methods return bytes by part."""

    def __init__(self, steps: Steps, software: Mapping[str, Software]) -> None:
        self.steps = steps
        self.constants = {
            name: by_framework(software, steps.layouts.framework, name) for name in Software.__dataclass_fields__
        }
        self.layer: LayerActivations = layer_activations(steps)
        layouts, models = steps.layouts, steps.models
        self.whole_streams = np.where(layouts.tp > 1, self.constants["whole_streams"], 0.0) * self.layer.stream
        matrices = models.matrix_inputs * models.matrix_outputs
        self.attention_params = (matrices / np.where(models.matrix_split == 0, 1.0, layouts.tp)).sum(axis=0)
        # With a pipeline, PyTorch's FSDP keeps weights and gradients whole between micro-batches (torchtitan does),
        # since gathering them for every one would cost more than the pipeline saves.
        whole = (layouts.framework == _FSDP) & (layouts.pp > 1)
        self.zero = np.where(whole, np.minimum(layouts.zero_stage, 1.0), layouts.zero_stage)
        chunks = layouts.pp * layouts.vpp
        self.even = models.layers % chunks == 0
        # Where chunks don't divide the layers, the embedding and the head count as a layer each.
        self.most_layers = np.where(
            self.even, models.layers / layouts.pp, np.ceil((models.layers + 2) / chunks) * layouts.vpp
        )
        self.end_layers = np.where(self.even, self.most_layers, np.maximum(self.most_layers - 1.0, 1.0))

    def first(self) -> dict[str, np.ndarray]:
        """The stage with the embedding, and with the head too where there is one stage only."""
        alone = self.steps.layouts.pp == 1
        layers = np.where(alone, self.steps.models.layers, self.end_layers)
        tables = np.where(alone & (self.steps.models.tied_embeddings == 0), 2.0, 1.0)
        return self._parts(self._contents(layers, tables, first=True), self._in_flight(0.0), head=alone)

    def second(self) -> dict[str, np.ndarray]:
        """The stage after it, without a vocabulary table; nothing where there is none between first and last."""
        layers = np.where(self.steps.layouts.pp <= 2, 0.0, self.most_layers)
        return self._parts(self._contents(layers, np.zeros(())), self._in_flight(1.0), head=np.zeros((), dtype=bool))

    def last(self) -> dict[str, np.ndarray]:
        """The stage with the output head; nothing where it is the first."""
        several = self.steps.layouts.pp > 1
        contents = self._contents(np.where(several, self.end_layers, 0.0), np.where(several, 1.0, 0.0))
        return self._parts(contents, self._in_flight(self.steps.layouts.pp - 1.0), head=several)

    def _contents(self, layers: np.ndarray, tables: np.ndarray, first: bool = False) -> _Contents:
        """What a stage of so many layers and vocabulary tables holds."""
        models, layouts = self.steps.models, self.steps.layouts
        plain_layers = models.layers - models.moe_layers
        # A few dense layers come first (DeepSeek and its kin); many are spread evenly.
        few = plain_layers <= _FEW_DENSE * models.layers
        at_front = np.maximum(layers - plain_layers, 0.0) if first else layers
        spread = np.ceil(layers * models.moe_layers / models.layers)
        expert_layers = np.minimum(np.where(few, at_front, spread), models.moe_layers)
        shared = models.shared_experts * models.expert_params / layouts.tp + models.width * models.num_experts
        one = self.attention_params + 2.0 * models.width
        dense = layers * one + (layers - expert_layers) * models.ffn_params / layouts.tp + expert_layers * shared
        return _Contents(
            dense_layers=layers - expert_layers,
            expert_layers=expert_layers,
            tables=tables * models.table_params / layouts.tp,
            dense=dense + tables * models.table_params / layouts.tp,
            experts=expert_layers * models.num_experts * models.expert_params / layouts.ep,
        )

    def _in_flight(self, rank: np.ndarray | float) -> np.ndarray:
        """Micro-batches whose activations a stage keeps, counted in whole stages."""
        layouts = self.steps.layouts
        ahead = np.maximum(layouts.pp - rank, 1.0)
        interleaved = (2.0 * (ahead - 1.0) + (layouts.vpp - 1.0) * layouts.pp + 1.0) / layouts.vpp
        flying = np.where(layouts.vpp > 1, interleaved, ahead)
        # Its pipeline engine has two buffers at least.
        least = np.where((layouts.framework == _DEEPSPEED) & (layouts.pp > 1), 2.0, 1.0)
        return np.minimum(np.maximum(flying, least), layouts.accumulation)

    def _parts(self, contents: _Contents, in_flight: np.ndarray, head: np.ndarray) -> dict[str, np.ndarray]:
        activations, layer_work = self._activations(contents, in_flight)
        logits = self._logits(head)
        # The loss is computed before the first layer's backward pass begins: only one of both is there at a time.
        at_loss = logits >= layer_work
        return self._states(contents) | {
            "activations": activations,
            "logits": np.where(at_loss, logits, 0.0),
            "workspace": np.where(at_loss, 0.0, layer_work),
            "buffers": self._buffers(contents),
        }

    def _states(self, contents: _Contents) -> dict[str, np.ndarray]:
        """Weights, gradients and optimizer states: bytes."""
        layouts, ranks = self.steps.layouts, (self.steps.layouts.data_ranks, self.steps.layouts.expert_ranks)
        weight, gradient, state = self._bytes_per_param()
        whole = contents.dense + contents.experts
        shards = contents.dense / ranks[0] + contents.experts / ranks[1]
        alone = np.where(ranks[0] > 1, 0.0, contents.dense) + np.where(ranks[1] > 1, 0.0, contents.experts)
        sharded_weights = weight * np.where(self.constants["working_copy_stays"] > 0, shards, alone)
        return {
            "weights": np.where(self.zero >= 3, sharded_weights, weight * whole) * (1.0 - layouts.offload_weights),
            "gradients": gradient * np.where(self.zero >= 2, shards, whole),
            "optimizer": state * np.where(self.zero >= 1, shards, whole) * (1.0 - layouts.offload_optimizer),
        }

    def _bytes_per_param(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bytes per parameter of weights, gradients, and optimizer states: AdamW with fp32 master weights."""
        machines = self.steps.machines
        wide = machines.value_bytes
        plain = wide >= 4.0
        copies = np.where(machines.narrow_bytes < wide, machines.narrow_bytes, 0.0)  # 8-bit or 4-bit operands
        gradient = np.where(machines.half > 0, self.constants["gradient_bytes_fp16"], self.constants["gradient_bytes"])
        return wide + copies, np.where(plain, 4.0, gradient), np.where(plain, 8.0, 12.0)

    def _activations(self, contents: _Contents, in_flight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What a stage keeps, and the workspace of one layer's backward pass: bytes."""
        layouts, layer, factor = self.steps.layouts, self.layer, self.constants["kept"]
        full, selective = layouts.recompute_full, layouts.recompute_selective
        layers = contents.dense_layers + contents.expert_layers
        whole = factor * (contents.dense_layers * layer.dense + contents.expert_layers * layer.experts)
        without = np.maximum(whole - selective * factor * layers * layer.recomputable, layers * layer.layer_input)
        kept = ((1.0 - full) * without + full * layers * layer.layer_input) * in_flight
        two_layers = np.minimum(2.0 / np.maximum(layers * in_flight, 2.0), 1.0)
        largest = factor * np.maximum(layer.dense, np.where(contents.expert_layers > 0, layer.experts, 0.0))
        again = np.maximum(full * (largest - layer.layer_input), selective * factor * layer.recomputable)
        work = self.constants["layer_work"] * largest + again + self.whole_streams
        return kept * np.where(layouts.offload_activations > 0, two_layers, 1.0), np.where(layers > 0, work, 0.0)

    def _logits(self, head: np.ndarray) -> np.ndarray:
        """Logits of a micro-batch with all their copies, and the 16-bit gradient of the output head: bytes."""
        steps = self.steps
        logits = self.constants["logit_bytes"] * steps.micro_tokens * steps.models.vocab_size / steps.layouts.tp
        gradient = steps.machines.value_bytes * steps.models.table_params / steps.layouts.tp
        return np.where(head, logits + gradient + self.whole_streams, 0.0)

    def _buffers(self, contents: _Contents) -> np.ndarray:
        """Layers that are whole for a while although they are sharded, cached gradients, and buckets: bytes."""
        models, layouts, constants = self.steps.models, self.steps.layouts, self.constants
        any_experts = contents.expert_layers > 0
        feed_forward = np.where(any_experts, models.shared_experts * models.expert_params, models.ffn_params)
        one_layer = self.attention_params + feed_forward / layouts.tp
        local_experts = np.where(any_experts, models.num_experts / layouts.ep * models.expert_params, 0.0)
        layers = constants["gathered_layers"]
        dense = np.minimum(layers * one_layer + contents.tables, contents.dense)
        experts = np.minimum(layers * local_experts, contents.experts)
        others = dense * (1.0 - 1.0 / layouts.data_ranks) + experts * (1.0 - 1.0 / layouts.expert_ranks)
        copies = np.where(self.zero >= 3, 2.0, np.where(self.zero == 2, 1.0, 0.0))
        shapes = one_layer + np.where(any_experts, models.expert_params, 0.0)
        cached = np.where(self.zero >= 2, 0.0, constants["cached_gradients"]) * np.minimum(shapes, contents.dense)
        values = copies * others + layouts.offload_weights * (dense + experts) + cached
        fixed = np.where(contents.dense > 0, constants["fixed_gib"] * GIB, 0.0)
        return self.steps.machines.value_bytes * values + fixed
