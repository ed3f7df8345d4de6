"""The mean over domains: as sure as its parts and their correlation allow."""

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import UsageError
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.predictor.calibration import public_calibration
from foretrain.simulator.predictor.domain_average import average, error_correlation, shares
from foretrain.simulator.predictor.evaluation.scoring import score
from foretrain.simulator.predictor.prediction import LossPrediction
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load, save
from hypothesis import given
from hypothesis import strategies as st


def prediction(loss, scale, gap=0.0) -> LossPrediction:
    loss, scale = np.atleast_1d(loss).astype(float), np.atleast_1d(scale).astype(float)
    return LossPrediction(np.log(loss), scale, np.full(len(loss), gap), public_calibration())


@given(st.floats(-1, 1), st.floats(0.001, 0.1), st.floats(0.001, 0.1), st.floats(0, 1))
def test_the_sd_of_a_mean_is_that_of_correlated_errors(rho, one, other, weight):
    parts = [prediction(3.0, one), prediction(2.0, other)]
    weights = np.array([weight, 1 - weight])
    mean = average(parts, weights, np.array([[1.0, rho], [rho, 1.0]]))
    sd = np.array([3.0 * one, 2.0 * other]) * weights
    assert mean.loss_nats[0] == pytest.approx(weights @ [3.0, 2.0])
    variance = sd @ np.array([[1.0, rho], [rho, 1.0]]) @ sd
    assert (mean.scale * mean.loss_nats)[0] ** 2 == pytest.approx(variance, rel=1e-6, abs=1e-12)


def test_errors_far_beyond_the_fitted_runs_are_taken_as_shared():
    correlation = np.eye(2)
    near = average([prediction(3.0, 0.02), prediction(3.0, 0.02)], np.full(2, 0.5), correlation)
    far = average([prediction(3.0, 0.02, 1.0), prediction(3.0, 0.02, 1.0)], np.full(2, 0.5), correlation)
    assert near.scale[0] == pytest.approx(0.02 / np.sqrt(2))
    assert far.scale[0] == pytest.approx(0.02)


def test_correlation_is_found_and_careful_with_few_runs():
    rng = np.random.default_rng(0)
    common = rng.normal(size=4000)
    errors = [common + rng.normal(size=4000), common + rng.normal(size=4000), rng.normal(size=4000)]
    found = error_correlation(errors)
    assert found[0, 1] == pytest.approx(0.5, abs=0.05)
    assert found[0, 2] == pytest.approx(0.0, abs=0.06)
    few = error_correlation([e[:20] for e in errors])
    assert few[0, 2] > found[0, 2]
    assert (error_correlation([e[:5] for e in errors]) == 1).all()


def test_rows_that_lack_a_target_are_left_out_of_the_correlation():
    rng = np.random.default_rng(1)
    one = rng.normal(size=200)
    other = one.copy()
    other[:50] = np.nan
    assert error_correlation([one, other])[0, 1] == pytest.approx(1.0)


def test_shares_sum_to_one():
    assert shares({"loss.a": 3.0, "loss.b": 1.0}, ["loss.b", "loss.a"]).tolist() == [0.25, 0.75]


@pytest.fixture(scope="module")
def two(make_frame):
    rng = np.random.default_rng(3)
    frame = make_frame(40, 0.0)
    run_noise = rng.normal(0, 0.004, (40, 3))
    frame["loss.web"] = frame.loss * np.exp(run_noise[:, 0] + run_noise[:, 1])
    frame["loss.code"] = 0.8 * frame.loss * np.exp(run_noise[:, 0] + run_noise[:, 2])
    return RunTable.from_frame(frame.drop(columns="loss"))


def test_a_predictor_averages_its_domains(two, tmp_path):
    predictor = Predictor.fit(two, "chinchilla")
    columns = {"params": np.array([3e8, 1e9]), "tokens": np.array([1e10, 2e10])}
    mean = predictor.average(columns)
    apart = [predictor.predict(columns, name) for name in ("loss.web", "loss.code")]
    np.testing.assert_allclose(mean.loss_nats, np.mean([p.loss_nats for p in apart], axis=0))
    assert (mean.scale <= np.max([p.scale for p in apart], axis=0) * (1 + 1e-9)).all()
    assert 0.2 < predictor.correlation[0, 1] < 0.9
    only = predictor.average(columns, {"loss.code": 2.0})
    np.testing.assert_allclose(only.loss_nats, apart[1].loss_nats)
    save(predictor, tmp_path / "p")
    np.testing.assert_allclose(load(tmp_path / "p").average(columns).scale, mean.scale, rtol=1e-4)
    for weights in ({"loss.wiki": 1.0}, {"loss.web": -1.0}, {"loss.web": 0.0}, {}):
        with pytest.raises(UsageError, match="weights"):
            predictor.average(columns, weights)


def test_scores_of_the_mean_stand_beside_those_of_the_domains(two):
    result = score(Predictor.fit(two, "chinchilla"), two)
    assert set(result["average"]) == set(result["targets"]["loss.web"])
    assert result["average"]["rows"] == 40
    single = two.frame.drop(columns="loss.code")
    assert "average" not in score(Predictor.fit(RunTable.from_frame(pd.DataFrame(single)), "chinchilla"), two)
