"""`Progress`: what a long computation tells, now and then, to whoever waits for it."""

from collections.abc import Callable

__all__ = ["Progress"]

Progress = Callable[[str, float], None]
"""Called with what is being done, and what share of it is done, 0 to 1."""
