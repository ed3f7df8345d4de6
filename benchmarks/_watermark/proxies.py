"""Proxies of 52k parameters on 208 kB of real text, trained in stacked groups, and what they write."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from foretrain.core.model.architecture import Architecture
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.provenance.provenance import GeneratedBy, Provenance
from foretrain.datasets.tokens.prepare import prepare
from foretrain.datasets.tokens.store import TokenStore
from foretrain.datasets.tokens.texts import NewText, add_texts
from foretrain.datasets.watermark.green import Watermark
from foretrain.proxies.engine import train_group
from foretrain.proxies.runs import ProxyRun, Recipe
from foretrain.proxies.sampling.sampling import sample
from foretrain.proxies.sampling.settings import SamplingSettings
from foretrain.proxies.sampling.trained import TrainedProxy
from foretrain.proxies.settings import EngineSettings

__all__ = ["CORPORA", "DOMAINS", "LENGTH", "SHAPE", "TOKENS", "World", "documents"]

CORPORA = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).parents[2].parent / "shared")) / "corpora"
DOMAINS = (
    *("arxiv_cs", "arxiv_math", "arxiv_physics", "books", "code_cpp", "code_python", "dialogue", "law_german"),
    *("law_us", "medical_qa", "speeches", "tech_docs"),
)
LENGTH = 129
"""Bytes of a sample: the context and one."""
SHAPE = Architecture(layers=3, width=32, heads=4, ffn_width=84, vocab_size=256, context_length=LENGTH - 1)
REAL_BYTES, VALID_BYTES = 208_000, 60_000
LONGEST = 2_000  # characters of a document
TOKENS = 410_000

_RECIPE = Recipe(lr=0.012)
_SETTINGS = EngineSettings(device="cpu", precision="fp32", group_size=1, eval_tokens=1024, keep_weights=True)


def documents(domain: str, split: str, most_bytes: float, longest: int | None = None) -> list[str]:
    """Documents of a shared corpus, in its order, up to a number of bytes; of each the first `longest` characters."""
    found: list[str] = []
    held = 0
    with gzip.open(CORPORA / f"{domain}.{split}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            if held >= most_bytes:
                break
            found.append(json.loads(line)["text"][:longest])
            held += len(found[-1].encode())
    return found


def _of_each(domains: Sequence[str], split: str, most_bytes: float) -> list[str]:
    """As many bytes of each domain; a long document would be all that there is of it."""
    each = most_bytes / len(domains)
    return [text for domain in domains for text in documents(domain, split, each, LONGEST)]


class World:
    """Real text and what is measured on it, in a folder; texts that proxies write are added to its tokens."""

    def __init__(self, folder: Path, domains: Sequence[str] = DOMAINS) -> None:
        self.folder = folder
        self.real = _of_each(domains, "train", REAL_BYTES)
        self.valid = _of_each(domains, "valid", VALID_BYTES)
        for name, texts in (("real", self.real), ("valid", self.valid)):
            lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
            (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        domain = {"path": "real.jsonl", "validation_path": "valid.jsonl"}
        self.store: TokenStore = prepare(
            Corpus.from_mapping({"domains": {"real": domain}}, folder=folder), folder / "tokens"
        )
        self.windows = self.store.windows("real", "train", SHAPE.context_length)

    def train(self, shares: Sequence[Mapping[str, float]], seed: int, tokens: float = TOKENS) -> list[TrainedProxy]:
        """Train a proxy for each entry, all from the same start: on these shares of further texts, the rest real."""
        runs = [
            ProxyRun(
                run_id=f"{n}", shape=SHAPE, recipe=_RECIPE, tokens=tokens, mix={"real": 1}, texts=dict(of), seed=seed
            )
            for n, of in enumerate(shares)
        ]
        found = []
        for result in train_group(runs, self.store, _SETTINGS, self.folder / "checkpoint"):
            assert result.weights is not None
            found.append(TrainedProxy(result.weights))
        return found

    def written(self, proxy: TrainedProxy, count: int, mark: Watermark | None, seed: int) -> np.ndarray:
        """Samples of a proxy, (count, LENGTH) uint8; each begins with the first token of a real training window."""
        rng = np.random.default_rng([seed, 1])
        first = self.windows.gather(rng.integers(0, len(self.windows), count))[None, :, 0]
        settings = SamplingSettings(watermark=mark)
        return sample(proxy.model, proxy.weights, first, LENGTH, settings, [seed])[0].astype(np.uint8)

    def add(self, key: str, rows: np.ndarray, proxy: TrainedProxy, generation: int) -> None:
        """Add what a proxy wrote to the tokens, as a further text."""
        by = GeneratedBy(kind="self", digest=proxy.digest, parent=self.store.digest, seed=0, generation=generation)
        text = NewText(key, rows, Provenance(source="benchmark", origin="generator", generator=by))
        add_texts(self.store.folder, [text])
        self.store = TokenStore.open(self.store.folder)

    def loss(self, proxy: TrainedProxy) -> float:
        """Nats per byte on real validation text."""
        sizes = [len(text.encode()) for text in self.valid]
        return float(np.average(proxy.nats_per_byte(self.valid), weights=sizes))
