"""The cases of `benchmarks/gate.py`, one module per kind; each has `cases()`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from .case import Case

__all__ = ["Case", "all_cases"]


def all_cases() -> Iterator[Case]:
    """Every case of every kind, in the order of the modules' names."""
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        if module not in ("case", "printed"):
            yield from importlib.import_module(f"{__name__}.{module}").cases()
