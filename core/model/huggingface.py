"""The `config.json` of a model on the Hugging Face hub → the shape that it describes, exact in its parameters.

What a configuration leaves out is filled in as its own class in `transformers` does. What a shape has no place for is
counted and said where it is a trifle (norms of queries and keys, a bias here and there), and refused where it isn't.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..reading.config_messages import Origins
from ..reading.config_reader import as_mapping, validated
from ..reading.suggest import did_you_mean, nearest
from ..units import shown
from .architecture import Architecture

__all__ = ["MODEL_TYPES", "HuggingFaceShape", "read_huggingface"]

_MOST = 1_000_000_000
"""No number of a shape is larger; the fields of `Architecture` have bounds of their own."""
_TRIFLE = 0.002
"""Share of the parameters that may be left out, and said, before a shape is refused as another one."""


@dataclass(frozen=True)
class HuggingFaceShape:
    """The shape that a `config.json` describes, and what is to be known of it."""

    model_type: str
    """The family of models, as Hugging Face calls it."""
    architecture: Architecture
    """The shape."""
    left_out: int = 0
    """Parameters that such a model has and the shape's count hasn't: norms and biases that it has no field for."""
    notes: tuple[str, ...] = ()
    """What the shape takes for granted or leaves out, in plain sentences."""


def read_huggingface(mapping: Mapping[str, Any], where: str = "config.json") -> HuggingFaceShape:
    """Read what a `config.json` holds.

    Args:
        mapping: The file's content; of a model of several kinds of input, its `text_config` counts.
        where: What messages call it.

    Raises:
        ConfigError: It is of no family that is read, lacks a number, or holds one that no model has.

    >>> found = read_huggingface({
    ...     "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    ...     "intermediate_size": 11008, "vocab_size": 32000, "max_position_embeddings": 4096,
    ... })
    >>> found.architecture.params_total
    6738415616
    """
    stated = as_mapping(mapping, where, "model_type, hidden_size, num_hidden_layers, …")
    notes: list[str] = []
    if isinstance(stated.get("text_config"), Mapping) and "hidden_size" not in stated:
        stated = {"model_type": stated.get("model_type"), **stated["text_config"]}
        notes.append("only the text part of the model (text_config) is counted")
    model_type = stated.get("model_type")
    if not isinstance(model_type, str) or model_type not in MODEL_TYPES:
        got = "is missing" if model_type is None else f"got {shown(model_type)}"
        near = did_you_mean(nearest(model_type, MODEL_TYPES)) if isinstance(model_type, str) else ""
        raise ConfigError(f"{where}: model_type: {got}; {near}expected one of {', '.join(MODEL_TYPES)}")
    config = _Config(stated, where, notes)
    shape = MODEL_TYPES[model_type](config)
    architecture = validated(Architecture, shape, Origins(where))
    left_out = config.left_out
    if left_out > _TRIFLE * architecture.params_total:
        raise ConfigError(
            f"{where}: {left_out:,} parameters ({', '.join(config.lacking)}) have no place in a shape; "
            "expected a model that is described by layers, width, heads, ffn_width and experts"
        )
    if left_out:
        share = left_out / architecture.params_total
        notes.append(f"{left_out:,} parameters aren't counted ({', '.join(config.lacking)}): {share:.1g} of all")
    return HuggingFaceShape(model_type, architecture, left_out, tuple(notes))


class _Config:
    """The numbers of one configuration, each checked as it is asked for, and a tally of what is left out."""

    def __init__(self, stated: Mapping[str, Any], where: str, notes: list[str]) -> None:
        self.stated, self.where, self.notes = stated, where, notes
        self.left_out = 0
        self.lacking: list[str] = []

    def whole(self, key: str, default: int | None = None, least: int = 1) -> int:
        """A whole number; `default` where it isn't stated or null. Raises ConfigError."""
        value = self.stated.get(key)
        if value is None:
            if default is None:
                raise ConfigError(f"{self.where}: {key}: is missing; expected a whole number such as 4096")
            return default
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole or not least <= value <= _MOST:
            raise ConfigError(
                f"{self.where}: {key}: got {shown(value)}; expected a whole number from {least} to {_MOST:,}"
            )
        return int(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false; `default` where it isn't stated. Raises ConfigError."""
        value = self.stated.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise ConfigError(f"{self.where}: {key}: got {shown(value)}; expected true or false")
        return value

    def refuse(self, key: str, allowed: tuple[Any, ...], why: str) -> None:
        """Raise ConfigError where `key` holds another value than those allowed; None is always."""
        value = self.stated.get(key)
        if value is not None and value not in allowed:
            listed = " or ".join(str(one).lower() if isinstance(one, bool) else str(one) for one in allowed)
            raise ConfigError(f"{self.where}: {key}: got {shown(value)}, {why}; expected {listed}")

    def leave_out(self, what: str, params: int) -> None:
        """Note parameters for which a shape has no place."""
        if params:
            self.left_out += params
            self.lacking.append(what)

    def context_length(self) -> int:
        """Tokens per sequence: what the model was trained with before its positions were stretched, where stated."""
        scaling = self.stated.get("rope_scaling") or self.stated.get("rope_parameters")
        length = self.whole("max_position_embeddings")
        if isinstance(scaling, Mapping) and scaling.get("original_max_position_embeddings") is not None:
            length = _Config(scaling, f"{self.where}: rope_scaling", []).whole("original_max_position_embeddings")
        elif length > 8192:
            self.notes.append(
                f"context_length is the model's longest, {length:,}; most are trained on shorter sequences: put yours"
            )
        return length


_Shape = dict[str, Any]


def _llama_like(config: _Config, *, tied: bool = False, head_width: int | None = None) -> _Shape:
    """What Llama and its kin have in common: gated, no biases, RMS norms, rotary positions."""
    heads = config.whole("num_attention_heads")
    shape: _Shape = {
        "layers": config.whole("num_hidden_layers"),
        "width": config.whole("hidden_size"),
        "heads": heads,
        "ffn_width": config.whole("intermediate_size"),
        "vocab_size": config.whole("vocab_size"),
        "context_length": config.context_length(),
        "tied_embeddings": config.flag("tie_word_embeddings", tied),
    }
    kv_heads = config.whole("num_key_value_heads", heads)
    if kv_heads != heads:
        shape["kv_heads"] = kv_heads
    stated_width = config.whole("head_dim", head_width or 0, least=1)
    if stated_width and stated_width * heads != shape["width"]:
        shape["head_width"] = stated_width
    return shape


def _head_width(shape: _Shape) -> int:
    return shape.get("head_width") or shape["width"] // shape["heads"]


def _norms_of_heads(config: _Config, shape: _Shape) -> None:
    """Leave out norms of each head's queries and keys, which all heads share."""
    config.leave_out("norms of queries and keys", 2 * shape["layers"] * _head_width(shape))


def _norms_of_queries(config: _Config, shape: _Shape) -> None:
    """Leave out norms over all queries and all keys of a layer."""
    heads = shape["heads"] + shape.get("kv_heads", shape["heads"])
    config.leave_out("norms of queries and keys", shape["layers"] * heads * _head_width(shape))


def _llama(config: _Config) -> _Shape:
    shape = _llama_like(config)
    attention, feed_forward = config.flag("attention_bias", False), config.flag("mlp_bias", False)
    if attention and feed_forward:
        shape["biases"] = True
    elif attention:
        shape["qkv_biases"] = True
        config.leave_out("biases of attention's output", shape["layers"] * shape["width"])
    elif feed_forward:
        biases = 2 * shape["ffn_width"] + shape["width"]
        config.leave_out("biases of the feed-forward network", shape["layers"] * biases)
    return shape


def _plain(config: _Config) -> _Shape:
    config.refuse("attention_bias", (False,), "which such models don't have")
    return _llama_like(config)


def _qwen2(config: _Config) -> _Shape:
    return {**_llama_like(config), "qkv_biases": True}


def _qwen3(config: _Config) -> _Shape:
    config.refuse("attention_bias", (False,), "which published ones don't have")
    shape = _llama_like(config, head_width=128)
    _norms_of_heads(config, shape)
    return shape


def _gemma(config: _Config) -> _Shape:
    return _llama_like(config, tied=True, head_width=256)


def _gemma2(config: _Config) -> _Shape:
    shape = _gemma(config)
    config.leave_out("norms after attention and feed-forward", 2 * shape["layers"] * shape["width"])
    return shape


def _gemma3(config: _Config) -> _Shape:
    shape = _gemma2(config)
    _norms_of_heads(config, shape)
    return shape


def _olmo(config: _Config) -> _Shape:
    return {**_plain(config), "norm": "none"}


def _olmo2(config: _Config) -> _Shape:
    shape = _plain(config)
    _norms_of_queries(config, shape)
    return shape


def _mixtral(config: _Config) -> _Shape:
    experts = config.whole("num_local_experts", 8)
    return {**_plain(config), "num_experts": experts, "experts_per_token": config.whole("num_experts_per_tok", 2)}


def _experts(config: _Config, shape: _Shape, experts: str = "num_experts") -> _Shape:
    """The shape with routed experts of their own width."""
    return {
        **shape,
        "num_experts": config.whole(experts),
        "experts_per_token": config.whole("num_experts_per_tok"),
        "expert_ffn_width": config.whole("moe_intermediate_size"),
    }


def _every_layer_alike(config: _Config) -> None:
    config.refuse("decoder_sparse_step", (1,), "by which some layers are dense")
    config.refuse("mlp_only_layers", ([],), "by which some layers are dense")


def _qwen2_moe(config: _Config) -> _Shape:
    _every_layer_alike(config)
    shape = _experts(config, _qwen2(config))
    shared, width = config.whole("shared_expert_intermediate_size"), shape["expert_ffn_width"]
    if shared % width:
        raise ConfigError(
            f"{config.where}: shared_expert_intermediate_size: got {shared}; expected a multiple of "
            f"moe_intermediate_size {width}"
        )
    config.leave_out("gates of shared experts", shape["layers"] * shape["width"])
    return {**shape, "shared_experts": shared // width}


def _qwen3_moe(config: _Config) -> _Shape:
    _every_layer_alike(config)
    return _experts(config, _qwen3(config))


def _olmoe(config: _Config) -> _Shape:
    experts, visited = config.whole("num_experts"), config.whole("num_experts_per_tok")
    return {**_olmo2(config), "num_experts": experts, "experts_per_token": visited}


def _deepseek(config: _Config) -> _Shape:
    """DeepSeek's experts: the first layers dense, then experts in every `moe_layer_freq`-th one."""
    shape = _plain(config)
    if config.stated.get("n_routed_experts") is None:
        return shape
    shape = _experts(config, shape, "n_routed_experts")
    config.refuse("moe_layer_freq", (1,), "by which some layers are dense")
    shape["shared_experts"] = config.whole("n_shared_experts", 0, least=0)
    shape["dense_layers"] = config.whole("first_k_dense_replace", 0, least=0)
    return shape


def _latent(config: _Config) -> _Shape:
    """DeepSeek's experts with multi-head latent attention."""
    shape = _deepseek(config)
    shape = {key: value for key, value in shape.items() if key not in ("kv_heads", "head_width")}
    for key, stated in _LATENT.items():
        shape[key] = config.whole(stated)
    if config.stated.get("q_lora_rank") is not None:
        shape["q_lora_rank"] = config.whole("q_lora_rank")
    return shape


def _deepseek_v3(config: _Config) -> _Shape:
    shape = _latent(config)
    if "num_experts" in shape:
        moe_layers = max(shape["layers"] - shape["dense_layers"], 0)
        config.leave_out("corrections of the router", moe_layers * shape["num_experts"])
    predicted = config.whole("num_nextn_predict_layers", 0, least=0)
    if predicted:
        layers = "layer" if predicted == 1 else "layers"
        config.notes.append(f"{predicted} {layers} that predict further tokens (num_nextn_predict_layers) left out")
    return shape


def _gpt2(config: _Config) -> _Shape:
    width = config.whole("n_embd")
    return {
        "family": "gpt",
        "layers": config.whole("n_layer"),
        "width": width,
        "heads": config.whole("n_head"),
        "ffn_width": config.whole("n_inner", 4 * width),
        "vocab_size": config.whole("vocab_size"),
        "context_length": config.whole("n_positions"),
        "tied_embeddings": config.flag("tie_word_embeddings", True),
    }


def _gpt_neox(config: _Config) -> _Shape:
    config.refuse("attention_bias", (True,), "which such models have")
    return {
        "family": "gpt",
        "layers": config.whole("num_hidden_layers"),
        "width": config.whole("hidden_size"),
        "heads": config.whole("num_attention_heads"),
        "ffn_width": config.whole("intermediate_size"),
        "vocab_size": config.whole("vocab_size"),
        "context_length": config.whole("max_position_embeddings"),
        "tied_embeddings": config.flag("tie_word_embeddings", False),
        "learned_positions": False,
    }


_LATENT = {
    "kv_lora_rank": "kv_lora_rank",
    "qk_rope_width": "qk_rope_head_dim",
    "qk_nope_width": "qk_nope_head_dim",
    "v_head_width": "v_head_dim",
}

MODEL_TYPES: Mapping[str, Callable[[_Config], _Shape]] = {
    "deepseek": _deepseek,
    "deepseek_v2": _latent,
    "deepseek_v3": _deepseek_v3,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "gemma3_text": _gemma3,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "llama": _llama,
    "mistral": _plain,
    "mixtral": _mixtral,
    "olmo": _olmo,
    "olmo2": _olmo2,
    "olmo3": _olmo2,
    "olmoe": _olmoe,
    "phi3": _plain,
    "qwen2": _qwen2,
    "qwen2_moe": _qwen2_moe,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
}
"""The families that are read, by the `model_type` of their configurations, and what reads each."""
