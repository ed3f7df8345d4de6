"""Radioactivity: was a proxy trained on text that carries a mark?

A model that learned from marked text prefers green tokens, too. Sander et al. 2024, "Watermarking Makes Language Models
Radioactive" (2402.14904), section 4, for a model that is open: it is shown a text, and after each context of h tokens
the token that it finds most probable is scored as if it had been written. Each context counts once, where it occurs
first, before the text could have told what follows it: so the number of green tokens is binomial for every model that
was trained without the key, and p is exact, whether the text that is shown is marked or not.

Real text will do. Marked text that the model wasn't trained on has more of the contexts at which it may have learned.

What the test can find is what a model learns of single contexts. Proxies of 53k parameters and 410k tokens learn next
to nothing of it, even from marked text alone (`benchmarks/watermark.py`): of them `undecided` says little.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from ...core.errors import UsageError
from ...datasets.tokens.store import TokenStore
from ...datasets.tokens.tokenizer import Tokenizer
from ...datasets.watermark.detection import Counts, Detection, Detector
from .trained import TrainedProxy

__all__ = ["MOST_TOKENS", "most_probable", "radioactivity", "text_windows", "traces", "validation_windows"]

MOST_TOKENS = 1_000_000
"""Tokens of text that a proxy is shown by default: contexts beyond are rarely new, and cost seconds."""

_BATCH_WINDOWS = 64


def radioactivity(proxy: TrainedProxy, windows: np.ndarray, detector: Detector) -> Detection:
    """Say whether a proxy was trained on text that one of a detector's keys has marked.

    Args:
        proxy: The model.
        windows: Token ids that it is shown, `(n, length)`, each window by itself; a length of its context at most.
        detector: Whose keys, in the vocabulary of the model.

    Returns:
        As of a text: `marked` where the model was trained on marked text, or `undecided`; `tokens` are those that it
        was shown, `scored` are the different contexts, `green` those after which a green token is the most probable.

    Raises:
        UsageError: Windows of no length or beyond the context, or a watermark of another vocabulary.
    """
    for mark in detector.watermarks:
        mark.check_vocabulary(proxy.model.shape.vocab_size)
    return traces(windows, most_probable(proxy, windows), detector)


@torch.inference_mode()
def most_probable(proxy: TrainedProxy, windows: np.ndarray) -> np.ndarray:
    """The token that a proxy finds most probable after each of windows, both `(n, length)`; of equals the first.

    Raises UsageError for windows of no length or beyond the context.
    """
    longest = proxy.model.shape.context_length
    if windows.ndim != 2 or not 1 <= windows.shape[1] <= longest:
        raise UsageError(f"windows: got an array of shape {windows.shape}; expected (n, 1 to {longest})")
    best = np.empty(windows.shape, np.int64)
    for start in range(0, len(windows), _BATCH_WINDOWS):
        part = slice(start, start + _BATCH_WINDOWS)
        tokens = torch.from_numpy(windows[part].astype(np.int64)).unsqueeze(0)
        best[part] = proxy.model.logits(proxy.weights, tokens)[0].argmax(-1).numpy()
    return best


def traces(windows: np.ndarray, best: np.ndarray, detector: Detector) -> Detection:
    """What `radioactivity` says of a model by the tokens that it found most probable, `best`, both `(n, length)`."""
    counts = []
    for mark in detector.watermarks:
        if windows.shape[1] < mark.context:
            counts.append(Counts(np.array(0), np.array(0)))
            continue
        contexts = np.lib.stride_tricks.sliding_window_view(windows, mark.context, axis=1).reshape(-1, mark.context)
        first = np.unique(mark.of_contexts(contexts), return_index=True)[1]
        green = mark.green(contexts[first], best[:, mark.context - 1 :].reshape(-1)[first])
        counts.append(Counts(np.array(len(first)), np.array(int(green.sum()))))
    return detector.judged(counts, windows.size)


def validation_windows(store: TokenStore, proxy: TrainedProxy, most: int = MOST_TOKENS) -> np.ndarray:
    """Windows of the validation text of a proxy's tokens, `(n, context)`: as much of each domain, `most` tokens in
    all."""
    length = proxy.model.shape.context_length
    each = max(1, most // (length * len(store.domains)))
    parts = []
    for domain in store.domains:
        windows = store.windows(domain, "valid", length)
        parts.append(windows.gather(np.arange(min(each, len(windows))))[:, :-1])
    return np.concatenate(parts)


def text_windows(
    texts: Iterable[str], tokenizer: Tokenizer, proxy: TrainedProxy, most: int = MOST_TOKENS
) -> np.ndarray:
    """Windows of texts of one's own, `(n, context)`; an end of document stands after each text.

    Raises:
        UsageError: They are shorter than one window.
        CorpusError: A text can't be encoded.
    """
    length = proxy.model.shape.context_length
    parts, held = [], 0
    for text in texts:
        parts += [tokenizer.encode(text), np.array([tokenizer.end_of_document])]
        held += len(parts[-2]) + 1
        if held >= most:
            break
    count = min(held, max(most, length)) // length
    if not count:
        raise UsageError(f"text: got {held} tokens; expected {length} at least, a window of the model")
    return np.concatenate(parts)[: count * length].reshape(count, length).astype(np.int64)
