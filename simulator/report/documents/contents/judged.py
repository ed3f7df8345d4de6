"""A plan as a meeting judges it: its forecast, and how it differs from the baseline, if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .....core.quantity import Difference
from ....config.run_config import RunConfig
from ....forecast.forecast import Forecast
from ....predictor.predictor import Predictor
from ... import words

__all__ = ["Judged", "model_and_tokens", "same_text"]


_SAME_NATS = 1e-9


@dataclass(frozen=True)
class Judged:
    """One plan, its baseline if any, and the differences between them, plan minus baseline."""

    plan: Forecast
    predictor: Predictor
    baseline: Forecast | None = None
    differences: Mapping[str, Difference] = field(default_factory=dict)

    @property
    def comparable(self) -> bool:
        """Whether the two losses are per token of the same text in the same tokens."""
        return self.baseline is None or same_text(self.plan.config, self.baseline.config)

    @property
    def same_corpus(self) -> bool:
        """Whether both losses are of the same text, if in other tokens."""
        return self.baseline is None or _same_corpus(self.plan.config, self.baseline.config)

    @property
    def quality(self) -> Difference | None:
        """The difference that says which model is better: in loss, or in bits per byte where the texts differ."""
        return self.differences.get("loss_nats" if self.comparable else "bits_per_byte")

    @property
    def same_loss(self) -> bool:
        """Whether both are the same to the predictor; two runs of one plan still differ by luck."""
        return self.quality is not None and abs(self.quality.median) < _SAME_NATS

    @property
    def names(self) -> tuple[str, str]:
        """What the plan and the baseline are called in pictures."""
        return "plan", "baseline"


def same_text(one: RunConfig, other: RunConfig) -> bool:
    """Whether losses per token of two plans are losses of the same text, cut into the same tokens."""
    return one.data.tokenizer == other.data.tokenizer and _same_corpus(one, other)


def _same_corpus(one: RunConfig, other: RunConfig) -> bool:
    if one.data.evaluated_on is not None and one.data.evaluated_on == other.data.evaluated_on:
        return True
    return (one.data.corpus, one.data.evaluated_on) == (other.data.corpus, other.data.evaluated_on)


def model_and_tokens(config: RunConfig) -> str:
    """What is trained on how much: `6.7B on 2T tokens`."""
    return f"{words.count(config.model.params_total)} on {words.count(config.data.tokens)} tokens"
