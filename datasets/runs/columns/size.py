"""Columns of size: parameters, and the shape of the model."""

from __future__ import annotations

from typing import Any

from ....core.columns import Column
from ._registry import add


def experts_per_visited(num_experts: Any, experts_per_token: Any) -> Any:
    """The expert count that laws read, `(n,)`: experts per visited expert, as in runs that visit one. Dense is 1."""
    import numpy as np

    if experts_per_token is None:
        return np.maximum(num_experts, 1.0)
    return np.maximum(num_experts / np.maximum(np.nan_to_num(experts_per_token, nan=1.0), 1.0), 1.0)


add(
    Column(
        "params",
        "parameters, what a law's N is fitted on; a predictor records whether embeddings count",
        "parameters",
        rule="count",
        aliases=("n", "model_size", "n_params", "num_params", "parameters", "size"),
        stated_at="model.params",
    ),
    Column(
        "params_active",
        "parameters that one token passes through",
        "parameters",
        rule="count",
        stated_at="model.params_active",
    ),
    Column(
        "params_total",
        "parameters of a routed model with all experts, beside `params` of one token; rate and batch go by it",
        "parameters",
        rule="count",
        stated_at=None,
        default="params",
        searchable=False,
    ),
    Column(
        "params_non_embedding",
        "parameters without embeddings; with `params` it says what `params_embedding` is",
        "parameters",
        rule="count",
        aliases=("params_nonemb", "params_nonembedding"),
        stated_at=None,
    ),
    Column(
        "params_embedding",
        "parameters of the embeddings",
        "parameters",
        rule="count or zero",
        stated_at="model.params_embedding",
    ),
    Column("width", "width of the residual stream", rule="count", stated_at="model.architecture.width"),
    Column("depth", "layers", "layers", rule="count", stated_at="model.architecture.layers"),
    Column("heads", "attention heads of a layer", "heads", rule="count", stated_at="model.architecture.heads"),
    # dense runs are written as 0 by some, as 1 by others
    Column(
        "num_experts",
        "routed experts of a layer; 0 or 1 for a dense model",
        "experts",
        rule="non-negative",
        aliases=("experts", "n_experts"),
        stated_at="model.num_experts",
        default=1.0,
        as_read=experts_per_visited,
        beside="experts_per_token",
    ),
    Column(
        "experts_per_token",
        "experts that a token visits",
        "experts",
        rule="non-negative",
        aliases=("k", "top_k"),
        needs="num_experts",
        stated_at="model.experts_per_token",
    ),
    Column("vocab_size", "entries of the vocabulary", "tokens", rule="count", stated_at="model.vocab_size"),
    Column("context_length", "length of a sequence", "tokens", rule="count", stated_at="model.context_length"),
)
