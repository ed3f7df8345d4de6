"""How runs end, and the words that trackers and job schedulers use for it."""

from __future__ import annotations

__all__ = ["STATUSES", "STATUS_WORDS", "UNFINISHED_WORDS"]

STATUSES = ("ok", "diverged", "failed")
"""The values of the status column. Only `ok` rows are ever fitted."""

STATUS_WORDS: dict[str, str] = {
    **dict.fromkeys(("ok", "finished", "complete", "completed", "success", "succeeded", "done"), "ok"),
    **dict.fromkeys(("diverged", "divergent", "exploded", "nan"), "diverged"),
    **dict.fromkeys(("failed", "crashed", "killed", "canceled", "cancelled", "aborted", "error"), "failed"),
    **dict.fromkeys(("oom", "timeout", "stopped", "interrupted"), "failed"),
    **dict.fromkeys(("running", "pending", "scheduled", "preempting", "preempted"), "failed"),
}
"""Lower-case state words of W&B, MLflow and job schedulers → our status."""

UNFINISHED_WORDS = ("running", "pending", "scheduled", "preempting", "preempted")
"""States of runs that are not over: their loss isn't final, so they are marked failed and a note says so."""
