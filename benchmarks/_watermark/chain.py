"""Proxies that are trained on marked text: what a filter saves over generations, and what traces the mark leaves."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.ngrams.witten_bell import fit
from foretrain.datasets.selection.selection import select
from foretrain.datasets.watermark.detection import Detection, Detector
from foretrain.datasets.watermark.green import Watermark
from foretrain.proxies.sampling.radioactivity import most_probable, radioactivity, traces
from foretrain.proxies.sampling.trained import TrainedProxy
from scipy import stats

from .proxies import LENGTH, REAL_BYTES, World

__all__ = ["generations", "ngram_filter"]

KEY_FILE = "mark.yaml"
GENERATIONS = 3
SHARES = (0.0, 0.05, 0.2, 0.5, 1.0)
MOST_LEFT, LEAST_RISE = 0.02, 0.03  # nats: what a filter may leave of the damage, and what the damage is at least
FOUND_AT = {0.05: 1e-5, 0.2: 1e-20, 0.5: 1e-20, 1.0: 1e-20}
"""p-value that counts of four bytes reach on marked text, by the share of marked text in theirs. Of proxies nothing is
asked: of this size they learn next to nothing about single contexts, and the test finds no trace of the mark."""
_NULL_KEYS = 400


def ngram_filter(world: World, proxy: TrainedProxy, mark: Watermark, key: str) -> list[str]:
    """A 5-gram on real text, on as much marked text beside it, and on what the step `watermark` keeps of both."""
    rows = world.written(proxy, REAL_BYTES // LENGTH, mark, seed=21)
    samples = [bytes(row).replace(b"\0", b"\n").decode(errors="replace") for row in rows]
    texts = [*world.real, *samples]
    (world.folder / KEY_FILE).write_text(f'key: "{key}"\n')
    (world.folder / "polluted.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    domain = {"path": "polluted.jsonl", "select": [{"watermark": {"keys": KEY_FILE}}]}
    corpus = Corpus.from_mapping({"validation_share": 0, "domains": {"web": domain}}, folder=world.folder)
    kept = select(corpus, "web").kept
    losses = {
        "clean": _ngram(world, world.real),
        "half polluted": _ngram(world, texts),
        "filtered": _ngram(world, [text for text, is_kept in zip(texts, kept, strict=True) if is_kept]),
    }
    real, written = kept[: len(world.real)], kept[len(world.real) :]
    print("\nA 5-gram's nats per byte: " + ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items()))
    print(
        f"the step left out {1 - written.mean():.1%} of {len(written)} samples, and "
        f"{(~real).sum()} of {len(real)} real documents"
    )
    missed = []
    if losses["filtered"] - losses["clean"] > MOST_LEFT:
        missed.append(f"filtered text is {losses['filtered'] - losses['clean']:+.3f} of clean; expected {MOST_LEFT}")
    if losses["half polluted"] - losses["clean"] < LEAST_RISE:
        missed.append(
            f"pollution costs {losses['half polluted'] - losses['clean']:+.3f}; expected {LEAST_RISE} at least"
        )
    return missed


def generations(world: World, proxy: TrainedProxy, mark: Watermark, seed: int) -> list[str]:
    """Chains over generations, filtered and not, and traces of the mark in proxies trained on shares of marked text."""
    detector = Detector([mark], 256)
    rows = world.written(proxy, REAL_BYTES // LENGTH, mark, seed=31)
    world.add(f"g1.{seed}", rows, proxy, 1)
    chains = {
        "replaced": _Chain({f"g1.{seed}": 1.0}),
        "half real": _Chain({f"g1.{seed}": 0.5}),
        "half real, filtered": _Chain(_left(world, f"g1.{seed}.left", rows, detector, proxy, 1)),
    }
    by_share = [{f"g1.{seed}": share} if share else {} for share in SHARES]
    trained = world.train([*by_share, chains["half real, filtered"].texts], seed)
    clean = world.loss(trained[0])
    missed = _traces(world, proxy, mark, trained, rows, seed)
    for chain, of in zip(chains.values(), (trained[4], trained[3], trained[5]), strict=True):
        chain.add(of, world.loss(of) - clean)
    for generation in range(2, GENERATIONS + 1):
        for number, (name, chain) in enumerate(chains.items()):
            key = f"g{generation}.{seed}.{number}"
            rows = world.written(chain.proxy, REAL_BYTES // LENGTH, mark, seed=31 + generation)
            if name.endswith("filtered"):
                chain.texts = _left(world, key, rows, detector, chain.proxy, generation)
            else:
                world.add(key, rows, chain.proxy, generation)
                chain.texts = {key: next(iter(chain.texts.values()))}
        for chain, of in zip(chains.values(), world.train([c.texts for c in chains.values()], seed), strict=True):
            chain.add(of, world.loss(of) - clean)
    print(f"\nSeed {seed}: nats per byte over a proxy on real text ({clean:.3f}), generations 1 to {GENERATIONS}")
    for name, chain in chains.items():
        print(f"{name:22s}" + "".join(f"{rise:+8.3f}" for rise in chain.rises))
    for name in ("replaced", "half real"):
        if chains[name].rises[-1] < LEAST_RISE:
            missed.append(f"{name}: rises by {chains[name].rises[-1]:.3f}; expected {LEAST_RISE} at least")
    if (worst := max(chains["half real, filtered"].rises)) > MOST_LEFT:
        missed.append(f"filtered chain rises by {worst:.3f}; expected {MOST_LEFT} at most")
    return missed


@dataclass
class _Chain:
    """What a chain's last generation was trained on, its proxy, and what each lost."""

    texts: dict[str, float]
    rises: list[float] = field(default_factory=list)
    _proxy: TrainedProxy | None = None

    def add(self, proxy: TrainedProxy, rise: float) -> None:
        self._proxy = proxy
        self.rises.append(rise)

    @property
    def proxy(self) -> TrainedProxy:
        assert self._proxy is not None
        return self._proxy


