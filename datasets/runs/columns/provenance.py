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
    Column("training_run", "the training run that a row is a point of, where a run has several rows", stated_at=None),
    Column("checkpoint", "1 before the end of the run's schedule, else 0", rule="flag", stated_at=None),
    Column("status", "`ok`, `diverged` or `failed`; only `ok` rows are fitted", aliases=("state",), stated_at=None),
    Column(
        "corpus",
        "corpus; a composition is written `web:0.8+code:0.2`",
        category=True,
        sets_apart=True,
        stated_at="data.corpus",
        from_run=lambda run: run.data.corpus_text,
    ),
    Column("source", "who published the run, or where it was measured", category=True, sets_apart=True, stated_at=None),
    Column(
        "tokenizer",
        "tokenizer",
        category=True,
        sets_apart=True,
        stated_at="data.tokenizer",
        from_run=lambda run: run.data.tokenizer_text,
    ),
    Column(
        "bytes_per_token",
        "bytes of a token, which turn bits per byte into nats per token",
        "bytes",
        rule="positive",
        stated_at=None,
    ),
    Column(
        "architecture",
        "kind of model: `transformer`, or the name of its token mixer",
        category=True,
        sets_apart=True,
        stated_at="model.architecture.mixer",
        from_run=lambda run: None if run.model.architecture is None else run.model.architecture.kind,
        also_in_columns=True,
    ),
    Column("val_domain", "domain of the held-out text", category=True, sets_apart=True, stated_at=None),
    Column(
        "selection",
        "how documents were selected; `none` for text as it is",
        category=True,
        stated_at="data.selection.kind",
        default="none",
    ),
    Column(
        "generator",
        "what wrote the synthetic part of the text; `none` where there is none",
        category=True,
        stated_at="data.synthetic.generator",
        from_run=lambda run: run.data.synthetic.generator if run.data.synthetic_share > 0 else None,
        default="none",
    ),
    Column(
        "regime",
        "what the corpus of a generation is made of: replace, accumulate, accumulate_fixed, subsample or fresh; `real` "
        "where no part is synthetic",
        category=True,
        stated_at="data.synthetic.regime",
        from_run=lambda run: run.data.synthetic.regime if run.data.synthetic_share > 0 else None,
        default="real",
    ),
)
