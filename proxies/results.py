"""The result of training a proxy: losses per domain at each evaluation, the training curve, and how it was computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

from .weights import RunWeights

__all__ = ["CurvePoint", "DomainLoss", "RunResult", "Status", "Validation"]

Status = Literal["ok", "diverged"]


class DomainLoss(NamedTuple):
    """Cross-entropy on one domain's validation tokens: mean and its standard error over sequences, nats per token."""

    mean_nats: float
    standard_error_nats: float


class CurvePoint(NamedTuple):
    """Mean training loss over the steps since the last point, and the learning rate (at width 64) of the last step."""

    step: int
    tokens: int
    loss_nats: float
    lr: float


@dataclass(frozen=True, slots=True)
class Validation:
    """Validation after `step` steps: loss by domain; tokens so far and distinct tokens, by domain.

    `unique_tokens` are those there are of a domain; where a run that draws from a subset of the text has repeated some
    of it, those that it has trained on. `scored_tokens` were scored for such subsets, by a forward pass each.
    `diagnostics` are what the model notes of itself (`ProxyModel.diagnostics`), means over the domains.
    """

    step: int
    tokens: int
    losses: dict[str, DomainLoss]
    train_tokens: dict[str, int]
    unique_tokens: dict[str, int]
    scored_tokens: int = 0
    diagnostics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunResult:
    """One proxy's outcome. A diverged run has the evaluations that came before, and the step at which it diverged.

    `weights` are there where the engine's settings ask for them.
    """

    run_id: str
    status: Status
    evaluations: tuple[Validation, ...]
    curve: tuple[CurvePoint, ...]
    diverged_step: int | None
    engine: Mapping[str, Any]
    weights: RunWeights | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, without the curve and the weights (which are files of their own)."""
        facts = asdict(replace(self, curve=(), weights=None))
        del facts["curve"], facts["weights"]
        for evaluation, source in zip(facts["evaluations"], self.evaluations, strict=True):
            if not source.diagnostics:
                del evaluation["diagnostics"]
            evaluation["losses"] = {domain: loss._asdict() for domain, loss in source.losses.items()}
        return facts
