"""The shape of a decoder-only language model → exact parameter counts and training FLOPs per token.

Counts follow what a checkpoint stores: every weight, bias and norm gain, and nothing else. They reproduce the
published counts of sixteen models to the last parameter (tests/test_architecture.py).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, StrictBool, model_validator

from ..reading.fields import FieldError, Frozen, Whole, whole_schema
from .mixers.members.attention import ATTENTION, Attention, attention_matrices, attention_widths
from .mixers.mixer import Weights, norm_size
from .mixers.reading import OneMixer, named_mixer, setting_of_mixers
from .mixers.registry import mixers

__all__ = ["Architecture", "ParameterCounts"]

# Bounds some hundred times beyond any published model: they catch slips of unit and keep all arithmetic finite.
_Small = Annotated[Whole, Field(ge=1, le=100_000), whole_schema(1, 100_000)]
_Size = Annotated[Whole, Field(ge=1, le=100_000_000), whole_schema(1, 100_000_000)]
_Length = Annotated[Whole, Field(ge=1, le=1_000_000_000), whole_schema(1, 1_000_000_000)]
_Number = Annotated[Whole, Field(ge=0, le=100_000), whole_schema(0, 100_000)]

_FAMILY_DEFAULTS: dict[str, dict[str, Any]] = {
    # Llama report (Touvron et al. 2023, arXiv:2302.13971), section 2.2.
    "llama": {
        "ffn_gated": True,
        "biases": False,
        "norm": "rms",
        "learned_positions": False,
        "tied_embeddings": False,
    },
    # GPT-2 (Radford et al. 2019) and GPT-3 (Brown et al. 2020, arXiv:2005.14165), section 2.1.
    "gpt": {
        "ffn_gated": False,
        "biases": True,
        "norm": "layer",
        "learned_positions": True,
        "tied_embeddings": True,
    },
}
_ATTENTION_FIELDS = ("kv_heads", "head_width", "qkv_biases", "q_lora_rank")
_MLA_FIELDS = ("kv_lora_rank", "qk_rope_width", "qk_nope_width", "v_head_width")
_OF_ATTENTION = (*_ATTENTION_FIELDS, *_MLA_FIELDS, "rotary_positions")
_ATTENDS = {
    "anyOf": [
        {"not": {"required": ["mixer"]}},
        {"properties": {"mixer": {"anyOf": [{"const": "attention"}, {"type": "object", "required": ["attention"]}]}}},
    ]
}
"""The JSON Schema of shapes whose mixer is attention, which can't do without `heads`."""


class ParameterCounts(NamedTuple):
    """How many parameters a model has.

    `total` counts everything stored; `active` leaves out the experts that a token isn't routed to (embeddings stay in:
    equal to `total` for a dense model); `embedding` is the part of both in token and position tables and, unless
    tied, in the output head.
    """

    total: int
    active: int
    embedding: int


