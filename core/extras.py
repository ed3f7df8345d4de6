"""Libraries that only some questions need: the extra that brings each, and the one message where one is missing.

A plain installation answers everything about runs; `foretrain[proxies]` trains small models, `foretrain[charts]` draws
pictures and reports, `foretrain[serve]` serves them, `foretrain[excel]` reads workbooks.
"""

from __future__ import annotations

import importlib.util

from .errors import MissingExtraError

__all__ = ["EXTRAS", "has", "require"]

EXTRAS = {
    "datasketch": "selection",
    "fastapi": "serve",
    "h11": "serve",
    "jinja2": "charts",
    "markupsafe": "charts",
    "openpyxl": "excel",
    "psycopg": "postgresql",
    "ray": "ray",
    "safetensors": "proxies",
    "sklearn": "sklearn",
    "starlette": "serve",
    "tokenizers": "proxies",
    "torch": "proxies",
    "transformers": "judge",
    "uvicorn": "serve",
    "vl_convert": "charts",
}
"""The extra of pyproject.toml that brings a library, by the name that it is imported by."""


def has(library: str) -> bool:
    """Whether a library can be imported; it isn't, as some take seconds."""
    try:
        return importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):  # what some other finder says, and a module that was put in place by hand
        return False


def require(purpose: str, *libraries: str) -> None:
    """Raise MissingExtraError, with the command that installs it, if a library of `EXTRAS` is missing.

    `purpose` is what needs them, as the message begins: "a chart" needs vl_convert.
    """
    for library in libraries:
        if not has(library):
            raise MissingExtraError(
                f"{purpose} needs {library}; install it with: pip install 'foretrain[{EXTRAS[library]}]'"
            )
