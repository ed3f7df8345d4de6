"""`GenerationsSpace`: a space of proxies with a section `generations`, read from a YAML file and checked as a whole.

    corpora: corpora.yaml
    widths: [48]
    tokens: [400k]
    seeds: 2
    generations: {count: 3, regimes: [replace, accumulate_fixed], real_shares: [0, 0.5], unique_tokens: 208k}

Every other key is that of `ProxySpace`: one size, one token count (that of a generation) and one learning rate; what
designs a ladder isn't for chains.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from ...core.errors import ConfigError, ForetrainError
from ...core.reading.config_messages import first_problem
from ...core.reading.fields import (
    FieldError,
    Frozen,
    Label,
    PositiveCount,
    PositiveShare,
    Real,
    Share,
    Whole,
    whole_schema,
)
from ...core.reading.members import member_schema, read_member
from ...core.units import shown
from ...datasets.generators.generator import Generator
from ...datasets.generators.reading import generator_mapping
from ...datasets.generators.registry import generators
from ...datasets.provenance.regimes import Regime
from ...datasets.selection.steps.watermark import Files
from ...datasets.tokens.store import TokenStore
from ...datasets.watermark.detection import ALPHA, Detector
from ...datasets.watermark.green import Watermark
from ...datasets.watermark.key_files import read_watermark
from ..design.space import ProxySpace
from ..sampling.settings import SamplingSettings

__all__ = ["SELF", "GenerationsSection", "GenerationsSpace"]

SELF = "self"
"""The generator that is the chain's own proxy."""

_ONE_EACH = ("sizes", "widths", "tokens")
_OF_LADDERS = ("time_budget", "continue_from", "selections", "shares", "mixes", "sobol")


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse none, and one twice. A least length of pydantic's would also be missed where a value is wrong."""
    if not values:
        raise ConfigError("got none; expected one at least")
    if len(set(values)) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise FieldError(str(values.index(twice)), f"got {shown(twice)} twice; expected each once")
    return values


def _read_generator(value: Any) -> Generator | None:
    """Read a generator; None for `self`."""
    return None if value is None or value == SELF else read_member(Generator, generators, "generator")(value)


def _generator_mapping(generator: Generator | None) -> Any:
    return SELF if generator is None else generator_mapping(generator)


class Marks(Frozen):
    """The marks that are looked for, with the keys that the step `watermark` of a selection has."""

    keys: Files = Field(description="File of a watermark, or a list of such files, relative to this file.")
    alpha: Annotated[Real, Field(gt=0, le=0.5)] = Field(
        default=ALPHA, description="The probability, at most, that a sample written without the keys is left out."
    )


class Filter(Frozen):
    """What is left out of written text."""

    watermark: Marks = Field(description="Samples that carry one of these marks.")


