"""Columns of the optimisation: learning rate, batch, steps, schedule, optimizer."""

from __future__ import annotations

from ....core.columns import Column
from ._registry import add

add(
    Column(
        "lr",
        "peak learning rate",
        rule="positive",
        aliases=("learning_rate", "lr_peak", "peak_lr"),
        stated_at="optim.lr",
    ),
    Column(
        "batch_tokens",
        "tokens of an optimizer step",
        "tokens",
        rule="count",
        aliases=("bs_tokens", "batch_size_tokens"),
        stated_at="optim.batch_tokens",
    ),
    Column(
        "steps",
        "optimizer steps",
        "steps",
        rule="count",
        aliases=(
            "n_steps",
            "num_steps",
            "train_steps",
            "training_steps",
            "total_steps",
            "iterations",
            "iteration",
            "global_step",
        ),
        stated_at=None,
    ),
    # a linear decay ends at exactly 0
    Column("lr_final", "learning rate at the end", rule="non-negative", stated_at="optim.lr_final"),
    Column("warmup_steps", "steps of warm-up", "steps", rule="count or zero", stated_at=None),
    Column("weight_decay", "weight decay", rule="non-negative", stated_at="optim.weight_decay"),
    Column("schedule", "schedule of the learning rate", stated_at=None),
    Column("optimizer", "optimizer", stated_at=None),
)
