"""How fast `simulate serve` answers, how soon it answers others meanwhile, and whether its memory stays flat.

A real server in a process of its own, asked from outside over several connections. No two plans are the same: tokens,
price and targets differ from request to request, and so does the size, either among the positions of a slider or as a
new one each time, which needs a new search for a parallel layout.

    python benchmarks/serve.py                    10,000 requests, a few minutes
    python benchmarks/serve.py --requests 1000
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_CONNECTIONS = 4
_SLIDER = np.round(np.geomspace(1e9, 70e9, 24), -7)
_HEADERS = {"Content-Type": "application/json"}


@contextmanager
def server(*options: str) -> Iterator[tuple[int, int]]:
    """A server of its own process: its port and its process id."""
    command = [sys.executable, "-m", "foretrain", "serve", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r":(\d+)/", said)
        assert found, said
        yield int(found[1]), process.pid
        assert process.poll() is None, "the server has died"
    finally:
        process.terminate()
        process.wait(20)


def plans(seed: int, *, new_sizes: bool) -> Iterator[bytes]:
    """Requests, no two of them the same."""
    rng = np.random.default_rng(seed)
    while True:
        size = float(np.exp(rng.uniform(np.log(1e9), np.log(70e9)))) if new_sizes else float(rng.choice(_SLIDER))
        plan = {
            "model": {"params": size},
            "data": {"tokens": float(np.exp(rng.uniform(np.log(3e11), np.log(5e12))))},
            "optim": {"batch_tokens": "4M"},
            "hardware": {"accelerator": "H100-SXM-80", "count": 512, "price_usd_per_hour": rng.uniform(1.5, 4.0)},
            "targets": {"perplexity": rng.uniform(6.0, 12.0), "deadline": "60d", "budget_usd": rng.uniform(1e5, 1e7)},
        }
        yield json.dumps({"plan": plan}).encode()


def resident_mb(pid: int) -> float:
    """Memory that a process holds, MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1e3


def processor_s(pid: int) -> float:
    """Processor time that a process has used, seconds: its speed on a machine that has other work, too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Load:
    """Requests over several connections, each sent as soon as the one before is answered."""

    def __init__(self, port: int, pid: int, bodies: Iterator[bytes], connections: int = _CONNECTIONS) -> None:
        self.connections = connections
        self.port, self.pid, self.bodies, self.lock = port, pid, bodies, threading.Lock()
        self.seconds: list[float] = []

    def run(self, count: int) -> str:
        """Send so many; requests per second, and per second of the server's processor time."""
        self.left, self.seconds = count, []
        used_s = processor_s(self.pid)
        threads = [threading.Thread(target=self._connection) for _ in range(self.connections)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(self.seconds) == count
        took_s, used_s = time.perf_counter() - start, processor_s(self.pid) - used_s
        return f"{count / took_s:.0f} | {count / used_s:.0f}"

    def _connection(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while True:
            with self.lock:
                if not self.left:
                    return
                self.left -= 1
                body = next(self.bodies)
            start = time.perf_counter()
            connection.request("POST", "/api/v1/predict", body, _HEADERS)
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 200, said[:500]
            self.seconds.append(time.perf_counter() - start)


class Health:
    """Asks for the server's health every now and then, and notes how long that takes."""

    def __init__(self, port: int) -> None:
        self.port, self.seconds, self.over = port, [], threading.Event()
        self.thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Health:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self.over.wait(0.05):
            start = time.perf_counter()
            connection.request("GET", "/api/v1/health")
            assert connection.getresponse().read()
            self.seconds.append(time.perf_counter() - start)


def ms(seconds: list[float]) -> str:
    """Median, 95th and 99th percentile."""
    percentiles = statistics.quantiles(seconds, n=100)
    return f"{1e3 * statistics.median(seconds):.1f} | {1e3 * percentiles[94]:.1f} | {1e3 * percentiles[98]:.1f}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    count = parser.parse_args().requests
    with server() as (port, pid):
        load = Load(port, pid, plans(0, new_sizes=False))
        load.run(100)  # predictors and layouts of the slider's positions are found once
        print("| POST /predict | requests/s | per s of processor | ms: median | 95 % | 99 % |")
        print("|---|---|---|---|---|---|")
        part = max(200, count // 20)
        with Health(port) as health:
            rate = load.run(part)
        print(f"| size among {len(_SLIDER)} of a slider | {rate} | {ms(load.seconds)} |")
        new = Load(port, pid, plans(1, new_sizes=True))
        rate = new.run(part)
        print(f"| a new size each time | {rate} | {ms(new.seconds)} |")
        one = Load(port, pid, plans(2, new_sizes=True), connections=1)
        rate = one.run(100)
        print(f"| a new size each time, one client | {rate} | {ms(one.seconds)} |")
        print(f"\nhealth under load, ms: median | 95 % | 99 %: {ms(health.seconds)}")
        early, after = resident_mb(pid), 2 * part + 200
        new.run(max(1, count - after))
        print(f"memory: {early:.0f} MB after {after:,} requests, {resident_mb(pid):.0f} MB after {count:,}")


if __name__ == "__main__":
    main()
