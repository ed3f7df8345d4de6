"""Columns of a run's provenance: its name, corpus, tokenizer, kind of model, and status."""

from __future__ import annotations

from ....core.columns import Column
from ._registry import add

add(
    Column("seed", "random seed", rule="any", stated_at=None),
    Column(
        "run_id",
        "unique key, made from the row if absent; `<run_id>@<tokens>` is the same run at an earlier step",
        aliases=("id", "run", "name"),
        stated_at=None,
    ),
    Column("status", "`ok`, `diverged` or `failed`; only `ok` rows are fitted", aliases=("state",), stated_at=None),
    Column("corpus", "corpus", category=True, sets_apart=True, stated_at="data.corpus"),
    Column("source", "who published the run, or where it was measured", category=True, sets_apart=True, stated_at=None),
    Column("tokenizer", "tokenizer", category=True, sets_apart=True, stated_at="data.tokenizer"),
    Column("architecture", "kind of model", category=True, sets_apart=True),
    Column("val_domain", "domain of the held-out text", category=True, sets_apart=True, stated_at=None),
    Column("selection", "how documents were selected", category=True),
    Column("generator", "what wrote the synthetic part of the text", category=True),
)
