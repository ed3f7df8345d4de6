"""The real server in a process of its own: its address, a port that is taken, hostile requests, Ctrl-C."""

import importlib.util
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def loaded(name: str):
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


hostile = loaded("hostile_requests")


@pytest.fixture(scope="module")
def served():
    """A server with a token: its port. In the end it is interrupted, and ends at once."""
    command = [sys.executable, "-m", "foretrain", "serve", "--port", "0", "--token", hostile.TOKEN]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline()
        found = re.fullmatch(r"foretrain listens on http://127\.0\.0\.1:(\d+)/ \(Ctrl-C stops it\)\n", said)
        assert found, said
        yield int(found[1])
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "stopped\n", "")
    finally:
        process.kill()


def asked(port: int, path: str, body: bytes | None = None) -> dict:
    headers = {"Authorization": f"Bearer {hostile.TOKEN}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)) as answer:
        return json.loads(answer.read())


def test_it_answers(served):
    body = json.dumps({"plan": {"model": {"params": "7B"}, "data": {"tokens": "2T"}}}).encode()
    assert asked(served, "/api/v1/predict", body)["loss_nats"]["median"] > 1


def test_a_job_of_a_server_that_is_stopped_ends_with_it(served):
    """It is left running: the fixture sees that the server ends all the same, and says nothing about it."""
    body = json.dumps({"study": hostile._STUDY, "trials": 2000}).encode()
    assert asked(served, "/api/v1/optimize", body)["state"] in ("waiting", "running")


@pytest.mark.parametrize("name", [name for name in hostile.REQUESTS if name not in hostile.SLOW][::2])
def test_what_is_hostile_is_refused_and_the_server_lives(served, name):
    status = hostile.REQUESTS[name](hostile.Asked(served))
    assert status < 500
    assert asked(served, "/api/v1/health")["status"] == "ok"


def test_a_port_that_is_taken_is_named_with_the_next_free_one(call):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = call("serve", "--port", str(port), "--json")
    assert done.returncode == 2  # there is nothing to print as JSON
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = call("serve", "--port", str(port))
    assert done.returncode == 3
    assert re.search(rf"--port: got {port}, which another program listens on; expected --port \d+, which", done.stderr)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--host", "0.0.0.0"], 2, "no token"),
        (["--host", "no such place"], 2, "--token"),
        (["--token", "short"], 2, "16 to 200"),
        (["--predictor", "web-text"], 2, "NAME=DIR"),
        (["--predictor", "a=x", "--predictor", "a=y"], 2, "each name once"),
        (["--predictor", "ours=/no/such/folder", "--port", "0"], 3, "/no/such/folder"),
        (["--curves", "ours=/no/such/folder", "--port", "0"], 3, "/no/such/folder"),
        (["--host", "203.0.113.1", "--token", "auto", "--port", "0"], 3, "an address of this machine"),
    ],
)
def test_what_it_is_started_with_is_checked(call, words, code, said):
    done = call("serve", *words)
    assert done.returncode == code
    assert said in done.stderr
