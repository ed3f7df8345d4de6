"""A token mixer as a plan or a space states it: `mixer: hyena`, or `mixer: {hyena: {filter_width: 32}}`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from ...reading.members import member_schema, read_member
from .mixer import Mixer
from .registry import mixers

__all__ = ["OneMixer", "mixer_mapping"]


def mixer_mapping(mixer: Mixer) -> str | dict[str, Any]:
    """A mixer as plain values, from which an equal one is read; its name alone where it has no settings.

    >>> from foretrain.core.model.mixers.members.attention import Attention
    >>> mixer_mapping(Attention())
    'attention'
    """
    settings = mixer.model_dump(mode="json")
    return {mixer.name: settings} if settings else mixer.name


OneMixer = Annotated[
    Mixer,
    PlainValidator(read_member(Mixer, mixers, "mixer")),
    PlainSerializer(mixer_mapping),
    WithJsonSchema(member_schema),
]
"""A field that holds one token mixer with its settings."""
