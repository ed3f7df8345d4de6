"""What a plan may name, as plain values: accelerators, corpora, models, published prices, and its own fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ....core.version import __version__
from ....datasets.facts import accelerators, corpora, models, prices
from .plan_fields import plan_fields

__all__ = ["KNOWN", "known"]


def known(kind: str) -> dict[str, Any]:
    """Everything of a kind, with stable keys and units in the names, for JSON.

    Args:
        kind: A key of `KNOWN`.

    >>> [one["name"] for one in known("models")["models"]][:2]
    ['gpt-2', 'gpt-2-xl']
    """
    return {**KNOWN[kind](), "version": __version__}


def _accelerators() -> dict[str, Any]:
    found = [one.model_dump(mode="json") for one in accelerators.catalogue().values()]
    return {"accelerators": found}


def _corpora() -> dict[str, Any]:
    return {
        "kinds": dict(corpora.KINDS),
        "corpora": [one.model_dump(mode="json") for one in corpora.corpora().values()],
        "evaluation_sets": [one.model_dump(mode="json") for one in corpora.evaluation_sets().values()],
        "sources": dict(corpora.sources()),
    }


def _models() -> dict[str, Any]:
    found = []
    for one in models.models().values():
        plain = one.model_dump(mode="json", exclude={"shape"})
        counts = {"params_shape": one.shape.params_total, "params_active": one.shape.params_active}
        found.append({**plain, **counts, "architecture": one.shape.model_dump(mode="json")})
    return {"models": found, "sources": dict(models.sources())}


def _prices() -> dict[str, Any]:
    return {"prices": [one.to_dict() for one in prices.prices().values()], "sources": dict(prices.sources())}


def _fields() -> dict[str, Any]:
    return {"fields": [one.to_dict() for one in plan_fields()]}


KNOWN: Mapping[str, Callable[[], dict[str, Any]]] = {
    "accelerators": _accelerators,
    "corpora": _corpora,
    "models": _models,
    "prices": _prices,
    "fields": _fields,
}
"""What may be listed, and what lists it."""
