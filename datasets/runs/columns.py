"""What the columns of a run table are called, mean and may hold: data only, no reading and no checking.

A column is one of the names in `NUMBER_COLUMNS` and `TEXT_COLUMNS`, or belongs to one of three families:
`loss.<domain>` (nats per token on that domain), `mix.<domain>` (share of training tokens from that domain) and
`unique_tokens.<domain>` (distinct tokens that there are of that domain; blank where there are more than any run sees).
Anything else is an extra column, which is kept.
"""

from __future__ import annotations

import re
from typing import Literal

__all__ = [
    "ALIASES",
    "CONDITIONAL_ALIASES",
    "FAMILIES",
    "MIX_PREFIXES",
    "NUMBER_COLUMNS",
    "PERPLEXITY_ALIASES",
    "RUN_ID_ALIASES",
    "STATUSES",
    "STATUS_WORDS",
    "TEXT_COLUMNS",
    "UNFINISHED_WORDS",
    "Rule",
    "alias_key",
    "aliases_of",
    "expected",
    "is_standard",
    "rule_of",
]

Rule = Literal["count", "count or zero", "positive", "non-negative", "any"]
"""What a number may be. A count may be written with a suffix ("7B", "1.4T"); a plain `count` is positive."""

FAMILIES = ("loss.", "mix.", "unique_tokens.")
"""Prefixes of the families of standard columns; what follows the dot is the domain."""

NUMBER_COLUMNS: dict[str, Rule] = {
    # size
    "params": "count",  # what a law's N is fitted on
    "params_active": "count",  # parameters that one token passes through
    "params_embedding": "count or zero",
    # data
    "tokens": "count",  # tokens seen
    "unique_tokens": "count",  # size of the unique stock
    "epochs": "positive",  # tokens / unique_tokens
    "flops": "count",  # training FLOPs
    # outcome
    "loss": "positive",  # nats per token
    # optimisation
    "batch_tokens": "count",
    "steps": "count",
    "lr": "positive",  # peak
    "lr_final": "non-negative",  # linear decay ends at exactly 0
    "warmup_steps": "count or zero",
    "weight_decay": "non-negative",
    # shape
    "width": "count",
    "depth": "count",
    "heads": "count",
    "num_experts": "non-negative",  # dense runs are written as 0 by some, as 1 by others
    "experts_per_token": "non-negative",
    "vocab_size": "count",
    "context_length": "count",
    # provenance
    "seed": "any",
}
"""Numeric standard columns and the rule each value follows."""

TEXT_COLUMNS = (
    "run_id",
    "schedule",
    "optimizer",
    "architecture",
    "source",
    "val_domain",
    "tokenizer",
    "status",
)
"""Standard columns that hold text."""

ALIASES: dict[str, str] = {
    "n": "params",
    "model_size": "params",
    "n_params": "params",
    "num_params": "params",
    "parameters": "params",
    "size": "params",
    "d": "tokens",
    "num_tokens": "tokens",
    "n_tokens": "tokens",
    "training_tokens": "tokens",
    "total_tokens": "tokens",
    "c": "flops",
    "compute": "flops",
    "train_flops": "flops",
    "val_loss": "loss",
    "eval_loss": "loss",
    "validation_loss": "loss",
    "final_loss": "loss",
    "loss_final": "loss",
    "test_loss": "loss",
    "learning_rate": "lr",
    "lr_peak": "lr",
    "peak_lr": "lr",
    "bs_tokens": "batch_tokens",
    "batch_size_tokens": "batch_tokens",
    "experts": "num_experts",
    "n_experts": "num_experts",
    "id": "run_id",
    "run": "run_id",
    "name": "run_id",
    "state": "status",
}
"""`alias_key` of a column name → the standard column it stands for."""

CONDITIONAL_ALIASES: dict[str, tuple[str, str]] = {
    "k": ("experts_per_token", "num_experts"),
    "top_k": ("experts_per_token", "num_experts"),
}
"""Aliases that hold only where another standard column is there too: k alone could be anything."""

RUN_ID_ALIASES = ("id", "run", "name")
"""Aliases of run_id, surest first. They may differ without being ambiguous: a W&B export has both an ID and a Name."""

PERPLEXITY_ALIASES = (
    "perplexity",
    "ppl",
    "val_perplexity",
    "val_ppl",
    "eval_perplexity",
    "eval_ppl",
    "validation_perplexity",
)
"""Columns that are read as loss = ln(value) where there is no loss column."""

MIX_PREFIXES = ("w_", "weight_", "share_")
"""`w_web` stands for `mix.web` where two or more such columns sum to 1 in every row."""

STATUSES = ("ok", "diverged", "failed")
"""The values of the status column. Only `ok` rows are ever fitted."""

STATUS_WORDS: dict[str, str] = {
    **dict.fromkeys(("ok", "finished", "complete", "completed", "success", "succeeded", "done"), "ok"),
    **dict.fromkeys(("diverged", "divergent", "exploded", "nan"), "diverged"),
    **dict.fromkeys(("failed", "crashed", "killed", "canceled", "cancelled", "aborted", "error"), "failed"),
    **dict.fromkeys(("oom", "timeout", "stopped", "interrupted"), "failed"),
    **dict.fromkeys(("running", "pending", "scheduled", "preempting", "preempted"), "failed"),
}
"""Lower-case state words of W&B, MLflow and job schedulers → our status."""

UNFINISHED_WORDS = ("running", "pending", "scheduled", "preempting", "preempted")
"""States of runs that are not over: their loss isn't final, so they are marked failed and a note says so."""

_EXPECTED: dict[Rule, str] = {
    "count": "a positive number such as 7000000000, 6e11, 7B or 1.4T",
    "count or zero": "zero, or a positive number such as 7000000000, 6e11, 7B or 1.4T",
    "positive": "a positive number",
    "non-negative": "a number that is zero or more",
    "any": "a number",
}


def alias_key(name: str) -> str:
    """Fold a column name for look-up among the aliases.

    >>> alias_key(" eval/Loss")
    'eval_loss'
    """
    return re.sub(r"[\s/-]+", "_", name.strip().lower())


def aliases_of(standard: str) -> list[str]:
    """All the folded names that stand for one standard column, perplexity included for `loss`."""
    plain = [alias for alias, target in ALIASES.items() if target == standard]
    return plain + (list(PERPLEXITY_ALIASES) if standard == "loss" else [])


def is_standard(name: str) -> bool:
    """Is this exactly the name of a standard column, or of a member of a family?"""
    in_family = any(name.startswith(prefix) and len(name) > len(prefix) for prefix in FAMILIES)
    return in_family or name in NUMBER_COLUMNS or name in TEXT_COLUMNS


def rule_of(name: str) -> Rule | None:
    """The rule that numbers in this standard column follow; None for text columns and extra columns."""
    if name in NUMBER_COLUMNS:
        return NUMBER_COLUMNS[name]
    if not is_standard(name) or name in TEXT_COLUMNS:
        return None
    if name.startswith("unique_tokens."):
        return "count"
    return "positive" if name.startswith("loss.") else "non-negative"


def expected(name: str) -> str:
    """What a cell of this numeric column may hold, in words for an error message."""
    if name == "loss" or name.startswith("loss."):
        return "a positive loss in nats per token"
    if name.startswith("mix."):
        return "a share between 0 and 1"
    return _EXPECTED[rule_of(name) or "any"]
