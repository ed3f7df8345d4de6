import json
import shutil

import numpy as np
import pytest
from foretrain.core.errors import InputError, PredictorError, UsageError
from foretrain.core.files import write_manifest
from foretrain.simulator.curve.law.transfer import Library
from foretrain.simulator.curve.library import Curve
from foretrain.simulator.curve.prefix import condition
from foretrain.simulator.curve.store import check_destination, load, save


@pytest.fixture(scope="module")
def library(make_curve):
    small = [make_curve(name, (3.2, 0.3, 0.15), 2.5e7, noise=1e-3) for name in ("cosine", "constant", "wsd")]
    return Library([*small, make_curve("cosine", noise=1e-3), make_curve("two_stage", family="other", noise=1e-3)])


@pytest.fixture(scope="module")
def saved(library, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "mine"
    save(library, folder)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def test_what_is_loaded_is_what_was_saved_to_the_bit(library, saved, paths):
    again = load(saved)
    assert [c.run_id for c in again.curves] == [c.run_id for c in library.curves]
    for ours, theirs in zip(library.curves, again.curves, strict=True):
        assert (ours.family, ours.size, ours.path.warmup) == (theirs.family, theirs.size, theirs.path.warmup)
        for name in ("step", "loss"):
            assert np.array_equal(getattr(ours, name), getattr(theirs, name))
        assert np.array_equal(ours.path.rate, theirs.path.rate)
    for size in (2.5e7, 1e8, 4e8):
        bands = [
            condition(paths["wsd"], lib.prior("made", size, paths["wsd"], 3.0)).band(np.array([6000.0]))
            for lib in (library, again)
        ]
        assert bands[0].loss == bands[1].loss
        assert bands[0].log_sd == bands[1].log_sd


def test_saving_twice_writes_the_same_files(library, saved, tmp_path):
    save(library, tmp_path / "again")
    save(library, tmp_path / "again")
    assert (tmp_path / "again/curves.json").read_bytes() == (saved / "curves.json").read_bytes()


def test_the_fits_are_there_to_be_read(saved):
    data = json.loads((saved / "curves.json").read_text())
    assert [fit["runs"] for fit in data["fits"]] == [
        ["made_2.5e+07_cosine", "made_2.5e+07_constant", "made_2.5e+07_wsd", "made_1e+08_cosine"],
        ["other_1e+08_two_stage"],
    ]
    assert set(data["fits"][0]["shape"]) == {"alpha", "log_c", "beta", "gamma"}
    assert [set(level) for level in data["fits"][0]["level"]] == 2 * [{"group", "L0", "A", "B"}]


@pytest.mark.parametrize("name", ["curves.json", "curves.npz"])
@pytest.mark.parametrize("how", ["cut", "flip", "gone"])
def test_damaged_files_are_named(copy, name, how):
    path = copy / name
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-10] if how == "cut" else data[:50] + bytes([data[50] ^ 1]) + data[51:])
    with pytest.raises(PredictorError, match=name):
        load(copy)


def edited(copy, change):
    data = json.loads((copy / "curves.json").read_text())
    change(data)
    (copy / "curves.json").write_text(json.dumps(data))
    write_manifest(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("runs"),
        lambda d: d.update(fits=None),
        lambda d: d.update(runs=[{}]),
        lambda d: d["runs"][0].update(size=0),
        lambda d: d["runs"][0].update(size="NaN"),
        lambda d: d["runs"][0].update(warmup_steps=10**9),
        lambda d: d["runs"][0].update(family="\x1b[31m"),
        lambda d: d["runs"].append(d["runs"][0]),
        lambda d: d["fits"][0]["level"].pop(),
        lambda d: d["fits"][0]["level"][0].pop("A"),
        lambda d: d["fits"][0]["shape"].update(alpha="x"),
        lambda d: d["fits"][0].update(covariance=[[1.0]]),
        lambda d: d["fits"][0].update(runs=["somebody else's"]),
        lambda d: d.update(format=99),
        lambda d: d.clear(),
    ],
)
def test_tampered_facts_are_refused(copy, change):
    edited(copy, change)
    with pytest.raises(PredictorError, match=r"not one of ours|has format 99"):
        load(copy)


def test_tampered_arrays_are_refused(copy):
    with np.load(copy / "curves.npz", allow_pickle=False) as arrays:
        found = dict(arrays)
    for change in ({"loss_0": found["loss_0"] * np.nan}, {"step_1": found["step_1"][::-1]}, {"rate_2": np.zeros(3)}):
        np.savez(copy / "curves.npz", allow_pickle=False, **{**found, **change})
        write_manifest(copy)
        with pytest.raises(PredictorError, match="not one of ours"):
            load(copy)


def test_whole_numbers_of_steps_survive(make_curve, tmp_path):
    """A library of curves with integer steps was written, and then refused."""
    curve = make_curve("cosine")
    whole = Curve("whole", "made", 1e8, curve.path, curve.step.astype(int), curve.loss)
    save(Library([whole]), tmp_path / "mine")
    assert np.array_equal(load(tmp_path / "mine").curves[0].step, curve.step)


def test_laws_without_curves_are_not_saved(tmp_path):
    with pytest.raises(InputError, match="expected one of curves"):
        save(Library.public(), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_fits_of_an_earlier_law_are_made_again(library, copy):
    edited(copy, lambda d: (d.update(format=1), d["fits"][0]["shape"].update(alpha=0.9)))
    alpha = [fit.shape[0] for fit in load(copy).family_fits().values()]
    assert alpha == [fit.shape[0] for fit in library.family_fits().values()]


def test_not_json(copy):
    (copy / "curves.json").write_text("{")
    write_manifest(copy)
    with pytest.raises(PredictorError, match=r"curves\.json: isn't valid JSON"):
        load(copy)


def test_where_a_library_may_be_written(saved, tmp_path):
    assert check_destination(saved) == saved
    assert check_destination(tmp_path / "new") == tmp_path / "new"
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(PredictorError, match=r"holds other files, such as 'thesis\.tex'"):
        check_destination(tmp_path)
    with pytest.raises(PredictorError, match="is a file; expected a folder"):
        check_destination(tmp_path / "thesis.tex")
    with pytest.raises(UsageError, match="empty name"):
        check_destination(" ")


@pytest.mark.parametrize("where", ["nowhere", "x" * 5000, "a\0b", ""])
def test_no_library_there(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PredictorError, match=r"expected a folder made by `simulate curve fit --out`"):
        load(where)
