"""Leave out the documents that carry a watermark: text that a generator wrote with one of one's keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from typing_extensions import override

from ....core.errors import CorpusError, ForetrainError
from ....core.reading.fields import FieldError, Label, Real
from ....core.units import shown
from ...tokens.tokenizer import ByteTokenizer, load_tokenizer
from ...watermark.detection import ALPHA
from ...watermark.texts import detector_of_files, encoded, scan
from ..registry import register_step
from ..step import Chosen, Step, Texts

__all__ = ["WatermarkStep"]

_MOST_KEYS = 1000

Files = Annotated[
    tuple[Label, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    Field(min_length=1, max_length=_MOST_KEYS),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
"""One file or several."""


@register_step("watermark")
class WatermarkStep(Step):
    """Leave out documents whose green tokens are too many for text written without the keys.

    What is kept isn't known to be human: only marks of these keys are seen, and documents shorter than some tens of
    tokens show none.
    """

    ranks: ClassVar[bool] = False

    keys: Files = Field(
        description="File of a watermark (`key`, and `gamma`, `delta`, `context`, `vocab_size` where they aren't the "
        "defaults), or a list of such files, relative to the corpora file."
    )
    alpha: Annotated[Real, Field(gt=0, le=0.5)] = Field(
        default=ALPHA,
        description="The probability, at most, that a document written without the keys is left out, whatever their "
        "number.",
    )
    tokenizer: Label | None = Field(
        default=None,
        description="File of the tokenizer whose tokens are marked, as a token store holds it; by default they are "
        "bytes.",
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.keys)) < len(self.keys):
            raise FieldError("keys", f"got {shown(list(self.keys))}; expected each file once")
        return self

    @override
    def inputs(self, folder: Path) -> list[Path]:
        return [*self._key_files(folder), *([] if self.tokenizer is None else [folder / self.tokenizer])]

    @override
    def select(self, texts: Texts, rng: np.random.Generator) -> Chosen:
        try:
            tokenizer = ByteTokenizer() if self.tokenizer is None else load_tokenizer(texts.folder / self.tokenizer)
        except ForetrainError as problem:
            raise CorpusError(f"{texts.place}: {problem}") from None
        detector = detector_of_files(self._key_files(texts.folder), tokenizer, texts.place, CorpusError, self.alpha)
        found = scan(encoded(texts, tokenizer), detector)
        return Chosen(~found.marked, found.p, {"watermark": found.facts(texts.sizes_bytes, detector)})

    def _key_files(self, folder: Path) -> list[Path]:
        return [folder / name for name in self.keys]
