"""A learner on disk: the same predictions after loading, and nothing believed that isn't ours."""

import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from foretrain.core.errors import PredictorError
from foretrain.core.files import write_manifest
from foretrain.simulator.fitting import fit_observations, public_prior, ranges
from foretrain.simulator.laws import get_law
from foretrain.simulator.predictor.calibration import public_calibration
from foretrain.simulator.predictor.loss_model import LossModel
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load, save
from foretrain.simulator.predictor.storage.format import arrays_of, from_dict, to_dict
from foretrain.simulator.predictor.storage.surrogate_format import (
    surrogate_arrays,
    surrogate_from,
    surrogate_to_dict,
)
from foretrain.simulator.surrogate import Fade, Surrogate, _trees
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KINDS = ("gp", "trees", "gp+trees")


@pytest.fixture(scope="module")
def models(make_mixed, mix_domains) -> dict[str, LossModel]:
    """One model for each kind of learner, on runs of two sizes."""
    observations = make_mixed(60, size=(5e7, 2e8))
    fit = fit_observations(get_law("general+mixture", mix_domains), observations, public_prior(), draws=10)
    process = Surrogate.learn(fit, observations, public_prior())
    process = replace(process, errors={"law": 0.006, "joint": 0.004})
    residual = np.log(observations.loss) - fit.log_loss(observations.columns)
    trees = _trees.grow(process.process.inputs.x, residual, process.process.trust, seed=0)
    surrogates = {
        "gp": process,
        "trees": replace(process, kind="trees", trees=trees),
        "gp+trees": replace(Surrogate.learn(fit, observations, None, joint=False), kind="gp+trees", trees=trees),
    }
    public = public_calibration()
    within = public.blended(public, 0.5)
    facts = {"why": "as asked", "left_out": {}, "backtest_errors": {}}
    plain = LossModel(fit, public, ranges(observations), 60, facts)
    return {kind: replace(plain, surrogate=surrogate, within=within) for kind, surrogate in surrogates.items()}


@pytest.fixture(scope="module")
def predictor(models) -> Predictor:
    """Four targets: one without a learner, and one with each kind."""
    bare = replace(models["gp"], surrogate=None, within=None)
    return Predictor("mixed", {"loss": bare, **{f"loss.{kind}": model for kind, model in models.items()}})


