"""What the policy writes, in chunks on disk, and the log probability of a text under a model.

Letters in shapes: N samples, T bytes of a sample with its first one, which is the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from foretrain.datasets.tokens.store import TokenStore
from foretrain.proxies.models import ProxyModel
from foretrain.proxies.sampling.sampling import sample
from foretrain.proxies.sampling.settings import SamplingSettings
from foretrain.proxies.sampling.trained import TrainedProxy
from torch import Tensor

from .models import CONTEXT, DOMAIN, policy_model
from .plan import LENGTH, Plan

__all__ = ["Prompts", "chunked", "log_probabilities", "samples", "save", "scored", "write_samples"]

_BATCH = 64  # more fall out of the cache
_PARTS = {"labelled": 1, "pool": 2}


class Prompts:
    """First bytes of windows of the training text: a sample begins where a real one may, within a dialogue or not."""

    def __init__(self, plan: Plan) -> None:
        store = TokenStore.open(plan.folder / "policy" / "corpora.tokens")
        windows = store.windows(DOMAIN, "train", CONTEXT)
        self._firsts = windows.gather(np.arange(len(windows)))[:, 0].astype(np.int64)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """First bytes, (N,)."""
        return rng.choice(self._firsts, count)


def write_samples(plan: Plan, part: str) -> None:
    """Have the policy write what is missing of a part, `labelled` or `pool`."""
    policy: TrainedProxy | None = None
    prompts: Prompts | None = None
    for number, path in enumerate(_paths(plan, part)):
        if path.is_file():
            continue
        policy, prompts = policy or policy_model(plan), prompts or Prompts(plan)
        rng = np.random.default_rng([_PARTS[part], number])
        first = prompts.draw(plan.chunk, rng)[None]
        written = sample(
            policy.model, policy.weights, first, LENGTH + 1, SamplingSettings(), [int(rng.integers(2**63))]
        )
        save(path, written[0].astype(np.uint8))


def samples(plan: Plan, part: str) -> np.ndarray:
    """The samples of a part, (N, T) uint8; `write_samples` comes first."""
    return np.concatenate([np.load(path) for path in _paths(plan, part)])


def chunked(plan: Plan, part: str, name: str, of: Callable[[], Callable[[np.ndarray], np.ndarray]]) -> np.ndarray:
    """A number for each sample of a part, (N,), computed chunk by chunk and kept beside the samples.

    `of()` gives the function from samples, (n, T), to numbers, (n,); it is asked for where a chunk is missing.
    """
    function: Callable[[np.ndarray], np.ndarray] | None = None
    for path in _paths(plan, part):
        beside = path.with_name(f"{path.stem}.{name}.npy")
        if not beside.is_file():
            function = function or of()
            save(beside, function(np.load(path)))
    return np.concatenate([np.load(path.with_name(f"{path.stem}.{name}.npy")) for path in _paths(plan, part)])


def log_probabilities(model: ProxyModel, weights: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
    """The log probability of samples after their first byte, nats, (N,), from tokens (N, T); weights (1, …) each."""
    scores = model.logits(weights, tokens[None, :, :-1])[0]
    of_each = scores.log_softmax(-1).gather(-1, tokens[:, 1:, None]).squeeze(-1)
    return of_each.sum(-1)


def scored(proxy: TrainedProxy, rows: np.ndarray) -> np.ndarray:
    """`log_probabilities` of many samples, (N, T) uint8, without gradients: (N,) float64."""
    with torch.inference_mode():
        parts = [
            log_probabilities(proxy.model, proxy.weights, torch.from_numpy(batch.astype(np.int64))).double().numpy()
            for batch in _batches(rows)
        ]
    return np.concatenate(parts)


def save(path: Path, array: np.ndarray) -> None:
    """Write an array whole, so that a file that is there is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part.npy")
    np.save(unfinished, array)
    unfinished.replace(path)


def _batches(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]


def _paths(plan: Plan, part: str) -> list[Path]:
    count = plan.pool if part == "pool" else plan.labelled
    return [plan.folder / "samples" / f"{part}-{number:03d}.npy" for number in range(count // plan.chunk)]
