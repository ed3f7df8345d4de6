"""What a posterior keeps of its runs, on disk and back; what isn't ours is refused."""

import json

import numpy as np
import pytest
from foretrain.core.errors import PredictorError
from foretrain.core.files import write_manifest
from foretrain.simulator.hierarchy.errors import Runs, Spread
from foretrain.simulator.hierarchy.misfit import Misfit
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load, save
from foretrain.simulator.predictor.storage.misfit_format import misfit_arrays, misfit_from, misfit_to_dict

AT = {"params": np.array([1e7, 1e9, 1e11]), "tokens": np.array([1e9, 1e11, 1e13])}


@pytest.fixture
def misfit() -> Misfit:
    runs = Runs(
        params=np.array([1e8, 1e9, 1e9]),
        tokens=np.array([2e9, 1e10, 2e10]),
        log_loss=np.log([3.6, 3.0, 2.9]),
        unfinished=np.array([0.0, 0.7, 0.0]),
        run=np.array([0, 1, 1]),
        extra_sd=np.array([0.05, 0.0, 0.0]),
        weight=np.array([0.5, 1.25, 1.25]),
        flops=np.full(3, np.nan),
    )
    spreads = (Spread(0.002, 0.008), Spread(0.006, 0.02))
    variance = np.array([runs.variance(spread) for spread in spreads])
    return Misfit(runs, spreads, np.array([0.75, 0.25]), variance)


def test_there_and_back(misfit):
    again = misfit_from(json.loads(json.dumps(misfit_to_dict(misfit))), misfit_arrays(misfit))
    assert np.array_equal(again.covariance(AT), misfit.covariance(AT))
    assert again.noise == misfit.noise
    assert again.runs.run.dtype.kind == "i"
    for name in ("log_loss", "unfinished", "extra_sd", "weight"):
        assert np.array_equal(getattr(again.runs, name), getattr(misfit.runs, name))


def test_of_no_runs():
    none = Misfit(Runs.none(), (Spread(0.002, 0.02),), np.ones(1), np.zeros((1, 0)))
    again = misfit_from(misfit_to_dict(none), misfit_arrays(none))
    assert len(again.runs) == 0
    assert np.array_equal(again.covariance(AT), none.covariance(AT))


def changed(name, place, value):
    def damage(entry, arrays):
        arrays[name] = arrays[name].copy()
        arrays[name][place] = value

    return damage


DAMAGE = {
    "a run without size": changed("misfit_runs", (0, 0), 0.0),
    "a run of negative tokens": changed("misfit_runs", (1, 0), -1e9),
    "an infinite loss": changed("misfit_runs", (2, 0), np.inf),
    "no number": changed("misfit_runs", (5, 1), np.nan),
    "more than all left to train": changed("misfit_runs", (3, 1), 1.5),
    "a negative number of a run": changed("misfit_runs", (4, 1), -1.0),
    "a negative spread": changed("misfit_runs", (5, 1), -0.1),
    "a negative weight": changed("misfit_runs", (6, 1), -1.0),
    "shares beyond 1": changed("misfit_shares", 0, 2.0),
    "a negative share": changed("misfit_shares", slice(None), [-0.5, 1.5]),
    "no variance": changed("misfit_variance", (0, 0), 0.0),
    "a row too many": lambda entry, arrays: arrays.update(misfit_runs=np.ones((8, 3))),
    "other runs": lambda entry, arrays: arrays.update(misfit_runs=np.ones((7, 4))),
    "no runs": lambda entry, arrays: arrays.pop("misfit_runs"),
    "no spreads": lambda entry, arrays: entry.update(spreads=[]),
    "spreads beyond all": lambda entry, arrays: entry.update(spreads=[[0.002, 3.0], [0.1, 0.1]]),
    "spreads of one number": lambda entry, arrays: entry.update(spreads=[[0.002], [0.1]]),
    "words": lambda entry, arrays: entry.update(spreads=[["a", "b"], [0.1, 0.1]]),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_not_ours_is_refused(misfit, name):
    entry, arrays = misfit_to_dict(misfit), misfit_arrays(misfit)
    DAMAGE[name](entry, arrays)
    with pytest.raises((ValueError, KeyError, TypeError)):
        misfit_from(entry, arrays)


@pytest.fixture(scope="module")
def fitted(make_table) -> Predictor:
    return Predictor.fit(make_table(8, tokenizer="gpt2", corpus="c4"), name="mine")


def test_a_saved_posterior_answers_as_before(fitted, tmp_path):
    save(fitted, tmp_path / "mine")
    again = load(tmp_path / "mine")
    assert again.models["loss"].misfit is not None
    before, after = (of.models["loss"].predict(AT, joint=True) for of in (fitted, again))
    np.testing.assert_allclose(after.log_loss, before.log_loss, rtol=1e-9)
    np.testing.assert_allclose(after.scale, before.scale, rtol=1e-4)
    np.testing.assert_allclose(after.correlation, before.correlation, rtol=1e-4)
    np.testing.assert_allclose(np.log(after.interval(0.9)), np.log(before.interval(0.9)), rtol=1e-4)


@pytest.mark.parametrize("name", ["misfit_runs", "misfit_variance", "misfit_shares"])
def test_damaged_arrays_are_refused_by_name(fitted, tmp_path, name):
    folder = tmp_path / "mine"
    save(fitted, folder)
    with np.load(folder / "draws.npz") as stored:
        arrays = {key: stored[key] for key in stored.files}
    (key,) = [key for key in arrays if name in key]
    arrays[key] = np.full_like(arrays[key], np.nan)
    np.savez(folder / "draws.npz", **arrays)
    write_manifest(folder)
    with pytest.raises(PredictorError, match="mine"):
        load(folder)
