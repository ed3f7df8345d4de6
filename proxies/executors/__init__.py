"""Where groups of proxies are trained: one file per executor, found by name."""

from ._executor import DEATHS_ALLOWED, Executor, GroupJob, GroupOutcome
from ._registry import executor_names, get_executor, register_executor

__all__ = [
    "DEATHS_ALLOWED",
    "Executor",
    "GroupJob",
    "GroupOutcome",
    "executor_names",
    "get_executor",
    "register_executor",
]