class Architecture(Frozen):
    """The shape of a decoder-only language model. `family` sets the defaults of the style fields that are left out.

    >>> shape = Architecture(layers=32, width=4096, heads=32, ffn_width=11008, vocab_size=32000, context_length=4096)
    >>> shape.params_total
    6738415616
    """

    family: Literal["llama", "gpt"] = Field(
        default="llama", description="Style whose defaults fill the fields left out."
    )
    layers: _Small = Field(description="Number of blocks.")
    width: _Size = Field(description="Size of the residual stream (d_model).")
    heads: _Small = Field(description="Number of query heads; left out with a mixer that has none.")
    ffn_width: _Size = Field(description="Inner size of the dense feed-forward network.")
    vocab_size: _Size = Field(description="Rows of the token embedding table, padding included.")
    context_length: _Length = Field(description="Tokens per training sequence.")

    mixer: OneMixer = Field(
        default=ATTENTION,
        exclude_if=lambda mixer: mixer == ATTENTION,  # files from before this key stay what they are
        description="What lets tokens see one another: attention, or another mixer by its name, "
        "or {name: {setting: value}}.",
    )
    kv_heads: _Small | None = Field(default=None, description="Number of key-value heads (default: as many as heads).")
    head_width: _Size | None = Field(default=None, description="Size of one head (default: width / heads).")
    ffn_gated: StrictBool = Field(default=True, description="Three matrices (SwiGLU and kin) instead of two.")
    tied_embeddings: StrictBool = Field(default=False, description="The output head is the token embedding table.")
    learned_positions: StrictBool = Field(default=False, description="A learned position table of context_length rows.")
    rotary_positions: StrictBool | None = Field(
        default=None,
        exclude_if=lambda rotary: rotary is None,
        description="Queries and keys are rotated by position (default: unless positions are learned).",
    )
    norm: Literal["rms", "layer", "none"] = Field(
        default="rms",
        description="Norm parameters: rms has a gain, layer a gain and a bias, none has neither (OLMo 1).",
    )
    biases: StrictBool = Field(default=False, description="Linear layers of attention and feed-forward have biases.")
    qkv_biases: StrictBool | None = Field(default=None, description="Query, key, value biases (default: as biases).")
    short_conv: _Number = Field(
        default=0,
        description="Taps of a causal convolution along the sequence, per channel, before the mixer (0: none).",
    )

    num_experts: _Small | None = Field(default=None, description="Routed experts per mixture-of-experts layer.")
    experts_per_token: _Small | None = Field(default=None, description="Routed experts that a token visits.")
    shared_experts: _Number = Field(default=0, description="Experts that every token visits.")
    expert_ffn_width: _Size | None = Field(default=None, description="Inner size of one expert (default: ffn_width).")
    dense_layers: _Number = Field(default=0, description="First layers that stay dense in a mixture-of-experts model.")
    moe_every: _Small = Field(default=1, description="After those, every k-th layer is a mixture of experts.")

    q_lora_rank: _Size | None = Field(default=None, description="Latent attention: rank of queries (default: full).")
    kv_lora_rank: _Size | None = Field(default=None, description="Latent attention (MLA): rank of keys and values.")
    qk_rope_width: _Size | None = Field(default=None, description="Latent attention: rotary part of a head.")
    qk_nope_width: _Size | None = Field(default=None, description="Latent attention: part of a head without rotation.")
    v_head_width: _Size | None = Field(default=None, description="Latent attention: value part of a head.")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_family(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        family = data.get("family", "llama")
        # An unknown family, or mixer, is reported by the field itself.
        defaults = _FAMILY_DEFAULTS.get(family, {}) if isinstance(family, str) else {}
        if named_mixer(data.get("mixer", ATTENTION)) != ATTENTION.name:
            defaults = {"heads": 1, **defaults}
        return {**defaults, **data}

    @classmethod
    def unknown_key(cls, key: str) -> str | None:
        """What to tell the author of a key that is none, beside what is most like it."""
        return setting_of_mixers(key)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """Heads are required with attention only."""
        found = handler.resolve_ref_schema(handler(schema))
        found["required"].remove("heads")
        found |= {"if": _ATTENDS, "then": {"required": ["heads"]}}
        return found

    @model_validator(mode="after")
    def _check_mixer(self) -> Self:
        if self.mixer.name != "attention":
            for key in _OF_ATTENTION:
                if getattr(self, key) is not None:
                    name, value = self.mixer.name, getattr(self, key)
                    why = "attention alone has it: expected it left out, or mixer attention"
                    if key in type(self.mixer).model_fields:
                        why = f"a setting of the mixer stands with it: expected mixer: {{{name}: {{{key}: {value}}}}}"
                    raise FieldError(key, f"got {value} with mixer {name}; {why}")
            if self.heads != 1 and not self.mixer.has_heads:
                raise FieldError("heads", f"got {self.heads}; mixer {self.mixer.name} has none: expected it left out")
        if self.short_conv > self.context_length:
            expected = f"expected at most context_length {self.context_length}"
            raise FieldError("short_conv", f"got {self.short_conv}; {expected}")
        self.mixer_fits(self.context_length)
        return self

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.kv_lora_rank is not None:
            return self._check_latent_attention()
        for key in ("q_lora_rank", *_MLA_FIELDS):
            if getattr(self, key) is not None:
                raise FieldError(key, f"got {getattr(self, key)} without kv_lora_rank; expected both or neither")
        if self.head_width is None and self.width % self.heads:
            raise FieldError("heads", f"got {self.heads}, which doesn't divide width {self.width}; state head_width")
        if self.kv_heads is not None and self.heads % self.kv_heads:
            raise FieldError("kv_heads", f"got {self.kv_heads}; expected a divisor of heads {self.heads}")
        return self

    def _check_latent_attention(self) -> Self:
        for key in _MLA_FIELDS:
            if getattr(self, key) is None:
                raise FieldError(key, "is missing; latent attention (kv_lora_rank) needs it")
        for key in ("kv_heads", "head_width"):
            if getattr(self, key) is not None:
                raise FieldError(key, f"got {getattr(self, key)}; latent attention (kv_lora_rank) doesn't have it")
        for key in ("biases", "qkv_biases"):
            if getattr(self, key):
                raise FieldError(key, "got True; latent attention (kv_lora_rank) is counted without biases")
        return self

    @model_validator(mode="after")
    def _check_experts(self) -> Self:
        if (self.num_experts is None) != (self.experts_per_token is None):
            keys = ("num_experts", "experts_per_token")
            stated, missing = keys if self.experts_per_token is None else reversed(keys)
            raise FieldError(stated, f"got {getattr(self, stated)} without {missing}; expected both or neither")
        if self.num_experts is None or self.experts_per_token is None:
            for key in ("shared_experts", "expert_ffn_width", "dense_layers", "moe_every"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise FieldError(key, f"got {getattr(self, key)} without num_experts; expected both or neither")
            return self
        if self.experts_per_token > self.num_experts:
            expected = f"expected at most num_experts {self.num_experts}"
            raise FieldError("experts_per_token", f"got {self.experts_per_token}; {expected}")
        if self.moe_layers == 0:
            key, most = (
                ("dense_layers", self.layers - 1)
                if self.dense_layers >= self.layers
                else ("moe_every", self.layers - self.dense_layers)
            )
            none = "leaves no mixture-of-experts layer"
            raise FieldError(key, f"got {getattr(self, key)}; {none}: expected at most {most}")
        return self

    def mixer_fits(self, context_length: int) -> None:
        """Raise FieldError, with the key that is wrong, where the mixer can't be trained on sequences of this length.

        Those of a later stage of a run may be longer or shorter than the shape's own.
        """
        shape = self
        if context_length != self.context_length:
            if not self.mixer.any_context:
                raise FieldError(
                    "context_length",
                    f"got {context_length}; mixer {self.mixer.name} has weights for {self.context_length} places and "
                    f"takes no other context: expected {self.context_length}",
                )
            shape = self.model_copy(update={"context_length": context_length})
        try:
            self.mixer.check(shape)
        except FieldError as error:
            of_mixer = error.key in type(self.mixer).model_fields
            key = f"mixer.{self.mixer.name}.{error.key}" if of_mixer else error.key
            raise FieldError(key, error.message) from None

    def as_transformer(self) -> Architecture:
        """The same shape with attention for its mixer; how many heads changes neither parameters nor FLOPs."""
        return self.model_copy(update={"mixer": ATTENTION, "heads": 1})

    def with_mixer(self, mixer: Any) -> Architecture:
        """The same shape with another mixer, without what only its own has; ValidationError for one that doesn't fit.

        `mixer` is what a plan may state: a name, or {name: {setting: value}}. Attention needs a shape with heads.

        >>> shape = Architecture(layers=2, width=64, heads=4, ffn_width=128, vocab_size=256, context_length=64)
        >>> shape.with_mixer("attention") == shape
        True
        """
        known = mixers().get(named_mixer(mixer) or "")
        stated = {**self.model_dump(exclude_none=True), "mixer": mixer}
        if known is not None and known is not Attention:
            for key in (*_OF_ATTENTION, *(() if known.has_heads else ("heads",))):
                stated.pop(key, None)
        elif not self.mixer.has_heads:
            del stated["heads"]
        return type(self).model_validate(stated)

    @property
    def moe_layers(self) -> int:
        """Number of mixture-of-experts layers; 0 for a dense model."""
        if self.num_experts is None:
            return 0
        return max(0, self.layers - self.dense_layers) // self.moe_every

    def has_experts(self, layer: int) -> bool:
        """Whether the layer of this number, from 0, is a mixture of experts."""
        return (
            bool(self.moe_layers)
            and layer >= self.dense_layers
            and not (layer - self.dense_layers + 1) % self.moe_every
        )

    @property
    def parameter_counts(self) -> ParameterCounts:
        """Total, active and embedding parameters, exact."""
        embedding = self._table * (1 if self.tied_embeddings else 2)
        embedding += self.width * self.context_length if self.learned_positions else 0
        total, active = sum(self._body(self.num_experts or 0)), sum(self._body(self.experts_per_token or 0))
        return ParameterCounts(total=embedding + total, active=embedding + active, embedding=embedding)

    @property
    def params_total(self) -> int:
        """All parameters."""
        return self.parameter_counts.total

    @property
    def params_active(self) -> int:
        """Parameters that one token uses, embeddings included."""
        return self.parameter_counts.active

    @property
    def params_embedding(self) -> int:
        """Parameters in token and position tables and, unless tied, in the output head."""
        return self.parameter_counts.embedding

    @property
    def params_non_embedding(self) -> int:
        """Total parameters less the embedding ones: N of Kaplan et al. 2020 (arXiv:2001.08361), section 2.1."""
        counts = self.parameter_counts
        return counts.total - counts.embedding

    def forward_flops_per_token(self) -> float:
        """Return the FLOPs of one token's forward pass, averaged over a training sequence.

        2 FLOPs per weight of each matrix that the token meets: feed-forward or its routed and shared experts, router,
        and output head (tied or not); what the mixer says of itself (`core.model.mixers`). Looking up an embedding is
        free. Norms, softmax and biases are left out, below 1 %.

        Sources: Kaplan et al. 2020 (arXiv:2001.08361), table 1; PaLM (arXiv:2204.02311), appendix B; Chinchilla
        (arXiv:2203.15556), appendix F. They count T keys, causal or not, and Chinchilla the embedding lookup too.
        """
        mixers = self.layers * self.mixer.weights(self).matrices
        others = self._body(self.experts_per_token or 0).matrices - mixers
        return 2 * (others + self._table) + self.layers * self.mixer.flops(self).total

    def training_flops_per_token(self) -> float:
        """Return the FLOPs of training on one token: 3 × forward, as the backward pass costs twice the forward.

        Recomputed activations aren't counted: this is model FLOPs, the numerator of MFU.
        """
        return 3 * self.forward_flops_per_token()

    @property
    def attention_matrices(self) -> tuple[tuple[int, int, int], ...]:
        """Matrices of one attention layer: inputs, outputs, and what tensor parallelism splits, by number.

        See `core.model.mixers.members.attention`.
        """
        return attention_matrices(self)

    @property
    def _table(self) -> int:
        """Parameters of the token embedding table, and of the output head."""
        return self.vocab_size * self.width

    @property
    def attention_widths(self) -> tuple[int, int]:
        """Width of a key and of a value in one head, as attention scores see them."""
        return attention_widths(self)

    @property
    def kind(self) -> str:
        """What run tables and proxies call an architecture: transformer, or the mixer's name."""
        return "transformer" if self.mixer == ATTENTION else self.mixer.name

    @property
    def rotates(self) -> bool:
        """Whether queries and keys are rotated by position."""
        rotary = not self.learned_positions if self.rotary_positions is None else self.rotary_positions
        return rotary and self.mixer == ATTENTION

    def _feed_forward(self, inner: int) -> Weights:
        """Weights of one feed-forward network, or one expert, of inner size `inner`."""
        projections = 2 if self.ffn_gated else 1
        return Weights(
            matrices=(projections + 1) * self.width * inner,
            vectors=(projections * inner + self.width) * self.biases,
        )

    def _body(self, experts: int) -> Weights:
        """Weights of all blocks and the last norm, with `experts` routed experts counted per expert layer."""
        mixer, dense = self.mixer.weights(self), self._feed_forward(self.ffn_width)
        expert = self._feed_forward(self.expert_ffn_width or self.ffn_width)
        dense_layers, copies = self.layers - self.moe_layers, self.moe_layers * (experts + self.shared_experts)
        router = self.width * (self.num_experts or 0)
        convolution = self.short_conv * self.width  # a weight meets every token once, as in a matrix
        matrices = (
            self.layers * (mixer.matrices + convolution) + dense_layers * dense.matrices + copies * expert.matrices
        )
        vectors = self.layers * mixer.vectors + dense_layers * dense.vectors + copies * expert.vectors
        norms = (2 * self.layers + 1) * norm_size(self.norm, self.width)
        return Weights(matrices + self.moe_layers * router, vectors + norms)
