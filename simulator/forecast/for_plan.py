"""The predictor that a plan asks for: what it names of corpus, tokenizer and evaluation set is what is forecast."""

from __future__ import annotations

from ...datasets.facts.corpora import find_corpus, kinds_of
from ..config.run_config import RunConfig
from ..config.text_names import StatedTokenizer
from ..hierarchy.labels import Labels, describe
from ..hierarchy.shipped import population
from ..predictor.named import named_predictor
from ..predictor.predictor import Predictor


def for_plan(config: RunConfig, predictor: Predictor) -> Predictor:
    """The predictor for this plan: the same, unless it follows plans as `web-text` does.

    Args:
        config: The plan.
        predictor: The predictor that was asked for.
    """
    if not predictor.about.get("follows_plan"):
        return predictor
    about = {"title": predictor.about.get("title"), "follows_plan": False}
    return named_predictor(plan_labels(config), predictor.name, about)


def plan_labels(config: RunConfig) -> Labels:
    """What a plan says of its text. A corpus that only one author trains on says who trained, too."""
    data = config.data
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
            return labels.of_source(population().author_of(labels.corpus))
    return labels
