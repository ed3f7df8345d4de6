"""The generator `self`: a proxy trained on the text, then sampled. It is announced as an entry point of ours."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field
from typing_extensions import override

from ...core.errors import UsageError
from ...core.extras import require
from ...core.model.architecture import Architecture
from ...core.processors import one_torch_thread
from ...core.progress import Progress
from ...core.reading.fields import PositiveCount, PositiveReal, Whole, whole_schema
from ...datasets.generators.generator import FittedGenerator, Generator
from ...datasets.generators.registry import register_generator
from .cost import sampling_flops
from .settings import SamplingSettings

if TYPE_CHECKING:
    from ..engine import TrainingProgress
    from .trained import TrainedProxy

__all__ = ["FittedSelf", "SelfGenerator"]

_END = b"\0"  # of a document, as the byte tokenizer has it
_HEAD_WIDTH, _FFN_RATIO, _SHORT_CONV = 32, 2.5, 4  # those of a space of proxies, unless it says otherwise
_MOST_ROUNDS = 20  # in a row that give no byte of text: the model writes nothing but ends of documents


class FittedSelf(FittedGenerator):
    """A trained proxy that writes. `proxy` is the model with its weights, `settings` how it is sampled."""

    def __init__(
        self, proxy: TrainedProxy, settings: SamplingSettings, starts: np.ndarray, facts: Mapping[str, Any]
    ) -> None:
        self.proxy, self.settings, self.facts = proxy, settings, facts
        self._longest = self.longest_bytes = proxy.model.shape.context_length + 1
        self._starts = starts
        chosen = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
        self.digest = hashlib.sha256(f"self 1 {proxy.digest} {chosen} ".encode() + starts.tobytes()).hexdigest()

    @override
    def sample(self, documents: int, length_bytes: int, rng: np.random.Generator) -> list[bytes]:
        """Write documents as `FittedGenerator.sample` says.

        A window starts from the first byte of a window of the text that was learned from. Where the model ends a
        document inside one, what follows is a document of its own, so that beginnings are as frequent as it makes them.
        """
        from .sampling import sample

        if documents < 1 or not 1 <= length_bytes <= self._longest:
            raise UsageError(
                f"sample: got {documents} documents of {length_bytes} bytes; expected one at least, of 1 to "
                f"{self._longest} bytes: the context of {self._longest - 1} and one more"
            )
        found: list[bytes] = []
        fruitless = 0
        while len(found) < documents:
            first = rng.choice(self._starts, (1, documents - len(found)))
            seed = int(rng.integers(2**63))
            with one_torch_thread():
                windows = sample(self.proxy.model, self.proxy.weights, first, length_bytes, self.settings, [seed])[0]
            before = len(found)
            for window in windows.astype(np.uint8):
                found += [part for part in window.tobytes().split(_END) if part]
            fruitless = fruitless + 1 if len(found) == before else 0
            if fruitless == _MOST_ROUNDS:
                raise UsageError("sample: the proxy writes nothing but ends of documents; train it on more text")
        return found[:documents]


@register_generator("self")
class SelfGenerator(Generator, SamplingSettings):
    """Trains a small transformer on bytes, as a proxy is trained, and samples it.

    `tokens` are bytes that it is trained on, the text as often as that takes; a fiftieth of the text is held out, to
    report its loss.
    """

    width: Annotated[Whole, Field(ge=8, le=4_096, multiple_of=8), whole_schema(8, 4_096)] = Field(
        default=32, description="Width of the model, a multiple of 8."
    )
    depth: Annotated[Whole, Field(ge=1, le=100), whole_schema(1, 100)] = Field(default=3, description="Its layers.")
    context_length: Annotated[Whole, Field(ge=8, le=65_536), whole_schema(8, 65_536)] = Field(
        default=128, description="Bytes that it sees at once; a document that it writes has one more at most."
    )
    tokens: PositiveCount = Field(default=500_000, description="Bytes that it is trained on.")
    batch_sequences: Annotated[Whole, Field(ge=1, le=10**6), whole_schema(1, 10**6)] = Field(
        default=8, description="Sequences of context_length bytes per step."
    )
    lr: Annotated[PositiveReal, Field(le=100)] = Field(
        default=0.012, description="Peak learning rate at width 64; narrower models scale it up."
    )

    @property
    def sampling(self) -> SamplingSettings:
        """How it is sampled."""
        return SamplingSettings(temperature=self.temperature, top_p=self.top_p, watermark=self.watermark)

    @property
    def shape(self) -> Architecture:
        """The model."""
        from ..design.family import ModelFamily

        family = ModelFamily(256, self.context_length, self.depth, _HEAD_WIDTH, _FFN_RATIO, _SHORT_CONV, False)
        return family.of_width(self.width)

    @override
    def fit(self, documents: Sequence[bytes], progress: Progress | None = None) -> FittedSelf:
        """Train on documents, in a folder that is gone afterwards; equal ones on equal machines give equal weights.

        Raises UsageError for too little text, and where training diverges.
        """
        require("the generator self", "torch", "safetensors")
        # Not at the top: whoever reads a run's configuration asks for the names of generators.
        from ..engine import train_group
        from ..runs import ProxyRun, Recipe
        from ..settings import EngineSettings
        from .packed import DOMAIN, packed_store
        from .trained import TrainedProxy

        began = time.monotonic()
        run = ProxyRun(
            run_id="self",
            shape=self.shape,
            recipe=Recipe(lr=self.lr),
            tokens=self.tokens,
            batch_sequences=self.batch_sequences,
            mix={DOMAIN: 1.0},
            seed=self.seed,
        )
        settings = EngineSettings(device="cpu", precision="fp32", keep_weights=True)
        with tempfile.TemporaryDirectory() as folder, one_torch_thread():
            store = packed_store(documents, Path(folder) / "store", self.context_length)
            starts = store.windows(DOMAIN, "train", self.context_length)
            firsts = starts.gather(np.arange(len(starts)))[:, 0].astype(np.uint8)
            told = None if progress is None else _told(progress)
            (result,) = train_group([run], store, settings, Path(folder) / "checkpoint", told)
        if result.status != "ok" or result.weights is None:
            raise UsageError(f"self: training diverged at step {result.diverged_step}; expected a lower lr: {self.lr}")
        facts = {
            "parameters": run.shape.params_total,
            "steps": run.steps,
            "training_flops": run.training_flops,
            "sampling_flops_per_byte": sampling_flops(run.shape, 1),
            "nats_per_byte": result.evaluations[-1].losses[DOMAIN].mean_nats,
            "seconds": round(time.monotonic() - began, 3),
        }
        return FittedSelf(TrainedProxy(result.weights), self.sampling, firsts, facts)


def _told(progress: Progress) -> Any:
    def report(at: TrainingProgress) -> None:
        progress("training the proxy", at.step / at.steps)

    return report
