"""Reads one row of a table of measured steps as a model, machine and layout, or says why it can't be expressed.

Cells are those of CSV and Parquet files: numbers, text or missing. A value that is invalid for its column is never
guessed: `SkippedError` gives the reason, in words that are the same for similar rows, so that they can be counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping
from numbers import Real
from typing import Any, cast

from .....core.errors import InputError
from .....core.model.architecture import Architecture
from .....core.units import shown
from .....datasets.facts.accelerators import PRECISIONS, Precision, find
from ....config.software_release import release_inside, release_number
from ...layouts.unstated import interleaving
from ..steps import FRAMEWORKS, Machines, machine

__all__ = [
    "Cell",
    "SkippedError",
    "clean",
    "flag",
    "framework_index",
    "kernels_in",
    "layout_of",
    "machine_key",
    "machine_of",
    "positive",
    "shape_fields",
    "shape_of",
    "text",
    "unstated",
]

Cell = float | str | None

# Multi-head latent attention is named in such tables but not sized; DeepSeek-V2/V3 (arXiv:2412.19437, section 4.2),
# Kimi-K2 and GLM use the same widths.
_LEAST, _MOST = 1e-9, 1e15  # of any time, size or rate in a cell, whatever its unit
_LATENT = {"q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_width": 64, "qk_nope_width": 128, "v_head_width": 128}
_SOFTWARE = (
    ("deepspeed", ("deepspeed",)),
    ("fsdp", ("fsdp", "composer", "torchtitan", "accelerate", "lightning")),
    ("xla", ("maxtext", "xla", "jax", "pax", "t5x", "easydel")),
)
_ATTENTION = ("mha", "gqa", "mqa", "mla")
_RECOMPUTE = ("none", "selective", "full", "offload", "unknown")
_OFFLOAD = ("optimizer", "weights", "activations")
_COMPILED = {"none": (0.0, 0.0), "layers": (1.0, 0.0), "all": (1.0, 1.0)}
# Compilers that offload instead of recomputing move few of a layer's activations: one residual stream is assumed, of
# the six that a dense layer keeps with fused attention.
_INSTEAD = 1 / 6
_MISSING = ("", "nan", "na", "n/a", "null")
_TRUE, _FALSE = ("true", "yes"), ("false", "no", "none")
_COUNT_BASIS = 1e9
_MOST = 10**8  # devices or sequences: a thousand times any published number; keeps all products finite


class SkippedError(Exception):
    """A row that can't be expressed, and why."""


def clean(value: Any) -> Cell:
    """A cell as a number, as text without blanks at its ends, or None where it is missing (NaN, NA, null, blank)."""
    if isinstance(value, str):
        plain = value.strip()
        return None if plain.casefold() in _MISSING else plain
    if isinstance(value, Real):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        return None if math.isnan(number) else number
    # what is missing without being a number: None, and pandas' NA and NaT
    return None if value is None or type(value).__name__ in ("NAType", "NaTType") else shown(value)


def text(row: Mapping[str, Cell], name: str) -> str:
    """A cell as text in lower case, empty where it is missing."""
    value = row.get(name)
    return "" if value is None else str(value).casefold()


def positive(row: Mapping[str, Cell], name: str) -> float | None:
    """A finite number above 0 that can have been measured, None where it is missing."""
    number = _number(row, name)
    if number is not None and not 0 < number < math.inf:
        raise SkippedError(f"with {name} that isn't a finite number above 0")
    if number is not None and not _LEAST <= number <= _MOST:
        raise SkippedError(f"with {name} beyond {_LEAST:g} to {_MOST:g}")
    return number


def flag(row: Mapping[str, Cell], name: str, default: bool) -> bool:
    """0 or 1, or a word for them."""
    word = text(row, name)
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    return bool(_whole(row, name, int(default), least=0, most=1))


def _number(row: Mapping[str, Cell], name: str) -> float | None:
    value = row.get(name)
    try:
        return None if value is None else float(value)
    except ValueError:
        raise SkippedError(f"with {name} that isn't a number") from None


