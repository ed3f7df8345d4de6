"""All that models compute before a run starts: scores of its documents, and text to train on."""

from __future__ import annotations

from ...config.run_config import RunConfig
from .generating import generating, generating_notes
from .inference import Inference
from .judging import judging, judging_notes

__all__ = ["BEFORE_RUN", "before_run", "before_run_notes"]

BEFORE_RUN: tuple[str, ...] = ("judging", "generating")
"""Names of what may be computed, in the order in which parts of a cost are told."""


def before_run(config: RunConfig) -> dict[str, Inference]:
    """What a plan has computed before it starts, by its name of BEFORE_RUN.

    >>> plain = {"model": {"params": "7B"}, "data": {"tokens": "2T"}}
    >>> before_run(RunConfig.from_mapping(plain))
    {}
    """
    both = zip(BEFORE_RUN, (judging(config), generating(config)), strict=True)
    return {name: one for name, one in both if one is not None}


def before_run_notes(config: RunConfig) -> list[str]:
    """What was taken of it without being said."""
    return [*judging_notes(config), *generating_notes(config)]
