"""The shape of a plan's model: as stated, or the usual one of as many parameters where only they are stated."""

from __future__ import annotations

from functools import lru_cache

from ...core.errors import InputError
from ...core.model.architecture import Architecture
from ...core.model.mixers.members.attention import ATTENTION
from ...core.model.shape_family import USUAL, family_shape
from ...core.units import format_count
from ...datasets.facts.tokenizers import find_tokenizer
from ..config.model_and_data import ModelConfig
from ..config.run_config import RunConfig
from ..config.text.names import StatedTokenizer
from .step_time.operators import MIXER_FACTOR, MIXER_PASSES

__all__ = ["mixer_note", "planned_shape", "shape_note"]


def planned_shape(config: RunConfig) -> Architecture | None:
    """The model's shape: stated, or of the usual family at as many parameters as are stated.

    None for a mixture of experts whose shape isn't stated, since active parameters alone leave too much open, and for
    sizes that the family doesn't have.

    >>> plan = {"model": {"params": "1.5B"}, "data": {"tokens": "30B"}}
    >>> shape = planned_shape(RunConfig.from_mapping(plan))
    >>> shape.layers, shape.width, round(shape.params_total / 1e9, 2)
    (16, 2560, 1.43)
    """
    model = config.model
    if model.architecture is not None:
        return model.architecture
    if model.params_active != model.params_total or model.num_experts is not None:
        return None
    vocab_size = model.vocab_size or _vocabulary(config.data.tokenizer) or USUAL.vocab_size
    return _usual(model.params_total, vocab_size, model.context_length or USUAL.context_length)


def _vocabulary(tokenizer: str | StatedTokenizer | None) -> int | None:
    """Tokens in the vocabulary of a plan's tokenizer; None where it isn't known."""
    known = find_tokenizer(tokenizer) if isinstance(tokenizer, str) else tokenizer
    return None if known is None else known.vocab_size


@lru_cache(maxsize=256)
def _usual(params: float, vocab_size: int, context_length: int) -> Architecture | None:
    base = USUAL.model_copy(update={"vocab_size": vocab_size, "context_length": context_length})
    try:
        return family_shape(base, params)
    except InputError:
        return None


def shape_note(model: ModelConfig, shape: Architecture) -> str | None:
    """What must be said of a shape that the plan doesn't state; None where it does."""
    if model.architecture is not None:
        return None
    stated = f"layers {shape.layers}, width {shape.width}, heads {shape.heads}, ffn_width {shape.ffn_width}"
    tables = f"vocab_size {shape.vocab_size}, context_length {shape.context_length}"
    return (
        f"model.architecture isn't stated: times, memory and cost are of a Llama-like shape of "
        f"{format_count(shape.params_total)} parameters ({stated}, {tables})"
    )


def mixer_note(shape: Architecture) -> str | None:
    """What must be said of a mixer whose operators weren't measured on any accelerator; None for attention."""
    if shape.mixer == ATTENTION:
        return None
    share = shape.layers * shape.mixer.flops(shape).total / shape.forward_flops_per_token()
    return (
        f"mixer {shape.mixer.name}: its operators weren't measured on any accelerator. Its FLOPs, {share:.0%} of the "
        "model's, are taken at the efficiency of a transformer's, a factor of two either way (90 %), what its other "
        f"operators move as {MIXER_PASSES:g} streams of the model's width, a factor of {MIXER_FACTOR:g} either way, "
        "and its activations as of four more streams than attention's; the intervals are wider for it. Rates of its "
        "proxies on a processor say nothing of that"
    )
