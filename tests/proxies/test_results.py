import json
from dataclasses import FrozenInstanceError, replace

import pytest
from foretrain.proxies.results import CurvePoint, DomainLoss, RunResult, Validation

EARLY = Validation(1, 64, {"a": DomainLoss(3.2, 0.1), "b": DomainLoss(3.1, 0.2)}, {"a": 64}, {"a": 1_000})
LATE = Validation(2, 128, {"a": DomainLoss(2.2, 0.1), "b": DomainLoss(3.0, 0.2)}, {"a": 128}, {"a": 1_000})
CURVE = (CurvePoint(1, 64, 3.4, 0.01), CurvePoint(2, 128, 3.0, 0.005))


def result(**change) -> RunResult:
    given = {"run_id": "r", "status": "ok", "evaluations": (EARLY, LATE), "curve": CURVE, "diverged_step": None}
    return RunResult(**{**given, "engine": {"device": "cpu", "threads": 1}, **change})


def test_plain_data_has_everything_but_the_curve():
    assert result().to_dict() == {
        "run_id": "r",
        "status": "ok",
        "diverged_step": None,
        "engine": {"device": "cpu", "threads": 1},
        "evaluations": (
            {
                "step": 1,
                "tokens": 64,
                "losses": {
                    "a": {"mean_nats": 3.2, "standard_error_nats": 0.1},
                    "b": {"mean_nats": 3.1, "standard_error_nats": 0.2},
                },
                "train_tokens": {"a": 64},
                "unique_tokens": {"a": 1_000},
                "scored_tokens": 0,
            },
            {
                "step": 2,
                "tokens": 128,
                "losses": {
                    "a": {"mean_nats": 2.2, "standard_error_nats": 0.1},
                    "b": {"mean_nats": 3.0, "standard_error_nats": 0.2},
                },
                "train_tokens": {"a": 128},
                "unique_tokens": {"a": 1_000},
                "scored_tokens": 0,
            },
        ),
    }


def test_plain_data_survives_json():
    facts = json.loads(json.dumps(result().to_dict(), allow_nan=False))
    assert facts["evaluations"][1]["losses"]["a"] == {"mean_nats": 2.2, "standard_error_nats": 0.1}


def test_plain_data_is_a_copy():
    one = result()
    facts = one.to_dict()
    facts["engine"]["device"] = "cuda"
    facts["evaluations"][0]["train_tokens"]["a"] = 0
    facts["evaluations"][0]["losses"]["a"]["mean_nats"] = 0.0
    assert one == result()


def test_a_diverged_run_may_have_no_evaluation():
    facts = result(status="diverged", evaluations=(), diverged_step=0).to_dict()
    assert (facts["status"], facts["evaluations"], facts["diverged_step"]) == ("diverged", (), 0)


def test_results_are_frozen():
    with pytest.raises(FrozenInstanceError):
        result().status = "diverged"
    with pytest.raises(FrozenInstanceError):
        EARLY.step = 3
    assert replace(EARLY, step=3) != EARLY
