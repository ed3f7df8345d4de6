"""What `proxy_gpu.py` measures: sizes on a GPU, and tiny ones of the same kind with which a processor tries it out.

Widths are multiples of the head's, which is what attention on a GPU works on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foretrain.core.model.architecture import Architecture
from foretrain.proxies.design.family import ModelFamily
from foretrain.proxies.runs import ProxyRun, Recipe

__all__ = ["LADDER", "SPEED", "TINY_LADDER", "TINY_SPEED", "Case", "Ladder"]

_VOCABULARY = 256  # bytes


@dataclass(frozen=True)
class Case:
    """A model, the batch of one of it, and how many of it we train at once."""

    layers: int
    width: int
    context: int
    sequences: int
    copies: int
    head_width: int = 64

    @property
    def shape(self) -> Architecture:
        """The model, on bytes."""
        return ModelFamily(
            vocab_size=_VOCABULARY,
            context_length=self.context,
            depth=self.layers,
            head_width=self.head_width,
            ffn_ratio=2.5,
            short_conv=4,
            tied_embeddings=False,
        ).of_width(self.width)

    @property
    def batch_tokens(self) -> int:
        """Tokens of a step, of one model."""
        return self.sequences * self.context

    def run(self, domains: Sequence[str], seed: int, tokens: float = 1e9, **more: object) -> ProxyRun:
        """One run on an even mix."""
        fields = {
            "run_id": f"w{self.width}-s{seed}",
            "shape": self.shape,
            "tokens": tokens,
            "batch_sequences": self.sequences,
            "mix": dict.fromkeys(domains, 1 / len(domains)),
            "seed": seed,
        }
        return ProxyRun.model_validate({**fields, **more})


@dataclass(frozen=True)
class Ladder:
    """Sizes of one depth, the last of which is forecast from the others before it is trained."""

    rungs: tuple[Case, ...]
    """Ascending; `copies` are seeds."""
    tokens: float
    """Of every run; it is validated at shares of them."""
    lr_rung: Case
    """At this size learning rates are compared; `copies` is their number."""
    lrs: tuple[float, ...]
    lr_tokens: float
    warmup_tokens: float
    eval_tokens: int
    shares: tuple[float, ...] = (0.125, 0.175, 0.25, 0.35, 0.5, 0.7, 1.0)

    def recipe(self, lr: float) -> Recipe:
        """How its runs are optimised."""
        return Recipe(lr=lr, warmup_tokens=self.warmup_tokens)

    def runs(self, rung: Case, domains: Sequence[str], lr: float) -> list[ProxyRun]:
        """The runs of one size."""
        at = tuple(share * self.tokens for share in self.shares)
        recipe = self.recipe(lr)
        return [rung.run(domains, s, self.tokens, recipe=recipe, evaluate_at=at) for s in range(rung.copies)]

    def lr_runs(self, domains: Sequence[str]) -> list[ProxyRun]:
        """A run for each learning rate, all of one seed."""
        return [
            self.lr_rung.run(domains, 0, self.lr_tokens, recipe=self.recipe(lr), run_id=f"{lr:g}") for lr in self.lrs
        ]


# A batch of 8k tokens up to 10M parameters, 16k beyond: about the best of runs of 20M to 60M tokens (Step law,
# arXiv:2503.04715: 0.58 · tokens^0.571), which is what proxies are. Larger ones leave less to gain by stacking.
SPEED = (
    Case(6, 128, 256, 32, 32),  # 1.2M parameters
    Case(8, 320, 512, 16, 8),  # 9.6M
    Case(8, 576, 1024, 16, 4),  # 31M
    Case(12, 896, 1024, 16, 1),  # 111M
    Case(24, 1024, 1024, 16, 1),  # 290M
)
LADDER = Ladder(
    rungs=(
        Case(8, 128, 512, 32, 2),  # 1.6M parameters
        Case(8, 192, 512, 32, 2),
        Case(8, 320, 512, 32, 2),
        Case(8, 576, 512, 32, 1),
        Case(8, 1088, 512, 32, 1),  # 110M, 3.6 times the next
    ),
    tokens=32e6,
    lr_rung=Case(8, 192, 512, 32, 4),
    lrs=(0.004, 0.008, 0.016, 0.032),
    lr_tokens=8e6,
    warmup_tokens=1e6,
    eval_tokens=32_768,
)
TINY_SPEED = (Case(2, 32, 32, 4, 3, head_width=16), Case(2, 48, 32, 4, 1, head_width=16))
TINY_LADDER = Ladder(
    rungs=tuple(Case(2, width, 32, 8, 1, head_width=8) for width in (8, 16, 32)),
    tokens=40e3,
    lr_rung=Case(2, 16, 32, 8, 2, head_width=8),
    lrs=(0.01, 0.02),
    lr_tokens=10e3,
    warmup_tokens=2e3,
    eval_tokens=2_048,
)
