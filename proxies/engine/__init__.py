"""The batched trainer: many proxies of one shape in one set of tensor operations."""

from typing import TYPE_CHECKING, Any

from ._settings import EngineSettings

if TYPE_CHECKING:
    from ._train import Progress, train_group

__all__ = ["EngineSettings", "Progress", "train_group"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, and whoever asks how a campaign stands doesn't need it
    if name in ("Progress", "train_group"):
        from . import _train

        return getattr(_train, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
