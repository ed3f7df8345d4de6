"""Training steps to be predicted, as a struct of arrays: one element per layout of a plan, or per row of a table.

`Models` says what is computed, `Machines` on what, `Layouts` how it is spread; `Steps` joins them. Every field is a
float array of shape (n,), or broadcastable to it, so that a hundred thousand layouts cost one pass of numpy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Self, get_args

import numpy as np

from ....core.model.architecture import Architecture
from ....core.model.mixers.members.attention import ATTENTION
from ....datasets.facts.accelerators import Accelerator, Precision
from ...config.hardware import Framework

__all__ = [
    "FRAMEWORKS",
    "GENERATIONS",
    "Kernels",
    "Layouts",
    "Machines",
    "Models",
    "States",
    "Steps",
    "machine",
    "model",
]

FRAMEWORKS: tuple[Framework, ...] = get_args(Framework)
"""Kinds of training software that the model distinguishes: Megatron-LM and similar with fused kernels; PyTorch's
FSDP without; Megatron-DeepSpeed of 2022; JAX and others that compile the whole step."""

GENERATIONS = ("ampere", "hopper", "blackwell", "tpu")
"""Kinds of accelerators with measured step times. Any other takes the mean efficiency of all."""

_NARROW: dict[str, float] = {"fp8": 1.0, "mxfp8": 1.03, "fp4": 0.5, "nvfp4": 0.56}  # bytes with block scales
_WIDE = {"fp32": 4.0, "tf32": 4.0}
_USUAL_HEAD = 128
_UNMEASURED_SD = 0.42
"""Of log time of a mixer whose operators weren't measured: a factor of two either way at 90 %. A judgement: Hyena's
published run times cross those of fused attention between contexts of 2k and 8k (Poli et al. 2023, arXiv:2302.10866,
section 4.4), where by FLOPs they would at a few hundred."""
_MATRICES = 5  # of one attention layer, at most: those of latent attention


class _Columns:
    """What the structs share: choosing rows and joining."""

    def take(self, rows: np.ndarray) -> Self:
        """The elements chosen by a mask or by indices, along the last axis."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}  # pyright: ignore[reportArgumentType]
        return type(self)(
            **{k: v.take(rows) if isinstance(v, _Columns) else _taken(v, rows) for k, v in chosen.items()}
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put structs of the same kind one after the other; scalar fields become one element each."""
        joined = {}
        for f in fields(cls):  # pyright: ignore[reportArgumentType]
            values = [getattr(part, f.name) for part in parts]
            first = values[0]
            joined[f.name] = (
                type(first).join(values)
                if isinstance(first, _Columns)
                else np.concatenate([v[..., None] if v.ndim == 0 else v for v in values], axis=-1)
            )
        return cls(**joined)


def _taken(value: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of a field; a field that is the same for all stays as it is."""
    return value if value.ndim == 0 or value.shape[-1] == 1 else value[..., rows]


@dataclass(frozen=True)
class Models(_Columns):
    """The models: shapes as floats, with the mixer's matrices on a first axis. Of a mixer without attention they are
    those that cost its matrix products' FLOPs, and heads are of the usual width."""

    layers: np.ndarray
    moe_layers: np.ndarray
    width: np.ndarray
    heads: np.ndarray
    kv_heads: np.ndarray
    key_width: np.ndarray
    value_width: np.ndarray
    ffn_width: np.ndarray
    projections: np.ndarray
    """Matrices into the feed-forward network's inside: 2 where gated, else 1."""
    num_experts: np.ndarray
    experts_per_token: np.ndarray
    shared_experts: np.ndarray
    expert_ffn_width: np.ndarray
    vocab_size: np.ndarray
    tied_embeddings: np.ndarray
    context_length: np.ndarray
    latent: np.ndarray
    """1 for multi-head latent attention."""
    matrix_inputs: np.ndarray
    """(5, n) or (5, 1): inputs of the mixer's matrices, 0 where there are fewer."""
    matrix_outputs: np.ndarray
    matrix_split: np.ndarray
    """(5, n) or (5, 1): what tensor parallelism splits: 0 nothing, 1 the outputs, 2 the inputs."""
    params_total: np.ndarray
    """As the checkpoint stores them."""
    params_embedding: np.ndarray
    unattended: np.ndarray = field(default_factory=lambda: np.array(0.0))
    """1 for a mixer without attention: no scores."""
    mixer_flops: np.ndarray = field(default_factory=lambda: np.array(0.0))
    """FLOPs of such a mixer beyond its matrix products, in one layer for a token of the forward pass."""
    mixer_log_sd: np.ndarray = field(default_factory=lambda: np.array(0.0))
    """Sd of log step time that not having measured its matrix products leaves."""

    @property
    def mixer_params(self) -> np.ndarray:
        """Parameters of one layer's mixer in matrices."""
        return (self.matrix_inputs * self.matrix_outputs).sum(axis=0)

    @property
    def ffn_params(self) -> np.ndarray:
        """Parameters of one dense feed-forward network."""
        return (1 + self.projections) * self.width * self.ffn_width

    @property
    def expert_params(self) -> np.ndarray:
        """Parameters of one expert."""
        return (1 + self.projections) * self.width * self.expert_ffn_width

    @property
    def table_params(self) -> np.ndarray:
        """Parameters of the token embedding table, and of the output head."""
        return self.vocab_size * self.width


@dataclass(frozen=True)
class Machines(_Columns):
    """The machines: rates in FLOP/s and bytes/s per device and direction, and the size of stored values."""

    matmul_flops: np.ndarray
    """Best attainable matrix product at the plan's precision."""
    wide_flops: np.ndarray
    """The same in the 16-bit (or wider) format that attention and the output head keep."""
    peak_flops: np.ndarray
    """The datasheet's dense peak at the plan's precision, for MFU."""
    hbm_bytes_per_s: np.ndarray
    intra_bytes_per_s: np.ndarray
    inter_bytes_per_s: np.ndarray
    host_bytes_per_s: np.ndarray
    per_node: np.ndarray
    memory_bytes: np.ndarray
    value_bytes: np.ndarray
    """Bytes of a weight or an activation: 2, or 4 in fp32 and tf32."""
    narrow_bytes: np.ndarray
    """Bytes of an operand of a matrix product: 1 in fp8, half in fp4, else value_bytes."""
    generation: np.ndarray
    """Index into GENERATIONS; their number for any other."""
    format: np.ndarray
    """0: 16 bits or wider, 1: fp8, 2: mxfp8, 3: fp4 and nvfp4."""
    half: np.ndarray
    """1 for fp16, whose gradients frameworks keep as they are: bf16's are summed up in fp32."""


@dataclass(frozen=True)
class Layouts(_Columns):
    """The parallel layouts: `tp · pp · cp · dp` devices; expert parallelism `ep` divides dp · cp · tp."""

    tp: np.ndarray
    pp: np.ndarray
    vpp: np.ndarray
    cp: np.ndarray
    ep: np.ndarray
    dp: np.ndarray
    zero_stage: np.ndarray
    sequence_parallel: np.ndarray
    micro_batch: np.ndarray
    """Sequences."""
    accumulation: np.ndarray
    """Micro-batches of one optimizer step, per data-parallel rank."""
    recompute_selective: np.ndarray
    recompute_full: np.ndarray
    flash_attention: np.ndarray
    offload_optimizer: np.ndarray
    offload_weights: np.ndarray
    offload_activations: np.ndarray
    loss_chunks: np.ndarray
    """Parts of a micro-batch whose logits exist one after the other; 0: the loss is fused with the output head."""
    framework: np.ndarray
    """Index into FRAMEWORKS."""
    release: np.ndarray = field(default_factory=lambda: np.array(0.0))
    """Release of the software as `releases.release_number` holds it; 0 where none is stated."""
    unstated_sd: np.ndarray = field(default_factory=lambda: np.array(0.0))
    """Sd of log step time over what isn't stated of the layout (`layouts/unstated.py`)."""

    @property
    def devices(self) -> np.ndarray:
        """Number of devices."""
        return self.tp * self.pp * self.cp * self.dp

    @property
    def data_ranks(self) -> np.ndarray:
        """Devices that hold the same dense weights before ZeRO: data and context parallel ones."""
        return self.dp * self.cp

    @property
    def expert_ranks(self) -> np.ndarray:
        """Devices that hold the same experts before ZeRO."""
        return np.maximum(1.0, self.data_ranks * self.tp / self.ep)


@dataclass(frozen=True)
class States(_Columns):
    """What the optimizer keeps of a parameter, beside its weight and gradient: values of AdamW by default."""

    matrix_values: np.ndarray = field(default_factory=lambda: np.array(2.0))
    """Values per parameter of a layer's matrices."""
    other_values: np.ndarray = field(default_factory=lambda: np.array(2.0))
    """Values per parameter of vocabulary tables."""
    eight_bit: np.ndarray = field(default_factory=lambda: np.array(0.0))
    """1 where such a value takes one byte."""
    master: np.ndarray = field(default_factory=lambda: np.array(1.0))
    """1 where 32-bit weights are kept beside narrower ones; 0 for training in 16 bits alone."""


@dataclass(frozen=True)
class Kernels(_Columns):
    """How the operators of a layer and of the loss are run: 1 yes, 0 no, NaN where it isn't known."""

    compiled: np.ndarray = field(default_factory=lambda: np.array(np.nan))
    """Layers are compiled (torch.compile): what is cheap between matrix products is computed anew."""
    compiled_loss: np.ndarray = field(default_factory=lambda: np.array(np.nan))
    """So is the loss: no 32-bit copies of the logits."""
    dropout: np.ndarray = field(default_factory=lambda: np.array(np.nan))
    """Activations are dropped at random, so that masks are kept."""


@dataclass(frozen=True)
class Steps(_Columns):
    """Training steps: models on machines in layouts, all broadcastable to one shape (n,)."""

    models: Models
    machines: Machines
    layouts: Layouts
    states: States = field(default_factory=States)
    kernels: Kernels = field(default_factory=Kernels)

    def __len__(self) -> int:
        return int(np.broadcast(self.layouts.tp, self.models.layers, self.machines.per_node).size)

    @property
    def tokens(self) -> np.ndarray:
        """Tokens of one optimizer step."""
        batch = self.layouts.micro_batch * self.layouts.accumulation * self.layouts.dp
        return batch * self.models.context_length

    @property
    def micro_tokens(self) -> np.ndarray:
        """Tokens of a micro-batch on one device, after context parallelism."""
        return self.layouts.micro_batch * self.models.context_length / self.layouts.cp


def model(shape: Architecture) -> Models:
    """One model as scalars."""
    attended = shape.mixer == ATTENTION
    heads = {
        "heads": shape.heads,
        "kv_heads": shape.kv_heads or shape.heads,
        **dict(zip(("key_width", "value_width"), shape.attention_widths, strict=True)),
    }
    matrices = shape.attention_matrices if attended else _matrices(shape)
    padded = [*matrices, *[(0, 0, 0)] * (_MATRICES - len(matrices))]
    numbers = {
        "layers": shape.layers,
        "moe_layers": shape.moe_layers,
        "width": shape.width,
        **(heads if attended else _unattended(shape)),
        "ffn_width": shape.ffn_width,
        "projections": 2 if shape.ffn_gated else 1,
        "num_experts": shape.num_experts or 0,
        "experts_per_token": shape.experts_per_token or 0,
        "shared_experts": shape.shared_experts,
        "expert_ffn_width": shape.expert_ffn_width or shape.ffn_width,
        "vocab_size": shape.vocab_size,
        "tied_embeddings": shape.tied_embeddings,
        "context_length": shape.context_length,
        "latent": shape.kv_lora_rank is not None,
        "params_total": shape.params_total,
        "params_embedding": shape.params_embedding,
    }
    names = ("matrix_inputs", "matrix_outputs", "matrix_split")
    columns = dict(zip(names, np.array(padded, dtype=float).T[..., None], strict=True))
    return Models(**{k: np.array(float(v)) for k, v in numbers.items()}, **columns)


def _unattended(shape: Architecture) -> dict[str, float]:
    """Numbers of a mixer without attention, whose operators nobody has measured on accelerators."""
    heads, flops = shape.width / _USUAL_HEAD, shape.mixer.flops(shape)
    return {
        "heads": heads,
        "kv_heads": heads,
        "key_width": _USUAL_HEAD,
        "value_width": _USUAL_HEAD,
        "unattended": 1.0,
        "mixer_flops": flops.other,
        "mixer_log_sd": _UNMEASURED_SD * shape.layers * flops.total / shape.forward_flops_per_token(),
    }


def _matrices(shape: Architecture) -> list[tuple[float, float, int]]:
    """Two matrices that cost as much as the matrix products of a mixer without attention, as one from the stream into
    the mixer and one back."""
    outputs = shape.mixer.flops(shape).products / 2 / shape.width
    back = min(shape.width, outputs / 2)
    return [(shape.width, outputs - back, 1), (back, shape.width, 2)]


def machine(
    accelerator: Accelerator,
    precision: Precision,
    *,
    per_node: int | None = None,
    inter_node_gbit_per_s: float | None = None,
    devices: int = 1,
    offload: bool = False,
) -> Machines:
    """One kind of machine as scalars, at a precision. Links that `devices` of them don't need may be unknown.

    So may the link to the host without `offload`. Raises `ConfigError` naming the figure that the accelerator lacks.
    """
    domain = per_node or accelerator.per_node or 1
    wide: Precision = precision if precision in _WIDE or precision == "fp16" else "bf16"
    unused = np.inf  # a link that nothing goes over
    inter = unused
    if devices > domain:
        inter = inter_node_gbit_per_s * 1e9 / 8 if inter_node_gbit_per_s else accelerator.inter_node_bytes_per_s
    value = _WIDE.get(precision, 2.0)
    numbers = {
        "matmul_flops": accelerator.attainable_flops(precision),
        "wide_flops": accelerator.attainable_flops(wide),
        "peak_flops": accelerator.peak_flops(precision),
        "hbm_bytes_per_s": accelerator.hbm_bytes_per_s,
        "intra_bytes_per_s": accelerator.intra_node_bytes_per_s if min(devices, domain) > 1 else unused,
        "inter_bytes_per_s": inter,
        "host_bytes_per_s": accelerator.pcie_bytes_per_s if offload else (accelerator.pcie_gb_per_s or np.nan) * 1e9,
        "per_node": domain,
        "memory_bytes": accelerator.memory_bytes,
        "value_bytes": value,
        "narrow_bytes": _NARROW.get(precision, value),
        "generation": generation_index(accelerator),
        "half": precision == "fp16",
        "format": {"fp8": 1, "mxfp8": 2, "fp4": 3, "nvfp4": 3}.get(precision, 0),
    }
    return Machines(**{k: np.array(float(v)) for k, v in numbers.items()})


def generation_index(accelerator: Accelerator) -> int:
    """Index into GENERATIONS, their number where none fits."""
    name = (accelerator.generation or "").split("-")[0]
    return GENERATIONS.index(name) if name in GENERATIONS else len(GENERATIONS)


def layouts(**columns: np.ndarray | float | Iterable[float]) -> Layouts:
    """Layouts from columns; what is left out is as in the plainest layout."""
    plain = {f.name: 0.0 for f in fields(Layouts)}
    plain |= dict.fromkeys(("tp", "pp", "vpp", "cp", "ep", "dp", "micro_batch", "accumulation", "loss_chunks"), 1.0)
    plain |= {"zero_stage": 1.0, "flash_attention": 1.0}
    return Layouts(**{k: np.asarray(v, dtype=float) for k, v in (plain | columns).items()})
