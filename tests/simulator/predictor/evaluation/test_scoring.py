"""`score` against numbers worked out by hand, and which column answers to which target."""

import math

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import InputError, RunTableError
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import Fit
from foretrain.simulator.laws import Reference, get_law
from foretrain.simulator.predictor.calibration import GRID, Calibration
from foretrain.simulator.predictor.evaluation.scoring import LEVELS, interval_score, matching_targets, score
from foretrain.simulator.predictor.loss_model import LossModel
from foretrain.simulator.predictor.predictor import Predictor

KEYS = {
    "rows", "mae_nats", "rmse_nats", "bias_nats", "median_relative_error", "p90_relative_error", "max_relative_error",
    "r2", "spearman", "coverage", "median_interval_width_nats", "interval_score_nats", "runs",
}  # fmt: skip
PARAMS, TOKENS = np.array([1e8, 2e8, 4e8, 8e8]), np.array([1e10, 1e10, 2e10, 4e10])


def model() -> LossModel:
    """L = 2·N^-0.1·1e8^0.1 exactly, known without draws, with a scale of 1 % and q(level) = 2·level."""
    law = get_law("params_only")
    theta = law.complete(np.array([[math.log(2.0), 39.9, 0.0, 0.1, 0.3, 0.0]]))
    fit = Fit(law, Reference({"params": 1e8, "tokens": 1e10}), theta[0], theta, 0.008, 0.0)
    seen = {"params": (1e6, 1e12), "tokens": (1e6, 1e15), "compute": (1e10, 1e30)}
    return LossModel(fit, Calibration(2.0 * GRID), seen, 4, {"doubts": []})


def predictor(*targets: str, **about) -> Predictor:
    return Predictor("mine", {target: model() for target in targets or ("loss",)}, about)


def predicted(params) -> np.ndarray:
    return 2.0 * (np.asarray(params) / 1e8) ** -0.1


def table(tokens=1e10, params=PARAMS, **columns) -> RunTable:
    return RunTable.from_frame(pd.DataFrame({"params": params, "tokens": tokens, **columns}), where="new.csv")


def test_the_model_of_these_tests_is_what_it_says():
    prediction = model().predict({"params": PARAMS, "tokens": np.full(4, 1e10)})
    np.testing.assert_allclose(prediction.loss_nats, predicted(PARAMS), rtol=1e-12)
    np.testing.assert_allclose(prediction.scale, 0.01, rtol=1e-9)


def test_values_are_those_worked_out_by_hand():
    relative = np.array([0.0, 0.012, -0.017, 0.03])  # observed / predicted - 1
    observed = predicted(PARAMS) * (1 + relative)
    result = score(predictor(), table(loss=observed))
    assert set(result) == {"rows", "targets"}
    assert (result["rows"], list(result["targets"])) == (4, ["loss"])
    scores = result["targets"]["loss"]
    assert set(scores) == KEYS
    assert [run["observed_nats"] for run in scores["runs"]] == pytest.approx(observed)
    error = predicted(PARAMS) - observed
    share = np.abs(error) / observed
    assert scores["rows"] == 4
    assert scores["mae_nats"] == pytest.approx(np.abs(error).sum() / 4)
    assert scores["rmse_nats"] == pytest.approx(math.sqrt((error**2).sum() / 4))
    assert scores["bias_nats"] == pytest.approx(error.sum() / 4)
    assert scores["median_relative_error"] == pytest.approx(sorted(share)[1] / 2 + sorted(share)[2] / 2)
    assert scores["p90_relative_error"] == pytest.approx(0.7 * sorted(share)[3] + 0.3 * sorted(share)[2])
    assert scores["max_relative_error"] == pytest.approx(0.03 / 1.03)
    assert scores["r2"] == pytest.approx(1 - (error**2).sum() / ((observed - observed.mean()) ** 2).sum())
    assert scores["spearman"] == pytest.approx(1.0)
    # half-widths are 1.0, 1.6, 1.8 and 1.9 % in log loss
    assert scores["coverage"] == {"0.5": 0.25, "0.8": 0.5, "0.9": 0.75, "0.95": 0.75}
    width = np.median(predicted(PARAMS)) * 2 * math.sinh(0.018)
    assert scores["median_interval_width_nats"] == {"0.9": pytest.approx(width, rel=1e-3)}


def test_perfect_and_biased_predictions():
    perfect = score(predictor(), table(loss=predicted(PARAMS)))["targets"]["loss"]
    assert perfect["rmse_nats"] == pytest.approx(0, abs=1e-12)
    assert (perfect["r2"], perfect["spearman"]) == (pytest.approx(1.0), pytest.approx(1.0))
    assert set(perfect["coverage"].values()) == {1.0}
    high = score(predictor(), table(loss=predicted(PARAMS) / 1.5))["targets"]["loss"]
    assert high["bias_nats"] == pytest.approx(high["mae_nats"]), "predicted too high is a positive bias"
    assert high["median_relative_error"] == pytest.approx(0.5)
    assert set(high["coverage"].values()) == {0.0}
    assert list(high["coverage"]) == [f"{level:g}" for level in LEVELS]