def _whole(row: Mapping[str, Cell], name: str, default: int | None = None, *, least: int = 1, most: int = _MOST) -> int:
    number = _number(row, name)
    if number is None:
        if default is None:
            raise SkippedError(f"without {name}")
        return default
    if not (least <= number <= most and number == int(number)):
        raise SkippedError(f"with {name} that isn't a whole number from {least} to {most}")
    return int(number)


def _stated(row: Mapping[str, Cell], name: str) -> int | None:
    return None if row.get(name) is None else _whole(row, name)


def framework_index(name: str | None) -> int:
    """Index into FRAMEWORKS of a framework by its name; Megatron's kin where nothing else fits."""
    words = (name or "").casefold()
    return next((FRAMEWORKS.index(kind) for kind, known in _SOFTWARE if any(w in words for w in known)), 0)


def shape_fields(row: Mapping[str, Cell]) -> dict[str, Any]:
    """The model of a row, as fields of an `Architecture`."""
    if row.get("n_layers") is None:
        raise SkippedError("without an architecture")
    gated = flag(row, "gated_mlp", True)
    fields: dict[str, Any] = {
        "family": "llama" if gated else "gpt",
        "learned_positions": False,
        "layers": _whole(row, "n_layers"),
        "width": _whole(row, "d_model"),
        "heads": _whole(row, "n_heads"),
        "ffn_width": _whole(row, "d_ff"),
        "vocab_size": _whole(row, "vocab"),
        "context_length": _whole(row, "seq_len"),
    }
    attention = text(row, "attention")
    if attention and attention not in _ATTENTION:
        raise SkippedError(f"with attention {shown(attention)}")
    if attention == "mla":
        fields |= {**_LATENT, "biases": False}
    else:
        fields |= {"kv_heads": _whole(row, "n_kv_heads", fields["heads"])}
        fields |= {} if row.get("head_dim") is None else {"head_width": _whole(row, "head_dim")}
    if _whole(row, "n_experts", 0, least=0):
        fields |= {
            "num_experts": _whole(row, "n_experts"),
            "experts_per_token": _whole(row, "topk"),
            "shared_experts": _whole(row, "n_shared_experts", 0, least=0),
            "expert_ffn_width": _whole(row, "moe_d_ff"),
            "dense_layers": _whole(row, "n_dense_layers", 0, least=0),
        }
    return fields


def shape_of(fields: Mapping[str, Any], params_total_b: float | None) -> Architecture:
    """The model of these fields. Tables don't say whether embeddings are tied; the parameter count (billions) does."""
    try:
        tied, untied = (Architecture(**fields, tied_embeddings=tied) for tied in (True, False))
    except ValueError:
        raise SkippedError("with an impossible architecture") from None
    if params_total_b is None:
        return untied
    goal = params_total_b * _COUNT_BASIS
    return min((tied, untied), key=lambda shape: abs(shape.params_total - goal))


def machine_key(row: Mapping[str, Cell]) -> Hashable:
    """The key of a row's machine: rows with the same key share one."""
    names = ("gpu", "precision", "gpus_per_node", "inter_gbps_per_gpu", "n_gpus", "offload", "recompute")
    return tuple(row.get(name) for name in names)


def machine_of(row: Mapping[str, Cell]) -> Machines:
    """The machine of a row, at its precision."""
    name = row.get("gpu")
    part = None if name is None else find(str(name))
    if part is None:
        raise SkippedError("without gpu" if name is None else f"on {shown(name)}, which isn't in the catalogue")
    precision = text(row, "precision") or "bf16"
    if precision not in PRECISIONS:
        raise SkippedError(f"in precision {shown(precision)}")
    try:
        return machine(
            part,
            cast(Precision, precision),
            per_node=_whole(row, "gpus_per_node", part.per_node or 8),
            inter_node_gbit_per_s=positive(row, "inter_gbps_per_gpu"),
            devices=_whole(row, "n_gpus"),
            offload=bool(_offloaded(row)),
        )
    except InputError:
        raise SkippedError(f"in {precision} on {part.name}, or without its bandwidths") from None


