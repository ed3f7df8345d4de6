"""Configs that can't be read, and commands that can't be meant."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .case import Case, simulate

_SOUND = """\
name: small
model: {params: 1.3B}
data: {tokens: 100B}
"""


def cases() -> Iterator[Case]:
    """One broken config each, with a word that its refusal must hold."""
    broken = {
        "empty file": ("", "run.yaml"),
        "a list": ("- 1\n- 2\n", "run.yaml"),
        "negative tokens": (_SOUND.replace("100B", "-100B"), "data.tokens"),
        "misspelt section": (_SOUND.replace("model:", "modell:"), "model"),
        "unknown suffix": (_SOUND.replace("1.3B", "1.3X"), "model.params"),
        "NaN tokens": (_SOUND.replace("100B", ".nan"), "run.yaml:3"),
    }
    for name, (text, word) in broken.items():
        yield Case("config", name, partial(_refused, text, word))


def _refused(text: str, word: str, folder: Path) -> None:
    (folder / "run.yaml").write_text(text, encoding="utf-8")
    simulate(folder, "predict", "--config", "run.yaml").refused(word)
