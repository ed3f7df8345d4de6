"""The processor: its name, how many cores this process may use, and torch on one of them."""

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

__all__ = ["one_torch_thread", "processor_name", "usable_cores"]


def usable_cores() -> int:
    """Return how many cores this process may use, at least 1.

    A scheduler may leave it fewer than the machine has; where the system doesn't say, all of them count.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str:
    """Return the processor's name as the system gives it, else its architecture; for people, not to tell two apart."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return f"{value.strip()[:100]} ({platform.machine()})"
    return platform.processor() or platform.machine() or "an unknown processor"


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Limit torch to one thread for a while: the last bits of a result depend on how many there are.

    Afterwards it has as many as before.
    """
    import torch  # takes seconds

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
