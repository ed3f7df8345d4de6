"""Answers as JSON, and errors as the one document that they are everywhere: kind, message, where, got, expected."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ...core.errors import ForetrainError, InfeasibleError, InputError, UsageError, error_parts
from ...core.output.plain import bounded

__all__ = ["Answer", "RefusedError", "answer_errors", "error_answer", "of_error"]

_log = logging.getLogger(__name__)

_SAID = {
    404: "there is nothing here",
    405: "this method isn't answered here",
}
_STATUS = ((UsageError, 400), (InputError, 422), (InfeasibleError, 409))
_BEYOND = "the figures of this are beyond the range of numbers; expected sizes that a run has"
_INTERNAL = "the server failed at this; its log says more"


class RefusedError(ForetrainError):
    """A request that is refused before anything is computed, with the status to answer."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class Answer(Response):
    """Plain values as JSON, without NaN or infinities."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes of the document. Raises InputError where a figure is no number: what was asked is beyond all."""
        try:
            return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except ValueError:
            raise InputError(_BEYOND) from None


def error_answer(status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An error as its document."""
    return Answer({"error": error_parts(kind, bounded(message))}, status, headers=dict(headers or {}))


def of_error(error: Exception) -> Answer:
    """The answer to whatever was raised; what nobody raised on purpose is logged, and not told."""
    if isinstance(error, RefusedError):
        return error_answer(error.status, "RequestError", str(error), error.headers)
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return error_answer(status, type(error).__name__, str(error))
    if isinstance(error, HTTPException):
        said = _SAID.get(error.status_code, error.detail)
        return error_answer(error.status_code, "RequestError", said, error.headers)
    if isinstance(error, RequestValidationError):
        return error_answer(422, "RequestError", "the address has a part that can't be read")
    if isinstance(error, OverflowError):
        return error_answer(422, "InputError", _BEYOND)
    _log.error("a request failed", exc_info=error)
    return error_answer(500, "InternalError", _INTERNAL)


async def _handled(_request: Request, error: Exception) -> Response:
    return of_error(error)


def answer_errors(app: FastAPI) -> None:
    """Answer errors of the app's own with `of_error`."""
    for kind in (ForetrainError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _handled)
