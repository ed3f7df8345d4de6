"""Keep the documents that a judge finds best."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator
from typing_extensions import override

from ....core.errors import ConfigError, CorpusError
from ....core.reading.fields import FieldError, Label, PositiveShare, Whole, whole_schema
from ....core.reading.members import member_schema, read_member
from ....core.units import shown
from ..judges import Judge, Judged, distil, judges
from ..quota import best
from ..registry import register_step
from ..scores import check_scores, read_labels, read_scores
from ..step import Chosen, Step, Texts, checked_facts

__all__ = ["JudgeStep"]

_JUDGES = ("scores", "model", "plugin", "labels")
_MOST_LABELS = 1_000_000


Plugin = Annotated[
    Judge,
    PlainValidator(read_member(Judge, judges, "judge")),
    PlainSerializer(lambda judge: {judge.name: judge.model_dump(mode="json")}),
    WithJsonSchema(member_schema),
]


@register_step("judge")
class JudgeStep(Step):
    """Keep the share of the bytes that a judge scores best. Exactly one judge is stated.

    Sachdeva et al. 2024 ("How to Train Data-Efficient LLMs", arXiv 2402.09668) keep the top 10 % by an instruction
    model. A judge that is too dear for every document labels `distil` of them, from which a classifier learns to score
    the rest.
    """

    keep: PositiveShare = Field(default=0.5, description="Share of the bytes that is kept, best first.")
    scores: Label | None = Field(
        default=None,
        description="File with a score for each document: .csv, .jsonl, .parquet or .npy; {domain} in its name is the "
        "domain's.",
    )
    model: Label | None = Field(
        default=None,
        description="Instruction model that is asked whether a text is worth training on: a folder, or a name that "
        "transformers knows.",
    )
    plugin: Plugin | None = Field(
        default=None, description="Judge of another package by name, or its name with its settings."
    )
    labels: Label | None = Field(
        default=None, description="File with labels (0 or 1) or scores of a few hundred documents to learn from."
    )
    column: Label | None = Field(
        default=None, description="Column of the file that holds scores (default: score) or labels (label)."
    )
    distil: Annotated[Whole, Field(ge=20, le=_MOST_LABELS), whole_schema(20, _MOST_LABELS)] | None = Field(
        default=None,
        description="Documents that a model or plug-in judges, drawn at random, for a classifier to learn from that "
        "judges all; without it, it judges all itself.",
    )

    @model_validator(mode="after")
    def _one_judge(self) -> Self:
        given = [key for key in _JUDGES if getattr(self, key) is not None]
        if len(given) != 1:
            raise ConfigError(f"got {' and '.join(given) or 'no judge'}; expected one of {', '.join(_JUDGES)}")
        if self.column is not None and given[0] not in ("scores", "labels"):
            raise FieldError("column", "goes with scores or labels only")
        if self.distil is not None and given[0] not in ("model", "plugin"):
            raise FieldError("distil", "goes with model or plugin only")
        return self

    @override
    def select(self, texts: Texts, rng: np.random.Generator) -> Chosen:
        judged = self._judged(texts, rng)
        return Chosen(best(judged.scores, texts.sizes_bytes, self.keep, rng), judged.scores, judged.facts)

    @override
    def inputs(self, folder: Path) -> list[Path]:
        if (judge := self._judge()) is not None:
            return judge.inputs(folder)
        return [folder / str(self.scores or self.labels)]

    def _judge(self) -> Judge | None:
        """The judge that reads texts, None where a file is read."""
        if self.model is not None:
            return judges()["ask_llm"].model_validate({"model": self.model})
        return self.plugin

    def _judged(self, texts: Texts, rng: np.random.Generator) -> Judged:
        """Scores of all documents, checked; of a judge that read texts, the facts say what it cost."""
        if self.scores is not None:
            return Judged(read_scores(texts.folder / self.scores, texts, self.column or "score"))
        if self.labels is not None:
            path = texts.folder / self.labels
            return distil(texts, read_labels(path, texts, self.column or "label"), str(path), self.seed)
        judge = self._judge()
        assert judge is not None  # exactly one is stated
        drawn = self._drawn(len(texts), rng)
        stream = (document.text for document, wanted in zip(texts, drawn, strict=True) if wanted)
        started = time.monotonic()
        judged = judge.judge(stream, texts.folder, texts.place)
        place, count = f"{texts.place}: {judge.name}", int(drawn.sum())
        given = _numbers(judged, place)
        facts = {"cost": {**checked_facts(judged.facts, place), "seconds": time.monotonic() - started}}
        if given.shape != (count,) or not np.isfinite(given).all():
            gave = f"{int(np.isfinite(given).sum())} finite scores" if given.ndim == 1 else f"scores of {given.shape}"
            raise CorpusError(f"{place}: gave {gave}; expected {count}, one for each document")
        scores = np.full(len(texts), np.nan)
        scores[drawn] = given
        if drawn.all():
            check_scores(scores, texts, judge.name)
            return Judged(scores, facts)
        learned = distil(texts, scores, f"labels by {judge.name}", self.seed)
        return Judged(learned.scores, {**learned.facts, **facts})

    def _drawn(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Which documents the judge itself reads `(n,)`: all, or as many as a classifier learns from."""
        drawn = np.ones(count, bool)
        if self.distil is not None and self.distil < count:
            drawn[rng.permutation(count)[self.distil :]] = False
        return drawn


def _numbers(judged: object, place: str) -> np.ndarray:
    """The scores of a judge, of another package perhaps. Raises CorpusError unless they are real numbers."""
    if not isinstance(judged, Judged):
        raise CorpusError(f"{place}: answers {shown(judged)}; expected a Judged")
    given = np.asarray(judged.scores)
    if given.dtype.kind not in "biuf":
        raise CorpusError(f"{place}: gave scores of type {given.dtype}; expected real numbers")
    return given.astype(float)
