"""The REST API gives the answers of the command line, and says what is wrong in its words."""

import json
import time

import pytest
from foretrain.core.version import __version__
from foretrain.simulator.cluster.layout_choice import search_layouts
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.curve.forecasting import FINAL_SD, Run, forecast_curve
from foretrain.simulator.curve.store import load as load_curves
from foretrain.simulator.forecast.compare import compare
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.forecast.offered import offered
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.tracking.track import track

from .conftest import CURVE_PLAN, PLAN

LOG = "step,loss\n" + "".join(f"{step},{2.35 + 8 / step**0.5}\n" for step in range(200, 2001, 50))
STUDY = {
    "run": {"model": {"params": "1B"}, "data": {"tokens": "20B"}},
    "space": {"data.tokens": {"low": "10B", "high": "100B", "log": True}},
    "objective": {"minimise": "loss_nats"},
}


def answer(client, path: str, **body):
    found = client.post(f"/api/v1/{path}", json=body)
    assert found.status_code == 200, found.text
    return found.json()


def refusal(client, path: str, **body) -> tuple[int, str]:
    found = client.post(f"/api/v1/{path}", json=body)
    error = found.json()["error"]
    assert {"kind", "message", "where", "got", "expected"} <= error.keys()
    return found.status_code, error["message"]


def plain(facts):
    return json.loads(json.dumps(facts))


def test_predict_is_the_forecast(client):
    expected = forecast(RunConfig.from_mapping(PLAN), load("web-text")).to_dict()
    assert answer(client, "predict", plan=PLAN) == plain(expected)
    other = answer(client, "predict", plan=PLAN, predictor="olmo-c4")
    assert other == plain(forecast(RunConfig.from_mapping(PLAN), load("olmo-c4")).to_dict())


def test_compare_is_the_comparison(client):
    plans = [PLAN, {**PLAN, "data": {"tokens": "20B"}}]
    assert answer(client, "compare", plans=plans) == plain(compare(plans, load("web-text")).to_dict())


def test_cluster_search_ranks_layouts(client):
    found = answer(client, "cluster/search", plan=PLAN, top=3)
    assert found["layouts"] == plain(search_layouts(RunConfig.from_mapping(PLAN), top=3)[1])
    assert found["seconds"] >= 0


def test_curve_takes_a_library_of_the_servers_by_its_name(client, curves):
    library = load_curves(curves)
    run = Run.of_config(library, RunConfig.from_mapping(CURVE_PLAN))
    expected = forecast_curve(library, run, (2.5, FINAL_SD)).to_dict()
    assert answer(client, "curve", plan=CURVE_PLAN, curves="own", final_loss_nats=2.5) == plain(expected)
    assert answer(client, "curve", plan=CURVE_PLAN, curves="own", predictor="web-text")["steps"] == 4000


def test_track_reads_the_log_in_the_body(client, tmp_path):
    plan = {**CURVE_PLAN, "targets": {"loss_nats": 2.5}}
    file = tmp_path / "log"
    file.write_text(LOG)
    expected = track(RunConfig.from_mapping(plan), file).to_dict()
    assert answer(client, "track", plan=plan, log=LOG) == plain({**expected, "log": "log"})
    with_curves = answer(client, "track", plan=plan, log=LOG, curves="own", predictor="olmo-c4")
    assert with_curves["verdict"] in ("on track", "ahead", "behind")


def test_what_the_server_knows(client):
    assert client.get("/api/v1/health").json() == {"status": "ok", "version": __version__}
    assert client.get("/api/v1/schema").json() == plain(RunConfig.json_schema())
    predictors = client.get("/api/v1/predictors").json()
    assert predictors == plain({**offered().to_dict(), "own": [], "curves": ["own"]})
    names = [one["name"] for one in client.get("/api/v1/accelerators").json()["accelerators"]]
    assert "H100-SXM-80" in names
    for example in client.get("/api/v1/examples").json()["examples"]:
        assert answer(client, "predict", plan=example["plan"])["loss_nats"]["median"] > 1


