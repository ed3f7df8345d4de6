"""The error tree. Everything that foretrain raises on purpose is one of these.

    ForetrainError                exit code 5
    ├── UsageError                2   the command line itself is wrong
    │   ├── MissingExtraError         an optional library isn't installed
    │   └── RegistryError             a law, column, architecture … that claims a name that is taken
    ├── InputError                3   something the user gave us is wrong
    │   ├── ConfigError               a run configuration or an override
    │   ├── RunTableError             a table of runs
    │   ├── CorpusError               text to train on: missing, damaged, in the wrong form
    │   ├── CampaignError             a campaign of proxies: its folder, its data, groups that failed
    │   ├── PredictorError            a predictor directory: missing, damaged, foreign
    │   ├── LogError                  the log of a running job: missing, damaged, without a loss
    │   └── FitError                  the data can't support what was asked
    ├── OutputError               3   standard output is closed or full; 1 where its reader has left
    └── InfeasibleError           4   nothing satisfies the stated constraints

A message says what was wrong, where (file, line, column, key), which value, and what would be accepted.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = [
    "CampaignError",
    "ConfigError",
    "CorpusError",
    "DataWarning",
    "ExtrapolationWarning",
    "FitError",
    "ForetrainError",
    "ForetrainWarning",
    "InfeasibleError",
    "InputError",
    "LogError",
    "MissingExtraError",
    "OutputError",
    "PluginWarning",
    "PredictorError",
    "RegistryError",
    "RunTableError",
    "UsageError",
]


class ForetrainError(Exception):
    """Base class of every error that foretrain raises on purpose.

    `exit_code` is the exit status of the command line for this kind of error.

    >>> import foretrain
    >>> try:
    ...     foretrain.RunConfig.from_mapping({"model": {"params": "7B"}})
    ... except foretrain.ForetrainError as error:
    ...     print(type(error).__name__, error.exit_code, "data" in str(error))
    ConfigError 3 True
    """

    exit_code: int = 5

    def to_dict(self) -> dict[str, Any]:
        """The error as plain values: `kind`, `message`, and of its sentence `where`, `got` and `expected`, None each
        where it doesn't say so; of several lines `others` has the rest.

        >>> ConfigError("run.yaml:3: data.tokens: got '1X'; expected a count").to_dict()["where"]
        'run.yaml:3: data.tokens'
        """
        return error_parts(type(self).__name__, str(self))


_GOT = re.compile(r"(?P<where>.*?): got (?P<got>.*?)(?:[;,] (?P<expected>expected .*))?")
_PLACE = re.compile(r"(?P<where>\S+:\d+: [\w.\[\]-]+|\S.*?): (?P<got>.*?)(?:[;,] (?P<expected>expected .*))?")


def error_parts(kind: str, message: str) -> dict[str, Any]:
    """What `ForetrainError.to_dict` gives, of a message by whoever raised it."""
    first, *others = message.splitlines() or [""]
    found = _GOT.fullmatch(first) or _PLACE.fullmatch(first)
    parts: dict[str, Any] = {"kind": kind, "message": message, "where": None, "got": None, "expected": None}
    if found is not None:
        parts |= {name: text and text.removeprefix("expected ") for name, text in found.groupdict().items()}
    if others:
        parts["others"] = [{k: v for k, v in error_parts(kind, line).items() if k != "kind"} for line in others]
    return parts


class UsageError(ForetrainError):
    """The command line or the call is wrong, whatever the data say."""

    exit_code = 2


class RegistryError(UsageError):
    """A member of a registry (a law, a column, an architecture, …) can't be added, since its name is taken."""


class MissingExtraError(UsageError, ImportError):
    """What was asked for needs an optional library; the message says how to install it. Also an ImportError."""


class InputError(ForetrainError, ValueError):
    """Something the user gave us is wrong. Also a ValueError, so that plain Python code may catch it as one."""

    exit_code = 3


class ConfigError(InputError):
    """A run configuration, or a `--set` override, is wrong."""


class RunTableError(InputError):
    """A table of runs is wrong."""


class CorpusError(InputError):
    """Text to train on is missing, damaged, or not in the form that was promised."""


class CampaignError(InputError):
    """A campaign's folder isn't what is needed, is in use, its tokens have changed, or some of its groups failed."""


class PredictorError(InputError):
    """A predictor directory is missing, damaged, or not one of ours."""


class LogError(InputError):
    """The log of a running job is missing, damaged, or says nothing that the plan could be held against."""


class FitError(InputError):
    """The table can't support the fit that was asked for."""


class OutputError(ForetrainError):
    """What was to be printed can't be: standard output is closed, full, or nobody reads it any more."""

    def __init__(self, message: str, exit_code: int = 3) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class InfeasibleError(ForetrainError):
    """No configuration satisfies the constraints; the message names the binding one."""

    exit_code = 4


class ForetrainWarning(UserWarning):
    """Base class of every warning that foretrain issues."""


class DataWarning(ForetrainWarning):
    """The data look wrong or were changed (unit slips, dropped rows, renormalised mixes)."""


class ExtrapolationWarning(ForetrainWarning):
    """A prediction lies beyond, or beside, what the law was fitted on."""


class PluginWarning(ForetrainWarning):
    """Another package's entry point could not be loaded, or claims a name that is taken; it is left out."""
