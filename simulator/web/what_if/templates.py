"""Templates of the page, which are made of the same pieces as a report."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from ...report.documents.html import environment

if TYPE_CHECKING:
    import jinja2

__all__ = ["page_environment"]


@cache
def page_environment() -> jinja2.Environment:
    """The report's templates, and before them those of the page."""
    import jinja2

    shared = environment()
    assert shared.loader is not None
    return shared.overlay(loader=jinja2.ChoiceLoader([jinja2.FunctionLoader(_own), shared.loader]))


def _own(name: str) -> str | None:
    file = resources.files("foretrain.simulator.web").joinpath("page", name)
    return file.read_text(encoding="utf-8") if file.is_file() else None
