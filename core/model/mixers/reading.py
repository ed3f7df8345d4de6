"""A token mixer as a plan or a space states it: `mixer: hyena`, or `mixer: {hyena: {filter_width: 32}}`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from ...errors import ConfigError
from ...reading.fields import FieldError
from ...reading.members import member_schema, read_member
from .mixer import Mixer, Shape
from .registry import mixers

__all__ = ["OneMixer", "mixer_mapping", "named_mixer", "setting_of_mixers"]


def mixer_mapping(mixer: Mixer) -> str | dict[str, Any]:
    """A mixer as plain values, from which an equal one is read; its name alone where it has no settings.

    >>> from foretrain.core.model.mixers.members.attention import Attention
    >>> mixer_mapping(Attention())
    'attention'
    """
    settings = mixer.model_dump(mode="json")
    return {mixer.name: settings} if settings else mixer.name


def named_mixer(value: Any) -> str | None:
    """The name in what is to be read as a mixer, before it is read; None where no text names one."""
    named = next(iter(value), None) if isinstance(value, dict) else getattr(value, "name", value)
    return named if isinstance(named, str) else None


def setting_of_mixers(key: str) -> str | None:
    """What to tell the author of an unknown key that is a setting of some mixer; None for any other."""
    having = sorted(name for name, mixer in mixers().items() if key in mixer.model_fields)
    if not having:
        return None
    stated = " or ".join(f"mixer: {{{name}: {{{key}: …}}}}" for name in having)
    return f"a setting of a mixer stands with it; expected {stated}"


_TRANSFORMER = "transformer"
_read = read_member(Mixer, mixers, "mixer")


def _read_mixer(value: Any) -> Mixer:
    """A mixer as stated; of a key that is the shape's the message says so."""
    if named_mixer(value) == _TRANSFORMER:
        raise ConfigError(f"got {_TRANSFORMER}, which is a kind of model; expected its mixer, attention")
    try:
        return _read(value)
    except FieldError as error:
        name, _, key = error.key.partition(".")
        if key in vars(Shape) and key not in mixers()[name].model_fields:
            raise FieldError(error.key, "no setting of the mixer; expected it beside mixer, not in it") from None
        raise


OneMixer = Annotated[
    Mixer,
    PlainValidator(_read_mixer),
    PlainSerializer(mixer_mapping),
    WithJsonSchema(member_schema),
]
"""A field that holds one token mixer with its settings."""
