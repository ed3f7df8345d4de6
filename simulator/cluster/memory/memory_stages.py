"""Memory of a device in the first, the second and the last pipeline stage, by part.

States of the optimizer and their sharding: Rajbhandari et al. 2020 (arXiv:1910.02054), sections 3 and 5. Micro-batches
in flight: Narayanan et al. 2021 (arXiv:2104.04473), section 2.2, and Korthikanti et al. 2022 (arXiv:2205.05198),
section 4.2.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..step_time.steps import FRAMEWORKS, Steps
from .activations import LayerActivations, layer_activations
from .kernels import compiled_shares
from .memory_software import Software, by_framework
from .parameter_bytes import parameter_bytes

__all__ = ["GIB", "PARTS", "Contents", "Stages"]

GIB = 2.0**30

PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "workspace", "buffers")
"""What a framework's allocator sees, at the moment of the peak and on the device where it is highest."""

_OPERAND_AND_GRADIENT = 2.0  # streams that tensor parallelism puts together at once in a layer's backward pass
_SCATTERED = 3.0  # in 16-bit values: a layer's gradient, and its 32-bit copy while that is scattered among replicas
_FEW_DENSE = 0.25  # up to this share of dense layers they are taken to come first
_FSDP = FRAMEWORKS.index("fsdp")
_DEEPSPEED = FRAMEWORKS.index("deepspeed")


@dataclass(frozen=True)
class Contents:
    """What a pipeline stage holds on one device before ZeRO. Arrays (n,)."""

    dense_layers: np.ndarray
    expert_layers: np.ndarray
    tables: np.ndarray
    """Parameters of vocabulary tables."""
    dense: np.ndarray
    """Parameters outside of experts, tables included."""
    experts: np.ndarray
    """Parameters of experts."""

    @property
    def params(self) -> np.ndarray:
        """All parameters."""
        return self.dense + self.experts

    def sharded(self, data_ranks: np.ndarray, expert_ranks: np.ndarray) -> Contents:
        """Parameters shared out: each part over the devices that hold the same."""
        parts = {"tables": self.tables / data_ranks, "dense": self.dense / data_ranks}
        return replace(self, **parts, experts=self.experts / expert_ranks)

    def where(self, dense: np.ndarray, experts: np.ndarray) -> Contents:
        """Only the parameters for which the conditions hold."""
        parts = {"tables": np.where(dense, self.tables, 0.0), "dense": np.where(dense, self.dense, 0.0)}
        return replace(self, **parts, experts=np.where(experts, self.experts, 0.0))


