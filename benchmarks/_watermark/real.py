"""Real text, which nobody has marked: how often is it called marked, and on what does that depend?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from foretrain.datasets.watermark.detection import Counts, Detector, count, p_values
from foretrain.datasets.watermark.green import Watermark
from pydantic import SecretStr

from .proxies import CORPORA, documents

__all__ = ["main"]

KEYS = 8
MOST = 2.0
"""Times the exact mean, and one more, that the mean of keys may be: it is a mean of few keys, and with each key false
positives come in clusters, as the same passages stand in many windows."""
ALPHAS = (1e-3, 3e-5)
WINDOWS = 10_000  # of each domain
LONG_BYTES = 8_000
_DOMAIN_BYTES = 2_600_000


@dataclass(frozen=True)
class _Way:
    """A way to count: tokens of context, and whether each different (context, token) counts once."""

    context: int
    once: bool

    def mark(self, number: int) -> Watermark:
        """The watermark of the `number`-th key, of contexts that `Watermark` refuses, too."""
        key = SecretStr(f"benchmark, key {number:04d}")
        return Watermark.model_construct(
            key=key, gamma=0.5, delta=2.0, context=self.context, vocab_size=256, tokenizer=None
        )

    def count(self, texts: np.ndarray, mark: Watermark) -> Counts:
        """Of each of texts `(n, length)`."""
        if self.once:
            return count(texts, mark)
        hashes = mark.hashes(texts)
        return Counts(np.full(len(texts), hashes.shape[1]), mark.is_green(hashes).sum(axis=1))


USED = _Way(3, once=True)
WAYS = (USED, _Way(5, once=True), _Way(1, once=True), _Way(3, once=False), _Way(1, once=False))


def main() -> list[str]:
    """Print the tables; return what was missed."""
    names = sorted(path.name.split(".")[0] for path in CORPORA.glob("*.train.jsonl.gz"))
    texts = {name: [text.encode() for text in documents(name, "train", _DOMAIN_BYTES)] for name in names}
    joined = {name: np.frombuffer(b"\n".join(of), np.uint8) for name, of in texts.items()}
    groups = {f"windows of {length}": _windows([*joined.values()], length) for length in (64, 256)}
    long = [np.frombuffer(text, np.uint8)[None] for of in texts.values() for text in of if len(text) >= LONG_BYTES]
    groups[f"documents of {LONG_BYTES:,} or more"] = long
    groups["domains of 2.6 MB"] = [text[None] for text in joined.values()]
    print(f"Real text of {len(names)} domains called marked, {KEYS} keys each; z is of the number of green ones")
    print(
        f"{'':28s}{'':22s}{'z by key':>15s}"
        + "".join(f"{f'p <= {a:g}: mean':>20s}{'worst':>8s}{'exact':>8s}" for a in ALPHAS)
    )
    missed = []
    for name, group in groups.items():
        for way in WAYS:
            row = _row(group, way)
            label = f"context {way.context}, {'once' if way.once else 'every time'}"
            print(f"{name if way is USED else '':28s}{label:22s}{row.text}", flush=True)
            beyond = row.mean > MOST * row.exact + 1
            if way is USED and beyond:
                missed.append(f"{name}: {row.mean:.1f} called marked, mean of keys; expected {row.exact:.2g}")
            if way == WAYS[-1] and not beyond:
                missed.append(f"{name}: context 1, every time, calls {row.mean:.1f} marked; expected it to fail")
    return missed


@dataclass(frozen=True)
class _Row:
    """A row of the table; false positives at the last alpha: the mean of keys, and the exact one."""

    text: str
    mean: float
    exact: float


def _windows(texts: list[np.ndarray], length: int) -> list[np.ndarray]:
    return [np.concatenate([text[: WINDOWS * length].reshape(-1, length) for text in texts])]


def _row(group: list[np.ndarray], way: _Way) -> _Row:
    """False positives of a group of texts, by key, beside what the binomial says."""
    z, found, expected = [], np.zeros((KEYS, len(ALPHAS)), int), np.zeros(len(ALPHAS))
    for number in range(KEYS):
        mark = way.mark(number)
        counts = [way.count(texts, mark) for texts in group]
        of = Counts(np.concatenate([c.scored for c in counts]), np.concatenate([c.green for c in counts]))
        p = p_values(of, mark.gamma)
        z.append(float(((2 * of.green - of.scored) / np.sqrt(of.scored)).mean()))
        for at, alpha in enumerate(ALPHAS):
            found[number, at] = (p <= alpha).sum()
            expected[at] += Detector([mark], 256, alpha).false_positives(of.scored).sum()
    cells = f"{min(z):+7.2f} {max(z):+7.2f}"
    for at in range(len(ALPHAS)):
        cells += f"{found[:, at].mean():20.1f}{found[:, at].max():8d}{expected[at] / KEYS:8.2g}"
    return _Row(cells, float(found[:, -1].mean()), float(expected[-1] / KEYS))
