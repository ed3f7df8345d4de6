"""How registries find their members: one file each in a folder, nothing else to change when one is added."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

__all__ = ["import_members"]


@cache
def import_members(package: str) -> None:
    """Import every module of a package whose name has no leading underscore, once; each registers what it defines."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{package}.{module.name}")
