"""What to know of a plan's text and tokenizer: which names are new, and where they differ from the fitted runs'."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ...core.units import format_count
from ...datasets.facts.corpora import (
    find_corpus,
    find_evaluation_set,
    kinds_of,
    nearest_corpora,
    nearest_evaluation_sets,
)
from ...datasets.facts.tokenizers import find_tokenizer, nearest_tokenizers
from ..config.run_config import RunConfig
from ..config.text.names import StatedTokenizer
from ..config.text.scale import by_tokenizer
from ..hierarchy.shipped import population
from ..laws import Columns, mix_column
from ..predictor.domains import new_domains
from ..predictor.predictor import Predictor
from .bits import evaluated_text, is_of_plan, loss_bytes_per_token
from .for_plan import plan_labels

__all__ = ["mix_warnings", "text_warnings"]

_NOTABLE_SHARE = 0.15  # three times what counts and estimates of bytes per token leave in doubt


def text_warnings(config: RunConfig, predictor: Predictor) -> list[str]:
    """Sentences on `data.corpus`, `data.tokenizer`, `data.evaluated_on` and `data.selection`, as far as there is
    something to say."""
    return [
        *_corpus_warnings(config, predictor),
        *_tokenizer_warnings(config, predictor),
        *_evaluation_warnings(config, predictor),
        *_scale_warnings(config, predictor),
        *_kept_warnings(config),
    ]


def mix_warnings(predictor: Predictor, columns: Columns) -> list[str]:
    """What to know of the mix: that part of it is new. `unread_warnings` says where a mix isn't read at all."""
    of_mix = [model for model in predictor.models.values() if model.fit.law.domains]
    new: set[str] = set()
    for model in of_mix:
        new |= set(new_domains(model.fit, columns))
    if not new:
        return []
    share = sum(float(columns[mix_column(domain)][0]) for domain in sorted(new))
    return [
        f"{share:.1%} of the tokens are of domains that no fitted run had ({', '.join(sorted(new))}): they count "
        "between nothing and as much as the average of the rest, and the interval has been widened for it"
    ]


def _corpus_warnings(config: RunConfig, predictor: Predictor) -> list[str]:
    """On a corpus that is new, or another than the fitted runs had."""
    stated, known = config.data.corpus_text, _of_runs(predictor, "corpus")
    if stated is None:
        return []
    found = []
    same = known is not None and _alike(stated, str(known), find_corpus)
    same = same or predictor.main_loss_on(None, stated) == f"loss.{stated}"  # a law of its own
    if kinds_of(config.data.corpus or stated) is None and not same:
        found.append(_new("data.corpus", stated, nearest_corpora(stated)))
    if known and not same:
        found.append(_other("data.corpus", stated, known))
    return [*found, *_without_table(config)] if is_of_plan(predictor) else found


def _without_table(config: RunConfig) -> list[str]:
    """On a corpus, or parts of a composition, of which the public tables have no runs."""
    known = {name for table in population().tables for name in table.labels.corpus}
    if known.issuperset(plan_labels(config).corpus):
        return []
    stated = config.data.corpus or config.data.mix
    kinds = "its kinds of text" if stated is not None and kinds_of(stated) is not None else "its being like web text"
    return [f"no public table is trained on {config.data.corpus_text}: its level rests on {kinds}"]


def _tokenizer_warnings(config: RunConfig, predictor: Predictor) -> list[str]:
    """On a tokenizer that is new, another than the fitted runs had, or one with more tokens than the model."""
    stated, known = config.data.tokenizer_text, _of_runs(predictor, "tokenizer")
    if stated is None:
        return []
    found = []
    same = known is not None and _alike(stated, str(known), find_tokenizer)
    tokenizer = config.data.tokenizer
    entry = tokenizer if isinstance(tokenizer, StatedTokenizer) else find_tokenizer(stated)
    if entry is None and not same:
        found.append(_new("data.tokenizer", stated, nearest_tokenizers(stated)))
    if known and not same:
        found.append(_other("data.tokenizer", stated, known))
    rows = config.model.vocab_size
    if entry is not None and rows is not None and rows < entry.vocab_size:
        found.append(f"model.vocab_size is {rows:,}, but data.tokenizer {stated} has {entry.vocab_size:,} tokens")
    return found


