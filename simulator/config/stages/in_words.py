"""Stages of a plan in one line each, as reports show them."""

from __future__ import annotations

from ....core.units import format_count
from ..model_and_data import DataConfig
from ..optimisation import OptimConfig
from ..text.names import corpus_text
from .spans import Span, spans
from .stage import DataStage, OptimStage, Stage

__all__ = ["stages_in_words"]


def stages_in_words(data: DataConfig, optim: OptimConfig) -> list[str]:
    """One line on the stages of the data and one on those of the optimisation, as far as a plan has any.

    >>> stages = {"name": "web", "mix": {"web": 1}}, {"share": 0.2, "mix": {"web": 0.5, "math": 0.5}}
    >>> data = DataConfig(tokens=100e9, stages=stages)
    >>> stages_in_words(data, OptimConfig())
    ['data in stages: web 80.0B of web 100 %; 20.0B of web 50 %, math 50 %']
    """
    found = []
    if data.stages:
        parts = [_of_data(*one) for one in zip(data.stages, spans(data.stages, data.tokens), strict=True)]
        found.append(f"data in stages: {'; '.join(parts)}")
    if optim.stages:
        parts = [_of_optim(*one) for one in zip(optim.stages, spans(optim.stages, data.tokens), strict=True)]
        found.append(f"optimisation in stages: {'; '.join(parts)}")
    return found


def _name(stage: Stage, span: Span) -> str:
    return f"{stage.name} {format_count(span.tokens)}" if stage.name else format_count(span.tokens)


def _of_data(stage: DataStage, span: Span) -> str:
    said = []
    if stage.mix is not None:
        said.append(", ".join(f"{name} {100 * share:.3g} %" for name, share in stage.mix.items()))
    if stage.corpus is not None:
        said.append(str(corpus_text(stage.corpus)))
    text = f"{_name(stage, span)} of {'; '.join(said)}" if said else _name(stage, span)
    return text if stage.context_length is None else f"{text}, sequences of {format_count(stage.context_length)}"


def _of_optim(stage: OptimStage, span: Span) -> str:
    said = [f"{_name(stage, span)} aside" if stage.branch else _name(stage, span)]
    if stage.warms_up:
        said.append("warming up")
    if stage.lr is not None:
        said.append(f"lr {stage.lr:g}")
    if stage.lr_final is not None:
        said.append(f"lr to {stage.lr_final:g}")
    if stage.batch_tokens is not None or stage.batch_tokens_final is not None:
        ends = [one for one in (stage.batch_tokens, stage.batch_tokens_final) if one is not None]
        said.append(f"batch {' to '.join(format_count(one) for one in ends)}")
    return ", ".join(said)
