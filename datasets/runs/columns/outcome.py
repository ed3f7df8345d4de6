"""Columns of a run's outcome: its losses."""

from __future__ import annotations

from ....core.columns import Column
from ._registry import add

add(
    Column(
        "loss",
        "final held-out cross-entropy; columns of perplexities, bits per token or bits per byte become this",
        "nats per token",
        rule="positive",
        aliases=("val_loss", "eval_loss", "validation_loss", "final_loss", "loss_final", "test_loss"),
        stated_at=None,
    ),
    Column("loss.", "the same on one domain", "nats per token", rule="positive", stated_at=None),
)
