"""The batched trainer: many proxies of one shape in one set of tensor operations."""

from ._settings import EngineSettings
from ._train import train_group

__all__ = ["EngineSettings", "train_group"]
