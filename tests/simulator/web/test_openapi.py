"""The OpenAPI document holds: whatever it allows to be asked, and much that it doesn't, is answered as it says."""

import pytest
import schemathesis
from foretrain.simulator.web.app import create_app
from foretrain.simulator.web.settings import Limits, Settings
from hypothesis import HealthCheck, settings

from .conftest import HOST

LIMITS = Limits(requests_per_s=1e6, burst=10**6, jobs_running=1, jobs_waiting=0, trials=1)
APP = create_app(Settings(limits=LIMITS))
DOCUMENT = schemathesis.openapi.from_asgi("/openapi.json", APP, headers={"host": HOST.removeprefix("http://")})
DOCUMENT.config.phases.coverage.enabled = False  # thousands of requests: benchmarks/openapi.py sends them


def test_every_request_has_a_schema_and_an_example(client):
    found = client.get("/openapi.json").json()
    schemas = found["components"]["schemas"]
    for path, methods in found["paths"].items():
        for method, route in methods.items():
            assert route["summary"], path
            assert route["description"], path
            assert {"200", "202"} & route["responses"].keys(), path
            if method == "post":
                body = route["requestBody"]["content"]["application/json"]
                assert body["example"], path
                assert body["schema"]["$ref"].rpartition("/")[2] in schemas, path
    assert "$defs" not in str(schemas["RunConfig"])


@pytest.mark.parametrize("path", ["predict", "compare", "cluster/search", "track"])
def test_the_examples_are_answered(client, path):
    document = client.get("/openapi.json").json()
    body = document["paths"][f"/api/v1/{path}"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert client.post(f"/api/v1/{path}", json=body).status_code == 200


@DOCUMENT.parametrize()
@settings(max_examples=5, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_nothing_that_is_asked_breaks_the_server(case):
    case.headers = {**(case.headers or {}), "host": "127.0.0.1"}
    answer = case.call()
    assert answer.status_code < 500, answer.content
    assert str(answer.status_code) in case.operation.definition.raw["responses"]