class GenerationsSection(Frozen):
    """The chains: how many generations, what their corpora are made of, and what writes their text."""

    count: Annotated[Whole, Field(ge=1, le=1_000), whole_schema(1, 1_000)] = Field(
        default=3, description="Generations after generation 0, which is trained on real text."
    )
    regimes: Annotated[tuple[Regime, ...], AfterValidator(_distinct)] = Field(
        default=("replace", "accumulate_fixed"),
        description="What a generation's corpus is made of: replace, accumulate, accumulate_fixed, subsample, fresh.",
    )
    real_shares: Annotated[tuple[Share, ...], AfterValidator(_distinct)] = Field(
        default=(0.0,), description="Shares of real text in every generation's corpus: a chain of replace for each."
    )
    unique_tokens: PositiveCount | None = Field(
        default=None,
        description="Distinct tokens of real text, and of the text that is written for each generation (default: all "
        "training text of the mix).",
    )
    generator: Annotated[
        Generator | None,
        PlainValidator(_read_generator),
        PlainSerializer(_generator_mapping),
        WithJsonSchema({"anyOf": [{"const": SELF}, member_schema]}),
    ] = Field(
        default=None,
        description="What writes: self (each chain's own proxy), or a generator that is fitted to each chain's corpus, "
        "such as ngram or {ngram: {order: 7}}.",
    )
    temperature: Annotated[Real, Field(ge=0, le=100)] | None = Field(
        default=None, description="self: the logits are divided by it; 0 takes the likeliest token (default: 1)."
    )
    top_p: PositiveShare | None = Field(
        default=None, description="self: the likeliest tokens that hold this share are sampled from (default: 1, all)."
    )
    watermark: Label | None = Field(
        default=None,
        exclude_if=lambda path: path is None,
        description="self: the file of a watermark that every sample gets (key, and gamma, delta, context), relative "
        "to this file.",
    )
    filter: Filter | None = Field(
        default=None,
        exclude_if=lambda steps: steps is None,
        description="What is left out of written text before it is trained on; as many windows of the real text take "
        "its place.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for number, share in enumerate(self.real_shares):
            if share == 1:
                raise FieldError(
                    f"real_shares.{number}", "got 1, which leaves nothing to write; expected below 1, or regime fresh"
                )
        names = [f"{share:g}" for share in self.real_shares]  # by which runs are called
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise FieldError("real_shares", f"got two shares that both read {twice}; expected shares further apart")
        for name in ("temperature", "top_p", "watermark"):
            if self.generator is not None and getattr(self, name) is not None:
                raise FieldError(name, f"goes with the generator self; {self.generator.name} has settings of its own")
        self.sampling()
        if "replace" not in self.regimes and self.real_shares != (0.0,):
            got = f"got {', '.join(f'{share:g}' for share in self.real_shares)} without the regime replace"
            raise FieldError("real_shares", f"{got}; expected replace among the regimes, or no shares")
        return self

    @property
    def writer(self) -> str:
        """The name of what writes, as run tables have it."""
        return SELF if self.generator is None else self.generator.name

    def sampling(self) -> SamplingSettings:
        """How each chain's own proxy is sampled, its watermark aside."""
        given = {"temperature": self.temperature, "top_p": self.top_p}
        wanted = {name: value for name, value in given.items() if value is not None}
        try:
            return SamplingSettings.model_validate(wanted)
        except ValidationError as error:
            raise first_problem(error, SamplingSettings, SELF) from None

    def chains(self) -> list[tuple[Regime, float]]:
        """The regime and real share of each chain of a seed, in order."""
        return [
            (regime, share)
            for regime in self.regimes
            for share in (self.real_shares if regime == "replace" else (0.0,))
        ]


class GenerationsSpace(ProxySpace):
    """Chains of proxies over generations, as read from YAML (`load`) or plain values (`from_mapping`).

    >>> space = GenerationsSpace.from_mapping(
    ...     {"corpora": "c.yaml", "widths": [48], "tokens": ["400k"], "generations": {"real_shares": [0, 0.5]}}
    ... )
    >>> space.generations.count, space.generations.chains()
    (3, [('replace', 0.0), ('replace', 0.5), ('accumulate_fixed', 0.0)])
    """

    noun = "space"
    needed = "corpora, widths or sizes, tokens and generations"

    generations: GenerationsSection = Field(description="The chains that are trained.")

    def watermark(self) -> Watermark | None:
        """The watermark that samples get, None for none. Raises ConfigError, with its line, where it can't be read."""
        named = self.generations.watermark
        try:
            return None if named is None else read_watermark(self.folder / named)
        except ForetrainError as problem:
            raise self.problem(FieldError("generations.watermark", str(problem))) from None

    def detector(self, store: TokenStore) -> Detector | None:
        """What finds the marks that are filtered, None for no filter.

        Raises ConfigError, naming file and line, where a key can't be read, or marks another vocabulary.
        """
        if self.generations.filter is None:
            return None
        step = self.generations.filter.watermark
        try:
            marks = [read_watermark(self.folder / name) for name in step.keys]
            digest = None if store.tokenizer is None else store.tokenizer.digest
            return Detector(marks, store.vocab_size, step.alpha, digest)
        except ForetrainError as problem:
            raise self.problem(FieldError("generations.filter.watermark", str(problem))) from None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        for name in _ONE_EACH:
            values = getattr(self, name)
            if values and len(values) > 1:
                raise FieldError(name, f"got {len(values)} values; expected one, as chains have one length and size")
        for name in _OF_LADDERS:
            if getattr(self, name):
                raise FieldError(name, "doesn't go with generations; expected it left out")
        if self.lr.fixed is None:
            raise FieldError("lr", "got a range; expected one learning rate, such as the one that a design has chosen")
        if self.recipe.subset is not None:
            raise FieldError("recipe.subset", "doesn't go with generations; expected it left out")
        return self
