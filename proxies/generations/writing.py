"""Text for the next generation: sampled from the proxies of the one before, or from generators fitted to their corpora.

A text is the same whenever it is written: it depends on its writer, on its own seed, and on nothing beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...core.errors import CampaignError, ConfigError, ForetrainError
from ...core.progress import Progress
from ...datasets.generators.generator import Generator
from ...datasets.generators.guards import checked_samples
from ...datasets.provenance.provenance import GeneratedBy, Provenance, common
from ...datasets.tokens.mixture import Mixture, stock_rows
from ...datasets.tokens.store import TokenStore
from ...datasets.tokens.texts import NewText, text_made_of
from ...datasets.watermark.detection import Detector
from ..runs import ProxyRun
from ..sampling.sampling import sample
from ..sampling.settings import SamplingSettings
from ..sampling.trained import TrainedProxy, stacked
from .chains import FreshText, WrittenText
from .space import SELF

__all__ = ["corpus_digest", "filtered", "fitted_texts", "fresh_text", "sampled_texts"]

_SAMPLES_AT_ONCE = 256
"""Samples of one call, after which progress is told."""


def corpus_digest(store: TokenStore, run: ProxyRun) -> str:
    """SHA-256 (hex) of what a run is trained on: the tokens it draws from, and how much of each."""
    of_texts = [f"{key} {store.text_digest(key)} {share!r}" for key, share in sorted(run.texts.items())]
    limits = [f"{key} {float(tokens)!r}" for key, tokens in sorted(run.unique_tokens.items())]
    of_mix = [f"{domain} {share!r}" for domain, share in sorted(run.mix.items())]
    return text_made_of("corpus of a run 1", store.digest, *of_mix, "texts", *of_texts, "limits", *limits)


def corpus_rows(store: TokenStore, run: ProxyRun) -> np.ndarray:
    """The distinct windows that a run is trained on, (n, context_length + 1), in a fixed order."""
    length, sequences = run.shape.context_length, run.steps * run.batch_sequences
    drawn = Mixture(store, run.mix, length, sequences, 0, run.unique_tokens, texts=run.texts)
    return np.concatenate([drawn.stock_rows(number) for number in range(len(drawn.domains))])


def sampled_texts(
    texts: Sequence[WrittenText],
    runs: Mapping[str, ProxyRun],
    folders: Mapping[str, Path],
    store: TokenStore,
    settings: SamplingSettings,
    first_run: ProxyRun,
    progress: Progress,
) -> list[NewText]:
    """What proxies write: those of equally long texts together, as one stack.

    Each sample starts from the first token of a window of generation 0's real text, drawn by the text's seed, and has
    one token more than the context.

    Args:
        texts: The texts, by their writers.
        runs: The writers' runs, by id.
        folders: The writers' folders, by id.
        store: The tokens that they were trained on.
        settings: Temperature, top-p, watermark.
        first_run: A run of generation 0, whose windows samples start like.
        progress: Called with how much is written.

    Raises:
        CampaignError: A writer's weights are lost or damaged, or it diverged.
    """
    starts = corpus_rows(store, first_run)[:, 0]
    length = first_run.shape.context_length + 1
    real = _of_real_text(store, first_run.mix)
    by_length: dict[int, list[WrittenText]] = {}
    for text in texts:
        by_length.setdefault(text.samples, []).append(text)
    total = sum(text.samples for text in texts)
    done, found = 0, {}
    for samples, alike in by_length.items():
        proxies = [_opened(text, folders[text.writer]) for text in alike]
        model, weights = stacked(proxies)
        parts = []
        for start in range(0, samples, _SAMPLES_AT_ONCE):
            progress(f"writing the text of generation {alike[0].generation}", done / total)
            count = min(_SAMPLES_AT_ONCE, samples - start)
            streams = [np.random.SeedSequence([text.seed, start]).spawn(2) for text in alike]
            first = np.stack([np.random.default_rng(one).choice(starts, count) for one, _ in streams])
            seeds = [int(two.generate_state(1)[0]) for _, two in streams]
            parts.append(sample(model, weights, first, length, settings, seeds))
            done += count * len(alike)
        rows = np.concatenate(parts, 1)
        for number, (text, proxy) in enumerate(zip(alike, proxies, strict=True)):
            if store.tokenizer is not None:
                shown_rows = [store.tokenizer.decode_bytes(row) for row in rows[number]]
                checked_samples(shown_rows, {}, f"{text.key}: {SELF}")
            parent = corpus_digest(store, runs[text.writer])
            by = _written_by(text, SELF, proxy.digest, parent, real)
            found[text.key] = NewText(text.key, rows[number], by)
    return [found[text.key] for text in texts]


def fitted_texts(
    texts: Sequence[WrittenText],
    runs: Mapping[str, ProxyRun],
    store: TokenStore,
    generator: Generator,
    progress: Progress,
) -> list[NewText]:
    """What generators write that are fitted to the corpora of the writers' runs; windows are their documents.

    Raises:
        ConfigError: The tokens aren't bytes.
        UsageError: The generator can't learn from a corpus, or can't write samples of this length.
    """
    if store.tokenizer is None or store.tokenizer.kind != "bytes":
        raise ConfigError(f"generator {generator.name}: writes bytes; expected a corpus with the tokenizer bytes")
    found = []
    for number, text in enumerate(texts):
        progress(f"writing the text of generation {text.generation}", number / len(texts))
        run = runs[text.writer]
        documents = [store.tokenizer.decode_bytes(row) for row in corpus_rows(store, run)]
        fitted = generator.fit(documents)
        length = run.shape.context_length + 1
        rng = np.random.default_rng(text.seed)
        written = b""
        while len(written) < text.samples * length:
            missing = -(-(text.samples * length - len(written)) // length)
            samples = checked_samples(
                fitted.sample(missing, length, rng), fitted.facts, f"{text.key}: {generator.name}"
            )
            # one that ended by itself is a document with its end
            written += b"".join(one if len(one) == length else one + b"\0" for one in samples)
        rows = np.frombuffer(written, np.uint8)[: text.samples * length].reshape(text.samples, length)
        real = _of_real_text(store, run.mix)
        by = _written_by(text, generator.name, fitted.digest, corpus_digest(store, run), real)
        found.append(NewText(text.key, rows, by))
    return found


def fresh_text(text: FreshText, store: TokenStore, context_length: int) -> NewText:
    """Windows of real text that no generation before had. Raises CorpusError where there are too few."""
    rows = [
        stock_rows(store, domain, context_length, first, text.samples[domain]) for domain, first in text.first.items()
    ]
    return NewText(text.key, np.concatenate(rows), _of_real_text(store, text.first))


def filtered(text: NewText, detector: Detector, stock: Mapping[str, int], store: TokenStore) -> NewText:
    """A text without the samples that carry a mark; in their places are windows of real text.

    These are the last of the stock, in its fixed order: a run that is trained on a part of the real text has the first.

    Args:
        text: What was written.
        detector: Finds marks.
        stock: Windows of real text by domain that generation 0 has.
        store: The tokens.
    """
    marked = np.flatnonzero(detector.p_values(text.rows) <= detector.alpha)
    if not len(marked):
        return text
    length = text.rows.shape[1] - 1
    real = np.concatenate([stock_rows(store, domain, length, 0, count) for domain, count in stock.items()])
    places = np.concatenate([(np.arange(count) + 0.5) / count for count in stock.values()])
    last_first = np.argsort(-places, kind="stable")  # the domains in turn, by their shares
    rows = text.rows.copy()
    rows[marked] = real[np.resize(last_first, len(marked))]
    return replace(text, rows=rows, replaced=len(marked))


def _written_by(text: WrittenText, kind: str, digest: str, parent: str, real: Provenance) -> Provenance:
    """What wrote a text, with source and licence of the real text that it descends from."""
    by = GeneratedBy(kind=kind, digest=digest, parent=parent, seed=text.seed, generation=text.generation)
    return Provenance(source=real.source, licence=real.licence, origin="generator", generator=by)


def _of_real_text(store: TokenStore, domains: Iterable[str]) -> Provenance:
    """What is said of all these domains alike; their source is the corpus where they have several."""
    index = store.index
    stated = common(one for domain in domains for one in index.domains[domain].provenance or (Provenance(),))
    return stated if stated.source else stated.model_copy(update={"source": index.name})


def _opened(text: WrittenText, folder: Path) -> TrainedProxy:
    try:
        proxy = TrainedProxy.open(folder)
    except ForetrainError as error:
        raise CampaignError(
            f"{folder}: can't write the text of generation {text.generation}: {error}\nremove "
            f"{folder / 'result.json'} and the same command trains the run again, to the same bits"
        ) from None
    return proxy
