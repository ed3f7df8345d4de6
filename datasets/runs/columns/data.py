"""Columns of the data: tokens, how many of them are distinct, and of which domains they are."""

from __future__ import annotations

from typing import Any

from ....core.columns import Column
from ._registry import add


def _real_share(run: Any) -> float | None:
    """Of a plan: what isn't synthetic where each generation replaces the one before; else as runs have it."""
    replaced = run.data.synthetic_share > 0 and run.data.synthetic.regime == "replace"
    return 1.0 - run.data.synthetic_share if replaced else None


add(
    Column(
        "tokens",
        "training tokens seen",
        "tokens",
        rule="count",
        aliases=("d", "num_tokens", "n_tokens", "training_tokens", "total_tokens"),
        stated_at="data.tokens",
    ),
    Column(
        "tokens_planned",
        "training tokens at the end of the run's schedule, where a row is before it",
        "tokens",
        rule="count",
        aliases=("planned_tokens",),
        stated_at=None,
    ),
    Column(
        "tokens_before",
        "tokens that the weights it started from were trained on; 0 where it started from random ones",
        "tokens",
        rule="count or zero",
        stated_at=None,
        default=0.0,
        sets_apart=True,
    ),
    Column(
        "unique_tokens",
        "distinct tokens among them; blank for one pass",
        "tokens",
        rule="count",
        stated_at="data.unique_tokens",
        from_run=lambda run: run.data.distinct_tokens(),
        default="tokens",
    ),
    Column("epochs", "tokens / unique_tokens", rule="positive", stated_at=None),
    Column("flops", "training FLOPs", "FLOPs", rule="count", aliases=("c", "compute", "train_flops"), stated_at=None),
    Column(
        "mix.",
        "share of the training tokens from a domain; a row sums to 1 within 0.01",
        "share",
        rule="non-negative",
        stated_at="data.mix",
    ),
    Column(
        "unique_tokens.",
        "distinct tokens that there are of a domain; blank where there are more than any run sees",
        "tokens",
        rule="count",
        stated_at="data.unique_tokens_by_domain",
    ),
    Column(
        "keep",
        "share of the text that a selection of documents keeps; 1 without one",
        "share",
        rule="share",
        stated_at="data.selection.keep",
        default=1.0,
    ),
    Column(
        "synthetic_share",
        "share of the training tokens that models wrote",
        "share",
        rule="share or zero",
        stated_at="data.synthetic.share",
        from_run=lambda run: run.data.synthetic_share,
        default=0.0,
    ),
    Column(
        "real_share",
        "share of real text put into the corpus of every generation of its chain: under `replace`, from generation 1 "
        "on, 1 - synthetic_share. It names the chain; laws read synthetic_share",
        "share",
        rule="share or zero",
        stated_at=None,
        from_run=_real_share,
        default=0.0,
    ),
    Column(
        "generation",
        "generations of models between real text and the run; 0 for real text",
        "generations",
        rule="count or zero",
        stated_at="data.synthetic.generation",
        from_run=lambda run: run.data.synthetic.generation if run.data.synthetic_share > 0 else None,
        default=0.0,
    ),
    Column(
        "temperature",
        "temperature at which models wrote the synthetic text",
        rule="non-negative",
        stated_at="data.synthetic.temperature",
        from_run=lambda run: run.data.synthetic.temperature if run.data.synthetic_share > 0 else None,
        default=1.0,
    ),
    Column(
        "top_p",
        "share of the probability that sampling kept of each token when models wrote the synthetic text",
        "share",
        rule="share",
        stated_at="data.synthetic.top_p",
        from_run=lambda run: run.data.synthetic.top_p if run.data.synthetic_share > 0 else None,
        default=1.0,
    ),
)
