"""The contract of an architecture of proxies, as checks that any registered one can be put through."""

from __future__ import annotations

from ..core.errors import ConfigError
from ..core.processors import one_torch_thread
from ._model_checks import CHECKS
from ._model_shapes import SHAPES, build
from ._training_checks import TRAINING_CHECKS

__all__ = ["CHECKS", "SHAPES", "TRAINING_CHECKS", "check_architecture", "possible_shapes"]


def check_architecture(name: str) -> None:
    """Put a registered architecture through every check, in every shape of `SHAPES` that it can have.

    It takes some seconds, most of them for a small model that is trained until it knows its source.

    Args:
        name: The name that the architecture is registered under.

    Raises:
        ConfigError: There is no such architecture, or it can't have the plain shape.
        ExceptionGroup: What failed, each exception with a note that names the check and the shape.

    >>> from foretrain.testing import check_architecture
    >>> check_architecture("transformer")
    """
    cases = [(check, (name, shape)) for shape in possible_shapes(name) for check in CHECKS]
    cases += [(check, (name,)) for check in TRAINING_CHECKS]
    failures: list[Exception] = []
    with one_torch_thread():
        for check, words in cases:
            try:
                check(*words)
            except Exception as failure:
                failure.add_note(f"{check.__name__} of {', shape '.join(words)}")
                failures.append(failure)
    if failures:
        raise ExceptionGroup(f"the architecture {name} fails {len(failures)} of {len(cases)} checks", failures)


def possible_shapes(name: str) -> list[str]:
    """The names of the shapes that an architecture can have.

    Raises ConfigError if there is no such architecture, or if it can't have the plain shape.
    """
    build(name, "plain")
    found = []
    for shape in SHAPES:
        try:
            build(name, shape)
        except ConfigError:
            continue
        found.append(shape)
    return found
