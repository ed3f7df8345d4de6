"""What stands before the routes: names, origins, tokens, rates, sizes, and the headers of every answer."""

import asyncio
import json

import pytest
from foretrain.core.errors import UsageError
from foretrain.simulator.web.answers import RefusedError
from foretrain.simulator.web.app import create_app
from foretrain.simulator.web.guards.bodies import BoundedBodies
from foretrain.simulator.web.guards.rates import RateLimit
from foretrain.simulator.web.settings import Settings
from starlette.testclient import TestClient

from .conftest import HOST

TOKEN = "a-token-of-some-length"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def locked():
    """Asks a server that wants a token, and keeps no cookie but those that a test gives it."""
    settings = Settings(host="0.0.0.0", token=TOKEN, allow_hosts=("plans.example.org",))
    return lambda: TestClient(create_app(settings), base_url=HOST, follow_redirects=False)


def test_every_answer_carries_the_headers(client):
    for path, status in (("/api/v1/health", 200), ("/nothing", 404), ("/openapi.json", 200), ("/docs", 404)):
        found = client.get(path)
        assert found.status_code == status
        policy = found.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["cache-control"] == "no-store"
        assert "server" not in found.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8321", 200),
        ("localhost", 200),
        ("LocalHost.:80", 200),
        ("[::1]:8321", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil.example:127.0.0.1", 421),
        ("[::1", 200),
        ("", 421),
    ],
)
def test_only_its_own_names_are_answered(client, host, status):
    assert client.get("/api/v1/health", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (JSON, 422),
        ({"content-type": "application/json; charset=utf-8"}, 422),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": ""}, 415),
        (JSON | {"content-encoding": "gzip"}, 415),
        (JSON | {"origin": HOST}, 422),
        (JSON | {"origin": "http://evil.example"}, 403),
        (JSON | {"origin": "null"}, 403),
        (JSON | {"origin": "http://127.0.0.1:9999"}, 403),
        (JSON | {"sec-fetch-site": "cross-site"}, 403),
        (JSON | {"sec-fetch-site": "same-origin"}, 422),
    ],
)
def test_only_its_own_pages_and_json_are_answered(client, headers, status):
    assert client.post("/api/v1/predict", content="{}", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b'{"plan": NaN}', 400, "NaN"),
        (b'{"plan": 1e999}', 400, "finite"),
        (b'{"plan": ' + b"9" * 5000 + b"}", 400, "finite"),
        (b"[" * 100_000, 400, "deeper"),
        (b'{"plan": ' + b'{"a": ' * 60 + b"1" + b"}" * 61, 400, "deeper"),
        (b'{"plan": {}, "plan": {}}', 400, "twice"),
        (b'{"plan": "\xff"}', 400, "UTF-8"),
        (b'{"plan": {"name": "\\ud800"}}', 400, "surrogate"),
        (b"{", 400, "line 1"),
        (json.dumps([0] * 30_000).encode(), 413, "values"),
        (b" " * 1_000_001, 413, "1000000 bytes"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else None,
)
def test_bodies_that_are_no_request_are_refused(client, body, status, word):
    found = client.post("/api/v1/predict", content=body, headers=JSON)
    assert found.status_code == status
    assert word in found.json()["error"]["message"]


def test_a_body_in_chunks_is_counted_too(client):
    found = client.post("/api/v1/predict", content=(b" " * 100_000 for _ in range(20)), headers=JSON)
    assert found.status_code == 413


def test_a_body_that_does_not_come_is_given_up():
    async def reads(_scope, receive, _send):
        await receive()

    async def never():
        await asyncio.sleep(60)

    app = BoundedBodies(reads, 1000, body_s=0.05, answer_s=1.0)
    with pytest.raises(RefusedError, match="didn't come in") as refused:
        asyncio.run(app({"type": "http", "headers": []}, never, never))
    assert refused.value.status == 408


def test_a_client_may_ask_so_often():
    now = [0.0]
    limit = RateLimit(lambda *_: None, requests_per_s=2.0, burst=3, clock=lambda: now[0])
    assert [limit._taken("a") for _ in range(5)] == [True, True, True, False, False]
    assert limit._taken("b")
    now[0] = 1.0
    assert [limit._taken("a") for _ in range(3)] == [True, True, False]


def test_other_methods(client):
    head = client.head("/api/v1/schema")
    assert (head.status_code, head.content) == (200, b"")
    assert client.options("/api/v1/predict").status_code == 405
    assert client.request("TRACE", "/api/v1/predict").status_code == 405


# the token


def test_an_address_that_others_can_reach_needs_a_token():
    with pytest.raises(UsageError, match="no token"):
        Settings(host="0.0.0.0")
    for token in ("short", "x" * 201, "spaces in between it", "ümlaut-of-some-length"):
        with pytest.raises(UsageError, match="--token"):
            Settings(token=token)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": f"Bearer {TOKEN}"}, 200),
        ({"authorization": f"bearer  {TOKEN}"}, 200),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": "Bearer \xff"}, 401),
        ({"cookie": f"foretrain={TOKEN}"}, 401),
        ({"cookie": "foretrain=\xff; a=b"}, 401),
    ],
)
def test_who_shows_the_token_is_let_in(locked, headers, status):
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    found = locked().get("/api/v1/schema", headers=raw)
    assert found.status_code == status
    if status == 401:
        assert found.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in found.text


def test_health_needs_none_and_further_names_are_answered(locked):
    assert locked().get("/api/v1/health").status_code == 200
    assert locked().get("/api/v1/health", headers={"host": "plans.example.org"}).status_code == 200
    assert locked().get("/api/v1/health", headers={"host": "0.0.0.0"}).status_code == 421


def test_the_form_lets_a_browser_in(locked):
    browser = locked()
    asked = browser.get("/", headers={"accept": "text/html"})
    assert asked.status_code == 401
    assert 'action="/login"' in asked.text
    assert browser.post("/login", data={"token": "wrong"}).status_code == 401
    assert browser.post("/login", data={"token": TOKEN}, headers={"origin": "http://evil.example"}).status_code == 403
    entered = browser.post("/login", data={"token": TOKEN}, headers={"origin": HOST})
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    cookie = entered.headers["set-cookie"].casefold()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert browser.get("/api/v1/schema").status_code == 200


def test_an_address_with_the_token_lets_in_once_and_forgets_it(locked):
    browser = locked()
    entered = browser.get(f"{HOST}//evil.example/x?a=1&token={TOKEN}")
    assert (entered.status_code, entered.headers["location"]) == (303, "/evil.example/x?a=1")
    assert browser.get("/api/v1/schema").status_code == 200
    assert locked().get("/?token=wrong").status_code == 401
    assert locked().post(f"/api/v1/predict?token={TOKEN}", json={}).status_code == 401