def test_ranks_that_are_reversed():
    assert score(predictor(), table(loss=1 / predicted(PARAMS)))["targets"]["loss"]["spearman"] == pytest.approx(-1.0)


def test_what_cannot_be_said_is_none():
    one = score(predictor(), table(params=PARAMS[:1], loss=[2.0]))["targets"]["loss"]
    assert (one["rows"], one["r2"], one["spearman"]) == (1, None, None)
    same = score(predictor(), table(params=1e8, loss=[2.0, 2.1, 1.9, 2.0]))["targets"]["loss"]
    assert same["spearman"] is None, "predictions that don't vary have no rank"
    assert same["r2"] is not None


def test_only_ok_rows_count():
    result = score(predictor(), table(loss=[*predicted(PARAMS)[:3], 50.0], status=["ok", "ok", "ok", "diverged"]))
    assert result["rows"] == 3
    assert result["targets"]["loss"]["max_relative_error"] == pytest.approx(0, abs=1e-12)


def test_rows_are_those_of_the_fullest_target():
    losses = predicted(PARAMS)
    both = table(**{"loss.web": losses, "loss.code": [losses[0], *[float("nan")] * 2, losses[3]]})
    result = score(predictor("loss.web", "loss.code"), both)
    assert result["rows"] == 4
    assert {name: r["rows"] for name, r in result["targets"].items()} == {"loss.web": 4, "loss.code": 2}


def test_nothing_to_score():
    with pytest.raises(RunTableError, match=r"new\.csv: no row with status ok has a 'loss'"):
        score(predictor(), table(loss=2.0, status="failed"))


def test_a_run_that_the_predictor_refuses():
    with pytest.raises(InputError, match="every fitted run has about 1e\\+10"):
        score(predictor(), table(tokens=TOKENS, loss=2.0))


# which column is which target


@pytest.mark.parametrize(
    ("targets", "about", "columns", "expected"),
    [
        (["loss"], {}, {"loss": 2.0}, {"loss": "loss"}),
        (["loss.a", "loss.b"], {}, {"loss.b": 2.0, "loss.c": 2.0}, {"loss.b": "loss.b"}),
        (["loss"], {"val_domain": "web"}, {"loss.web": 2.0, "loss.code": 2.0}, {"loss": "loss.web"}),
        (["loss"], {"val_domain": "web"}, {"loss": 2.0, "loss.web": 3.0}, {"loss": "loss"}),
        (["loss.web"], {}, {"loss": 2.0, "val_domain": "web"}, {"loss.web": "loss"}),
        (["loss", "loss.web"], {}, {"loss": 2.0, "val_domain": "web"}, {"loss": "loss"}),
        (["loss.web", "loss.code"], {}, {"loss": 2.0, "val_domain": "code"}, {"loss.code": "loss"}),
    ],
)
def test_targets_match_by_name_or_by_a_stated_domain(targets, about, columns, expected):
    assert matching_targets(predictor(*targets, **about), table(**columns)) == expected


@pytest.mark.parametrize(
    ("targets", "about", "columns"),
    [
        (["loss"], {}, {"loss.web": 2.0}),
        (["loss"], {"val_domain": "code"}, {"loss.web": 2.0}),
        (["loss.web"], {}, {"loss": 2.0}),
        (["loss.web"], {}, {"loss": 2.0, "val_domain": "code"}),
        (["loss.web"], {}, {"loss": 2.0, "val_domain": ["web", "web", "code", "code"]}),
        (["loss.a"], {}, {"loss.b": 2.0}),
    ],
)
def test_targets_that_may_differ_are_not_matched(targets, about, columns):
    with pytest.raises(RunTableError, match=r"new\.csv: its targets are .*; the predictor has"):
        matching_targets(predictor(*targets, **about), table(**columns))


def test_the_interval_score_rewards_neither_narrow_nor_wide_intervals():
    rng = np.random.default_rng(0)
    observed = rng.normal(3.0, 0.1, 20_000)
    half = 1.6449 * 0.1
    scores = {
        factor: interval_score(
            observed, np.full(20_000, 3.0 - factor * half), np.full(20_000, 3.0 + factor * half), 0.9
        )
        for factor in (0.6, 1.0, 1.6)
    }
    assert min(scores, key=lambda factor: scores[factor]) == 1.0
    one = interval_score(np.array([1.0, 2.0, 3.5]), np.full(3, 1.5), np.full(3, 2.5), 0.9)
    assert one == pytest.approx(np.mean([1 + 20 * 0.5, 1, 1 + 20 * 1.0]))
