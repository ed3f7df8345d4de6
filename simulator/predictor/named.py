"""Predictors that ship as views of the model over tables: of nothing stated, or of a named corpus.

`web-text` follows the plan: what a plan says of its corpus, tokenizer and evaluation set is what its forecast is of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...datasets.facts.corpora import composition_text
from ..fitting import Fit
from ..hierarchy.coordinates import REFERENCE
from ..hierarchy.labels import UNKNOWN, Labels, describe
from ..hierarchy.population import Table
from ..hierarchy.shipped import population, term_moments
from ..laws import get_law
from .fit.posterior_model import posterior_model
from .loss_model import LossModel
from .predictor import Predictor

TERMS = ("repetition", "experts")
"""Terms of the views' law, each from the public tables that identify it."""
_VIEWS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "web-text": ("English web text, by all public tables; what the plan names is taken into account", {}),
    "chinchilla-massivetext": (
        "Chinchilla (70M to 16B) on MassiveText",
        {"corpus": "massivetext", "tokenizer": "massivetext_32k", "source": "chinchilla"},
    ),
    "olmo-c4": (
        "OLMo-2 ladder (190M to 1B) on C4",
        {"corpus": "olmo_mix_1124", "tokenizer": "dolma2", "evaluated_on": "c4_en", "source": "olmo_ladder"},
    ),
}


def views() -> tuple[str, ...]:
    """Names of the predictors that are views of the model over tables."""
    return tuple(_VIEWS)


def view(name: str) -> Predictor:
    """The view of this name.

    Args:
        name: One of `views()`.
    """
    title, stated = _VIEWS[name]
    about = {"title": title, "follows_plan": not stated}
    return named_predictor(describe(**stated), name, about)


def named_predictor(labels: Labels, name: str, about: Mapping[str, object]) -> Predictor:
    """The predictor of a table that has these labels and no runs of its own.

    Args:
        labels: What is known of it. Who trained on it follows from its corpus where only one author does.
        name: Name of the predictor.
        about: Facts about it, in addition to those of the labels.
    """
    tables = population()
    model = with_terms(posterior_model(labels, tables=tables))
    of_labels = [table for table in tables.tables if table.labels.key == labels.key] if labels.source else []
    runs = of_labels or list(tables.tables)
    spans = {}
    for column in ("params", "tokens", "compute"):
        lows, highs = zip(*(table.facts[column] for table in runs), strict=True)
        spans[column] = (min(lows), max(highs))
    model = replace(model, fitted_ranges=spans, rows=run_count(runs))
    facts: dict[str, object] = {
        "table": "pooled",
        "source": labels.source or None,
        "params_kind": "non_embedding",
        "prior": "public",
        "seed": 0,
        **label_facts(labels),
    }
    return Predictor(name, {"loss": model}, {**facts, **about})


def run_count(tables: Iterable[Table]) -> int:
    """How many runs some tables are of: tables of one author and one corpus are of the same runs, judged on more."""
    counts: dict[object, int] = {}
    for table in tables:
        runs = (table.labels.source, tuple(sorted(table.labels.corpus.items())))
        counts[runs] = max(counts.get(runs, 0), int(str(table.facts["rows"])))
    return sum(counts.values())


def label_facts(labels: Labels) -> dict[str, object]:
    """Labels as plain facts: corpus, tokenizer, evaluation set; None where nothing is stated."""
    known = {name: share for name, share in labels.corpus.items() if name != UNKNOWN}
    corpus = next(iter(known), None) if len(known) < 2 else composition_text(known)
    return {
        "corpus": corpus,
        "tokenizer": labels.tokenizer or None,
        "val_domain": labels.evaluation_text,
        "bytes_per_token": float(f"{labels.bytes_per_token:.4g}"),
        "bytes_per_token_log_sd": float(f"{labels.bytes_log_sd:.4g}"),
    }


def with_terms(model: LossModel) -> LossModel:
    """The model with what repeats and experts do, as the public tables show it.

    Args:
        model: A model whose law is its core alone.

    Returns:
        The same with `TERMS`, their parameters drawn from the moments that the public tables give.
    """
    fit = model.fit
    law = get_law("+".join(["general", *TERMS]))
    rng = np.random.default_rng(0)
    theta, draws = [fit.theta], [fit.draws]
    for name in TERMS:
        mean, covariance = term_moments(name)
        theta.append(mean)
        draws.append(rng.multivariate_normal(mean, covariance, size=len(fit.draws), method="eigh"))
    whole = Fit(law, REFERENCE, np.concatenate(theta), np.hstack(draws), fit.noise, fit.objective)
    return replace(model, fit=whole)
