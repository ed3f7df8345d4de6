"""A worker process of the local executor: jobs in, outcomes out, one line of JSON each.

It exits at once when its standard input ends, since the process that started it is then gone or has no more work. Only
the work since the last checkpoint is lost.
"""

from __future__ import annotations

import _thread
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

__all__ = ["main", "serve", "train"]

_INTERRUPTED = 130


def main() -> None:
    """Train groups until standard input ends. The process never returns from here in another way."""
    serve(train)


def train(folder: str, group: int) -> str | None:
    """Train one group in a process that is there for nothing else; return None, or what went wrong in one line."""
    began = time.monotonic()
    from .group import train_one_group, use_one_thread  # torch takes seconds

    use_one_thread()
    return train_one_group(folder, group, began=began)


def serve(train: Callable[[str, int], str | None]) -> None:
    """Call `train(folder, group)` for each line of standard input, and write to standard output what it returns."""
    # Shells start background jobs with Ctrl-C ignored, and then `stop` could not reach the engine.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    jobs, answers = _take_streams()
    inbox: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs, inbox), daemon=True).start()
    try:
        while line := inbox.get():
            job = json.loads(line)
            failure = train(job["folder"], job["group"])
            answers.write(json.dumps({"group": job["group"], "failure": failure}) + "\n")
            answers.flush()
    except KeyboardInterrupt:
        pass
    sys.stderr.flush()
    os._exit(_INTERRUPTED)


def _listen(jobs: TextIO, inbox: queue.SimpleQueue[str]) -> None:
    for line in jobs:
        if line.strip() == "stop":
            inbox.put("")
            _interrupt_main()
        else:
            inbox.put(line)
    os._exit(0)


def _interrupt_main() -> None:
    """Ctrl-C for the main thread, also where it waits for a compiler or sleeps."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()


def _take_streams() -> tuple[TextIO, TextIO]:
    """Keep standard input and output for the protocol, and off what a library prints or a compiler inherits."""
    jobs, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return jobs, answers


if __name__ == "__main__":
    main()
