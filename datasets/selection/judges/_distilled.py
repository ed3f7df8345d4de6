"""A classifier distilled from a few hundred labels, as web-scale filters are: cheap enough for every document.

The features are hashed sequences of one to three words and signs in order, weighed by TF-IDF: single words never tell
shuffled text from clean. Tried on two of the benchmark's noisy pools (`benchmarks/selection.py judge`) with 200 labels,
AUC on other documents: these .99, with sequences of one to five characters beside or instead of them .95 to .99 at four
times the time and more, without TF-IDF .95 at most, single words alone .84.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from ....core.errors import CorpusError
from ....core.extras import require
from ..step import Texts
from ._judge import Judged

__all__ = ["FEWEST_LABELS", "distil"]

FEWEST_LABELS = 20
_FEWEST_OF_A_CLASS = 5  # one in each fold
_FOLDS = 5
_STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # C, inverse regularisation; cross-validation chooses
_FEATURES = 2**18
_BATCH = 128  # documents whose features are held at once
# Scripts that put no blanks between words are read by character, then words and signs each by themselves.
_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff"
_WORDS = rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]"


def distil(texts: Texts, labels: np.ndarray, what: str, seed: int) -> Judged:
    """Learn from the documents that have a label to score all documents.

    Args:
        texts: The documents.
        labels: 0 or 1 for each document `(n,)`, or scores of another judge, whose better half then counts as 1; NaN
            where there is none.
        what: Whose labels they are, for messages.
        seed: Seed of the folds.

    Returns:
        Log-odds of label 1, and as facts the number of labels, of those that count as 1, the AUC on labels that were
        held out (5 folds), and the strength C that it was best with.

    Raises:
        CorpusError: Fewer than 20 labels, or fewer than 5 of a class.
        MissingExtraError: scikit-learn isn't installed.
    """
    require("a classifier of documents", "sklearn")
    at = np.flatnonzero(~np.isnan(labels))
    classes = _classes(labels[at], f"{texts.place}: {what}")
    vectors = _Vectors()
    known = vectors.learn(_some(texts, at))
    strength, area = _strength(known, classes, seed)
    classifier = _classifier(strength, seed).fit(known, classes)
    scores = np.concatenate([classifier.decision_function(batch) for batch in vectors.of(d.text for d in texts)])
    facts = {"labels": len(at), "labels_good": int(classes.sum()), "auc_held_out": area, "strength": strength}
    return Judged(scores, facts)


def _classes(labels: np.ndarray, place: str) -> np.ndarray:
    """0 or 1 for each label `(n,)`: as it stands, or by the half that a score lies in."""
    if len(labels) < FEWEST_LABELS:
        raise CorpusError(
            f"{place}: {len(labels)} of its labels are of documents that reach it; expected {FEWEST_LABELS} at least"
        )
    if (labels == labels[0]).all():
        raise CorpusError(f"{place}: all {len(labels)} labels are {labels[0]:g}; expected two classes, or scores")
    if np.isin(labels, (0, 1)).all():
        classes = labels.astype(int)
    else:
        middle = np.median(labels)
        classes = (labels > middle if (labels > middle).any() else labels >= middle).astype(int)
    fewest = int(np.bincount(classes, minlength=2).min())
    if fewest < _FEWEST_OF_A_CLASS:
        raise CorpusError(
            f"{place}: {fewest} of {len(labels)} labels are of the rarer class; expected {_FEWEST_OF_A_CLASS} at least"
        )
    return classes


def _some(texts: Texts, at: np.ndarray) -> Iterator[str]:
    """The text of the documents of these numbers."""
    wanted = np.zeros(len(texts), bool)
    wanted[at] = True
    return (document.text for number, document in enumerate(texts) if wanted[number])


def _strength(known: Any, classes: np.ndarray, seed: int) -> tuple[float, float]:
    """The strength C that gives the highest AUC on held-out labels, the weakest of equals, and that AUC."""
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    folds = list(StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(classes, classes))

    def area(strength: float) -> float:
        def of_fold(train: np.ndarray, held: np.ndarray) -> float:
            scores = _classifier(strength, seed).fit(known[train], classes[train]).decision_function(known[held])
            return float(roc_auc_score(classes[held], scores))

        return float(np.mean([of_fold(train, held) for train, held in folds]))

    areas = [area(strength) for strength in _STRENGTHS]
    best = int(np.argmax(areas))
    return _STRENGTHS[best], areas[best]


def _classifier(strength: float, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    # liblinear computes in one thread, in an order that its seed decides; the dual is fast where labels are few
    return LogisticRegression(C=strength, solver="liblinear", dual=True, max_iter=100_000, random_state=seed)


class _Vectors:
    """Features of texts as sparse rows, batch by batch."""

    def __init__(self) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

        plain: Any = None  # counts as they are; the stubs know of text only
        self._hashed = HashingVectorizer(
            n_features=_FEATURES, ngram_range=(1, 3), token_pattern=_WORDS, alternate_sign=False, norm=plain
        )
        self._weights = TfidfTransformer(sublinear_tf=True)

    def learn(self, texts: Iterable[str]) -> Any:
        """Learn how rare each sequence is from the labelled texts, and return their features."""
        from scipy import sparse

        counts = sparse.vstack([self._hashed.transform(batch) for batch in _batches(texts)]).tocsr()
        return self._weights.fit_transform(counts)

    def of(self, texts: Iterable[str]) -> Iterator[Any]:
        """Yield the features of texts, a batch at a time."""
        return (self._weights.transform(self._hashed.transform(batch)) for batch in _batches(texts))


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    stream = iter(texts)
    return iter(lambda: list(islice(stream, _BATCH)), [])