def _evaluation_warnings(config: RunConfig, predictor: Predictor) -> list[str]:
    """On a text to evaluate on that is new, or that the predictor doesn't speak of."""
    stated = config.data.evaluated_on
    if stated is None:
        return []
    evaluation = find_evaluation_set(stated)
    if evaluation is not None and evaluation.own_mix:
        return []
    found = []
    if kinds_of(stated, evaluation=True) is None:
        found.append(_new("data.evaluated_on", stated, nearest_evaluation_sets(stated)))
    known = _of_runs(predictor, "val_domain")
    if is_of_plan(predictor) and known is None:
        return found
    named = [known, *(name.removeprefix("loss.") for name in predictor.models)]
    spoken_of = [str(name) for name in named if name]
    if any(_alike(stated, name, find_evaluation_set) for name in spoken_of if name != "loss"):
        return []
    return [*found, f"data.evaluated_on is {stated!r}; the predictor speaks of {', '.join(spoken_of)}"]


def _scale_warnings(config: RunConfig, predictor: Predictor) -> list[str]:
    """On bytes per token that are lacking, or that contradict the tokenizer."""
    data = config.data
    main = predictor.main_loss_on(data.evaluated_on, data.corpus_text)
    by_name = by_tokenizer(data, evaluated_text(data, predictor, main))
    if data.bytes_per_token is not None:
        if by_name is None or abs(by_name.value / data.bytes_per_token - 1) <= _NOTABLE_SHARE:
            return []
        return [
            f"data.bytes_per_token is {data.bytes_per_token:g}, but data.tokenizer {data.tokenizer_text} has about "
            f"{by_name.value:.2f} of this text: the stated figure counts"
        ]
    if data.tokenizer is None or loss_bytes_per_token(data, predictor, main) is not None:
        return []
    if find_tokenizer(str(data.tokenizer)) is None:
        remedy = "data.bytes_per_token, or data.tokenizer as {vocab_size: …, bytes_per_token: …}"
    else:
        remedy = "data.evaluated_on or data.corpus by a known name, or data.bytes_per_token"
    return [f"bits per byte are left out, for lack of bytes per token: state {remedy}"]


def _of_runs(predictor: Predictor, fact: str) -> object | None:
    """What the runs had that a predictor rests on; None where nobody but the plan says it."""
    about = predictor.about
    if not is_of_plan(predictor):
        return about.get(fact)
    stated = about.get("stated_by_runs")
    return stated.get(fact) if isinstance(stated, Mapping) else None


def _new(key: str, stated: str, near: Iterable[str]) -> str:
    """A sentence on a name that the catalogue doesn't have."""
    listed = ", ".join(near)
    return f"{key}: {stated!r} is new to the catalogue; " + (f"nearest: {listed}" if listed else "nothing is like it")


def _other(key: str, stated: str, known: object) -> str:
    """A sentence on what the fitted runs had instead."""
    return f"{key} is {stated!r}; the predictor's runs used {known!r}, and losses differ between them"


def _alike(stated: str, known: str, find: Callable[[str], object | None]) -> bool:
    """Whether two names mean the same entry of a catalogue, or one contains the other, whatever their case."""
    entry = find(stated)
    if entry is not None and entry is find(known):
        return True
    stated, known = stated.casefold().strip(), known.casefold().strip()
    return stated in known or known in stated


def _kept_warnings(config: RunConfig) -> list[str]:
    """On a selection that leaves so little of a stock that it is repeated."""
    data = config.data
    if data.keep == 1.0 or data.epochs <= 1.0:
        return []
    if data.kept_tokens is not None and data.unique_tokens is not None:
        name, epochs, kept, stock = "the text", data.epochs, data.kept_tokens, data.unique_tokens
    else:
        name, epochs = max(data.domain_epochs.items(), key=lambda one: one[1])
        kept, stock = ((stocks or {})[name] for stocks in (data.kept_tokens_by_domain, data.unique_tokens_by_domain))
    return [
        f"data.selection: of {format_count(stock)} distinct tokens of {name} {format_count(kept)} are kept, which are "
        f"seen {epochs:.3g} times"
    ]
