"""Where groups of proxies are trained: one file per executor, found by name."""

from ._executor import DEATHS_ALLOWED, Executor, GroupJob, Outcome
from ._registry import executor_names, get_executor, register_executor

__all__ = [
    "DEATHS_ALLOWED",
    "Executor",
    "GroupJob",
    "Outcome",
    "executor_names",
    "get_executor",
    "register_executor",
]
