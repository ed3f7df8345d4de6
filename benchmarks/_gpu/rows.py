"""Measured steps of one GPU as rows of a table that `simulate cluster calibrate` and `score` read."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from foretrain.core.model.architecture import Architecture
from foretrain.datasets.facts.accelerators import find

__all__ = ["as_csv", "measured_row"]

# FSDP's family is what PyTorch's own trainers count as; one device shards nothing.
_SOFTWARE = {"plain": "pytorch (fsdp, one device)", "ours": "foretrain (fsdp, one device)"}
_MEMORY = {"plain": "torch allocated (max)", "ours": "torch reserved"}


def measured_row(
    shape: Architecture, sequences: int, step_s: float, memory_gib: float | None, kind: str, hardware: Mapping[str, Any]
) -> dict[str, Any]:
    """One row: a model trained alone on one device, with its step and its memory. `hardware`: what computed it."""
    part = find(hardware["device_name"])
    return {
        "source": "foretrain",
        "sub_source": "foretrain_proxy_gpu",
        "model": f"proxy-{shape.params_total / 1e6:.3g}M",
        "n_layers": shape.layers,
        "d_model": shape.width,
        "n_heads": shape.heads,
        "n_kv_heads": shape.kv_heads or shape.heads,
        "d_ff": shape.ffn_width,
        "gated_mlp": 1,
        "vocab": shape.vocab_size,
        "seq_len": shape.context_length,
        "params_total_b": shape.params_total / 1e9,
        "gpu": hardware["device_name"] if part is None else part.name,
        "n_gpus": 1,
        "gpus_per_node": 1,
        "precision": hardware["precision"],
        "tp": 1,
        "pp": 1,
        "dp": 1,
        "zero_stage": 0,
        "micro_batch": sequences,
        "global_batch": sequences,
        "recompute": "none",
        "flash_attn": 1,
        "framework": _SOFTWARE[kind],
        "compile": "all" if hardware["compiled"] else "none",
        "dropout": 0,
        "step_time_s": step_s,
        "tokens_per_s_per_gpu": sequences * shape.context_length / step_s,
        "peak_mem_gib": memory_gib,
        "mem_kind": _MEMORY[kind],
        "note": "short convolution of 4 taps before attention, averaged weights",
    }


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table, with a head."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