def rewritten(folder: Path, arrays=None, entry=None) -> Path:
    """The folder with arrays or entries of the first learner changed (an array given as None: left out), and an honest
    manifest."""
    if arrays is not None:
        with np.load(folder / "draws.npz", allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
        for name, value in arrays.items():
            array = found.pop(name, None)
            if value is not None:
                found[name] = value(array)
        buffer = io.BytesIO()
        np.savez(buffer, **found)
        (folder / "draws.npz").write_bytes(buffer.getvalue())
    if entry is not None:
        data = json.loads((folder / "predictor.json").read_text(encoding="utf-8"))
        surrogate = data["targets"][data["order"][0]]["surrogate"]
        surrogate |= entry
        data["targets"][data["order"][0]]["surrogate"] = {k: v for k, v in surrogate.items() if v is not None}
        (folder / "predictor.json").write_text(json.dumps(data), encoding="utf-8")
    write_manifest(folder)
    return folder


@pytest.fixture
def saved(models, tmp_path):
    """`saved(kind)`: the folder of a predictor whose only target has such a learner."""

    def make(kind: str) -> Path:
        save(Predictor("one", {"loss": models[kind]}), tmp_path / "one")
        return tmp_path / "one"

    return make


# the same after loading


@pytest.mark.parametrize("target", ["loss", *(f"loss.{kind}" for kind in KINDS)])
def test_loading_gives_the_same_predictions(target, predictor, tmp_path, make_mixed):
    save(predictor, tmp_path / "mixed")
    columns = make_mixed(50, 3, size=(5e7, 2e8, 2e9)).columns
    before, after = predictor.predict(columns, target), load(tmp_path / "mixed").predict(columns, target)
    # parameters keep ten digits, draws are in single precision, quantiles keep eight digits
    np.testing.assert_allclose(after.log_loss, before.log_loss, rtol=1e-8)
    np.testing.assert_allclose(after.scale, before.scale, rtol=1e-3)
    for one, other in zip(after.interval(0.9), before.interval(0.9), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert (after.within is None) == (before.within is None) == (target == "loss")


def test_saving_again_gives_the_same_bytes(predictor, tmp_path, make_mixed):
    save(predictor, tmp_path / "one")
    save(load(tmp_path / "one"), tmp_path / "two")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert names == ["MANIFEST.json", "MODEL_CARD.md", "draws.npz", "predictor.json"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    columns = make_mixed(20, 4).columns
    one, two = (load(tmp_path / name).predict(columns, "loss.gp+trees") for name in ("one", "two"))
    np.testing.assert_array_equal(one.log_loss, two.log_loss)
    np.testing.assert_array_equal(one.scale, two.scale)


def test_what_is_known_of_a_learner_is_kept(predictor, tmp_path):
    save(predictor, tmp_path / "mixed")
    after = load(tmp_path / "mixed")
    for name, model in predictor.models.items():
        if model.surrogate is None:
            assert after.models[name].surrogate is None
            continue
        again = after.models[name].surrogate
        assert again is not None
        assert (again.kind, again.joint, again.features.names) == (
            model.surrogate.kind,
            model.surrogate.joint,
            model.surrogate.features.names,
        )
        assert again.errors == model.surrogate.errors
        assert (again.trees is None) == (model.surrogate.trees is None)


def test_trees_of_an_earlier_predictor_do_not_stay_behind(models, tmp_path):
    """What is saved anew in its place holds nothing that an earlier version, or another learner, left there."""
    save(Predictor("one", {"loss": models["trees"]}), tmp_path / "one")
    (tmp_path / "one" / "trees_0.txt").write_text("tree\n", encoding="utf-8")
    save(Predictor("one", {"loss": models["gp"]}), tmp_path / "one")
    assert not (tmp_path / "one" / "trees_0.txt").exists()
    with np.load(tmp_path / "one" / "draws.npz", allow_pickle=False) as archive:
        assert not [name for name in archive.files if "tree" in name]
    assert load(tmp_path / "one").models["loss"].surrogate is not None


WITHOUT_LIGHTGBM = """
import sys
sys.modules["lightgbm"] = None  # importing it now fails
import numpy as np
from foretrain.simulator.predictor.storage.folder import load
with np.load(sys.argv[2], allow_pickle=False) as columns:
    print(repr(load(sys.argv[1]).predict(dict(columns), "loss").log_loss.tolist()))
"""


def test_loading_and_predicting_need_no_lightgbm(saved, make_mixed, tmp_path):
    folder, columns = saved("trees"), make_mixed(8, 5).columns
    np.savez(tmp_path / "columns.npz", **columns)
    words = [sys.executable, "-c", WITHOUT_LIGHTGBM, folder, tmp_path / "columns.npz"]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    expected = load(folder).predict(columns, "loss").log_loss
    np.testing.assert_allclose(json.loads(done.stdout), expected, rtol=1e-12)


def test_without_the_disk_the_round_trip_is_exact_but_for_the_threads_of_blas(models, make_mixed):
    columns = make_mixed(20, 5).columns
    for model in models.values():
        before, law = model.surrogate, model.fit.law
        assert before is not None
        entry = json.loads(json.dumps(surrogate_to_dict(before)))
        after = surrogate_from(entry, surrogate_arrays(before), law, model.fitted_ranges)
        one, two = (surrogate.correct(model.fit, columns) for surrogate in (before, after))
        np.testing.assert_allclose(two.log_loss, one.log_loss, rtol=0, atol=1e-12)
        np.testing.assert_allclose(two.variance, one.variance, rtol=1e-5)


def test_files_from_before_corrections_faded_fade_as_usual_beyond_what_was_fitted(models):
    model = models["gp"]
    entry = surrogate_to_dict(model.surrogate)
    del entry["fade"]
    after = surrogate_from(entry, surrogate_arrays(model.surrogate), model.fit.law, model.fitted_ranges)
    usual = Fade.usual(model.fitted_ranges)
    assert after.fade.tried == model.fitted_ranges
    np.testing.assert_array_equal(after.fade.weights, usual.weights)


def test_files_from_before_repeats_did_harm_are_read_as_they_were(models, make_mixed):
    """A law that has got a parameter since: it is where it was in effect then, and no learner's tangent sees it."""
    law = models["gp"].fit.law
    place = law.names.index("log_domain_repeat_harm")
    quiet = models["gp"].fit.theta.copy()
    quiet[place] = 25.0
    draws = models["gp"].fit.draws.copy()
    draws[:, place] = 25.0
    surrogate = models["gp"].surrogate
    kept = np.arange(len(law.names)) != place
    root = surrogate.tangent.root * np.outer(kept, kept)
    inputs = replace(surrogate.process.inputs, tangent=surrogate.process.inputs.tangent * kept)
    tangent = replace(surrogate.tangent, offset=surrogate.tangent.offset * kept, root=root)
    surrogate = replace(surrogate, tangent=tangent, process=replace(surrogate.process, inputs=inputs))
    then = replace(models["gp"], fit=replace(models["gp"].fit, theta=quiet, draws=draws), surrogate=surrogate)
    data, arrays = to_dict(Predictor("then", {"loss": then})), arrays_of(Predictor("then", {"loss": then}))
    del data["targets"]["loss"]["theta"]["log_domain_repeat_harm"]
    for name, axes in (("draws_0", [1]), ("tangent_0", [1]), ("offset_0", [0]), ("root_0", [0, 1])):
        for axis in axes:
            arrays[name] = np.delete(arrays[name], place, axis)
    columns = make_mixed(20, 5).columns
    one, two = then.predict(columns), from_dict(data, arrays).predict(columns, "loss")
    np.testing.assert_allclose(two.log_loss, one.log_loss, rtol=1e-6)
    np.testing.assert_allclose(two.scale, one.scale, rtol=1e-4)


@pytest.mark.parametrize(
    "fade",
    [
        {"rates": [0.1], "weights": [1.0]},
        {"tried": {name: [2.0, 1.0] for name in ("params", "tokens", "compute")}, "rates": [0.1], "weights": [1.0]},
        {"rates": [-0.1]},
        {"rates": [float("nan")]},
        {"weights": [0.5]},
        {"rates": [0.1, 0.2]},
        {"rates": [], "weights": []},
    ],
)
def test_a_fade_that_isnt_ours_is_refused(fade, models):
    model = models["gp"]
    entry = surrogate_to_dict(model.surrogate)
    sound = {"tried": entry["fade"]["tried"], "rates": [0.1], "weights": [1.0]}
    entry["fade"] = fade if "weights" in fade and "rates" in fade else {**sound, **fade}
    with pytest.raises((KeyError, ValueError)):
        surrogate_from(entry, surrogate_arrays(model.surrogate), model.fit.law, model.fitted_ranges)


# what is refused


def first(change):
    """A change of an array's first number."""

    def make(array):
        out = np.array(array)
        out.flat[0] = change
        return out

    return make


REFUSED = {
    "nan": {"x_0": first(np.nan)},
    "inf": {"tangent_0": first(np.inf)},
    "beyond range": {"z_0": first(1e7)},
    "missing runs": {"x_0": lambda a: a[1:]},
    "missing feature": {"x_0": lambda a: a[:, 1:]},
    "one dimension": {"luck_0": lambda a: a[:, 0]},
    "another cause of luck": {"luck_0": lambda a: np.hstack([a, a])},
    "no runs": dict.fromkeys(["x_0", "luck_0", "tangent_0", "z_0", "trust_0"], lambda a: a[:0]),
    "hyperparameters missing": {"hyper_0": lambda a: a[:-1]},
    "hyperparameters absurd": {"hyper_0": first(500.0)},
    "scalar": {"z_0": lambda a: a[0]},
    "root not square": {"root_0": lambda a: a[:-1]},
    "integers": {"z_0": lambda a: a.astype(int)},
    "text": {"z_0": lambda a: a.astype(str)},
    "negative trust": {"trust_0": lambda a: -a},
    "no trust": {"trust_0": lambda a: 0 * a},
    "trust above one": {"trust_0": lambda a: 2 * a},
    "negative shares": {"x_0": lambda a: a - 1},
    # all runs alike without any noise: no Cholesky factor
    "no covariance": {"hyper_0": lambda _: np.concatenate([np.full(6, 39.0), np.zeros(4), [-39.0, 0.0]])},
}


@pytest.mark.parametrize("case", REFUSED)
def test_tampered_arrays_are_refused(case, saved):
    folder = rewritten(saved("gp"), REFUSED[case])
    with pytest.raises(PredictorError, match=re.escape(str(folder))):
        load(folder)


def test_missing_arrays_are_refused(saved):
    folder = saved("gp")
    with np.load(folder / "draws.npz", allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files if name != "trust_0"}
    buffer = io.BytesIO()
    np.savez(buffer, **found)
    (folder / "draws.npz").write_bytes(buffer.getvalue())
    write_manifest(folder)
    with pytest.raises(PredictorError, match="trust"):
        load(folder)


LOGS = {"shares": ["mix.web"], "logs": [], "centre": [], "spread": []}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"kind": "forest"}, "surrogate 'forest' without trees"),
        ({"kind": ["gp"]}, "predictor.json"),
        ({"kind": None}, "kind"),
        ({"kind": "trees"}, "surrogate 'trees' without trees"),
        ({"features": None}, "features"),
        ({"features": {**LOGS, "shares": ["mix.poetry"]}}, "doesn't know"),
        ({"features": {**LOGS, "centre": [1.0]}}, "centre and spread"),
        ({"features": {**LOGS, "logs": ["log_compute"], "centre": [float("nan")], "spread": [1.0]}}, "finite"),
        ({"features": {**LOGS, "shares": 3}}, "predictor.json"),
        ({"features": LOGS}, "shape"),  # one feature for arrays of five
        ({"unit": 0.0}, "unit"),
        ({"unit": -1.0}, "unit"),
        ({"unit": float("nan")}, "unit"),
        ({"unit": 1e9}, "unit"),
        ({"unit": "many"}, "many"),
        ({"errors": 3}, "predictor.json"),
        ({"errors": {"law": "low"}}, "low"),
    ],
)
def test_tampered_entries_are_refused(entry, words, saved):
    folder = rewritten(saved("gp"), entry=entry)
    with pytest.raises(PredictorError, match=re.escape(words)):
        load(folder)


