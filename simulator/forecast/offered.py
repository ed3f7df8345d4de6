"""What forecasts can rest on: the predictors that ship, and the texts of which public runs are known by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...core.errors import InputError
from ...core.version import __version__
from ...datasets.facts.corpora import composition_text, find_corpus
from ..config.run_config import RunConfig
from ..hierarchy.population import Table
from ..hierarchy.shipped import population
from ..predictor.predictor import Predictor
from ..predictor.storage.folder import load, shipped
from .forecast import forecast

__all__ = ["DEFAULT", "KnownText", "Offered", "ShippedPredictor", "offered"]

DEFAULT = "web-text"
_PARAMS, _TOKENS = "7B", "2T"
_LEVEL = 0.9
_Span = tuple[float, float]


@dataclass(frozen=True)
class _Runs:
    """Runs that something rests on, and how much it leaves open of one plan."""

    source: str | None
    """Who trained them."""
    corpus: str | None
    tokenizer: str | None
    evaluated_on: str | None
    runs: int
    params: _Span
    """Lowest and highest, as are the next two."""
    tokens: _Span
    training_flops: _Span
    perplexity_ratio: float | None
    """Upper over lower end of the 90 % interval of the perplexity of 7B parameters on 2T tokens; None if refused."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        spans = {name: list(getattr(self, name)) for name in ("params", "tokens", "training_flops")}
        return {**vars(self), **spans}


@dataclass(frozen=True)
class ShippedPredictor(_Runs):
    """A predictor that ships."""

    name: str
    title: str


@dataclass(frozen=True)
class KnownText(_Runs):
    """A table of public runs: what a plan names to have forecasts like them."""


@dataclass(frozen=True)
class Offered:
    """Everything that forecasts can rest on without runs of one's own."""

    predictors: tuple[ShippedPredictor, ...]
    texts: tuple[KnownText, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys, for JSON."""
        return {
            "plan": {"params": _PARAMS, "tokens": _TOKENS, "level": _LEVEL},
            "predictors": [one.to_dict() for one in self.predictors],
            "corpora": [one.to_dict() for one in self.texts],
            "version": __version__,
        }


def offered() -> Offered:
    """The predictors that ship, the default one first, and the texts that it knows public runs of.

    >>> found = offered()
    >>> found.predictors[0].name, "llama2_mix" in {text.corpus for text in found.texts}
    ('web-text', True)
    """
    names = sorted(shipped(), key=lambda name: name != DEFAULT)
    default = load(DEFAULT)
    found: dict[object, KnownText] = {}
    for table in population().tables:
        if any(find_corpus(name) is None for name in table.labels.corpus):
            continue  # a text that was never described: naming it says nothing
        text = _text(table, default)
        found.setdefault((text.source, text.corpus, text.tokenizer, text.evaluated_on), text)
    return Offered(tuple(_predictor(name) for name in names), tuple(found.values()))


def _predictor(name: str) -> ShippedPredictor:
    predictor = load(name)
    about, model = predictor.about, predictor.models[predictor.main_loss]

    def fact(key: str) -> str | None:
        return None if about.get(key) is None else str(about[key])

    return ShippedPredictor(
        name=name,
        title=str(about["title"]),
        source=fact("source"),
        corpus=fact("corpus"),
        tokenizer=fact("tokenizer"),
        evaluated_on=fact("val_domain"),
        runs=model.rows,
        params=model.fitted_ranges["params"],
        tokens=model.fitted_ranges["tokens"],
        training_flops=model.fitted_ranges["compute"],
        perplexity_ratio=_perplexity_ratio(predictor, {}),
    )


def _text(table: Table, default: Predictor) -> KnownText:
    labels, facts = table.labels, table.facts
    own_mix = labels.evaluation_text != labels.evaluated_on
    named = {
        "corpus": composition_text(labels.corpus) if len(labels.corpus) > 1 else next(iter(labels.corpus)),
        "tokenizer": labels.tokenizer or None,
        "evaluated_on": None if own_mix else labels.evaluated_on,
    }
    return KnownText(
        source=labels.source,
        corpus=named["corpus"],
        tokenizer=named["tokenizer"],
        evaluated_on=labels.evaluation_text,
        runs=int(str(facts["rows"])),
        params=_span(facts["params"]),
        tokens=_span(facts["tokens"]),
        training_flops=_span(facts["compute"]),
        perplexity_ratio=_perplexity_ratio(default, named),
    )


def _span(ends: Any) -> _Span:
    low, high = ends
    return float(low), float(high)


def _perplexity_ratio(predictor: Predictor, named: Mapping[str, str | None]) -> float | None:
    """How wide the interval of a usual plan is, with the text that it names; None where the predictor refuses it."""
    plan = RunConfig.from_mapping({"model": {"params": _PARAMS}, "data": {"tokens": _TOKENS, **named}})
    try:
        low, high = forecast(plan, predictor).headline.perplexity.intervals[_LEVEL]
    except InputError:
        return None
    return high / low
