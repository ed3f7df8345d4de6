"""Architectures held against a transformer of the same shape, and what is known of them beyond small proxies."""

from __future__ import annotations

from ....core.model.mixers.members.attention import ATTENTION
from ....core.units import format_count
from ...config.run_config import RunConfig
from ..adjustments.architecture import ARCHITECTURE

__all__ = ["LARGE", "as_transformer", "remarks", "shape_in_words"]


_RANKS = "which architecture leads changes with size (arXiv:2207.10551)"
_BEHIND = "yet by others gated convolutions ended up to 2.1 points of perplexity behind (arXiv:2312.04927)"
_PUBLISHED = {
    "hyena": "with up to 355M, at a context of 2k, Hyena reached a transformer's loss at 20 % less compute "
    f"(arXiv:2302.10866), {_BEHIND}",
    "h3": f"at 125M H3 alone came within .4 of a transformer's perplexity (arXiv:2212.14052), {_BEHIND}",
    "dynamic_conv": f"of dynamic convolutions at larger sizes: {_RANKS}",
    "mlp_mixer": f"of mixers at larger sizes: {_RANKS}",
}
"""What papers found at sizes beyond proxies."""
_NOTHING = "of causal language models of this kind with 100M or more no paper is known here"
LARGE = 100e6
"""Parameters from which on papers compare architectures."""


def as_transformer(config: RunConfig) -> RunConfig | None:
    """The same plan with attention for its mixer; None for one without an architecture, or with attention."""
    shape = config.model.architecture
    if shape is None or shape.mixer == ATTENTION:
        return None
    model = config.model.model_copy(update={"architecture": shape.as_transformer()})
    columns = {name: value for name, value in config.columns.items() if name != ARCHITECTURE}
    return config.model_copy(update={"model": model, "columns": columns})


def shape_in_words(transformer: RunConfig) -> str:
    """What a plan's loss is held against."""
    return f"a transformer of the same shape ({format_count(transformer.model.params_total)} parameters)"


def remarks(level: str, largest_params: float | None) -> tuple[str, ...]:
    """What is to be kept in mind of an architecture that is known from runs of up to `largest_params` parameters."""
    if largest_params is None or largest_params >= LARGE:
        return ()
    return (
        f"runs of at most {format_count(largest_params)} parameters rank architectures by how fast they learn n-grams",
        _PUBLISHED.get(level, _NOTHING),
    )
