"""How many cores this process may use."""

import os

__all__ = ["usable_cores"]


def usable_cores() -> int:
    """Return how many cores this process may use, at least 1.

    A scheduler may leave it fewer than the machine has; where the system doesn't say, all of them count.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
