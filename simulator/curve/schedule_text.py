"""A schedule in one word of a command line: `wsd,steps=24000,warmup=2000,final=0.1`, or a CSV file of rates."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from ...core.errors import ConfigError, UsageError
from ...core.units import parse_whole, shown
from ..config.optimisation import OptimConfig
from .rates.path import RatePath
from .rates.planned_rates import rates
from .reading import read_rates

_FORM = (
    "NAME,steps=24000,warmup=2000,final=0.1 with NAME one of cosine, linear, wsd (also decay=0.2 and form=linear, "
    "exponential or sqrt), constant, inverse_sqrt, multistep, piecewise (8000=0.3,80%=0.1: shares of the peak from a "
    "step or part of the run on), points (0=0,10%=1,100%=0: straight lines between); or a .csv file with step and lr"
)
_KEYS = {"warmup": "warmup_steps", "final": "lr_final", "decay": "decay_share", "form": "decay_form"}
_MOMENTS = {"piecewise": "lr_steps", "points": "lr_points"}


def path_of_text(text: str) -> RatePath:
    """Learning rates of a schedule as written on the command line; the peak is 1. UsageError names what is expected."""
    if text.lower().endswith(".csv"):
        return read_rates(text)
    name, *pairs = (part.strip() for part in text.split(","))
    found: dict[str, Any] = {"schedule": name, "lr": None if name == "points" else 1.0}
    steps = 0
    try:
        for pair in pairs:
            key, equals, value = (part.strip() for part in pair.partition("="))
            if key == "steps":
                steps = parse_whole(value)
            elif key in _KEYS:
                found[_KEYS[key]] = value if key in ("form", "warmup") else float(value)
            elif name in _MOMENTS and equals:
                found.setdefault(_MOMENTS[name], {})[key] = float(value)
            else:
                raise ConfigError(f"got {shown(pair)}")
        if steps < 1:
            raise ConfigError("steps are missing")
        return rates(OptimConfig.model_validate(found), steps, "")
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{'.'.join(map(str, first['loc']))} {first['msg']}".strip()
        raise UsageError(f"--schedule: {shown(text)}: {what}; expected {_FORM}") from None
    except ValueError as error:
        raise UsageError(f"--schedule: {shown(text)}: {error}; expected {_FORM}") from None
