"""Reading the body of a request: strict JSON, bounded in depth and size, as a checked model."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from ...core.reading.config_messages import Origins
from ...core.reading.config_reader import validated
from ...core.units import shown
from .answers import RefusedError

__all__ = ["body_as", "read_json"]

_MAX_DEPTH = 50
_MAX_VALUES = 20_000
_MAX_DIGITS = 400  # of a number, as in YAML: reading an integer takes time quadratic in its length

_Model = TypeVar("_Model", bound=BaseModel)


def body_as(model: type[_Model]) -> Callable[[Request], Awaitable[_Model]]:
    """What reads a request's body as a model; a dependency of FastAPI.

    Raises `RefusedError` for what isn't JSON, `ConfigError` for what isn't as the model wants it.
    """

    async def read(request: Request) -> _Model:
        return validated(model, read_json(await request.body()), Origins("request"))

    return read


def read_json(body: bytes) -> Any:
    """The value of a JSON document, no key twice, no NaN, nothing too deep. Raises `RefusedError`.

    >>> read_json(b'{"plan": {"tokens": 2e12}}')
    {'plan': {'tokens': 2000000000000.0}}
    >>> read_json(b'{"a": NaN}')
    Traceback (most recent call last):
        ...
    foretrain.simulator.web.answers.RefusedError: body: got NaN; expected a finite number
    """
    try:
        found = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_whole,
            parse_float=_real,
        )
    except UnicodeDecodeError as error:
        raise RefusedError(400, f"body: byte {error.start} isn't UTF-8; expected JSON") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise RefusedError(400, f"body: isn't JSON at {where} ({error.msg}); expected a JSON object") from None
    except RecursionError:
        raise RefusedError(400, f"body: nested deeper than {_MAX_DEPTH} levels") from None
    _check(found)
    return found


def _check(found: Any) -> None:
    """Raise RefusedError for a document that is too deep or too large, or holds what is no text."""
    level, count, depth = [found], 0, 0
    while level:
        depth += 1
        count += len(level)
        if depth > _MAX_DEPTH:
            raise RefusedError(400, f"body: nested deeper than {_MAX_DEPTH} levels")
        if count > _MAX_VALUES:
            raise RefusedError(413, f"body: more than {_MAX_VALUES} values")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
                below += value
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                _text(value)
        level = below


def _text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedError(400, "body: an escape isn't a character (half of a surrogate pair)") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RefusedError(400, f"body: {shown(twice)} is given twice in one object; expected each key once")
    return found


def _constant(text: str) -> NoReturn:
    raise RefusedError(400, f"body: got {text}; expected a finite number")


def _whole(text: str) -> int:
    _real(text)
    return int(text)


def _real(text: str) -> float:
    number = math.nan if len(text) > _MAX_DIGITS else float(text)
    if not math.isfinite(number):
        raise RefusedError(400, f"body: got {shown(text)}; expected a finite number below 1e308")
    return number
