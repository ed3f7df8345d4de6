"""`TrainedProxy`: a proxy whose run has ended, read back from its folder to sample it or to score text with it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ...core.errors import CampaignError, UsageError
from ...datasets.tokens.tokenizer import ByteTokenizer, Tokenizer
from ..models import ProxyModel, build_model
from ..weights import RunWeights, read_weights

__all__ = ["TrainedProxy", "stacked"]

_BATCH_WINDOWS = 64
_NOTHING = -1  # a target that counts for nothing


class TrainedProxy:
    """A model with the weights that its run ended with, which are those that it was validated with.

    `model` is the architecture, `weights` are by name, (1, …) each, as one copy; `facts` say where they come from.
    """

    def __init__(self, weights: RunWeights) -> None:
        self.facts = weights.facts
        self.digest = weights.digest
        """SHA-256 (hex) of the weights and of what they come from."""
        self.model = build_model(weights.facts.model, weights.facts.shape)
        self.weights = {name: torch.from_numpy(array).unsqueeze(0) for name, array in weights.arrays.items()}

    @classmethod
    def open(cls, run_folder: str | os.PathLike[str]) -> TrainedProxy:
        """Open the folder of a run that was trained with `engine.keep_weights`, such as `DIR/runs/RUN_ID`.

        Nothing in it is executed; every weight is checked against the model. Raises CampaignError, naming the file,
        where there are no weights, where they are damaged, or of a run that diverged.
        """
        weights = read_weights(run_folder)
        if weights.facts.diverged:
            raise CampaignError(f"{run_folder}: the run diverged, so that its weights are of no use")
        return cls(weights)

    def nats_per_byte(self, documents: Iterable[bytes | str], tokenizer: Tokenizer | None = None) -> np.ndarray:
        """Return the cross-entropy of each document, nats per byte of its UTF-8 form, (n,) float64.

        A document begins after an end of document, as in training. Windows overlap by half a context, so that, past
        the first, every token is foretold from half a context at least; that costs two forward passes a token.

        Args:
            documents: Texts; bytes too, where tokens are bytes.
            tokenizer: The one that the run was trained with; not needed where tokens are bytes.

        Raises:
            UsageError: A document is empty, or the tokenizer isn't that of the run.
            CorpusError: A text can't be encoded.
        """
        tokenizer = self._tokenizer(tokenizer)
        totals: list[float] = []
        sizes: list[int] = []
        pending: list[tuple[int, np.ndarray, np.ndarray]] = []  # document, inputs (T,), targets (T,)
        for number, document in enumerate(documents):
            ids, size = _encoded(document, tokenizer)
            if not size:
                raise UsageError("documents: got an empty one; expected one byte at least in each")
            totals.append(0.0)
            sizes.append(size)
            for inputs, targets in self._windows(ids, tokenizer.end_of_document):
                pending.append((number, inputs, targets))
                if len(pending) == _BATCH_WINDOWS:
                    self._score(pending, totals)
        if pending:
            self._score(pending, totals)
        return np.array(totals) / np.array(sizes, float)

    def _tokenizer(self, given: Tokenizer | None) -> Tokenizer:
        tokenizer = ByteTokenizer() if given is None else given
        if tokenizer.digest != self.facts.tokenizer_digest:
            what = "no tokenizer" if given is None else f"the tokenizer {given.digest[:16]}…"
            wanted = self.facts.tokenizer_digest
            expected = "a run on text" if wanted is None else f"the one of the run, {wanted[:16]}…"
            raise UsageError(f"tokenizer: got {what}; expected {expected}")
        return tokenizer

    def _windows(self, ids: np.ndarray, end: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Inputs and targets, (T,) each, such that every token of a document, (n,), is a target once."""
        length = self.model.shape.context_length
        tokens = np.concatenate([[end], ids]).astype(np.int64)
        done = 0  # targets so far
        while done < len(ids):
            start = 0 if done == 0 else min(done - length // 2, len(ids) - length)
            start = max(0, start)
            stop = min(start + length, len(ids))
            inputs = np.full(length, end, np.int64)
            targets = np.full(length, _NOTHING, np.int64)
            inputs[: stop - start] = tokens[start:stop]
            targets[done - start : stop - start] = tokens[done + 1 : stop + 1]
            yield inputs, targets
            done = stop

    @torch.inference_mode()
    def _score(self, pending: list[tuple[int, np.ndarray, np.ndarray]], totals: list[float]) -> None:
        """Add the nats of waiting windows to their documents' totals, in order; none waits then."""
        length = self.model.shape.context_length
        tokens = torch.zeros((1, _BATCH_WINDOWS, length), dtype=torch.int64)  # always of one size: see `sampling`
        targets = np.stack([targets for _, _, targets in pending])
        tokens[0, : len(pending)] = torch.from_numpy(np.stack([inputs for _, inputs, _ in pending]))
        scores = self.model.logits(self.weights, tokens)[0, : len(pending)].double()
        wanted = torch.from_numpy(np.maximum(targets, 0))
        nats = scores.logsumexp(-1) - scores.gather(-1, wanted.unsqueeze(-1)).squeeze(-1)
        sums = np.where(targets == _NOTHING, 0.0, nats.numpy()).sum(1)
        for (number, _, _), nats_of_window in zip(pending, sums.tolist(), strict=True):
            totals[number] += nats_of_window
        pending.clear()


def stacked(proxies: Sequence[TrainedProxy]) -> tuple[ProxyModel, dict[str, Tensor]]:
    """Return the model that proxies share and their weights together, (K, …) each, to sample them at once.

    Raises UsageError for none, and for proxies of different models or shapes.
    """
    alike = {(proxy.facts.model, proxy.facts.shape) for proxy in proxies}
    if len(alike) != 1:
        raise UsageError(f"stacked: got {len(alike)} different models; expected proxies of one model and shape")
    names = proxies[0].weights
    return proxies[0].model, {name: torch.cat([proxy.weights[name] for proxy in proxies]) for name in names}


def _encoded(document: bytes | str, tokenizer: Tokenizer) -> tuple[np.ndarray, int]:
    """The tokens of a document, and its size in bytes."""
    if isinstance(document, bytes) and tokenizer.kind == ByteTokenizer.kind:
        return np.frombuffer(document, np.uint8), len(document)
    text = document.decode(errors="replace") if isinstance(document, bytes) else document
    return tokenizer.encode(text), len(text.encode())
