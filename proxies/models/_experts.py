"""Feed-forward networks of a layer that tokens choose among: a mixture of experts.

Each token goes to the `experts_per_token` experts that its router scores highest (Shazeer et al. 2017,
arXiv:1701.06538), and to all shared ones (Dai et al. 2024, arXiv:2401.06066). No token is dropped, so that what a token
gets never depends on the others: capacity by batch would let later tokens push earlier ones out. Of several experts the
gates are renormalised over those chosen (Mixtral: Jiang et al. 2024, arXiv:2401.04088, section 2.1); of a single one
the gate is its probability, without which the router had no gradient (Switch: Fedus et al. 2021, arXiv:2101.03961,
section 2.1).

There is no router z-loss (Zoph et al. 2022, arXiv:2202.08906, equation 5): it keeps scores small that would be rounded
in bf16, and ours are computed in fp32.

Letters in shapes: K copies, N tokens, D width, E experts, k of them per token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ...core.model.architecture import Architecture
from ._model import Weight

__all__ = ["Routing", "diagnostics", "expert_weights", "load_balance", "mixture"]

_BALANCE = 0.01  # weight of the load-balance loss: Switch, section 2.2
_IDLE = 0.1  # an expert with less than this of an even share learns next to nothing


class Routing(NamedTuple):
    """How a layer's tokens were spread: each expert's share of the choices, and mean probability, (K, E) each."""

    load: Tensor
    probability: Tensor


def expert_weights(shape: Architecture, residual_deviation: float) -> list[Weight]:
    """The weights of one layer's router and experts, and of the shared experts, which are one wide network."""
    width, experts = shape.width, shape.num_experts or 0
    inner = shape.expert_ffn_width or shape.ffn_width
    gates = 2 if shape.ffn_gated else 1
    shared = shape.shared_experts * inner
    found = [
        Weight("router", (width, experts), "hidden", width**-0.5),
        Weight("experts_up", (experts, width, inner * gates), "hidden", width**-0.5),
        Weight("experts_down", (experts, inner, width), "hidden", residual_deviation * inner**-0.5),
    ]
    if shared:
        found.append(Weight("up", (width, shared * gates), "hidden", width**-0.5))
        found.append(Weight("down", (shared, width), "hidden", residual_deviation * shared**-0.5))
    return found


def mixture(
    weights: Mapping[str, Tensor], inputs: Tensor, chosen: int, activation: Callable[[Tensor, int], Tensor]
) -> tuple[Tensor, Routing]:
    """Return what the routed experts give, (K, B, T, D), of inputs (K, B, T, D), and how they were chosen.

    Args:
        weights: `router`, `experts_up` and `experts_down` of a layer.
        inputs: Normed inputs of the layer's second half.
        chosen: Experts per token.
        activation: Between the two matrices, from what the first gives and the inner width.
    """
    copies, batch, length, width = inputs.shape
    experts, inner = weights["experts_down"].shape[1:3]
    tokens = inputs.reshape(copies, batch * length, width)
    # The router is computed in fp32 at least: rounding would change which experts are chosen.
    wide = torch.promote_types(tokens.dtype, torch.float32)
    probability = torch.bmm(tokens.to(wide), weights["router"].to(wide)).softmax(-1)
    gate, choice = probability.topk(chosen, -1)
    if chosen > 1:
        gate = gate / gate.sum(-1, keepdim=True)
    # Rows in the order of copy and expert: each group has a matrix of its own.
    group = (choice + experts * torch.arange(copies, device=choice.device)[:, None, None]).flatten()
    order = group.argsort(stable=True)
    groups = torch.arange(copies * experts, device=choice.device)
    ends = torch.searchsorted(group[order], groups, right=True, out_int32=True)  # a GPU's bincount would wait for it
    # A row for each choice, put in order and back: sums over a token's choices are then made in one order, as those of
    # `index_add` are not on a GPU.
    rows = tokens.unsqueeze(2).expand(-1, -1, chosen, -1).reshape(-1, width)[order]
    rows = activation(_grouped(rows, weights["experts_up"].flatten(0, 1), ends), inner)
    rows = _grouped(rows, weights["experts_down"].flatten(0, 1), ends)
    found = rows[order.argsort()].view(copies, -1, chosen, width) * gate.to(rows.dtype).unsqueeze(-1)
    load = ends.diff(prepend=ends.new_zeros(1)).view(copies, experts).to(wide) / (batch * length * chosen)
    return found.sum(2).view_as(inputs), Routing(load, probability.mean(1))


def _grouped(rows: Tensor, matrices: Tensor, ends: Tensor) -> Tensor:
    """Rows times the matrix of their group: (M, D) by (G, D, F), `ends` (G,) where each group's rows end: (M, F)."""
    if rows.dtype in (torch.float32, torch.bfloat16, torch.float16):
        return functional.grouped_mm(rows, matrices, offs=ends)
    parts = rows.tensor_split(ends[:-1].long().cpu())
    return torch.cat([part @ matrix for part, matrix in zip(parts, matrices, strict=True)])


def load_balance(routings: list[Routing]) -> Tensor:
    """Return what training adds so that experts are used evenly, (K,): least where all have the same load.

    The sum over layers of α·E·Σ_e load_e · probability_e (Switch, equations 4 to 6), α = 0.01.
    """
    parts = [(one.load * one.probability).sum(-1) * one.load.shape[-1] for one in routings]
    return _BALANCE * torch.stack(parts).sum(0)


def diagnostics(routings: list[Routing]) -> dict[str, Tensor]:
    """Return how even the load is, (K,) each.

    `router_load` is the largest share of an expert over an even share, in the layer where that is largest: 1 if all are
    used alike. `router_idle` is the share of all experts that get less than a tenth of an even share.
    """
    loads = torch.stack([one.load * one.load.shape[-1] for one in routings])
    return {"router_load": loads.amax((0, 2)), "router_idle": (loads < _IDLE).to(loads.dtype).mean((0, 2))}
