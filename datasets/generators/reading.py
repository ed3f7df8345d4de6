"""A generator as a space or a corpus states it: `generator: ngram`, or `generator: {ngram: {order: 7}}`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from ...core.reading.members import member_schema, read_member
from .generator import Generator
from .registry import generators

__all__ = ["OneGenerator", "generator_mapping"]


def generator_mapping(generator: Generator) -> dict[str, Any]:
    """A generator as plain values, complete with defaults, from which an equal one is read.

    >>> from foretrain.datasets.generators.registry import generators
    >>> generator_mapping(generators()["ngram"](order=3))
    {'ngram': {'seed': 0, 'order': 3}}
    """
    return {generator.name: generator.model_dump(mode="json")}


OneGenerator = Annotated[
    Generator,
    PlainValidator(read_member(Generator, generators, "generator")),
    PlainSerializer(generator_mapping),
    WithJsonSchema(member_schema),
]
"""A field that holds one generator with its settings."""
