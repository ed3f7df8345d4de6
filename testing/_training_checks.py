"""What holds for an architecture in training: checks that train small models of one shape on a known source."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

import torch

from ..core.model.architecture import Architecture
from ..core.model.mixers.registry import mixers
from ..datasets.corpus.corpus import Corpus
from ..datasets.tokens.prepare import prepare
from ..datasets.tokens.store import TokenStore
from ..proxies.engine import train_group
from ..proxies.engine._checkpoint import load_checkpoint, save_checkpoint
from ..proxies.engine._group import TrainingGroup
from ..proxies.engine._hardware import resolve
from ..proxies.models import models
from ..proxies.runs import ProxyRun, Recipe
from ..proxies.settings import EngineSettings
from ._model_shapes import random_tokens

__all__ = ["TRAINING_CHECKS"]

_SETTINGS = EngineSettings(device="cpu", precision="fp32", compile="never", eval_tokens=1_000)


def a_saved_model_has_the_same_loss_when_loaded(name: str) -> None:
    """A checkpoint in the middle of training holds everything that the losses depend on."""
    with _known_source() as (store, folder):
        runs = [_training_run(name, steps=6, batch=4, seed=seed) for seed in (1, 2)]
        hardware = resolve(_SETTINGS)
        untrained, trained, loaded = (TrainingGroup(runs, store, _SETTINGS, hardware) for _ in range(3))
        for _ in range(3):
            trained.advance()
        checkpoint = folder / "checkpoint.safetensors"
        save_checkpoint(trained, checkpoint)
        assert load_checkpoint(loaded, checkpoint), "the checkpoint of the same runs wasn't taken; expected it to be"
        tokens = random_tokens(trained.model, 2)
        before, losses, after = (group.computation.losses(tokens) for group in (untrained, trained, loaded))
        assert torch.equal(after, losses), "the loaded model has other losses; expected the same bits"
        assert not torch.equal(before, losses), "three steps changed no loss; expected them to"


def a_model_learns_a_known_source_down_to_its_entropy(name: str) -> None:
    """A chain whose entropy is known: training ends close above it, and never below."""
    settings = _SETTINGS.model_copy(update={"eval_tokens": 60_000})
    run = _training_run(name, steps=300, batch=8)
    params = run.shape.params_total
    assert 30_000 <= params <= 60_000, f"the model has {params} parameters; this source is meant for 30 to 60 thousand"
    with _known_source() as (store, folder):
        (result,) = train_group([run], store, settings, folder / "checkpoint.safetensors")
        entropy = store.entropy_nats("known")
    assert entropy is not None, "a synthetic domain has an entropy"
    assert result.status == "ok", f"training ended as {result.status}; expected ok"
    loss = result.evaluations[-1].losses["known"]
    assert loss.mean_nats < 1.05 * entropy, (
        f"300 steps give a loss of {loss.mean_nats} nats; expected at most 5 % above the entropy {entropy}"
    )
    assert loss.mean_nats > entropy - 2 * loss.standard_error_nats, (
        f"a loss of {loss.mean_nats} nats is below the entropy {entropy}: does the model see the token it predicts?"
    )
    start = fmean(point.loss_nats for point in result.curve[:3])
    assert start > 2 * entropy, f"training starts at {start} nats; expected more than twice the entropy {entropy}"


TRAINING_CHECKS: list[Callable[[str], None]] = [
    a_saved_model_has_the_same_loss_when_loaded,
    a_model_learns_a_known_source_down_to_its_entropy,
]
"""Called with the name of an architecture; each trains a model of 40 thousand parameters, on one thread for some
seconds at most."""


@contextmanager
def _known_source() -> Iterator[tuple[TokenStore, Path]]:
    """Tokens of one domain and a folder to work in. A chain over 64 tokens, each followed by one of 4: an entropy of
    1.24 nats, where guessing gives 4.16.
    """
    source = {"kind": "zipf_markov", "vocab_size": 64, "branching": 4, "exponent": 1.0, "tokens": 1_000_000}
    corpus = Corpus.from_mapping({"domains": {"known": {"synthetic": source}}})
    with tempfile.TemporaryDirectory() as folder:
        yield prepare(corpus, Path(folder) / "tokens"), Path(folder)


def _training_run(name: str, steps: int, batch: int, seed: int = 1) -> ProxyRun:
    sizes = {"layers": 2, "width": 40, "ffn_width": 80, "vocab_size": 64, "context_length": 64}
    mixer = models()[name].mixer
    heads = {"heads": 2} if mixers()[mixer].has_heads else {}
    shape = Architecture.model_validate({**sizes, **heads, "mixer": mixer})
    return ProxyRun(
        run_id=f"{name} {seed}",
        model=name,
        shape=shape,
        recipe=Recipe(lr=0.02, schedule="linear", lr_final=0.0, warmup_tokens=10_000, weight_decay=0.0),
        tokens=steps * batch * shape.context_length,
        batch_sequences=batch,
        mix={"known": 1.0},
        seed=seed,
    )
