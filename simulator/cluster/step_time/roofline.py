"""The least time that a step can take: its arithmetic alone, on all devices at the datasheet's peak."""

from __future__ import annotations

import numpy as np

from .steps import Steps

__all__ = ["least_step_s"]


def least_step_s(steps: Steps) -> np.ndarray:
    """Seconds of a step's matrix products and attention at the peak of the plan's precision. (n,)

    The backward pass takes twice the forward's arithmetic (Chowdhery et al. 2022, arXiv:2204.02311, appendix B), full
    recomputation once more of layers. Fused attention skips half of the pairs of a causal context.
    """
    models, layouts = steps.models, steps.layouts
    routed = models.experts_per_token + models.shared_experts
    dense_layers = models.layers - models.moe_layers
    body = models.layers * models.mixer_params + dense_layers * models.ffn_params
    body = body + models.moe_layers * routed * models.expert_params
    pairs = models.context_length * np.where(layouts.flash_attention > 0, 0.5, 1.0)
    scores = 2.0 * models.layers * models.heads * (models.key_width + models.value_width) * pairs
    scores = np.where(models.unattended > 0, models.layers * models.mixer_flops, scores)
    layers = 2.0 * body + scores
    flops = steps.tokens * ((3.0 + layouts.recompute_full) * layers + 3.0 * 2.0 * models.table_params)
    return flops / (layouts.devices * steps.machines.peak_flops)
