"""The cost of serving a trained model: FLOPs per token, on accelerators at a given utilisation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ...core.errors import ConfigError
from ...core.reading.fields import Frozen, PositiveCount, PositiveReal, Real, Whole, whole_schema
from ..cluster.planned_shape import planned_shape
from ..config.run_config import RunConfig

__all__ = ["ServingConfig"]

_S_PER_H, _MILLION = 3600.0, 1e6
_BYTES = 2  # of a weight, and of a number that is kept of a sequence
_GIB = 2.0**30


class ServingConfig(Frozen):
    """How much the model will be used, and on what; the run's accelerator and price where nothing else is stated."""

    tokens: Annotated[PositiveCount, Field()] | None = Field(
        default=None, description="Tokens served over the model's life, read and written, such as 10T."
    )
    utilisation: Annotated[PositiveReal, Field(le=1)] = Field(
        default=0.2, description="Share of the accelerator's peak that serving reaches, averaged over its life."
    )
    usd_per_hour: Annotated[Real, Field(ge=0, le=1e6)] | None = Field(
        default=None, description="US dollars per accelerator and hour of serving (default: as in training)."
    )

    context_tokens: Annotated[PositiveCount, Field()] | None = Field(
        default=None,
        exclude_if=lambda tokens: tokens is None,
        description="Tokens of a served sequence, such as 4k (default: the training context).",
    )
    sequences: Annotated[Whole, Field(ge=1, le=10**9), whole_schema(1, 10**9)] = Field(
        default=1,
        exclude_if=lambda sequences: sequences == 1,
        description="Sequences that one copy of the model writes at once.",
    )

    def state_gib_per_sequence(self, config: RunConfig) -> float:
        """GiB that a copy of the model keeps of one sequence, in 16 bits: attention's keys and values (KV cache), or
        the state of another mixer, which may not grow with the sequence. ConfigError where the shape isn't known."""
        shape = planned_shape(config)
        if shape is None:
            raise ConfigError("model.architecture: is missing; expected the shape, to know what serving keeps")
        numbers = shape.layers * shape.mixer.kept(shape).of(self.context_tokens or shape.context_length)
        return numbers * _BYTES / _GIB

    def memory_gib(self, config: RunConfig) -> float:
        """GiB of a copy of the model in 16 bits and what it keeps of all its sequences. Errors as the above."""
        weights_gib = config.model.params_total * _BYTES / _GIB
        return weights_gib + self.sequences * self.state_gib_per_sequence(config)

    def flops_per_token(self, config: RunConfig) -> float:
        """FLOPs of one served token: a forward pass; 2 per active parameter where the shape isn't known."""
        shape = config.model.architecture
        return 2.0 * config.model.params_active if shape is None else shape.forward_flops_per_token()

    def flops(self, config: RunConfig) -> float:
        """FLOPs of all tokens served. ConfigError if their number isn't stated."""
        if self.tokens is None:
            raise ConfigError("serving.tokens: is missing; expected the tokens served over the model's life, like 10T")
        return self.tokens * self.flops_per_token(config)

    def usd_per_mtok(self, config: RunConfig) -> float:
        """US dollars per million tokens served. ConfigError without an accelerator or a price."""
        price = config.usd_per_hour if self.usd_per_hour is None else self.usd_per_hour
        if price is None:
            raise ConfigError("serving.usd_per_hour: is missing, and so is hardware.price_usd_per_hour; expected one")
        peak = config.hardware.machine.peak_flops(config.hardware.working_precision)
        return price / _S_PER_H / (peak * self.utilisation) * self.flops_per_token(config) * _MILLION

    def cost_usd(self, config: RunConfig) -> float:
        """US dollars of all tokens served. Errors as `flops` and `usd_per_mtok`."""
        return self.flops(config) / self.flops_per_token(config) / _MILLION * self.usd_per_mtok(config)
