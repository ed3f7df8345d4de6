"""Architectures of proxies: one file each, found by name. Several copies of a model compute at once."""

from ._model import BASE_WIDTH, ProxyModel, Role, Weight
from ._registry import build_model, models, register_model

__all__ = ["BASE_WIDTH", "ProxyModel", "Role", "Weight", "build_model", "models", "register_model"]
