"""What `simulate serve` answers to requests that mean it no good: none with 5xx, nothing hangs, the process lives.

python benchmarks/hostile_requests.py          all of them, some two minutes: slow clients take their time
"""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

TOKEN = "a-token-for-hostile-requests"
_PATIENCE_S = 60.0
_PLAN = {"model": {"params": "7B"}, "data": {"tokens": "2T"}}
_STUDY = {
    "run": _PLAN,
    "space": {"data.tokens": {"low": "1T", "high": "4T", "log": True}},
    "objective": {"minimise": "loss_nats"},
}
_SHAPE = {
    "layers": 55_440, "width": 65_536, "heads": 50_400, "ffn_width": 1024, "vocab_size": 1000, "head_width": 64,
    "context_length": 2**29, "num_experts": 83_160, "experts_per_token": 2,
}  # fmt: skip
_HEAVY = {
    "model": {"architecture": _SHAPE},
    "data": {"tokens": 1e18},
    "optim": {"batch_tokens": 2**29 * 7_207_200},
    "hardware": {"accelerator": "H100-SXM-80", "count": 8},
}


@dataclass(frozen=True)
class Asked:
    """A port to send to."""

    port: int

    def http(self, method: str, path: str, body: Any = None, **headers: str) -> int:
        """The status of a usual request, with the token."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_S)
        sent = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in sent.items() if value}
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            said = answer.read()
        except (ConnectionError, http.client.HTTPException):
            return 0  # the server closed it
        finally:
            connection.close()
        assert b"Traceback" not in said
        assert b"site-packages" not in said
        assert b"<script>alert(1)" not in said or answer.headers["content-type"].startswith("application/json")
        return answer.status

    def predict(self, body: Any, **headers: str) -> int:
        """The status of POST /predict."""
        return self.http("POST", "/api/v1/predict", body, **headers)

    def json(self, path: str, value: Any) -> int:
        """The status of a POST of JSON."""
        return self.http("POST", f"/api/v1/{path}", json.dumps(value))

    def plan(self, **sections: Any) -> int:
        """The status of a forecast of a plan with these sections."""
        return self.json("predict", {"plan": {**_PLAN, **sections}})

    def page(self, plan: str) -> int:
        """The status of the page of a plan, as its address states it."""
        return self.http("GET", "/?" + urlencode({"plan": plan}))

    def raw(self, *parts: bytes, pause_s: float = 0.0) -> int:
        """The status of what is sent as it is, part by part; 0 where the server closes without one."""
        with socket.create_connection(("127.0.0.1", self.port), _PATIENCE_S) as wire:
            said = b""
            with suppress(ConnectionError):
                for part in parts:
                    wire.sendall(part)
                    time.sleep(pause_s)
            with suppress(ConnectionError):
                while b"\r\n" not in said and (more := wire.recv(1 << 16)):
                    said += more
        return int(said.split()[1]) if said.startswith(b"HTTP/") else 0

    def head(self, line: str, *lines: str, host: str = "127.0.0.1") -> bytes:
        """The head of a request with the token."""
        every = (line, f"Host: {host}", f"Authorization: Bearer {TOKEN}", *lines)
        return "\r\n".join([*every, "", ""]).encode("latin-1")


_POST = "POST /api/v1/predict HTTP/1.1"
_GET = "GET /api/v1/schema HTTP/1.1"
_TYPE = "Content-Type: application/json"


def _chunks(size: int) -> list[bytes]:
    part = b"%x\r\n" % 65_536 + b" " * 65_536 + b"\r\n"
    return [part] * (size // 65_536) + [b"0\r\n\r\n"]


def _chunked(asked: Asked) -> int:
    return asked.raw(asked.head(_POST, _TYPE, "Transfer-Encoding: chunked"), *_chunks(5_000_000))


def _dripped(asked: Asked) -> int:
    body = json.dumps({"plan": _PLAN}).encode()
    return asked.raw(
        asked.head(_POST, _TYPE, f"Content-Length: {len(body)}"), *(body[i : i + 1] for i in range(15)), pause_s=1.0
    )


def _slow_head(asked: Asked) -> int:
    return asked.raw(*(asked.head(_GET)[i : i + 1] for i in range(15)), pause_s=1.0)


def _jobs(asked: Asked) -> int:
    """The worst status of a thousand jobs; what was taken is cancelled."""
    body = json.dumps({"study": _STUDY, "trials": 2000})
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", asked.port, timeout=_PATIENCE_S)
    worst, taken = 0, []
    for _ in range(1000):
        connection.request("POST", "/api/v1/optimize", body, headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        worst = max(worst, answer.status)
        if answer.status == 202:
            taken.append(said["id"])
    assert len(taken) <= 9, "more jobs than the line is long"
    for job in taken:
        connection.request("DELETE", f"/api/v1/jobs/{job}", headers={"Authorization": f"Bearer {TOKEN}"})
        worst = max(worst, _read(connection))
    return worst


def _read(connection: http.client.HTTPConnection) -> int:
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _burst(asked: Asked) -> int:
    """The worst status of many requests at once."""
    connection = http.client.HTTPConnection("127.0.0.1", asked.port, timeout=_PATIENCE_S)
    worst = 0
    for _ in range(1500):
        connection.request("GET", "/api/v1/health")
        worst = max(worst, _read(connection))
    time.sleep(2.0)
    return worst


def _connections(asked: Asked) -> int:
    """The status of a request beside five hundred connections that say nothing."""
    idle = []
    with suppress(OSError):
        for _ in range(500):
            idle.append(socket.create_connection(("127.0.0.1", asked.port), 5.0))
    for one in idle:
        one.close()
    time.sleep(0.2)
    return asked.http("GET", "/api/v1/health")


def _pipelined(asked: Asked) -> int:
    return asked.raw(asked.head("GET /api/v1/health HTTP/1.1") * 100)


def _script(asked: Asked) -> int:
    return asked.plan(name="<script>alert(1)</script>", data={"tokens": "2T", "mix": {"<img src=x onerror=y>": 1}})


Hostile = Callable[[Asked], int]

REQUESTS: dict[str, Hostile] = {
    "NaN": lambda a: a.predict('{"plan": {"data": {"tokens": NaN}}}'),
    "Infinity": lambda a: a.predict('{"plan": {"data": {"tokens": -Infinity}}}'),
    "1e999": lambda a: a.predict('{"plan": {"data": {"tokens": 1e999}}}'),
    "an integer of 100,000 digits": lambda a: a.predict('{"plan": ' + "9" * 100_000 + "}"),
    "100,000 lists in each other": lambda a: a.predict("[" * 100_000),
    "60 objects in each other": lambda a: a.predict('{"plan": ' + '{"a": ' * 60 + "1" + "}" * 61),
    "a key twice": lambda a: a.predict('{"plan": {"model": {}, "model": {}}}'),
    "bytes that are no UTF-8": lambda a: a.predict(b'{"plan": "\xff\xfe"}'),
    "half a surrogate pair": lambda a: a.predict('{"plan": {"name": "\\ud800"}}'),
    "null bytes": lambda a: a.predict(b"\x00" * 1000),
    "no body": lambda a: a.predict(b""),
    "a list": lambda a: a.predict("[]"),
    "50,000 values": lambda a: a.predict(json.dumps({"plan": {"columns": [0] * 50_000}})),
    "script in names": _script,
    "5 MB": lambda a: a.predict(b" " * 5_000_000),
    "5 MB in chunks": _chunked,
    "a body that never comes": lambda a: a.raw(a.head(_POST, _TYPE, "Content-Length: 100")),
    "a body one byte a second": _dripped,
    "a head one byte a second": _slow_head,
    "a gzip bomb": lambda a: a.predict(gzip.compress(b" " * 100_000_000), Content_Encoding="gzip"),
    "no token": lambda a: a.predict(json.dumps({"plan": _PLAN}), Authorization=""),
    "a wrong token": lambda a: a.predict(json.dumps({"plan": _PLAN}), Authorization="Bearer wrong"),
    "a made-up cookie": lambda a: a.predict("{}", Authorization="", Cookie="foretrain=" + "0" * 64),
    "another Host": lambda a: a.raw(a.head(_GET, host="evil.example")),
    "two Hosts": lambda a: a.raw(a.head(_GET, "Host: 127.0.0.1")),
    "a page of another site": lambda a: a.predict(json.dumps({"plan": _PLAN}), Origin="http://evil.example"),
    "a form of another site": lambda a: a.predict("plan=1", Content_Type="application/x-www-form-urlencoded"),
    "text/plain": lambda a: a.predict(json.dumps({"plan": _PLAN}), Content_Type="text/plain"),
    "traversal": lambda a: a.raw(a.head("GET /static/../../../../../../etc/passwd HTTP/1.1")),
    "traversal, encoded": lambda a: a.http("GET", "/static/%2e%2e%2f%2e%2e%2f..%5c..%5cetc/passwd"),
    "a path as predictor": lambda a: a.json("predict", {"plan": _PLAN, "predictor": "/etc"}),
    "a URL as predictor": lambda a: a.json("predict", {"plan": _PLAN, "predictor": "http://evil.example/x"}),
    "a file of runs in a plan": lambda a: a.plan(known_runs="/etc/passwd"),
    "a file as a study's run": lambda a: a.json("optimize", {"study": {**_STUDY, "run": "/etc/passwd"}}),
    "a database as storage": lambda a: a.json(
        "optimize", {"study": {**_STUDY, "search": {"storage": "postgresql://evil.example/x"}}}
    ),
    "a path as curves": lambda a: a.json("curve", {"plan": _PLAN, "curves": "../curves"}),
    "NaN in the page's address": lambda a: a.page('{"model": {"params": NaN}}'),
    "20,000 lists in the page's address": lambda a: a.page("[" * 20_000),
    "a file in the page's address": lambda a: a.page(json.dumps({**_PLAN, "known_runs": "/etc/passwd"})),
    "script in the page's address": lambda a: a.page(json.dumps({**_PLAN, "name": "</script><script>alert(1)"})),
    "1,000 plans to compare": lambda a: a.json("compare", {"plans": [_PLAN] * 1000}),
    "1,000 jobs": _jobs,
    "a million trials": lambda a: a.json("optimize", {"study": _STUDY, "trials": 1_000_000}),
    "a plan with a million layouts": lambda a: a.json("predict", {"plan": _HEAVY}),
    "a job that there isn't": lambda a: a.http("DELETE", "/api/v1/jobs/..%2f..%2fx"),
    "a header of a megabyte": lambda a: a.raw(a.head(_GET, "X: " + "x" * 1_000_000)),
    "10,000 headers": lambda a: a.raw(a.head(_GET, *(f"X-{n}: 1" for n in range(10_000)))),
    "an address of 100 kB": lambda a: a.raw(a.head("GET /" + "x" * 100_000 + " HTTP/1.1")),
    "HEAD": lambda a: a.http("HEAD", "/api/v1/schema"),
    "OPTIONS": lambda a: a.http("OPTIONS", "/api/v1/predict"),
    "TRACE": lambda a: a.http("TRACE", "/api/v1/predict"),
    "a method of its own": lambda a: a.raw(a.head("BREW /api/v1/predict HTTP/1.1")),
    "length and chunks at once": lambda a: a.raw(
        a.head(_POST, _TYPE, "Content-Length: 5", "Transfer-Encoding: chunked"), b"0\r\n\r\nGET /x HTTP/1.1\r\n\r\n"
    ),
    "a negative length": lambda a: a.raw(a.head(_POST, _TYPE, "Content-Length: -1")),
    "no HTTP at all": lambda a: a.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10 + b"\r\n\r\n"),
    "a WebSocket": lambda a: a.raw(a.head(_GET, "Connection: Upgrade", "Upgrade: websocket")),
    "100 requests in one write": _pipelined,
    "500 silent connections": _connections,
    "1,500 requests at once": _burst,
}
"""By what is wrong with them; each gives the status that the server answered, 0 where it closed the connection."""

SLOW = (
    "a body that never comes", "a body one byte a second", "a head one byte a second", "a plan with a million layouts",
    "1,000 jobs", "1,500 requests at once",
)  # fmt: skip
"""Those that take seconds."""


def main() -> None:
    """Print the table; fails where an answer is 5xx, or the server doesn't answer afterwards."""
    from serve import server

    print("| request | answer | s | health afterwards, ms |\n|---|---|---|---|")
    with server("--token", TOKEN) as (port, _):
        asked = Asked(port)
        for name, send in REQUESTS.items():
            start = time.perf_counter()
            status = send(asked)
            took_s, start = time.perf_counter() - start, time.perf_counter()
            while (health := asked.http("GET", "/api/v1/health")) == 429:
                time.sleep(0.1)
            assert health == 200, f"after {name}: {health}"
            well_ms = 1e3 * (time.perf_counter() - start)
            assert status < 500, f"{name}: {status}"
            print(f"| {name} | {status or 'closed'} | {took_s:.1f} | {well_ms:.0f} |", flush=True)
    print(f"\n{len(REQUESTS)} requests, none answered 5xx")


if __name__ == "__main__":
    main()
