"""What requests may name: predictors and curve libraries, each by its name and never by a path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from ...core.errors import InputError
from ...core.units import shown
from ..curve.law.transfer import Library
from ..curve.store import load as load_curves
from ..predictor.predictor import Predictor
from ..predictor.storage.folder import DEFAULT, load, shipped

__all__ = ["DEFAULT", "Offered"]


class Offered:
    """Predictors and curve libraries of a server, by name. Those that ship are loaded when they are first named."""

    def __init__(self, predictors: Mapping[str, Path], curves: Mapping[str, Path]) -> None:
        self._folders = dict(predictors)
        self._loaded: dict[str, Predictor] = {name: _without_paths(name, load(at)) for name, at in predictors.items()}
        self._curves: dict[str, Library] = {name: load_curves(folder) for name, folder in curves.items()}
        self._lock = Lock()
        self.predictors = (*self._folders, *(name for name in shipped() if name not in self._folders))
        self.curves = tuple(self._curves)

    def predictor(self, name: str) -> Predictor:
        """The predictor of a name. Raises InputError with those that there are."""
        if name not in self.predictors:
            raise InputError(f"predictor: got {shown(name)}; expected one of {', '.join(self.predictors)}")
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = load(name)
            return self._loaded[name]

    def place(self, name: str) -> str:
        """What the command line calls the predictor of a name that there is: its folder, or the name itself."""
        folder = self._folders.get(name)
        return name if folder is None else str(folder.resolve())

    def own(self) -> list[dict[str, Any]]:
        """The predictors that the server was started with, and what they say of themselves."""
        return [{"name": name, "title": self._loaded[name].about.get("title")} for name in self._folders]

    def library(self, name: str) -> Library:
        """The curve library of a name. Raises InputError with those that there are."""
        if name not in self._curves:
            known = ", ".join(self.curves) or "none: start the server with --curves NAME=DIR"
            raise InputError(f"curves: got {shown(name)}; expected one of {known}")
        return self._curves[name]


def _without_paths(name: str, predictor: Predictor) -> Predictor:
    """A predictor under a server's name for it, and without the places of the files that it was made of."""
    about = dict(predictor.about)
    if isinstance(about.get("table"), str):
        about["table"] = Path(str(about["table"])).name
    about.pop("command", None)
    return replace(predictor, name=name, about=about)
