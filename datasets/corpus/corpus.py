"""`Corpus`: the text to train on, by domain, as a `corpora.yaml` describes it.

    name: my-text
    tokenizer: {kind: bpe, vocab_size: 2048}
    validation_share: 0.05
    domains:
      books: {path: texts/books, unique_tokens: 20B, max_epochs: 4}
      web: {path: "web.*.jsonl.zst", select: [{dedup: {kind: minhash}}, {judge: {scores: judged.csv, keep: 0.3}}]}
      code: {path: code.train.jsonl.gz, validation_path: code.valid.jsonl.gz}
      py: {builtin: python_source}
      wiki: {path: wiki, provenance: {source: wiki dump, licence: CC BY-SA 4.0, origin: human}}
      known: {synthetic: {kind: zipf_markov, vocab_size: 512}}

Whatever is wrong comes as one `ConfigError` that lists each problem with its file, line, key, value and what would be
accepted. Nothing is read here but the description: `documents` reads the text, `quality` inspects it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from ...core.errors import ConfigError, CorpusError
from ...core.reading.config_reader import ConfigFile
from ...core.reading.fields import FieldError, Frozen, Label, PositiveCount, PositiveReal, Real, Whole, whole_schema
from ...core.units import shown
from ..provenance.provenance import Provenance
from ..selection.reading import Steps
from .builtin import BuiltinName
from .synthetic import SyntheticConfig

__all__ = ["Corpus", "Domain", "TokenizerConfig"]

_MAX_DOMAINS = 1_000
_LONGEST_NAME = 200  # of a `Label`
_MAX_EPOCHS = 1e6
# A byte-level BPE starts from 256 bytes; token ids are stored in 16 bits.
_BPE_VOCAB = (272, 65_536)
# The finest share that the split by document hash can tell from none.
_FINEST_SHARE = 1e-4


def _column_name(name: str) -> str:
    """Refuse domain names that couldn't be the `<domain>` of a `mix.<domain>` column in a CSV header."""
    if "," in name or name != name.strip():
        raise ConfigError(f"got {shown(name)}; expected a name without commas and without blanks at its ends")
    return name


class TokenizerConfig(Frozen):
    """How text becomes tokens: its UTF-8 bytes, or a byte-pair encoding learned on the corpus itself."""

    kind: Literal["bytes", "bpe"] = Field(default="bytes", description="bytes (256 values) or bpe (learned).")
    vocab_size: Annotated[Whole, Field(ge=_BPE_VOCAB[0], le=_BPE_VOCAB[1]), whole_schema(*_BPE_VOCAB)] | None = Field(
        default=None, description="Entries of the vocabulary of bpe, from 272 to 65,536."
    )

    @model_validator(mode="after")
    def _size_goes_with_kind(self) -> Self:
        if self.kind == "bpe" and self.vocab_size is None:
            raise FieldError("vocab_size", "is missing; bpe needs it, such as 2048")
        if self.kind == "bytes" and self.vocab_size is not None:
            raise FieldError("vocab_size", f"got {self.vocab_size}; bytes have 256 values, leave it out or use bpe")
        return self