def test_a_predictor_of_the_operators_is_named_and_tells_no_path(tmp_path):
    from dataclasses import replace

    from foretrain.simulator.predictor.storage.folder import save
    from foretrain.simulator.web.offered import Offered

    folder = tmp_path / "mine"
    made = load("olmo-c4")
    save(replace(made, about={**made.about, "table": f"{tmp_path}/runs.csv", "command": f"fit {tmp_path}"}), folder)
    found = Offered({"ours": folder}, {})
    assert found.predictors[0] == "ours"
    told = forecast(RunConfig.from_mapping(PLAN), found.predictor("ours")).to_dict()
    assert told["predictor"]["name"] == "ours"
    assert str(tmp_path) not in json.dumps(told)
    assert str(tmp_path) not in json.dumps(found.own())


LABELLED = {"method": "ppo", "comparisons": "10k", "law": "/etc/passwd"}


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("predict", {"plan": {}}, 422, ["plan: model", "plan: data"]),
        ("predict", {"plan": {**PLAN, "data": {"tokens": "2X"}}}, 422, ["plan: data.tokens", "expected a number"]),
        ("predict", {"plan": 3}, 422, ["request: plan", "expected a mapping"]),
        ("predict", {"plan": PLAN, "predictor": "/etc"}, 422, ["'/etc'", "web-text"]),
        ("predict", {"plan": PLAN, "colour": 1}, 422, ["unknown key", "colour"]),
        ("predict", {"plan": {**PLAN, "known_runs": "runs.csv"}}, 422, ["known_runs", "names no files"]),
        (
            "predict",
            {"plan": {**PLAN, "post_training": {"method": "ppo", "comparisons": 1e4, "law": "/etc/passwd"}}},
            422,
            ["post_training.law", "expected prior or proxies", "names no files"],
        ),
        (
            "predict",
            {"plan": {**PLAN, "post_training.law": "/etc/passwd"}},
            422,
            ["post_training.law", "names no files"],
        ),
        ("predict", {"plan": {**PLAN, "layout": {"tp": 16}}}, 409, ["tp"]),
        # so few that the steps were beyond the range of numbers; found by schemathesis
        ("predict", {"plan": {**PLAN, "optim": {"batch_tokens": 5e-324}}}, 422, ["optim.batch_tokens", "one token"]),
        ("predict", {"plan": {**PLAN, "data": {"tokens": 1e18, "unique_tokens": 5e-324}}}, 422, ["one token"]),
        ("predict", {"plan": {**PLAN, "data": {"tokens": 1e9, "bytes_per_token": 5e-324}}}, 422, ["bytes_per_token"]),
        ("compare", {"plans": [PLAN]}, 422, ["request: plans"]),
        ("compare", {"plans": [PLAN] * 9}, 422, ["got 9; expected at most 8"]),
        ("compare", {"plans": [PLAN, {}]}, 422, ["plan 2: model"]),
        ("curve", {"plan": CURVE_PLAN, "curves": "../x"}, 422, ["expected one of own"]),
        (
            "curve",
            {
                "plan": {**CURVE_PLAN, "data": {"tokens": "4T"}},
                "curves": "own",
                "final_loss_nats": 2,
                "predictor": "web-text",
            },
            422,
            ["only one"],
        ),
        (
            "curve",
            {"plan": {**CURVE_PLAN, "data": {"tokens": "4T"}}, "curves": "own"},
            422,
            ["4,000,000 steps", "at most 1,000,000"],
        ),
        ("track", {"plan": CURVE_PLAN, "log": "nothing"}, 422, ["log: line 1"]),
        ("track", {"plan": CURVE_PLAN, "log": LOG, "curves": "own", "family": "x"}, 422, ["expected one of toy"]),
        ("optimize", {"study": {**STUDY, "run": "run.yaml"}}, 422, ["run", "in place"]),
        ("optimize", {"study": {**STUDY, "run": {**PLAN, "known_runs": "x.csv"}}}, 422, ["study: run: known_runs"]),
        ("optimize", {"study": {**STUDY, "space": {"known_runs": ["x"]}}}, 422, ["study: space: known_runs"]),
        ("predict", {"plan": {**PLAN, "post_training": LABELLED}}, 422, ["post_training.law", "names no files"]),
        (
            "predict",
            {"plan": {**PLAN, "continued_pretraining": {"domain": "law", "tokens": "1B", "law": "/etc/passwd"}}},
            422,
            ["continued_pretraining.law", "expected proxies", "names no files"],
        ),
        ("optimize", {"study": {**STUDY, "calibration": "x.json"}}, 422, ["calibration"]),
        ("optimize", {"study": {**STUDY, "search": {"storage": "a.journal"}}}, 422, ["search.storage"]),
        ("optimize", {"study": STUDY, "trials": 2001}, 422, ["at most 2000"]),
        ("optimize", {"study": {**STUDY, "predictor": "/etc"}}, 422, ["'/etc'", "web-text"]),
        ("optimize", {"study": {}}, 422, ["run"]),
    ],
)
def test_what_is_wrong_is_said(client, path, body, status, words):
    found, message = refusal(client, path, **body)
    assert found == status
    for word in words:
        assert word in message


