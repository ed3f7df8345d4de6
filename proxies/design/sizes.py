"""The shapes of a ladder of models: width alone grows, and with it heads and feed-forward in proportion."""

from __future__ import annotations

from ...core.errors import ConfigError
from ...core.model.architecture import Architecture
from ...core.reading.fields import FieldError
from ...core.units import format_count
from .space import ProxySpace

__all__ = ["shapes"]


def shapes(space: ProxySpace, vocab_size: int) -> dict[float, Architecture]:
    """Return the shape of each entry of the space's `sizes` or `widths`, ascending.

    Raises ConfigError, with its place in the file, for a size below what such a model can have, for a width that the
    mixer can't have, and for two sizes that give the same model.
    """
    family = space.family(vocab_size)
    key = "sizes" if space.sizes else "widths"
    found: dict[float, Architecture] = {}
    for rung in space.rungs:
        try:
            shape = family.of_size(rung) if space.sizes else family.of_width(int(rung))
        except FieldError as error:
            raise space.problem(error) from None
        except ConfigError as error:
            raise space.problem(FieldError(key, str(error))) from None
        for other, same in found.items():
            if same.width == shape.width:
                both = f"{format_count(other)} and {format_count(rung)} both give width {shape.width}"
                size = format_count(shape.params_active)
                raise space.problem(FieldError(key, f"{both}, {size} parameters; drop one"))
        found[rung] = shape
    return found
