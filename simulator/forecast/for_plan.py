"""The predictor that a plan asks for: what it names of corpus, tokenizer and evaluation set is what is forecast."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import ConfigError, InputError
from ...datasets.facts.corpora import find_corpus, find_evaluation_set, kinds_of
from ..config.run_config import RunConfig
from ..config.text.names import StatedTokenizer
from ..fitting import Observations
from ..hierarchy.labels import UNKNOWN, Labels, describe
from ..hierarchy.shipped import population
from ..predictor.fit.posterior_model import posterior_model
from ..predictor.named import label_facts, named_predictor, run_count, with_terms
from ..predictor.params_kind import params_kind, without_embeddings
from ..predictor.predictor import Predictor
from ..predictor.table_labels import table_facts
from .stages.one_text import as_one_text

if TYPE_CHECKING:
    from ...datasets.runs.run_table import RunTable

_MOST_TEXTS = 64
_SURPRISE = 0.98
"""Level of the interval outside which a run contradicts its named corpus."""


def for_plan(config: RunConfig, predictor: Predictor) -> Predictor:
    """The predictor for this plan: the same, unless it follows plans as `web-text` does.

    Args:
        config: The plan.
        predictor: The predictor that was asked for.

    Returns:
        The predictor; the very same one for plans that name the same text, and the same known runs.

    Raises:
        ConfigError: The plan names known runs, and the predictor has runs of its own.
        InputError: The known runs can't be read as such.
    """
    if config.known_runs is not None and not predictor.about.get("anchored"):
        return _agreeing(config, predictor)
    if not predictor.about.get("follows_plan"):
        return predictor
    return _of_text(plan_labels(config), predictor.name, str(predictor.about["title"]))


def _agreeing(config: RunConfig, predictor: Predictor) -> Predictor:
    """The predictor of a plan that names runs of its own."""
    if not predictor.about.get("follows_plan"):
        raise ConfigError(
            f"known_runs: {predictor.name} has runs of its own; expected the default predictor, web-text, or none"
        )
    path = config.known_runs_path
    assert path is not None
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(f"known_runs: {path}: can't be read: {error.strerror}") from None
    named = as_one_text(config).data.corpus is not None
    text = (plan_labels(config), config.data.evaluated_on, named)
    return _anchored_file(path, (found.st_mtime_ns, found.st_size), *text)


@lru_cache(maxsize=_MOST_TEXTS)
def _anchored_file(
    path: Path, written: tuple[int, int], labels: Labels, evaluated_on: str | None, named: bool
) -> Predictor:
    """The predictor of a text, given the runs of a file as it was written then; the very same one for equal plans."""
    from ...datasets.runs.run_table import RunTable

    table = RunTable.read(path)
    notes = [f"{table.where}: {note}" for note in table.notes]
    return _anchored(table, labels, evaluated_on, named, notes)


@lru_cache(maxsize=_MOST_TEXTS)
def _of_text(labels: Labels, name: str, title: str) -> Predictor:
    """The predictor of a text; the very same one for all plans that name it."""
    of_text = _text_facts(labels)
    if any(of_text[fact] for fact in ("corpus", "tokenizer", "val_domain")):
        title = "all public tables, for the text that the plan names"
    known = any(table.labels.tokenizer == labels.tokenizer for table in population().tables_of(labels))
    of_text |= {"title": title, "follows_plan": False, "level_known_in": "nats" if known else "bits_per_byte"}
    return named_predictor(labels, name, of_text)


def _text_facts(labels: Labels) -> dict[str, object]:
    """Plain facts on the text that a plan names, and on the public runs that were trained on it."""
    on_it = [one for one in population().tables if labels.corpus.keys() >= one.labels.corpus.keys()]
    on_it = [one for one in on_it if UNKNOWN not in one.labels.corpus]
    return {**label_facts(labels), "text_of_plan": True, "public_runs": run_count(on_it)}


def anchored(config: RunConfig, table: RunTable) -> Predictor:
    """The predictor of a plan, given some runs of the same kind: one finished run brings the level in.

    Args:
        config: The plan; what it names of its text is taken to hold for the runs as well.
        table: The runs, from one up.

    Raises:
        FitError: The runs can't be read as such.
        InputError: They have several losses, and the plan doesn't say which is meant.
    """
    named = as_one_text(config).data.corpus is not None
    return _anchored(table, plan_labels(config), config.data.evaluated_on, named)


def _anchored(
    table: RunTable, labels: Labels, evaluated_on: str | None, named: bool, notes: Sequence[str] = ()
) -> Predictor:
    """The predictor of a text, given some runs; `named` says whether the plan names its corpus."""
    table = without_embeddings(table)
    loss = _loss_of_plan(evaluated_on, table)
    observations = Observations.from_table(table, loss)
    model = posterior_model(labels, observations)
    notes = [*notes, *(contradictions(observations, labels) if named else [])]
    count = len(observations)
    yours = "one run" if count == 1 else f"{count} runs"
    about: dict[str, object] = {
        "title": f"{yours} of your own ({table.where}), and all public tables",
        "table": table.where,
        "stated_by_runs": ({} if loss == "loss" else {"val_domain": loss.removeprefix("loss.")}) | table_facts(table),
    }
    about |= {
        "params_kind": params_kind(table),
        "prior": "public",
        "seed": 0,
        "digest": table.digest(),
        "anchored": True,
    }
    return Predictor("anchor", {"loss": with_terms(model)}, {**_text_facts(labels), **about}, tuple(notes))


def _loss_of_plan(wanted: str | None, table: RunTable) -> str:
    """The loss column that a plan is about: on the text that it is evaluated on, else `loss`, else the only one."""
    names = table.loss_columns
    if wanted is not None:
        known = find_evaluation_set(wanted)
        for name in names:
            text = name.removeprefix("loss.")
            if text == wanted or (known is not None and find_evaluation_set(text) is known):
                return name
    if "loss" in names or len(names) == 1:
        return "loss" if "loss" in names else names[0]
    stated = "nothing" if wanted is None else repr(wanted)
    texts = ", ".join(name.removeprefix("loss.") for name in names)
    raise InputError(f"data.evaluated_on: got {stated}; {table.where} has losses on {texts}: expected one of these")


def contradictions(observations: Observations, labels: Labels) -> list[str]:
    """Runs whose loss is further from what their named corpus gives than its spread: said with both numbers."""
    expected = posterior_model(labels).predict(observations.columns)
    low, high = expected.interval(_SURPRISE)
    finished = np.ones(len(observations), dtype=bool)
    if observations.progress is not None:
        finished = observations.progress >= 1
    far = finished & ((observations.loss < low) | (observations.loss > high))
    if not far.any():
        return []
    row = int(np.argmax(np.abs(np.log(observations.loss) - expected.log_loss) / expected.scale * far))
    named = ", ".join(name for name in (*labels.corpus, labels.tokenizer, labels.evaluation_text) if name)
    return [
        f"a run of loss {observations.loss[row]:.3f} contradicts what the plan names ({named}): "
        f"{expected.loss_nats[row]:.3f} is expected there, {low[row]:.3f} to {high[row]:.3f} with {_SURPRISE:.0%}; "
        "the run counts, but is it the same corpus, tokenizer and evaluation text?"
    ]


def plan_labels(config: RunConfig) -> Labels:
    """What a plan says of its text. A corpus that only one author trains on says who trained, too."""
    data = as_one_text(config).data
    corpus = data.corpus
    if corpus is None and data.mix is not None and kinds_of(data.mix) is not None:
        corpus = data.mix
    tokenizer, counted = data.tokenizer, data.bytes_per_token
    if isinstance(tokenizer, StatedTokenizer):
        tokenizer, counted = data.tokenizer_text, counted or tokenizer.bytes_per_token
    labels = describe(corpus, tokenizer, data.evaluated_on, bytes_per_token_stated=counted)
    if len(labels.corpus) == 1:
        (name,) = labels.corpus
        known = find_corpus(name)
        if known is not None and known.owner is not None:
            return labels.of_source(population().author_of(labels))
    return labels
