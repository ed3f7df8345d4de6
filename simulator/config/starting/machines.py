"""How many of which accelerator, in a word: `512xH100`."""

from __future__ import annotations

import re

from ....core.errors import ConfigError
from ....core.units import parse_whole, shown
from ....datasets.facts.accelerators import accelerator, find

__all__ = ["read_machines"]

_MOST = 10**7
_MACHINES = re.compile(r"\s*(?P<count>[^xX×*]+?)\s*[xX×*]\s*(?P<name>.*?)\s*")


def read_machines(text: str) -> tuple[int, str]:
    """Read a number of accelerators and their name.

    Args:
        text: Such as `512xH100`, `8 x H100` or `1k×MI300X`; names as in the catalogue, whatever their case and signs.

    Returns:
        The number, and the name in the catalogue.

    Raises:
        ConfigError: It isn't written so, or the catalogue has no such accelerator; the message names the nearest ones.

    >>> read_machines("512xH100")
    (512, 'H100-SXM-80')
    """
    found = _MACHINES.fullmatch(text[:300]) if isinstance(text, str) else None
    if found is None or not found["name"]:
        lone = isinstance(text, str) and find(text) is not None
        example = f"8x{text.strip()}" if lone else "512xH100"
        raise ConfigError(f"got {shown(text)}; expected a number of accelerators and their name, such as {example}")
    try:
        count = parse_whole(found["count"])
    except ConfigError:
        count = 0
    if not 1 <= count <= _MOST:
        raise ConfigError(f"got {shown(text)}; expected 1 to {_MOST:,} accelerators, such as 512xH100")
    return count, accelerator(found["name"]).name