def layout_of(row: Mapping[str, Cell], layers: int) -> dict[str, float]:
    """The layout of a row. Unpublished recomputation counts as none, an unpublished micro-batch as 1.

    Unpublished chunks of a pipeline's stages are as usual, with what else is possible in `unstated_sd`.
    """
    tp, pp, cp = (_whole(row, name, 1) for name in ("tp", "pp", "cp"))
    devices, batch = _whole(row, "n_gpus"), _whole(row, "global_batch")
    dp = _whole(row, "dp", max(1, devices // (tp * pp * cp)))
    if tp * pp * cp * dp != devices:
        raise SkippedError("whose tp · pp · cp · dp isn't n_gpus")
    if batch < dp:
        raise SkippedError("whose global_batch is less than one sequence per data-parallel rank")
    micro = min(_whole(row, "micro_batch", 1), batch // dp)
    rounds = max(1, round(batch / (dp * micro)))
    framework = framework_index(text(row, "framework"))
    usual = interleaving(layers, pp, rounds, framework, about=_stated(row, "vpp"))
    # frameworks may count the embedding and the head as a layer each
    if pp * usual.vpp > layers + 2:
        raise SkippedError("with more pipeline stages than layers")
    recompute, offloaded = text(row, "recompute") or "none", _offloaded(row)
    return {
        "tp": tp,
        "pp": pp,
        "vpp": usual.vpp,
        "cp": cp,
        "ep": _whole(row, "ep", 1),
        "dp": dp,
        "zero_stage": _whole(row, "zero_stage", 1, least=0, most=3),
        "sequence_parallel": flag(row, "seq_parallel", False),
        # a batch that doesn't divide is spread evenly, so that the tokens are right
        "micro_batch": batch / dp / rounds,
        "accumulation": rounds,
        "recompute_selective": float(recompute == "selective"),
        "recompute_full": float(recompute == "full"),
        "flash_attention": flag(row, "flash_attn", True),
        **{f"offload_{what}": offloaded.get(what, 0.0) for what in _OFFLOAD},
        "loss_chunks": float(_whole(row, "loss_chunks", 1, least=0)),
        "framework": framework,
        "release": _release(row),
        "unstated_sd": 0.0 if row.get("vpp") is not None else usual.log_sd,
    }


def unstated(row: Mapping[str, Cell]) -> tuple[str, ...]:
    """The keys of a row's layout that aren't stated and for which there is something usual to take."""
    said = {
        "vpp": row.get("vpp") is not None or _whole(row, "pp", 1) == 1,
        "micro_batch": row.get("micro_batch") is not None,
        "recompute": text(row, "recompute") not in ("", "unknown"),
    }
    return tuple(name for name, stated in said.items() if not stated)


def _release(row: Mapping[str, Cell]) -> float:
    """The release of a row's software: its own column's, else the one that ends the framework's name."""
    stated = row.get("release")
    try:
        return release_inside(text(row, "framework")) if stated is None else release_number(stated)
    except InputError:
        raise SkippedError("with release that isn't a version such as 26.04") from None


def kernels_in(row: Mapping[str, Cell]) -> dict[str, float]:
    """How a row's operators were run: its columns `compile` and `dropout`, else words of `framework` and `note`.

    NaN for what it doesn't say. That layers are compiled says nothing of the loss.
    """
    stated = text(row, "compile")
    if stated not in ("", *_COMPILED):
        raise SkippedError(f"with compile {shown(stated)}")
    said = f"{text(row, 'framework')} {text(row, 'note')}"
    implied = (1.0, math.nan) if "compile" in said else (0.0, 0.0) if "eager" in said else (math.nan, math.nan)
    layers, loss = _COMPILED[stated] if stated else implied
    dropout = math.nan if row.get("dropout") is None else float(flag(row, "dropout", False))
    return {"compiled": layers, "compiled_loss": loss, "dropout": dropout}


def _offloaded(row: Mapping[str, Cell]) -> dict[str, float]:
    """Shares of what is kept in the host's memory: named in `offload`, or some activations instead of recomputing."""
    recompute = text(row, "recompute") or "none"
    if recompute not in _RECOMPUTE:
        raise SkippedError(f"with recompute {shown(recompute)}")
    found = {"activations": _INSTEAD} if recompute == "offload" else {}
    words = set(re.split(r"[^a-z]+", text(row, "offload"))) - {""}
    if words and words <= set(_OFFLOAD):
        return found | dict.fromkeys(words, 1.0)
    if flag(row, "offload", False) and not found:
        raise SkippedError("with offload, not saying of what")
    return found
