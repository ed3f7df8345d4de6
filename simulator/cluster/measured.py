"""Published or own measurements of training steps: a table of rows → `Steps`, what was measured, and what was skipped.

The columns are those of a table of measured runs (one row per configuration): the model's shape, the hardware, the
layout, and `step_time_s`, `peak_mem_gib`. Rows that can't be expressed are counted by reason, never guessed at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...architecture import Architecture
from ...datasets.accelerators import PRECISIONS, find
from ...errors import InputError, RunTableError
from .steps import FRAMEWORKS, Layouts, Steps, layouts, machine, model

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["REQUIRED", "Measurements", "framework_index", "read_measurements"]

REQUIRED = ("n_layers", "d_model", "n_heads", "d_ff", "vocab", "seq_len", "gpu", "n_gpus", "global_batch")
"""Columns without which no row can be expressed."""

# Multi-head latent attention is named in such tables but not sized; DeepSeek-V2/V3 (arXiv:2412.19437, section 4.2),
# Kimi-K2 and GLM use the same widths.
_LATENT = {"q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_width": 64, "qk_nope_width": 128, "v_head_width": 128}
_SOFTWARE = (
    ("deepspeed", ("deepspeed",)),
    ("fsdp", ("fsdp", "composer", "torchtitan", "accelerate", "lightning")),
    ("xla", ("maxtext", "xla", "jax", "pax", "t5x", "easydel")),
)
_SAME = (
    "sub_source", "model", "n_layers", "d_model", "n_heads", "d_ff", "seq_len", "gpu", "n_gpus", "precision",
    "global_batch", "framework",
)  # fmt: skip
"""Columns in which rows agree that differ only in layout."""
_COUNT_BASIS = 1e9


@dataclass(frozen=True)
class Measurements:
    """Measured steps that the model can express. Arrays (n,); NaN where a row doesn't have the figure."""

    steps: Steps
    step_time_s: np.ndarray
    peak_memory_gib: np.ndarray
    memory_kind: np.ndarray
    """What was read: `device` (the driver's figure, everything included), else `allocated` (the framework's)."""
    source: np.ndarray
    group: np.ndarray
    """Same model, machines, batch and software: rows that differ only in layout. Codes from 0."""
    recompute_known: np.ndarray
    """Whether it was published what is recomputed. Where not, nothing is taken to be."""
    rows: np.ndarray
    """Positions in the table."""
    skipped: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: np.ndarray) -> Measurements:
        """Some of the rows."""
        parts = {name: getattr(self, name)[chosen] for name in _PER_ROW}
        return Measurements(steps=self.steps.take(chosen), skipped=self.skipped, **parts)


_PER_ROW = ("step_time_s", "peak_memory_gib", "memory_kind", "source", "group", "recompute_known", "rows")


class _SkippedError(Exception):
    """A row that can't be expressed, and why."""


def framework_index(name: str | None) -> int:
    """Index into FRAMEWORKS of a framework by its name; Megatron's kin where nothing else fits."""
    text = (name or "").lower()
    return next((FRAMEWORKS.index(kind) for kind, words in _SOFTWARE if any(w in text for w in words)), 0)


def read_measurements(table: pd.DataFrame, where: str = "table") -> Measurements:
    """Express the rows of a table. Raises `RunTableError` for missing columns or if no row can be expressed."""
    missing = [name for name in REQUIRED if name not in table.columns]
    if missing:
        raise RunTableError(f"{where}: has no column {', '.join(missing)}; expected {', '.join(REQUIRED)}")
    found = _Found()
    for position, row in enumerate(table.to_dict("records")):
        found.add(position, {str(k): None if v != v else v for k, v in row.items()})
    if not found.rows:
        reasons = "; ".join(f"{count} {reason}" for reason, count in found.skipped.items())
        raise RunTableError(f"{where}: no row can be expressed ({reasons or 'it is empty'})")
    return found.measurements(table)


class _Found:
    """Rows expressed so far. Models and machines are kept once each."""

    def __init__(self) -> None:
        self.models, self.machines = _Unique(), _Unique()
        self.layouts: list[dict[str, float]] = []
        self.rows: list[int] = []
        self.skipped: Counter[str] = Counter()

    def add(self, position: int, row: Mapping[str, Any]) -> None:
        try:
            if row.get("step_time_s") is None and row.get("peak_mem_gib") is None:
                raise _SkippedError("without step_time_s or peak_mem_gib")
            shape, layout = _shape(row), _layout(row)
            made = _machine(row)
        except _SkippedError as reason:
            self.skipped[str(reason)] += 1
            return
        self.models.add(id(shape), lambda: model(shape))  # shapes are kept in _SHAPES, one object each
        self.machines.add(made[0], made[1])
        self.layouts.append(layout)
        self.rows.append(position)

    def measurements(self, table: pd.DataFrame) -> Measurements:
        columns = {name: np.array([one[name] for one in self.layouts]) for name in self.layouts[0]}
        kept = table.iloc[self.rows]
        kinds = kept["mem_kind"].fillna("") if "mem_kind" in kept else kept["gpu"].map(lambda _: "")
        sources = next((kept[name] for name in ("sub_source", "source") if name in kept), kept["gpu"])
        return Measurements(
            steps=Steps(self.models.join(), self.machines.join(), Layouts(**vars(layouts(**columns)))),
            step_time_s=_numbers(kept, "step_time_s"),
            peak_memory_gib=_numbers(kept, "peak_mem_gib"),
            memory_kind=np.array(["device" if "smi" in str(kind) else "allocated" for kind in kinds]),
            source=sources.fillna("unknown").to_numpy(str),
            group=_groups(kept),
            recompute_known=(kept["recompute"].fillna("unknown") != "unknown").to_numpy()
            if "recompute" in kept
            else np.zeros(len(kept), dtype=bool),
            rows=np.array(self.rows),
            skipped=dict(self.skipped),
        )


