"""The policy: a transformer of 281k parameters over bytes of dialogues, which writes words."""

from __future__ import annotations

from typing import Any

from _proxies import corpora, train
from foretrain.proxies.sampling.trained import TrainedProxy

from .plan import Plan

__all__ = ["CONTEXT", "DOMAIN", "policy_model"]

CONTEXT = 64
"""Bytes that it sees at once."""

DOMAIN = "dialogue"


def policy_model(plan: Plan) -> TrainedProxy:
    """The policy with its weights; trained where it isn't yet, at a constant rate with the last tenth averaged."""
    runs = plan.folder / "policy" / "proxies" / "main" / "runs"
    if not list(runs.glob("*/result.json")):
        train(plan.folder / "policy", corpora([DOMAIN]), _space(plan))
    (run,) = (path for path in runs.iterdir() if path.is_dir())
    return TrainedProxy.open(run)


def _space(plan: Plan) -> dict[str, Any]:
    """The campaign of one run."""
    return {
        "widths": [72],
        "depth": 4,
        "context_length": CONTEXT,
        "tokens": [plan.policy_tokens],
        "batch_sequences": 16,
        "lr": 0.008,
        "engine": {"precision": "fp32", "keep_weights": True},
    }