class Domain(Frozen):
    """Where the text of one domain comes from: exactly one of `path`, `builtin` and `synthetic`.

    `unique_tokens` and `max_epochs` describe the real corpus that this text stands for, not the files.
    """

    path: Label | None = Field(default=None, description="File, folder or glob, relative to the corpora file.")
    validation_path: Label | None = Field(
        default=None, description="Ready-made validation split: file, folder or glob; then path is for training only."
    )
    text_field: Label = Field(default="text", description="Key or column that holds the text in records.")
    builtin: BuiltinName | None = Field(default=None, description="Text that every installation has.")
    synthetic: SyntheticConfig | None = Field(default=None, description="Source of exactly known entropy.")
    unique_tokens: PositiveCount | None = Field(
        default=None, description="Unique tokens in stock in the real corpus that this text stands for, such as 20B."
    )
    max_epochs: Annotated[PositiveReal, Field(le=_MAX_EPOCHS)] | None = Field(
        default=None, description="Most often that a plan may repeat the real corpus."
    )

    select: Steps = Field(
        default=(),
        description="Steps that choose which training documents are kept, in order, such as [{dedup: {kind: minhash}}, "
        "{judge: {scores: judged.csv, keep: 0.3}}]. Validation text is never selected.",
    )
    provenance: Provenance | None = Field(
        default=None,
        description="Where the text is from: source, licence, and what wrote it. Files that a provenance.json beside "
        "them lists have the one that is listed.",
    )

    @property
    def kind(self) -> Literal["path", "builtin", "synthetic"]:
        """Which of the three sources it is."""
        return "path" if self.path is not None else "builtin" if self.builtin is not None else "synthetic"

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        given = [key for key in ("path", "builtin", "synthetic") if getattr(self, key) is not None]
        if not given:
            raise ConfigError("names no text; expected one of path, builtin and synthetic")
        if len(given) > 1:
            raise FieldError(given[1], f"comes beside {given[0]}; expected one of the two")
        for key in ("validation_path", "text_field"):
            if self.path is None and key in self.model_fields_set and getattr(self, key) is not None:
                raise FieldError(key, f"got {shown(getattr(self, key))}; it goes with path only")
        if self.synthetic is not None and self.select:
            raise FieldError("select", "goes with text only; synthetic domains have tokens, not documents")
        if self.synthetic is not None and self.provenance is not None:
            raise FieldError("provenance", "goes with text only; synthetic domains are drawn from a known source")
        return self


class Corpus(ConfigFile):
    """A corpus: domains by name, a tokenizer, and the share of documents that is kept for validation.

    >>> corpus = Corpus.from_mapping({"domains": {"py": {"builtin": "python_source"}}})
    >>> corpus.domains["py"].kind, corpus.tokenizer.kind, corpus.validation_share
    ('builtin', 'bytes', 0.05)
    """

    noun = "corpus"
    needed = "domains"

    name: Label | None = Field(default=None, description="Name of the corpus, for reports.")
    tokenizer: TokenizerConfig = Field(default=TokenizerConfig(), description="How text becomes tokens.")
    validation_share: Annotated[Real, Field(ge=0, le=0.5)] = Field(
        default=0.05, description="Share of documents kept for validation, chosen by the hash of their text."
    )
    domains: dict[Annotated[Label, AfterValidator(_column_name)], Domain] = Field(
        description="Where the text of each domain comes from, by the domain's name."
    )

    @property
    def selection_kind(self) -> str | None:
        """The steps of all domains by name, joined by `+`, in the order in which they are met; None without any."""
        steps = [step.name for domain in self.domains.values() for step in domain.select]
        return "+".join(dict.fromkeys(steps)) or None

    @property
    def text_name(self) -> str:
        """What run tables call the text that is trained on: the corpus, `docs after dedup` if it selects."""
        name, kind = self.name or "corpus", self.selection_kind
        return name if kind is None else f"{name} after {kind}"[:_LONGEST_NAME]

    def domain(self, name: str) -> Domain:
        """Return one domain. Raises `CorpusError` that lists the domains if there is no such one."""
        if name not in self.domains:
            raise CorpusError(f"{self.where}: no domain {shown(name)}; the domains are {', '.join(self.domains)}")
        return self.domains[name]

    def to_mapping(self) -> dict[str, Any]:
        """Return plain data, complete with defaults, from which `from_mapping` makes an equal configuration.

        What a domain doesn't use is left out.
        """
        mapping = self.model_dump(mode="json")
        mapping["domains"] = {
            name: domain.model_dump(mode="json", exclude_unset=True, exclude_none=True)
            for name, domain in self.domains.items()
        }
        return mapping

    @field_validator("validation_share")
    @classmethod
    def _share_can_be_told(cls, share: float) -> float:
        if 0 < share < _FINEST_SHARE:
            raise ValueError(f"got {share:g}; expected 0 or at least {_FINEST_SHARE:g}")
        return share

    @field_validator("domains")
    @classmethod
    def _some_domains(cls, domains: dict[str, Domain]) -> dict[str, Domain]:
        if not 1 <= len(domains) <= _MAX_DOMAINS:
            raise ValueError(f"got {len(domains)} domains; expected 1 to {_MAX_DOMAINS}")
        return domains