class Stages:
    """Pipeline stages of a set of steps. Methods return bytes by part."""

    def __init__(self, steps: Steps, software: Mapping[str, Software]) -> None:
        self.steps = steps
        self.constants = {
            name: by_framework(software, steps.layouts.framework, name) for name in Software.__dataclass_fields__
        }
        self.layer: LayerActivations = layer_activations(steps)
        layouts, models = steps.layouts, steps.models
        layers_compiled, loss_compiled = compiled_shares(steps)
        kept = self._between("kept", layers_compiled)
        self.logit_bytes = self._between("logit_bytes", loss_compiled)
        self.unsaid = {
            "activations": self._unsaid("kept", layers_compiled) * (layouts.flash_attention > 0),
            "logits": self._unsaid("logit_bytes", loss_compiled),
        }
        """What eager execution takes more than is counted of a part, as a share of it."""
        # Before attention was fused, hardly anything was: Korthikanti et al. count every operator's tensors.
        self.kept = np.where(layouts.flash_attention > 0, kept, np.maximum(kept, 1.0))
        # What a policy by operator keeps is exact: there is nothing to fuse.
        self.kept_selective = np.where(layouts.framework == _FSDP, 1.0, self.kept)
        tensor_stream = np.where(layouts.tp > 1, self.layer.stream, 0.0)
        self.whole_streams = self.constants["whole_streams"] * tensor_stream
        self.gathered_operand = _OPERAND_AND_GRADIENT * tensor_stream
        matrices = models.matrix_inputs * models.matrix_outputs
        self.attention_params = (matrices / np.where(models.matrix_split == 0, 1.0, layouts.tp)).sum(axis=0)
        # With a pipeline, PyTorch's FSDP keeps weights and gradients whole between micro-batches (torchtitan does),
        # since gathering them for every one would cost more than the pipeline saves.
        self.whole = (layouts.framework == _FSDP) & (layouts.pp > 1)
        # Others add gradients up over micro-batches and reduce them once a step, so stage 2 is stage 1 there.
        once = self.whole | ((layouts.zero_stage == 2) & (layouts.pp > 1))
        self.zero = np.where(once, np.minimum(layouts.zero_stage, 1.0), layouts.zero_stage)
        chunks = layouts.pp * layouts.vpp
        self.even = models.layers % chunks == 0
        # Where chunks don't divide the layers, the embedding and the head count as a layer each.
        self.most_layers = np.where(
            self.even, models.layers / layouts.pp, np.ceil((models.layers + 2) / chunks) * layouts.vpp
        )
        self.end_layers = np.where(self.even, self.most_layers, np.maximum(self.most_layers - 1.0, 1.0))

    def _between(self, name: str, share: np.ndarray) -> np.ndarray:
        """A constant where a share of it is compiled."""
        eager = self.constants[name]
        return eager + share * (self.constants[f"{name}_compiled"] - eager)

    def _unsaid(self, name: str, share: np.ndarray) -> np.ndarray:
        """How far a constant lies above what is taken of it where nobody says what is compiled, as a share of that."""
        known = (share == 0.0) | (share == 1.0)
        return np.where(known, 0.0, self.constants[name] / self._between(name, share) - 1.0)

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

    def _contents(self, layers: np.ndarray, tables: np.ndarray, first: bool = False) -> Contents:
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
        return Contents(
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

    def _parts(self, contents: Contents, in_flight: np.ndarray, head: np.ndarray) -> dict[str, np.ndarray]:
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

    def _states(self, contents: Contents) -> dict[str, np.ndarray]:
        """Weights, gradients and optimizer states: bytes."""
        layouts, each = self.steps.layouts, parameter_bytes(self.steps, self.constants)
        whole, shards = contents, contents.sharded(layouts.data_ranks, layouts.expert_ranks)
        # without a working copy in store, weights are whole only where no other device holds a shard of them
        alone = contents.where(layouts.data_ranks <= 1, layouts.expert_ranks <= 1)
        stays = (self.constants["working_copy_stays"] > 0) | each.shard_is_weight
        weights = np.where(self.zero >= 3, np.where(stays, shards.params, alone.params), whole.params)

        def optimizer(held: Contents) -> np.ndarray:
            matrices = held.params - held.tables
            return each.master * held.params + each.matrix_states * matrices + each.other_states * held.tables

        states = np.where(self.zero >= 1, optimizer(shards), optimizer(whole))
        return {
            "weights": each.weight * weights * (1.0 - layouts.offload_weights),
            "gradients": each.gradient * np.where(self.zero >= 2, shards.params, whole.params),
            "optimizer": states * (1.0 - layouts.offload_optimizer),
        }

    def _activations(self, contents: Contents, in_flight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What a stage keeps, and the workspace of one layer's backward pass: bytes."""
        layouts, layer = self.steps.layouts, self.layer
        layers = contents.dense_layers + contents.expert_layers
        dense = self._kept(layer.dense, layer.dense_selective)
        experts = self._kept(layer.experts, layer.experts_selective)
        kept = (contents.dense_layers * dense + contents.expert_layers * experts) * in_flight
        two_layers = np.minimum(2.0 / np.maximum(layers * in_flight, 2.0), 1.0)
        any_experts = contents.expert_layers > 0
        work = np.maximum(
            self._work(layer.dense, layer.dense_selective),
            np.where(any_experts, self._work(layer.experts, layer.experts_selective), 0.0),
        )
        in_host = layouts.offload_activations > 0
        return kept * np.where(in_host, two_layers, 1.0), np.where(layers > 0, work + self.gathered_operand, 0.0)

    def _kept(self, everything: np.ndarray, selective: np.ndarray) -> np.ndarray:
        """What one layer keeps for its backward pass: bytes. Shares of layers may be recomputed in each way."""
        layouts, layer_input = self.steps.layouts, self.layer.layer_input
        some, full = layouts.recompute_selective, layouts.recompute_full
        left = np.minimum(self.kept_selective * selective, self.kept * everything)
        kept = (1.0 - some) * self.kept * everything + some * np.maximum(left, layer_input)
        return (1.0 - full) * kept + full * layer_input

    def _work(self, everything: np.ndarray, selective: np.ndarray) -> np.ndarray:
        """Temporary tensors of one layer's backward pass, and what is there again of it by then: bytes."""
        layouts = self.steps.layouts
        whole = self.kept * everything
        again = np.maximum(
            layouts.recompute_full * (whole - self.layer.layer_input),
            layouts.recompute_selective * np.maximum(whole - self.kept_selective * selective, 0.0),
        )
        return self.constants["layer_work"] * whole + again

    def _logits(self, head: np.ndarray) -> np.ndarray:
        """Logits of a micro-batch, or of a part of it, with all their copies, and the output head's gradient: bytes."""
        steps = self.steps
        chunks = steps.layouts.loss_chunks
        share = np.where(chunks > 0, 1.0 / np.maximum(chunks, 1.0), 0.0)  # none is stored by a fused loss
        logits = share * self.logit_bytes * steps.micro_tokens * steps.models.vocab_size / steps.layouts.tp
        gradient = steps.machines.value_bytes * steps.models.table_params / steps.layouts.tp
        return np.where(head, logits + gradient + self.whole_streams, 0.0)

    def _buffers(self, contents: Contents) -> np.ndarray:
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
        scattered = np.where(self.whole & (layouts.data_ranks > 1), _SCATTERED, constants["cached_gradients"])
        cached = np.where(self.zero >= 2, 0.0, scattered) * np.minimum(shapes, contents.dense)
        values = copies * others + layouts.offload_weights * (dense + experts) + cached
        fixed = np.where(contents.dense > 0, constants["fixed_gib"] * GIB, 0.0)
        return self.steps.machines.value_bytes * values + fixed
