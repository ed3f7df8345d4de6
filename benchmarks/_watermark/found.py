"""Marked samples of a proxy: how many are found, by length, before and after edits; and what the mark costs."""

from __future__ import annotations

import numpy as np
import torch
from foretrain.datasets.ngrams.witten_bell import fit
from foretrain.datasets.watermark.detection import ALPHA, Detector
from foretrain.datasets.watermark.green import Watermark
from foretrain.proxies.sampling.trained import TrainedProxy
from scipy import stats

from .proxies import LENGTH, World

__all__ = ["edited", "main"]

SAMPLES = 1536
LENGTHS = (32, 64, 128, 256, 512, 1024)
EDITS = (0.0, 0.1, 0.2)
NEEDED = {(0.0, 64): 0.95, (0.0, 128): 0.99, (0.1, 256): 0.95, (0.2, 512): 0.95}
"""Share found, by share of bytes edited and length, of the proxy that writes freely; one that has learned more is surer
of the next byte, which leaves a mark less room."""
MOST_COST = 0.2
"""Nats per byte by which marked samples may be harder for the proxy to foretell than plain ones."""


def main(world: World, proxy: TrainedProxy, mark: Watermark, gated: bool) -> list[str]:
    """Print the table of a proxy; return what was missed, where that much is asked of it."""
    marked = world.written(proxy, SAMPLES, mark, seed=11)
    plain = world.written(proxy, SAMPLES, None, seed=11)
    detector = Detector([mark], 256)
    missed = []
    print(f"\n{SAMPLES} samples of {LENGTH} bytes, in a row where longer; found at p <= {ALPHA:g}")
    print(f"{'edited':>8s}" + "".join(f"{length:>9d}" for length in LENGTHS) + "   unmarked ones, all lengths (exact)")
    for share in EDITS:
        rng = np.random.default_rng(5)
        one, other = edited(marked, share, rng), edited(plain, share, rng)
        cells, false, tried = f"{share:8.0%}", 0, 0.0
        for length in LENGTHS:
            found = float((detector.p_values(_cut(one, length)) <= ALPHA).mean())
            texts = _cut(other, length)
            false += int((detector.p_values(texts) <= ALPHA).sum())
            tried += len(texts) * float(detector.false_positives(np.array([length - mark.context]))[0])
            cells += f"{found:9.1%}"
            wanted = NEEDED.get((share, length))
            if gated and wanted is not None and found < wanted:
                missed.append(f"{share:.0%} edited, {length} bytes: {found:.1%} found; expected {wanted:.0%}")
        most = int(stats.poisson.ppf(0.999, tried))
        if false > most:
            missed.append(f"{share:.0%} edited: {false} unmarked samples found; expected {most} at most")
        print(f"{cells}   {false} ({tried:.2f})")
    plain_nats = _nats(proxy, plain)
    harder = _nats(proxy, marked) - plain_nats
    sizes = [len(text.encode()) for text in world.valid]
    reverse = [
        float(np.average(fit([*map(bytes, rows)], 5).nats_per_byte(world.valid), weights=sizes))
        for rows in (marked, plain)
    ]
    print(
        f"cost: marked samples are {harder:+.3f} nats per byte to the proxy itself, plain ones {plain_nats:.3f}; a "
        f"5-gram trained on them scores real text {reverse[0]:.3f}, on plain ones {reverse[1]:.3f}"
    )
    if harder > MOST_COST:
        missed.append(f"the mark costs {harder:.3f} nats per byte; expected {MOST_COST} at most")
    return missed


def edited(rows: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """All bytes of rows in a row `(bytes,)`, a share of them edited: replaced, left out, or another one before them."""
    text = rows.reshape(-1)
    kind = np.where(rng.random(len(text)) < share, rng.integers(1, 4, len(text)), 0)
    other = rng.permutation(text)  # bytes as often as they occur
    text = np.where(kind == 1, other, text)
    pairs = np.stack([other, text], axis=1)
    keep = np.stack([kind == 3, kind != 2], axis=1)
    return pairs[keep]


def _cut(text: np.ndarray, length: int) -> np.ndarray:
    """A text in pieces `(n, length)`; of samples of no more than LENGTH bytes the rest of each is left out."""
    if length < LENGTH:
        return text[: len(text) // LENGTH * LENGTH].reshape(-1, LENGTH)[:, :length]
    return text[: len(text) // length * length].reshape(-1, length)


@torch.inference_mode()
def _nats(proxy: TrainedProxy, rows: np.ndarray) -> float:
    tokens = torch.from_numpy(rows.astype(np.int64))[None]
    return float(np.mean([proxy.model.losses(proxy.weights, part).mean().item() for part in tokens.split(64, dim=1)]))