class _Unique:
    """Structs by key, and which of them each row uses."""

    def __init__(self) -> None:
        self.keys: dict[Hashable, int] = {}
        self.made: list[Any] = []
        self.index: list[int] = []

    def add(self, key: Hashable, make: Callable[[], Any]) -> None:
        if key not in self.keys:
            self.keys[key] = len(self.made)
            self.made.append(make())
        self.index.append(self.keys[key])

    def join(self) -> Any:
        joined = type(self.made[0]).join(self.made)
        return joined.take(np.array(self.index)) if len(self.made) > 1 else joined


def _numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    return table[name].to_numpy(float) if name in table else np.full(len(table), np.nan)


def _groups(table: pd.DataFrame) -> np.ndarray:
    keys = [name for name in _SAME if name in table]
    return table.groupby(keys, dropna=False, sort=False).ngroup().to_numpy()


def _whole(row: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = row.get(name)
    if value is None:
        if default is None:
            raise _SkippedError(f"without {name}")
        return default
    try:
        number = round(float(value))
    except (TypeError, ValueError, OverflowError):
        raise _SkippedError(f"with {name} that isn't a number") from None
    return number


def _shape(row: Mapping[str, Any]) -> Architecture:
    """The model of a row. The table doesn't say whether embeddings are tied; the parameter count does."""
    if row.get("n_layers") is None:
        raise _SkippedError("without an architecture")
    gated = bool(_whole(row, "gated_mlp", 1))
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
    if row.get("attention") == "mla":
        fields |= {**_LATENT, "biases": False}
    else:
        fields |= {"kv_heads": _whole(row, "n_kv_heads", fields["heads"])}
        fields |= {} if row.get("head_dim") is None else {"head_width": _whole(row, "head_dim")}
    if row.get("n_experts"):
        fields |= {
            "num_experts": _whole(row, "n_experts"),
            "experts_per_token": _whole(row, "topk"),
            "shared_experts": _whole(row, "n_shared_experts", 0),
            "expert_ffn_width": _whole(row, "moe_d_ff"),
            "dense_layers": _whole(row, "n_dense_layers", 0),
        }
    return _tied_or_not(fields, row.get("params_total_b"))


_SHAPES: dict[Hashable, Architecture] = {}


def _tied_or_not(fields: dict[str, Any], stated: float | None) -> Architecture:
    key = (*fields.items(), stated)
    if key not in _SHAPES:
        try:
            both = [Architecture(**{**fields, "tied_embeddings": tied}) for tied in (True, False)]
        except InputError:
            raise _SkippedError("with an impossible architecture") from None
        except ValueError:
            raise _SkippedError("with an impossible architecture") from None
        goal = None if stated is None else float(stated) * _COUNT_BASIS
        _SHAPES[key] = both[1] if goal is None else min(both, key=lambda shape: abs(shape.params_total - goal))
    return _SHAPES[key]


def _machine(row: Mapping[str, Any]) -> tuple[Hashable, Callable[[], Any]]:
    part = find(str(row.get("gpu")))
    if part is None:
        raise _SkippedError(f"on {row.get('gpu')}, which isn't in the catalogue")
    precision = str(row.get("precision") or "bf16")
    if precision not in PRECISIONS:
        raise _SkippedError(f"in {precision}")
    own = row.get("inter_gbps_per_gpu")
    devices, per_node = _whole(row, "n_gpus"), _whole(row, "gpus_per_node", part.per_node or 8)
    gbit = None if own is None else float(own)
    try:
        made = machine(part, precision, per_node=per_node, inter_node_gbit_per_s=gbit, devices=devices)
    except InputError:
        raise _SkippedError(f"in {precision} on {part.name}, or without its bandwidths") from None
    return (part.name, precision, per_node, gbit, devices > per_node, devices > 1), lambda: made


def _layout(row: Mapping[str, Any]) -> dict[str, float]:
    """The layout of a row. What wasn't published of recomputation counts as none, of the micro-batch as 1."""
    tp, pp, cp = (_whole(row, name, 1) for name in ("tp", "pp", "cp"))
    devices, batch = _whole(row, "n_gpus"), _whole(row, "global_batch")
    dp = _whole(row, "dp", max(1, devices // (tp * pp * cp)))
    if tp * pp * cp * dp != devices:
        raise _SkippedError("whose tp · pp · cp · dp isn't n_gpus")
    micro = min(_whole(row, "micro_batch", 1), max(1, batch // dp))
    rounds = max(1, round(batch / (dp * micro)))
    recompute = str(row.get("recompute") or "none")
    return {
        "tp": tp,
        "pp": pp,
        "vpp": _whole(row, "vpp", 1),
        "cp": cp,
        "ep": _whole(row, "ep", 1),
        "dp": dp,
        "zero_stage": _whole(row, "zero_stage", 1),
        "sequence_parallel": _whole(row, "seq_parallel", 0),
        # a batch that doesn't divide is spread evenly, so that the tokens are right
        "micro_batch": batch / dp / rounds,
        "accumulation": rounds,
        "recompute_selective": float(recompute == "selective"),
        "recompute_full": float(recompute == "full"),
        "flash_attention": _whole(row, "flash_attn", 1),
        "offload_activations": float(recompute == "offload"),
        "framework": framework_index(str(row.get("framework") or "")),
    }
