"""Time of collectives between devices: volumes by the textbook, two tiers of links, latency.

Devices are numbered as Megatron-LM does: tensor-parallel ones next to each other, then context, data, pipeline. A ring
of p devices moves 2·(p−1)/p of a tensor per device for an all-reduce, half of that for a gather or a scatter. A group
with g members in a node uses g network cards, since its collectives run as g rings, each of which leaves the node over
another card (NCCL); an all-to-all sends over the network only what is for devices of other nodes, beside what stays.
Sources: Narayanan et al. 2021 (arXiv:2104.04473), section 3; Rajbhandari et al. 2020 (arXiv:1910.02054), section 7;
Korthikanti et al. 2022 (arXiv:2205.05198), section 4.
"""

from __future__ import annotations

import numpy as np

from .efficiency import Efficiencies
from .operators import routed_tokens
from .steps import FRAMEWORKS, GENERATIONS, Steps

__all__ = ["Network"]

_TPU = GENERATIONS.index("tpu")
_DEEPSPEED = FRAMEWORKS.index("deepspeed")
_DEEPSPEED_CARDS = 0.72
"""Network cards whose bandwidth DeepSpeed's stage 3 gets of a node's: it gathers matrix by matrix. Narayanan et al.
2021, table 2: three times the weights of 175B and 530B pass in 67 and 184 s on 1,536 and 2,240 GPUs with 25 GB/s each,
a tenth of which is other work, and in hardly another time on half as many."""
_HOP_INSIDE_S, _HOP_BETWEEN_S = 3.4e-6, 14e-6
"""Latency of one hop of a ring, of which a gather makes one for every rank: what NCCL (2.19, src/graph/tuning.cc, hwLat
of rings with the simple protocol) counts for NVLink and for the network."""


class Network:
    """The links of a set of steps. Methods return seconds, arrays (n,); 0 for groups of one device."""

    def __init__(self, steps: Steps, fitted: Efficiencies) -> None:
        self.steps, self.fitted = steps, fitted
        machines, layouts = steps.machines, steps.layouts
        self.intra = machines.intra_bytes_per_s * fitted["intra_node"]
        self.inter = machines.inter_bytes_per_s * fitted["inter_node"]
        self.latency_s = fitted["latency_s"]
        self.residual_bytes = steps.micro_tokens * steps.models.width * machines.value_bytes
        self.one_node = layouts.devices <= machines.per_node

    def _ring(
        self, group: np.ndarray, stride: np.ndarray | float = 1.0, most_cards: np.ndarray | float = np.inf
    ) -> np.ndarray:
        """Bandwidth of a ring of `group` devices that are `stride` apart: all their cards where it leaves the node."""
        per_node = self.steps.machines.per_node
        cards = np.minimum(np.clip(per_node / stride, 1.0, group), most_cards)
        across = np.minimum(self.intra, cards * self.inter)
        return np.where(self.one_node | (group * stride <= per_node), self.intra, across)

    def tensor_parallel_s(self) -> np.ndarray:
        """One layer's pass: two all-reduces of the residual stream, or as many gathers and scatters, exposed part."""
        layouts = self.steps.layouts
        ring = 2.0 * (layouts.tp - 1) / layouts.tp * self.residual_bytes / self._ring(layouts.tp)
        one = ring + 2.0 * self.latency_s * (1 + np.log2(layouts.tp))
        exposed = self.fitted.by("tp_exposed", FRAMEWORKS, layouts.framework)
        return np.where(layouts.tp > 1, 2.0 * one * exposed, 0.0)

    def context_parallel_s(self) -> np.ndarray:
        """One layer's forward pass: keys and values go round the ring; the backward pass moves twice as much."""
        layouts, models = self.steps.layouts, self.steps.models
        # a device has one key-value head at least, a copy where there are fewer of them than devices
        values = np.maximum(models.kv_heads / layouts.tp, 1.0) * (models.key_width + models.value_width)
        bytes_moved = (layouts.cp - 1) * self.steps.micro_tokens * values * self.steps.machines.value_bytes
        return self.fitted["cp_exposed"] * bytes_moved / self._ring(layouts.cp, layouts.tp)

    def expert_parallel_s(self) -> np.ndarray:
        """One expert layer's pass: tokens to their experts and back."""
        layouts, models, machines = self.steps.layouts, self.steps.models, self.steps.machines
        for_one = routed_tokens(self.steps) * models.width * machines.narrow_bytes / layouts.ep
        near = np.where(self.one_node, layouts.ep, np.clip(machines.per_node / layouts.tp, 1.0, layouts.ep))
        inside, across = (near - 1.0) * for_one / self.intra, (layouts.ep - near) * for_one / self.inter
        both = 2.0 * (np.maximum(inside, across) + 2.0 * self.latency_s)
        return np.where(layouts.ep > 1, self.fitted["ep_exposed"] * both, 0.0)

    def pipeline_s(self) -> np.ndarray:
        """One micro-batch at one stage: activations on, their gradients back, once for every chunk of the stage."""
        layouts = self.steps.layouts
        split = np.where(layouts.sequence_parallel > 0, layouts.tp, 1.0)
        one = self.residual_bytes / split / np.where(self.one_node, self.intra, self.inter) + self.latency_s
        exposed = self.fitted.by("pp_exposed", FRAMEWORKS, layouts.framework)
        return np.where(layouts.pp > 1, 2.0 * layouts.vpp * exposed * one, 0.0)

    def gather_s(self, dense_params: np.ndarray, expert_params: np.ndarray) -> np.ndarray:
        """Gathering (or scattering) a device's weights among data-parallel ranks once, latency aside."""
        layouts, machines = self.steps.layouts, self.steps.machines
        ranks, expert_ranks = layouts.data_ranks, layouts.expert_ranks
        singly = (layouts.framework == _DEEPSPEED) & (layouts.zero_stage >= 3)
        cards = np.where(singly, _DEEPSPEED_CARDS, np.inf)
        dense_s = dense_params * (ranks - 1) / ranks / self._ring(ranks, layouts.tp, cards)
        experts_s = expert_params * (expert_ranks - 1) / expert_ranks / self._ring(expert_ranks, layouts.ep)
        return machines.value_bytes * (dense_s + experts_s)

    def gather_latency_s(self) -> np.ndarray:
        """Latency of one gather or scatter among data-parallel ranks: a message, and every hop of the ring.

        TPUs are joined to tori, with a ring for each axis: a message for every doubling of the ranks.
        """
        layouts, ranks = self.steps.layouts, self.steps.layouts.data_ranks
        in_node = np.clip(self.steps.machines.per_node / layouts.tp, 1.0, ranks)
        between = np.where(self.one_node, 0.0, ranks / in_node - 1.0)
        ring_s = self.latency_s + between * _HOP_BETWEEN_S + (ranks - 1.0 - between) * _HOP_INSIDE_S
        torus_s = self.latency_s * np.log2(np.maximum(ranks, 2.0))
        return np.where(ranks > 1, np.where(self.steps.machines.generation == _TPU, torus_s, ring_s), 0.0)