def test_the_page_opens_for_machines_that_cost_nothing(client):
    plan = {**PLAN, "hardware": {**PLAN["hardware"], "price_usd_per_hour": 0}}
    assert client.get("/", params={"plan": json.dumps(plan)}).status_code == 200


def test_a_failure_of_our_own_is_logged_and_tells_nothing(client, monkeypatch, caplog):
    def broken(*_):
        raise KeyError("/a/secret/path")

    monkeypatch.setattr("foretrain.simulator.web.api.plans.forecast", broken)
    found = client.post("/api/v1/predict", json={"plan": PLAN})
    assert found.status_code == 500
    assert found.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in found.text
    assert "KeyError" not in found.text
    assert "secret" in caplog.text


# jobs


def wait_for(client, job: str, *states: str) -> dict:
    for _ in range(600):
        found = client.get(f"/api/v1/jobs/{job}").json()
        if found["state"] in states:
            return found
        time.sleep(0.1)
    raise AssertionError(found)


def test_a_job_runs_in_its_own_process_and_keeps_its_result(client):
    started = client.post("/api/v1/optimize", json={"study": STUDY, "trials": 6})
    assert started.status_code == 202
    job = started.json()["id"]
    assert started.headers["location"] == f"/api/v1/jobs/{job}"
    done = wait_for(client, job, "done", "failed")
    assert done["error"] is None
    assert done["progress"]["share"] == 1.0
    assert done["result"]["feasible"]
    assert done["result"]["best"]["config"]["data"]["tokens"] > 50e9
    listed = client.get("/api/v1/jobs").json()["jobs"]
    assert [one["result"] for one in listed if one["id"] == job] == [None]
    assert client.delete(f"/api/v1/jobs/{job}").json()["state"] == "done"


def test_jobs_wait_are_cancelled_and_are_not_endless(client):
    def start():
        return client.post("/api/v1/optimize", json={"study": STUDY, "trials": 2000})

    first, second, third = start(), start(), start()
    assert [one.status_code for one in (first, second, third)] == [202, 202, 429]
    assert third.headers["retry-after"]
    running, waiting = first.json()["id"], second.json()["id"]
    wait_for(client, running, "running")
    assert client.get(f"/api/v1/jobs/{waiting}").json()["state"] == "waiting"
    assert client.delete(f"/api/v1/jobs/{waiting}").json()["state"] == "cancelled"
    assert client.delete(f"/api/v1/jobs/{running}").json()["state"] == "cancelled"
    assert start().status_code == 202  # there is room again
    for job in client.get("/api/v1/jobs").json()["jobs"]:
        client.delete(f"/api/v1/jobs/{job['id']}")
    assert client.get("/api/v1/jobs/nothing").status_code == 404
