"""The contracts that members of registries meet, as checks that anybody can run on a member of their own.

    from foretrain.testing import check_law

    def test_my_term():
        check_law("general+my_term")

Names are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .architectures import check_architecture
    from .executors import check_executor
    from .generators import check_generator
    from .laws import check_law
    from .steps import check_step

__all__ = ["check_architecture", "check_executor", "check_generator", "check_law", "check_step"]

_HOMES = {
    "check_architecture": "architectures",
    "check_executor": "executors",
    "check_generator": "generators",
    "check_law": "laws",
    "check_step": "steps",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