TREES = ("trees_feature_0", "trees_threshold_0", "trees_left_0", "trees_right_0", "trees_value_0")


def test_trees_that_are_missing_are_refused(saved):
    folder = rewritten(saved("gp+trees"), dict.fromkeys(TREES))
    with pytest.raises(PredictorError, match=re.escape("surrogate 'gp+trees' without trees")):
        load(folder)


@pytest.mark.parametrize("name", TREES)
def test_trees_of_which_a_part_is_missing_are_refused(name, saved):
    folder = rewritten(saved("trees"), {name: None})
    with pytest.raises(PredictorError, match=name.removeprefix("trees_").removesuffix("_0")):
        load(folder)


def test_trees_that_nobody_asked_for_are_refused(saved):
    folder = rewritten(saved("gp"), {"trees_feature_0": lambda _: np.full((1, 1), -1.0)})
    with pytest.raises(PredictorError, match="surrogate 'gp' with trees"):
        load(folder)


def test_trees_of_other_features_are_refused(saved):
    folder = rewritten(saved("trees"), {"trees_feature_0": lambda a: np.where(a == 0, 5, a)})
    with pytest.raises(PredictorError, match="no feature of 5"):
        load(folder)


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize(
    "change", [lambda a: a[1:], lambda a: a[:, :-1], lambda a: a[0], lambda a: a[None], lambda a: a[:0], lambda a: a.T]
)
def test_trees_of_another_shape_are_refused(name, change, saved):
    folder = rewritten(saved("trees"), {name: change})
    with pytest.raises(PredictorError, match="trees"):
        load(folder)


