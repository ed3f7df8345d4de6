"""`ProxySpace`: which proxies a campaign may train, read from a `space.yaml` and checked as a whole.

    corpora: corpora.yaml
    time_budget: 8min
    sizes: [20k, 60k, 200k]
    tokens: [0.5M, 1M, 2M]
    seeds: 2
    lr: {low: 0.003, high: 0.03, points: 4}
    selections: [none, {select: [{dedup: {kind: minhash}}]}]
    mixes: {sample: 12, include: [uniform]}

A space has up to four parts. The ladder (always there) trains every size with one mix, on each of the `selections` of
its text, or with a mix for each of the `shares` of one domain, and gives every token count; `lr` as a range tunes the
learning rate beforehand; `mixes` trains many mixes, and `sobol` many settings, at few sizes. All of them start from
trained weights where `continue_from` says which.
Whatever is wrong comes as one `ConfigError` that lists each problem with its file, line, key, value and what would be
accepted. What is made of it is in `design`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StrictBool, model_validator

from ...core.model.mixers.members.attention import ATTENTION
from ...core.model.mixers.reading import OneMixer, named_mixer, setting_of_mixers
from ...core.model.mixers.registry import mixers
from ...core.reading.config_reader import ConfigFile, plain_schema
from ...core.reading.fields import Duration, FieldError, Label, PositiveReal, Whole, whole_schema
from ...core.units import shown
from ...datasets.corpus.corpus import Corpus
from ...datasets.selection.named import NamedSelection
from ...datasets.selection.step import Step
from ..runs import Recipe
from ..settings import EngineSettings
from ._space_parts import (
    Counts,
    DomainShares,
    LearningRates,
    MixSpec,
    SampledMixes,
    SobolPoints,
    Widths,
    lowest_lr,
    read_lr,
)
from .family import ModelFamily
from .selections import Selections

__all__ = ["ProxySpace"]

_Seed = Annotated[Whole, Field(ge=0, le=2**32 - 1), whole_schema(0, 2**32 - 1)]
_DEFAULT_LR = Recipe().lr
_BYTES = 256  # a vocabulary to check models with before that of the text is known
_TRANSFORMER = "transformer"
_HORIZON_FREE = ("constant", "inverse_sqrt")


class ProxySpace(ConfigFile):
    """The small proxy runs that a project may train, as read from YAML (`load`) or plain values (`from_mapping`).

    >>> space = ProxySpace.from_mapping({"corpora": "corpora.yaml", "sizes": ["20k", "60k"], "tokens": ["1M"]})
    >>> space.sizes, space.depth, space.lr.fixed
    ((20000.0, 60000.0), 4, 0.005)
    """

    noun = "space"
    needed = "corpora, sizes and tokens"

    corpora: Label = Field(description="The corpora file to train on, relative to this file.")
    time_budget: Duration | None = Field(
        default=None,
        description="Wall clock of the whole campaign, all workers together, such as 8min (default: none).",
    )
    seed: _Seed = Field(default=0, description="First of the runs' seeds, and seed of the design itself.")
    continue_from: Label | None = Field(
        default=None,
        exclude_if=lambda folder: folder is None,  # designs that were made before this key stay as they are
        description="The folder of a project or campaign whose runs kept their weights, relative to this file: each "
        "run starts from those of the run of its shape and seed (else of the lowest seed) with the most tokens, not "
        "from random ones; the optimizer starts afresh, with the recipe's warm-up.",
    )
    mixer: OneMixer = Field(
        default=ATTENTION,
        exclude_if=lambda mixer: mixer == ATTENTION,  # designs that were made before this key stay as they are
        description="What lets tokens see one another: attention, or another mixer by its name, "
        "or {name: {setting: value}}.",
    )
    model: Label = Field(
        default=_TRANSFORMER,
        description="Kind of model, by its name in proxies/models (default: transformer for attention, else the "
        "mixer's name).",
    )
    context_length: Annotated[Whole, Field(ge=8, le=65_536), whole_schema(8, 65_536)] = Field(
        default=128, description="Tokens per training sequence."
    )
    depth: Annotated[Whole, Field(ge=1, le=1_000), whole_schema(1, 1_000)] = Field(
        default=4, description="Layers; the same for every size, so that width alone changes along the ladder."
    )
    head_width: Annotated[Whole, Field(ge=2, le=1_024), whole_schema(2, 1_024)] = Field(
        default=32, description="Wanted size of an attention head; the nearest that divides the width is taken."
    )
    ffn_ratio: Annotated[PositiveReal, Field(le=100)] = Field(
        default=2.5, description="Inner size of the gated feed-forward network over width; rounded to a multiple of 8."
    )
    short_conv: Annotated[Whole, Field(ge=0, le=64), whole_schema(0, 64)] = Field(
        default=4,
        description="Taps of the causal convolution before the mixer; 0: none (default: 4 before attention, else 0).",
    )
    num_experts: Annotated[Whole, Field(ge=1, le=1_000), whole_schema(1, 1_000)] | None = Field(
        default=None,
        exclude_if=lambda experts: experts is None,
        description="Routed experts in every layer (default: none, a dense network).",
    )
    experts_per_token: Annotated[Whole, Field(ge=1, le=1_000), whole_schema(1, 1_000)] | None = Field(
        default=None,
        exclude_if=lambda experts: experts is None,
        description="Routed experts that a token visits.",
    )
    expert_ffn_ratio: Annotated[PositiveReal, Field(le=100)] | None = Field(
        default=None,
        exclude_if=lambda ratio: ratio is None,
        description="Inner size of one expert over width (default: ffn_ratio / experts_per_token, so that a token "
        "meets as many parameters as in a dense model).",
    )
    positions: Literal["rotary", "learned", "none"] | None = Field(
        default=None,
        exclude_if=lambda positions: positions is None,
        description="How the model knows places: rotary (attention only), learned, or none but what its mixer knows "
        "(default: rotary for attention, else none).",
    )
    tied_embeddings: StrictBool = Field(default=False, description="The output head is the token embedding table.")
    sizes: Counts | None = Field(
        default=None,
        description="Wanted parameters of each model, embeddings included, of experts those that a token visits; the "
        "nearest width is taken.",
    )
    widths: Widths | None = Field(default=None, description="Instead of sizes: widths, in multiples of 8.")
    tokens: Counts = Field(description="Training tokens: the points of the ladder along the data axis.")
    seeds: Annotated[Whole, Field(ge=1, le=100), whole_schema(1, 100)] = Field(
        default=1, description="Repetitions of each run of the ladder, each with a seed of its own."
    )
    batch_sequences: Annotated[Whole, Field(ge=1, le=10**6), whole_schema(1, 10**6)] = Field(
        default=8, description="Sequences of context_length tokens per step."
    )
    recipe: Recipe = Field(default=Recipe(), description="Optimisation of every run, all but the learning rate.")
    lr: Annotated[LearningRates, BeforeValidator(read_lr, json_schema_input_type=float | LearningRates)] = Field(
        default=LearningRates(low=_DEFAULT_LR, high=_DEFAULT_LR),
        description="Peak learning rate at width 64: a number, or a range that is tuned before the rest.",
    )
    mix: MixSpec = Field(
        default="natural",
        description="Mix of the ladder: natural (in proportion to the text in stock), uniform, or shares by domain.",
    )
    selections: Selections = Field(
        default=(),
        exclude_if=lambda selections: not selections,  # designs that were made before this key stay as they are
        description="Selections of the ladder's training text, each of which every run of the ladder is trained with: "
        "none (text as it is), or {name, select: steps as in corpora.yaml}. The mix stays that of all text.",
    )
    shares: DomainShares | None = Field(
        default=None,
        exclude_if=lambda shares: shares is None,
        description="In the place of mix, the ladder's mixes: one domain has each of these shares, and the others "
        "keep their proportions of mix.",
    )
    mixes: SampledMixes | None = Field(default=None, description="Further mixes, trained beside the ladder.")
    sobol: SobolPoints | None = Field(default=None, description="Further settings, trained beside the ladder.")
    engine: EngineSettings = Field(default=EngineSettings(), description="How the runs are computed.")

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON Schema of what `load` accepts, with descriptions and units."""
        schema = plain_schema(cls)
        del schema["$defs"]["Recipe"]["properties"]["lr"]
        schema["oneOf"] = [{"required": ["sizes"]}, {"required": ["widths"]}]
        return schema

    def to_mapping(self) -> dict[str, Any]:
        """Return plain data, complete with defaults, from which `from_mapping` makes an equal space."""
        return self.model_dump(mode="json", exclude={"recipe": {"lr"}})

    @property
    def corpora_path(self) -> Path:
        """Where the corpora file is."""
        return self.folder / self.corpora

    @property
    def continue_from_path(self) -> Path | None:
        """Where the runs are whose weights these start from; None for random weights."""
        return None if self.continue_from is None else self.folder / self.continue_from

    def family(self, vocab_size: int) -> ModelFamily:
        """The models that it describes, over a vocabulary of `vocab_size` tokens."""
        return ModelFamily(
            vocab_size=vocab_size,
            context_length=self.context_length,
            depth=self.depth,
            head_width=self.head_width,
            ffn_ratio=self.ffn_ratio,
            short_conv=self.short_conv,
            tied_embeddings=self.tied_embeddings,
            mixer=self.mixer,
            num_experts=self.num_experts,
            experts_per_token=self.experts_per_token,
            expert_ffn_ratio=self.expert_ffn_ratio,
            positions=self.positions,
        )

    def check_corpus(self, corpus: Corpus) -> None:
        """Raise ConfigError where the ladder is to be trained on selections of a mix that has no text."""
        selections = self.named_selections()  # all of the same domains
        if selections and not any(selections[0].applies_to(corpus, name) for name in corpus.domains):
            number = next(number for number, entry in enumerate(self.selections) if entry.select)
            why = "goes with text only; the domains of the ladder's mix are synthetic and have no documents"
            raise self.problem(FieldError(f"selections.{number}", why))

    def named_selections(self) -> list[NamedSelection]:
        """The selections for the token store, in order: all but `none`, of the domains that the ladder's mix has."""
        domains = None
        if not isinstance(self.mix, str):
            domains = frozenset(name for name, share in self.mix.items() if share > 0)
        found = []
        for number, entry in enumerate(self.selections):
            if (named := entry.named(_stated(self, number), domains)) is not None:
                found.append(named)
        return found

    @property
    def rungs(self) -> tuple[float, ...]:
        """The entries of `sizes` or of `widths`, ascending; `sizes` of a part refers to them."""
        return self.sizes or self.widths or ()

    @property
    def one_run_gives_every_token_count(self) -> bool:
        """Whether nothing in a run depends on its length, so that it passes through all shorter ones.

        A schedule that ends somewhere does, and so do the refreshes of a subset of the text.
        """
        return self.recipe.schedule in _HORIZON_FREE and self.recipe.subset is None

    @classmethod
    def unknown_key(cls, key: str) -> str | None:
        """What to tell the author of a key that is none, beside what is most like it."""
        return setting_of_mixers(key)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        """Read an empty section as one without settings; pass the recipe the lowest lr, to check lr_final against."""
        if not isinstance(data, dict):
            return data
        if "generations" in data and "generations" not in cls.model_fields:
            raise FieldError("generations", "goes with `simulate proxies generations`; expected it left out")
        data = cls._of_mixer(data)
        kept = {key: value for key, value in data.items() if value is not None or key not in ("recipe", "engine", "lr")}
        recipe, lr = kept.get("recipe", {}), lowest_lr(kept.get("lr", _DEFAULT_LR))
        if not isinstance(recipe, dict):
            return kept
        if "lr" in recipe:
            raise FieldError("recipe.lr", f"got {shown(recipe['lr'])}; expected it as lr of the space itself")
        return {**kept, "recipe": recipe if lr is None else {**recipe, "lr": lr}}

    @classmethod
    def _of_mixer(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The defaults that follow from the mixer; an unknown one is reported by its own field."""
        name = named_mixer(data.get("mixer", ATTENTION))
        if name == ATTENTION.name or name not in mixers():
            return data
        return {"model": name, "short_conv": 0, **data}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.sizes and self.widths:
            raise FieldError("widths", "comes beside sizes; expected one of the two")
        if not self.rungs:
            raise FieldError("sizes", "is missing; expected parameter counts such as [20k, 60k, 200k], or widths")
        for name, part in (("lr", self.lr), ("mixes", self.mixes), ("sobol", self.sobol)):
            for size in (part.sizes or ()) if part else ():
                if size not in self.rungs:
                    among = ", ".join(f"{rung:g}" for rung in self.rungs)
                    raise FieldError(f"{name}.sizes", f"got {size:g}; expected among the ladder's: {among}")
        if self.sobol is not None:
            self.sobol.check_against(self.recipe)
        if self.shares is not None and self.selections:
            raise FieldError("shares", "comes beside selections; expected one of the two")
        self._check_model()
        batch_tokens = self.batch_sequences * self.context_length
        if self.recipe.subset is not None and min(self.tokens) <= batch_tokens:
            got = f"got it for runs of {min(self.tokens):g} tokens, which are one step"
            raise FieldError("recipe.subset", f"{got}; expected more than {batch_tokens} tokens, or no subset")
        return self

    def _check_model(self) -> None:
        """Raise FieldError for a mixer, experts or positions that no model of the ladder can have."""
        mixer_of = {name: name for name in mixers()} | {_TRANSFORMER: ATTENTION.name}
        if (its := mixer_of.get(self.model, self.mixer.name)) != self.mixer.name:
            got = f"got {self.model}, whose mixer is {its}, with mixer {self.mixer.name}"
            raise FieldError("model", f"{got}; expected mixer: {its}, or model left out")
        if self.mixer != ATTENTION and self.positions == "rotary":
            raise FieldError(
                "positions", f"got rotary; mixer {self.mixer.name} rotates nothing: expected learned or none"
            )
        if not self.mixer.has_heads and self.head_width != type(self).model_fields["head_width"].default:
            name, expected = self.mixer.name, "it left out"
            if "head_width" in type(self.mixer).model_fields:
                expected = f"mixer: {{{name}: {{head_width: {self.head_width}}}}}"
            raise FieldError("head_width", f"got {self.head_width}; mixer {name} has no heads: expected {expected}")
        if self.expert_ffn_ratio is not None and self.num_experts is None:
            got = f"got {self.expert_ffn_ratio:g} without num_experts"
            raise FieldError("expert_ffn_ratio", f"{got}; expected both or neither")
        self.family(_BYTES).check(self.widths)


def _stated(space: ProxySpace, entry: int) -> Callable[[int, Step], str]:
    """Where the steps of an entry of `selections` stand."""

    def place(number: int, step: Step) -> str:
        keys = ("selections", str(entry), "select", str(number), step.name)
        return f"{space.place(*keys)}: {'.'.join(keys)}"

    return place
