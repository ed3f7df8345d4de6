"""The pool that selections are tried on: real text of four topics, 30 % of its bytes noise whose kind is known.

The clean part is arXiv abstracts, dialogues, statutes and books at 70, 15, 10 and 5 % of its bytes, in documents of
about 1 to 2 kB. The noise is word-shuffled text (other documents of the same topics), boilerplate of web pages (our own
templates) and near-copies of a few clean documents, a third of the bytes each. Validation text is clean, by topic, from
documents that the pool doesn't hold, and the same for every pool. The rest is a function of the seed.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from foretrain.datasets.corpus.corpus import Corpus

__all__ = ["NOISE", "SHARES", "Pool", "make_pool", "shuffled_pieces", "taken"]

CORPORA = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "corpora"
SHARES = {"arxiv_cs": 0.70, "dialogue": 0.15, "law_us": 0.10, "books": 0.05}
"""Topics, and their shares of the clean bytes: what the natural mean over topics weighs them with."""
NOISE = ("shuffled", "boilerplate", "copy")
"""Kinds of noise; `clean` is the label of the rest."""
NOISE_SHARE = 0.3
SIZE_BYTES = 2_200_000
VALIDATION_BYTES = 64_000  # of each topic
BYTES_PER_COPIED = SIZE_BYTES / 6  # one document of so many bytes of the pool is copied: six in the default pool
_SHORTEST, _LONGEST = 600, 1_900  # bytes of a document
_COPIED = (900, 1_150)  # bytes of a document that is copied, so that each has about 36 copies
_LINES, _LINE_ABSENT = 12, 0.1  # lines of a page of boilerplate, and how often one is absent
_EDITED = 4  # words changed in a near-copy


@dataclass(frozen=True)
class Pool:
    """A pool as a corpus, and what is known about its documents, in the order in which they stand in its file.

    `corpus` has the domain `pool` and one domain per topic, whose training text is clean and small: they are there for
    their validation text. `topics` and `noise` label each document of `pool` `(n,)`; a document of boilerplate has the
    topic `none`. `validation` holds the clean validation texts by topic.
    """

    corpus: Corpus
    texts: list[str]
    topics: np.ndarray
    noise: np.ndarray
    validation: dict[str, list[str]]

    @property
    def sizes_bytes(self) -> np.ndarray:
        """UTF-8 bytes of each document `(n,)`."""
        return np.array([len(text.encode()) for text in self.texts], np.int64)

    def noise_left(self, kept: np.ndarray) -> float:
        """Share of the kept bytes that is noise. `kept: (n,)`, which documents are kept."""
        sizes = self.sizes_bytes * kept
        return float(sizes[self.noise != "clean"].sum() / sizes.sum())


def make_pool(folder: Path, seed: int, size_bytes: int = SIZE_BYTES, cleaned: bool = False) -> Pool:
    """Write a pool with its `corpora.yaml` into a folder, and return it.

    Args:
        folder: An existing folder; files in it are overwritten.
        seed: Seed of which documents are taken and how the noise is made.
        size_bytes: Bytes of the pool with its noise, up to about 18 MB.
        cleaned: Without the noise: the same clean documents alone, about 70 % of `size_bytes`.

    Raises:
        SystemExit: The shared corpora are absent, or hold too little.
    """
    rng = np.random.default_rng([22, seed])
    clean_bytes, noise_bytes = size_bytes * (1 - NOISE_SHARE), size_bytes * NOISE_SHARE / len(NOISE)
    rows: list[tuple[str, str, str]] = []  # topic, noise, text
    small: dict[str, list[str]] = {}
    clean: list[tuple[str, str]] = []
    for topic, share in SHARES.items():
        pieces = shuffled_pieces(topic, "train", rng)
        clean += [(topic, text) for text in taken(pieces, share * clean_bytes)]
        rows += [(topic, "shuffled", _words_shuffled(text, rng)) for text in taken(pieces, share * noise_bytes)]
        small[topic] = taken(pieces, VALIDATION_BYTES / 4)
    rows += [(topic, "clean", text) for topic, text in clean]
    rows += [("none", "boilerplate", text) for text in taken(_boilerplate(rng), noise_bytes)]
    rows += [(topic, "copy", text) for topic, text in _near_copies(clean, noise_bytes, size_bytes, rng)]
    if cleaned:
        rows = [row for row in rows if row[1] == "clean"]
    rows = [rows[number] for number in rng.permutation(len(rows))]
    fixed = np.random.default_rng(22)  # equal validation text for every pool
    held = {topic: taken(shuffled_pieces(topic, "valid", fixed), VALIDATION_BYTES) for topic in SHARES}
    _write(folder / "pool.jsonl", ({"text": text, "topic": topic, "noise": noise} for topic, noise, text in rows))
    domains: dict[str, dict[str, str]] = {"pool": {"path": "pool.jsonl", "validation_path": "pool.valid.jsonl"}}
    natural = [text for topic, share in SHARES.items() for text in taken(iter(held[topic]), share * VALIDATION_BYTES)]
    _write(folder / "pool.valid.jsonl", ({"text": text} for text in natural))
    for topic in SHARES:
        _write(folder / f"{topic}.jsonl", ({"text": text} for text in small[topic]))
        _write(folder / f"{topic}.valid.jsonl", ({"text": text} for text in held[topic]))
        domains[topic] = {"path": f"{topic}.jsonl", "validation_path": f"{topic}.valid.jsonl"}
    described = {"tokenizer": {"kind": "bytes"}, "domains": domains}
    (folder / "corpora.yaml").write_text(json.dumps(described, indent=1))  # JSON is YAML
    topics, noise, texts = (list(column) for column in zip(*rows, strict=True))
    return Pool(Corpus.load(folder / "corpora.yaml"), texts, np.array(topics), np.array(noise), held)


def shuffled_pieces(topic: str, side: str, rng: np.random.Generator) -> Iterator[str]:
    """Documents of a topic in random order; long ones cut, short ones left out."""
    path = CORPORA / f"{topic}.{side}.jsonl.gz"
    if not path.exists():
        raise SystemExit(f"{path} is absent: this benchmark reads the shared corpora in place")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        pieces = [piece for line in lines for piece in _cut(json.loads(line)["text"])]
    return (pieces[number] for number in rng.permutation(len(pieces)))


def _cut(text: str) -> Iterator[str]:
    """Pieces of a text of at most `_LONGEST` bytes, cut at blanks; those under `_SHORTEST` are dropped."""
    data = text.encode()
    while len(data) >= _SHORTEST:
        end = len(data) if len(data) <= _LONGEST else data.rfind(b" ", _SHORTEST, _LONGEST)
        if end < 0:
            return  # no blank in a kilobyte: not text
        yield data[:end].decode().strip()
        data = data[end:]


def taken(texts: Iterator[str], size_bytes: float) -> list[str]:
    """The next texts, until `size_bytes` are reached; less than half a document too many or too few."""
    found: list[str] = []
    left = size_bytes
    while left > _LONGEST / 4:
        text = next(texts, None)
        if text is None:
            raise SystemExit("the shared corpora hold too little text for a pool of this size")
        found.append(text)
        left -= len(text.encode())
    return found


def _words_shuffled(text: str, rng: np.random.Generator) -> str:
    words = text.split()
    return " ".join(words[number] for number in rng.permutation(len(words)))


def _near_copies(
    clean: list[tuple[str, str]], bytes_wanted: float, size_bytes: int, rng: np.random.Generator
) -> Iterator[tuple[str, str]]:
    """Copies of a few clean documents in turn, some words of each replaced by others of the same document."""
    fitting = [row for row in clean if _COPIED[0] <= len(row[1].encode()) <= _COPIED[1]]
    count = max(1, round(size_bytes / BYTES_PER_COPIED))
    originals = [fitting[number] for number in rng.choice(len(fitting), count, replace=False)]
    number = 0
    while bytes_wanted > 0:
        topic, text = originals[number % len(originals)]
        words = text.split(" ")
        for place in rng.choice(len(words), _EDITED, replace=False):
            words[place] = words[rng.integers(len(words))]
        copy = " ".join(words)
        yield topic, copy
        bytes_wanted -= len(copy.encode())
        number += 1


_SITES = ("Northwind Daily", "GardenShed", "Bluepeak Travel", "QuickRecipes", "TechHarbour", "The Valley Post")
_PLACES = ("Home", "News", "Sport", "Weather", "Shop", "Video", "Travel", "Culture", "Jobs", "Archive", "Contact")
_TEMPLATES = (
    "We use cookies to improve your experience on {site}. By continuing to browse you agree to our use of cookies.",
    "Copyright {year} {site}. All rights reserved. Reproduction in whole or in part without permission is prohibited.",
    "Sign up for our free newsletter and get the latest offers from {site} delivered straight to your inbox.",
    "{menu}",
    "Share this page: Facebook | Twitter | LinkedIn | Email | Print",
    "You must be logged in to post a comment. Log in or create a free account with {site} in less than a minute.",
    "Read our Privacy Policy and Terms of Service. Last updated in {year}.",
    "Skip to main content. Skip to navigation. Skip to footer.",
    "{count} people are viewing this page right now. Only {small} left in stock! Order within {small} hours.",
    "Related articles: {count} results found. Page {small} of {count}. Previous | Next | Last",
    "This website works best with JavaScript enabled. Please enable JavaScript in the settings of your browser.",
    "Advertisement. Continue reading below. Subscribe to {site} from {small}.99 a month and read without ads.",
    "Back to top. Site map. Accessibility. Help. Contact us. About {site}. Careers. Press.",
    "Posted by admin in {year}. Filed under Uncategorized. {count} comments. Leave a reply.",
)


def _boilerplate(rng: np.random.Generator) -> Iterator[str]:
    """Pages that hold nothing but what surrounds text, without end: a site repeats the same lines on every page, but
    for names and numbers, in an order of its own."""
    layouts = {site: rng.permutation(_TEMPLATES)[:_LINES].tolist() for site in _SITES}
    while True:
        site = str(rng.choice(_SITES))
        menu = " | ".join(rng.choice(_PLACES, 6, replace=False))
        slots = {"site": site, "year": rng.integers(2005, 2026), "menu": menu}
        lines = [
            line.format(**slots, count=rng.integers(2, 999), small=rng.integers(2, 9))
            for line in layouts[site]
            if rng.random() > _LINE_ABSENT
        ]
        yield "\n".join(lines)


def _write(path: Path, rows: Iterable[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
