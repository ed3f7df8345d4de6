"""The sections of a run configuration about the machines: `hardware`, and the `layout` of the model over them.

An accelerator is a name of the catalogue (`datasets.accelerators`) or a mapping with the catalogue's own keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    StrictBool,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from ...core.errors import ConfigError
from ...core.reading.fields import FieldError, Frozen, PositiveReal, Real, Share, Whole, whole_schema
from ...core.units import shown
from ...datasets.facts.accelerators import Accelerator, Precision, accelerator, catalogue
from .software_release import release_name, release_number

__all__ = ["Compile", "Framework", "HardwareConfig", "LayoutConfig", "Offload", "Recompute"]

Recompute = Literal["none", "selective", "full"]
"""Activations computed anew in the backward pass: none, some, all but each block's input. Which some, is the software's
matter: of megatron and deepspeed attention's core, of fsdp all but attention's output and every second matrix product
(torchtitan's `op`), of xla the inside of feed-forward networks."""

Compile = Literal["none", "layers", "all"]
"""What torch.compile makes kernels of: nothing, the layers, or the layers and the loss."""

Offload = Literal["optimizer", "weights", "activations"]
"""What may be kept in the host's memory."""

Framework = Literal["megatron", "fsdp", "deepspeed", "xla"]
"""Kinds of training software whose step times and memory are told apart."""

_LOSS = re.compile(r"whole|fused|chunked(?:\s*:\s*([0-9]+))?", re.ASCII)
_USUAL_CHUNKS = 8
_MOST_CHUNKS = 10**6

_Degree = Annotated[Whole, Field(ge=1, le=10**6), whole_schema(1, 10**6)]


def _known(value: Any) -> Any:
    """Look a name up; anything that isn't text goes on to `Accelerator` itself."""
    if isinstance(value, str):
        return accelerator(value)
    if value is None or isinstance(value, Mapping | Accelerator):
        return value
    raise ConfigError(f"got {shown(value)}; expected a name such as H100-SXM-80, or a mapping with peak_tflops")


def _release(value: Any) -> Any:
    """A release as text, whether YAML made a number of it or not."""
    if isinstance(value, str):
        release_number(value)
        return value.strip()
    if isinstance(value, float) and 0 < value < 100:
        return release_name(release_number(value)) if release_number(value) else f"{value:g}"
    raise ConfigError(f"got {shown(value)}; expected year and month in quotes, such as '26.04'")


def _name_or_mapping(value: Accelerator | None) -> Any:
    """Write an accelerator of the catalogue as its name, any other in full."""
    if value is None or catalogue().get(value.name) == value:
        return value and value.name
    return value.model_dump(mode="json")


def _compile(value: Any) -> Any:
    """Read what is compiled: yes and no stand for all and nothing."""
    return {True: "all", False: "none"}[value] if isinstance(value, bool) else value


_COMPILE_SCHEMA = {"anyOf": [{"type": "boolean"}, {"enum": list(get_args(Compile))}]}


class _NameInSchema:
    """Adds to the JSON Schema that the name of an accelerator is accepted too."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 200}, handler(schema)]}


def _loss(value: Any) -> str:
    """Read how the loss is computed, in its plainest spelling."""
    if isinstance(value, Mapping) and list(value) == ["chunked"]:
        value = f"chunked: {value['chunked']}"
    found = _LOSS.fullmatch(value.strip()) if isinstance(value, str) else None
    chunks = int(found[1]) if found and found[1] else _USUAL_CHUNKS
    if found is None or not 1 <= chunks <= _MOST_CHUNKS:
        raise ConfigError(f"got {shown(value)}; expected whole, fused, or {{chunked: 8}} for the number of chunks")
    return found[0] if found[0] in ("whole", "fused") else f"chunked: {chunks}"


_Loss = Annotated[
    str,
    BeforeValidator(lambda value: value if value is None else _loss(value)),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*(whole|fused|chunked(\s*:\s*[0-9]+)?)\s*$"},
                {
                    "type": "object",
                    "properties": {"chunked": {"type": "integer", "minimum": 1, "maximum": _MOST_CHUNKS}},
                    "required": ["chunked"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class HardwareConfig(Frozen):
    """The machines that the run is planned on.

    >>> hardware = HardwareConfig.model_validate({"accelerator": "h100", "count": 512, "inter_node_gbps": 200})
    >>> hardware.machine.name, hardware.machine.inter_node_gbit_per_s, hardware.nodes
    ('H100-SXM-80', 200.0, 64)
    """

    accelerator: Annotated[
        Accelerator | None, BeforeValidator(_known), PlainSerializer(_name_or_mapping), _NameInSchema()
    ] = Field(
        default=None, description="Accelerator by name, such as H100-SXM-80, or a mapping with the catalogue's keys."
    )
    count: Annotated[Whole, Field(ge=1, le=10**7), whole_schema(1, 10**7)] | None = Field(
        default=None, description="Number of accelerators."
    )
    per_node: _Degree | None = Field(
        default=None, description="Accelerators that fast links join (default: what is usual of the accelerator)."
    )
    inter_node_gbit_per_s: Annotated[PositiveReal, Field(le=1e6)] | None = Field(
        default=None,
        alias="inter_node_gbps",
        description="Network between nodes, Gbit/s per accelerator and direction (default: what is usual).",
    )
    price_usd_per_hour: Annotated[Real, Field(ge=0, le=1e6)] | None = Field(
        default=None, description="US dollars per accelerator and hour."
    )
    precision: Precision | None = Field(default=None, description="Number format of the matrix products.")
    framework: Framework | None = Field(
        default=None,
        description="Kind of training software: megatron (and NeMo), fsdp (PyTorch), deepspeed, xla (JAX) "
        "(default: xla on TPUs, fsdp where zero_stage is 3, else megatron).",
    )
    compile: Annotated[Compile, BeforeValidator(_compile), WithJsonSchema(_COMPILE_SCHEMA)] | None = Field(
        default=None,
        description="What torch.compile makes kernels of, with PyTorch's trainers: none, layers, or all (the loss too; "
        "also true) (default: not known, which memory's interval allows for).",
    )
    dropout: StrictBool | None = Field(
        default=None,
        description="Whether training drops activations at random; masks take memory (default: only of GPT-like "
        "models under megatron and deepspeed without flash attention, as was usual before 2023).",
    )
    release: (
        Annotated[str, BeforeValidator(_release), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}]})]
        | None
    ) = Field(
        default=None,
        description="Release of the training software by year and month, such as 26.04 or 26.04.01 "
        "(default: the newest whose step times were measured); it stands for megatron where framework isn't stated.",
    )
    fit_chance: Annotated[Share, Field(gt=0, lt=1)] = Field(
        default=0.9, description="Chance to fit into memory that a layout must have to be chosen, such as 0.9 or 90%."
    )

    @model_validator(mode="after")
    def _check_precision(self) -> Self:
        if self.accelerator is not None and self.precision is not None:
            try:
                self.accelerator.peak_flops(self.precision)
            except ConfigError as error:
                raise FieldError("precision", str(error)) from None
        return self

    @property
    def machine(self) -> Accelerator:
        """The accelerator with the node size and the network that are stated here. `ConfigError` if none is."""
        if self.accelerator is None:
            raise ConfigError("hardware.accelerator: is missing; expected a name such as H100-SXM-80, or a mapping")
        stated = {"per_node": self.per_node, "inter_node_gbit_per_s": self.inter_node_gbit_per_s}
        return self.accelerator.model_copy(update={key: value for key, value in stated.items() if value is not None})

    @property
    def software(self) -> Framework | None:
        """The training software as stated; megatron where only a release is, as no other's are told apart."""
        on_tpu = self.accelerator is not None and (self.accelerator.generation or "").startswith("tpu")
        return self.framework or (None if self.release is None or on_tpu else "megatron")

    @property
    def domain(self) -> int:
        """Accelerators that fast links join. `ConfigError` where nobody states it and there is more than one."""
        if self.count == 1:
            return 1
        per_node = self.machine.per_node
        if per_node is None:
            raise ConfigError(
                f"hardware.per_node: is missing and {self.machine.name} doesn't state it; "
                "expected the number of accelerators that fast links join, such as 8"
            )
        return per_node

    @property
    def nodes(self) -> int | None:
        """Groups of accelerators that fast links join, the last one possibly short; None without a count."""
        return None if self.count is None else -(-self.count // self.domain)

    @property
    def working_precision(self) -> Precision:
        """The precision stated, else bf16 where the accelerator has it, else its first of fp16 and fp32."""
        if self.precision is not None:
            return self.precision
        for precision in ("bf16", "fp16", "fp32"):
            try:
                self.machine.peak_flops(precision)
            except ConfigError:
                if self.accelerator is None:
                    raise
            else:
                return precision
        return next(iter(self.machine.peak_tflops))


class LayoutConfig(Frozen):
    """How the model and the batch are split over the accelerators. What is left out is chosen."""

    tp: _Degree | None = Field(default=None, description="Tensor parallel: devices that share each matrix.")
    pp: _Degree | None = Field(default=None, description="Pipeline parallel: stages that the layers are split into.")
    vpp: _Degree | None = Field(
        default=None, description="Virtual stages per pipeline stage (interleaved schedule); 1 is plain 1F1B."
    )
    cp: _Degree | None = Field(default=None, description="Context parallel: devices that share each sequence.")
    ep: _Degree | None = Field(
        default=None, description="Expert parallel: devices that share the experts, carved out of tp · cp · dp."
    )
    dp: _Degree | None = Field(default=None, description="Data parallel replicas (default: count / (tp · pp · cp)).")
    zero_stage: Literal[0, 1, 2, 3] | None = Field(
        default=None,
        description="Sharded over replicas: 1 optimizer states, 2 gradients too, 3 weights too (FSDP), 0 nothing.",
    )
    sequence_parallel: StrictBool | None = Field(
        default=None, description="Norms and residuals are split over tp along the sequence (default: where tp > 1)."
    )
    micro_batch: _Degree | None = Field(default=None, description="Sequences per replica that are computed at once.")
    recompute: Recompute | None = Field(default=None, description="Activations computed anew in the backward pass.")
    flash_attention: StrictBool | None = Field(
        default=None, description="Attention that never stores its scores, FlashAttention and kin (default: true)."
    )
    loss: _Loss | None = Field(
        default=None,
        description="How the loss is computed: whole, {chunked: 8} for chunks of the logits one after the other, or "
        "fused with the output head, which stores none (default: whole, as all four kinds of software do untold).",
    )
    offload: tuple[Offload, ...] | None = Field(
        default=None, description="What is kept in the host's memory (default: nothing)."
    )

    @property
    def loss_chunks(self) -> int:
        """Chunks of the logits that exist one after the other; 0 where the loss is fused with the output head."""
        if self.loss in (None, "whole"):
            return 1
        return 0 if self.loss == "fused" else int(self.loss.partition(":")[2])

    @field_validator("zero_stage", mode="before")
    @classmethod
    def _no_bool(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"got {shown(value)}; expected one of 0, 1, 2, 3")
        return value

    @field_validator("offload")
    @classmethod
    def _once_each(cls, offload: tuple[Offload, ...] | None) -> tuple[Offload, ...] | None:
        return None if offload is None else tuple(dict.fromkeys(offload))

    @model_validator(mode="after")
    def _check_vpp(self) -> Self:
        if self.vpp is not None and self.vpp > 1 and self.pp == 1:
            raise FieldError("vpp", f"got {self.vpp} with pp 1; expected pp of at least 2, or vpp 1")
        return self
