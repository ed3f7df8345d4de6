"""`Inference`: what a model computes before a run, such as scores of its documents or text to train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Inference"]

_FLOPS_PER_PARAM_TOKEN = 2.0  # of the forward pass (Kaplan et al. 2020, arXiv:2001.08361, table 1)
_S_PER_H = 3600.0


@dataclass(frozen=True)
class Inference:
    """A model, the tokens that it reads or writes, and what that takes.

    It is done before the run, on accelerators of the plan's kind: paid, and no part of the run's wall clock.

    >>> Inference(params=7e9, tokens=6e11, efficiency=0.05, efficiency_log_sd=0.6, params_stated=False).flops
    8.4e+21
    """

    params: float
    """Parameters of the model that a token visits."""
    tokens: float
    """Tokens that it reads or writes."""
    efficiency: float
    """Share of the accelerators' peak that its inference reaches."""
    efficiency_log_sd: float
    """One standard deviation of its log; 0 where the plan states it."""
    params_stated: bool
    """Whether the plan states its size; else a usual one is taken."""

    @property
    def flops(self) -> float:
        """FLOPs of its inference: 2 × parameters × tokens."""
        return _FLOPS_PER_PARAM_TOKEN * self.params * self.tokens

    def device_hours(self, peak_flops: float) -> float:
        """Hours of an accelerator of this peak, FLOP/s."""
        return self.flops / (peak_flops * self.efficiency) / _S_PER_H

    @property
    def sentence(self) -> str:
        """What is computed, by what, and how much that is."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "params": self.params,
            "tokens": self.tokens,
            "flops": self.flops,
            "efficiency": self.efficiency,
            "params_stated": self.params_stated,
        }