CELL = st.one_of(st.integers(-3, 70), st.sampled_from([0.5, -1e9, 1e300, np.inf, -np.inf, np.nan]), st.floats())


@given(
    st.sampled_from(TREES), st.lists(st.tuples(st.integers(0, 299), st.integers(0, 28), CELL), min_size=1, max_size=4)
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_trees_are_refused_or_harmless(saved, make_mixed, name, cells):
    """A tree text that was edited by hand ended the process; a digest is no help, since anyone can compute it."""

    def mutated(array):
        out = array.astype(float)
        for tree, node, value in cells:
            out[tree, node % out.shape[1]] = value
        return out

    folder = rewritten(saved("trees"), {name: mutated})
    try:
        predictor = load(folder)
    except PredictorError:
        return
    assert np.all(np.isfinite(predictor.predict(make_mixed(8, 5).columns, "loss").log_loss))


@pytest.mark.parametrize("name", ["trees_left_0", "trees_right_0"])
def test_what_a_leaf_says_of_children_is_not_read(saved, make_mixed, name):
    """A child beyond the last node ended in an IndexError when the trees were first asked."""

    def beyond(array):
        out = array.astype(float)
        out[:, -1] = out.shape[1]  # the last node is a leaf: there is none after it
        return out

    columns = make_mixed(8, 5).columns
    before = load(saved("trees")).predict(columns, "loss").log_loss
    assert np.array_equal(load(rewritten(saved("trees"), {name: beyond})).predict(columns, "loss").log_loss, before)


@pytest.mark.parametrize("table", ["runs.csv", None])
def test_trees_as_text_are_refused_with_the_command_that_makes_the_predictor_again(table, models, tmp_path):
    """Earlier versions kept LightGBM's own text, and LightGBM ends the process on a damaged one."""
    folder = tmp_path / "one"
    save(Predictor("one", {"loss": models["gp"]}, {} if table is None else {"table": table}), folder)
    (folder / "trees_0.txt").write_text("a poem\n", encoding="utf-8")
    write_manifest(folder)
    asked = "RUNS" if table is None else "'runs.csv'"
    with pytest.raises(PredictorError, match=re.escape(f"simulate fit {asked} --out {folder}")):
        load(folder)


def test_a_learner_without_its_calibration_is_refused(saved):
    folder = saved("gp")
    data = json.loads((folder / "predictor.json").read_text(encoding="utf-8"))
    del data["targets"]["loss"]["within"]
    (folder / "predictor.json").write_text(json.dumps(data), encoding="utf-8")
    write_manifest(folder)
    with pytest.raises(PredictorError, match="within"):
        load(folder)
