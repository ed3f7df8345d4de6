"""What a run table says of itself: who trained on what, with which tokenizer, judged on which text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import UsageError
from ...core.reading.suggest import did_you_mean
from ...core.units import shown
from ...datasets.facts.corpora import find_corpus, kinds_of, nearest_corpora
from ..hierarchy.labels import Labels, describe
from .params_kind import params_kind

if TYPE_CHECKING:
    from ...datasets.runs.run_table import RunTable

_FACTS = ("corpus", "val_domain", "tokenizer")
_RANGES, _OPTIMIZER = ("batch_tokens", "lr"), "optimizer"
_CORPUS_COLUMNS = ("dataset", "data", "train_set", "training_set")
"""Extra columns of text that name the corpus where there is no column `corpus`."""


def table_facts(table: RunTable) -> dict[str, object]:
    """Plain facts that a table states of its text and its sizes.

    Args:
        table: The runs.

    Returns:
        `params_kind`; `corpus`, `val_domain`, `tokenizer` and `bytes_per_token` where all runs agree on them;
        `settings` where they state some: the lowest and highest batch and learning rate, and the optimizer of all.
    """
    facts: dict[str, object] = {"params_kind": params_kind(table)}
    for fact in _FACTS:
        for column in (fact, *(_CORPUS_COLUMNS if fact == "corpus" else ())):
            if fact in facts or not table.has(column) or table.frame[column].dtype.kind in "biuf":
                continue
            words = set(table.frame[column].dropna().astype(str))
            if len(words) == 1:
                facts[fact] = words.pop()
    if table.has("bytes_per_token"):
        counted = table.column("bytes_per_token")
        if (counted == counted[0]).all():
            facts["bytes_per_token"] = float(counted[0])
    settings = _settings(table)
    return facts | {"settings": settings} if settings else facts


def _settings(table: RunTable) -> dict[str, object]:
    """With which batches, learning rates and optimizer runs were trained, as far as all of them say it."""
    found: dict[str, object] = {}
    for name in _RANGES:
        if table.has(name):
            values = table.column(name)
            if np.isfinite(values).all():
                found[name] = [float(values.min()), float(values.max())]
    if table.has(_OPTIMIZER):
        names = {str(name).strip() for name in table.frame[_OPTIMIZER].dropna()}
        if len(names) == 1:
            found[_OPTIMIZER] = names.pop()
    return found


def target_labels(
    facts: Mapping[str, object], target: str, *, by: str | None = None, like: str | None = None
) -> Labels:
    """What is known of one loss of a table.

    Args:
        facts: What the table says of itself, as `table_facts` has it.
        target: `loss`, or `loss.<domain>`.
        by: The column whose values the domains are, if the loss was split.
        like: A corpus that the runs' text is like.

    Raises:
        UsageError: No such corpus is known.
    """
    if like is not None and kinds_of(like) is None:
        near = did_you_mean(nearest_corpora(like))
        raise UsageError(f"like: got {shown(like)}; {near}expected a corpus of the catalogue")
    stated = {name: str(facts[name]) for name in _FACTS if facts.get(name) is not None}
    domain = target.removeprefix("loss").removeprefix(".") or None
    if by is not None and domain is not None:
        if find_corpus(domain) is not None:
            stated["corpus"] = domain
        domain = None
    evaluated_on = domain or stated.get("val_domain")
    if evaluated_on is not None and kinds_of(evaluated_on, evaluation=True) is None:
        evaluated_on = None
    counted = facts.get("bytes_per_token")
    return describe(
        like or stated.get("corpus"),
        stated.get("tokenizer"),
        evaluated_on,
        bytes_per_token_stated=float(str(counted)) if counted is not None and domain is None else None,
    )
