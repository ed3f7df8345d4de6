"""The usual names of what logs hold, and how keys and numbers are spelled, whoever wrote them."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["LONGEST_NUMBER", "LOSSES", "RATES", "SAMPLES", "STEPS", "TIMES", "TOKENS", "folded", "number"]

STEPS = (
    "step", "global_step", "train/global_step", "trainer/global_step", "training_step", "train/step", "optimizer_step",
    "num_updates", "update", "iteration", "iterations", "train/iteration", "iter", "it", "steps", "_step",
)  # fmt: skip
TOKENS = (
    "tokens", "tokens_seen", "consumed_tokens", "num_tokens", "total_tokens", "n_tokens", "train/tokens",
    "train/tokens_seen", "num_input_tokens_seen", "throughput/total_tokens", "consumed_train_tokens", "time/token",
)  # fmt: skip
SAMPLES = ("samples", "consumed_samples", "consumed_train_samples", "samples_seen", "sequences", "examples")
LOSSES = (
    "loss", "train_loss", "train/loss", "training_loss", "training/loss", "loss/train", "lm_loss", "train/lm_loss",
    "loss_nats", "train_loss_nats", "train_loss_step", "train/loss_step", "loss_step", "loss_train",
    "reduced_train_loss", "loss_metrics/global_avg_loss",
    "train/cross_entropy", "cross_entropy", "train/crossentropyloss", "ce_loss", "train/ce_loss", "nll", "train/nll",
    "loss/train/total", "val_loss", "valid_loss", "validation_loss", "eval_loss", "val/loss", "valid/loss",
    "validation/loss", "eval/loss", "val_loss_nats", "val_loss_epoch", "val/loss_epoch",
    "loss/val", "loss/valid", "loss/validation", "loss/eval",
    "perplexity", "ppl", "train_perplexity", "train_ppl", "train/perplexity", "train/ppl", "val_perplexity", "val_ppl",
    "eval/perplexity", "bits_per_token", "bits_per_byte", "bpb", "train/bits_per_byte",
)  # fmt: skip
RATES = (
    "lr", "learning_rate", "train/learning_rate", "train/lr", "optim/lr", "optim/learning_rate_group0", "lr_adamw",
    "lr_adamw/pg1", "lr_adam", "optimizer/lr", "learning_rate/group0", "optim/lr_(group_0)",
)  # fmt: skip
TIMES = (
    "_timestamp", "timestamp", "wall_time", "time", "datetime", "date", "_runtime", "runtime", "elapsed", "elapsed_s",
    "elapsed_time", "wall_clock_s",
)  # fmt: skip
_SEPARATORS = re.compile(r"[-. ]")
_FIRST_LOADER = "/dataloader_idx_0"  # Lightning adds it to what is logged while there are several sets to validate on
LONGEST_NUMBER = 40
"""Characters of a text that may be a number."""


def folded(key: str) -> str:
    """`my run - train/Loss` (a W&B export) → `train/loss`."""
    return _SEPARATORS.sub("_", str(key).rpartition(" - ")[2].strip().lower()).removesuffix(_FIRST_LOADER)


def number(value: Any) -> float | None:
    """A number or one spelled as text, `nan` and `inf` included; None for anything else."""
    if isinstance(value, str) and len(value) <= LONGEST_NUMBER:
        value = value.strip().replace("_", "x")
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