def _left(
    world: World, key: str, rows: np.ndarray, detector: Detector, proxy: TrainedProxy, generation: int
) -> dict[str, float]:
    """What a filter leaves of samples, added as a text, and its share of what is left of them and the real text."""
    left = rows[detector.p_values(rows) > detector.alpha]
    print(f"generation {generation}: {len(left)} of {len(rows)} samples pass the filter")
    if not len(left):
        return {}
    world.add(key, left, proxy, generation)
    return {key: left.size / (left.size + REAL_BYTES)}


def _cell(of: Detection) -> str:
    return f"{of.p:.2g} ({of.green / of.scored:.1%})".rjust(24)


def _mixed(world: World, rows: np.ndarray, share: float) -> np.ndarray:
    """As many bytes as there are real ones, a share of them samples, the rest real."""
    real = np.frombuffer("\n".join(world.real).encode(), np.uint8)
    count = round(share * len(rows))
    return np.concatenate([rows[:count].reshape(-1), real[: len(real) - count * rows.shape[1]]])


def _followers(text: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """The byte that most often follows the three bytes before it in a text, for each of windows `(n, length)`; 0 where
    these don't occur in it."""
    grams, times = np.unique(_packed(text, 4), return_counts=True)
    order = np.lexsort((times, grams >> 8))  # of each three bytes, the most frequent follower last
    contexts = grams[order] >> 8
    last = np.append(contexts[1:] != contexts[:-1], True)
    known, follower = contexts[last], (grams[order] & 255)[last]
    asked = np.stack([_packed(row, 3) for row in windows])
    at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    best = np.zeros(windows.shape, np.int64)
    best[:, 2:] = np.where(known[at] == asked, follower[at], 0)
    return best


def _packed(text: np.ndarray, length: int) -> np.ndarray:
    """Each so many bytes in a row as one number `(n - length + 1,)`."""
    wide = text.astype(np.int64)
    found = np.zeros(len(wide) - length + 1, np.int64)
    for place in range(length):
        found = found << 8 | wide[place : place + len(found)]
    return found


def _traces(
    world: World, proxy: TrainedProxy, mark: Watermark, trained: list[TrainedProxy], rows: np.ndarray, seed: int
) -> list[str]:
    """Print the test of radioactivity by share of marked text; return what was missed."""
    real = world.store.windows("real", "valid", LENGTH - 1)
    shown = {
        "real text": real.gather(np.arange(len(real)))[:, :-1],
        "marked text": world.written(proxy, 1536, mark, seed=71)[:, :-1].astype(np.int64),
    }
    detector, missed = Detector([mark], 256), []
    print(f"\nSeed {seed}: p that a proxy was trained without the key, by the share of marked text; green of contexts")
    print(f"{'shown':14s}" + "".join(f"{share:>24.0%}" for share in SHARES))
    for name, windows in shown.items():
        found = [radioactivity(one, windows, detector) for one in trained[: len(SHARES)]]
        print(f"{name:14s}" + "".join(_cell(of) for of in found))
    windows = shown["marked text"]
    counted = [traces(windows, _followers(_mixed(world, rows, share), windows), detector) for share in SHARES]
    print(f"{'4-gram':14s}" + "".join(_cell(of) for of in counted))
    for share, of in zip(SHARES, counted, strict=True):
        if of.p > FOUND_AT.get(share, 1.0):
            missed.append(f"4-gram, {share:.0%} marked: p {of.p:.2g}; expected {FOUND_AT[share]:g} at most")
    others = [Watermark(key=f"a key of another, {number:04d}") for number in range(_NULL_KEYS)]
    windows = shown["real text"]
    best = most_probable(trained[0], windows)
    p = [traces(windows, best, Detector([other], 256)).p for other in others]
    uniform = stats.kstest(p, "uniform").pvalue
    print(
        f"0 %: p over {_NULL_KEYS} keys: {np.mean(np.array(p) <= 0.05):.1%} at most .05; uniform by "
        f"Kolmogorov-Smirnov, p {uniform:.2f}"
    )
    if uniform < 1e-3:
        missed.append(f"p-values of a proxy without marked text aren't uniform, p {uniform:.2g}")
    return missed


def _ngram(world: World, texts: list[str]) -> float:
    sizes = [len(text.encode()) for text in world.valid]
    return float(np.average(fit(texts, 5).nats_per_byte(world.valid), weights=sizes))
