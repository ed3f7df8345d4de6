"""Predictors edited at random, digests and all: refused in one sentence, or loaded and as sound as any other."""

import copy
import json
import random
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from foretrain.core.errors import PredictorError
from foretrain.core.files import write_manifest
from foretrain.simulator.fitting import Forms, fit_observations, public_prior, ranges
from foretrain.simulator.laws import get_law
from foretrain.simulator.predictor.calibration import public_calibration
from foretrain.simulator.predictor.loss_model import LossModel
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage import format as stored_format
from foretrain.simulator.predictor.storage.folder import load, save
from foretrain.simulator.surrogate import Surrogate, _trees

EDITS = 60
VALUES = (None, True, -1, 0, 2**63, 10**400, 1e308, 1e-308, float("nan"), float("inf"), "", "x", "1e400", "a" * 5000)
VALUES += ([], {}, [[]], [["a"], {}], {"a": {"b": []}}, {"": None}, "loss", 3.5, "general", "+")
FACTS = ("title", "follows_plan", "by", "text_of_plan", "bytes_per_token", "val_domain", "params_kind", "corpus")
KINDS = ("gp+trees", "posterior", "steplaw")


@pytest.fixture(scope="module")
def folders(make_mixed, mix_domains, make_table, tmp_path_factory) -> dict[str, Path]:
    """A predictor with a process, trees and two targets, one of runs and the public tables, one that ships."""
    observations = make_mixed(30, size=(5e7, 2e8))
    fit = fit_observations(get_law("general+mixture", mix_domains), observations, public_prior(), draws=10)
    learner = Surrogate.learn(fit, observations, None, joint=False)
    residual = np.log(observations.loss) - fit.log_loss(observations.columns)
    trees = _trees.grow(learner.process.inputs.x, residual, learner.process.trust, seed=0)
    public = public_calibration()
    plain = LossModel(fit, public, ranges(observations), 30, {"why": "as asked", "backtest_errors": {"x": 0.1}})
    rival = fit_observations(get_law("chinchilla+mixture", mix_domains), observations, public_prior())
    plain = replace(plain, forms=Forms((rival,), np.array([0.3])))
    both = replace(plain, surrogate=replace(learner, kind="gp+trees", trees=trees), within=public)
    made = {
        "gp+trees": Predictor("both", {"loss": both, "loss.b": plain}, {"corpus": "c4"}, ("a note",), np.eye(2)),
        "posterior": Predictor.fit(make_table(8, tokenizer="gpt2", corpus="c4"), name="mine"),
        "steplaw": load("steplaw"),
    }
    home = tmp_path_factory.mktemp("edited")
    for name, predictor in made.items():
        save(predictor, home / name)
    return {name: home / name for name in made}


def places(value, at=()):
    """Where anything stands in a nest, but few of a list."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*at, key))


def edit_values(rng: random.Random, data) -> str:
    if rng.random() < 0.15:
        key, value = rng.choice(FACTS), rng.choice(VALUES)
        data["about"][key] = value
        return f"about.{key} = {value!r:.30}"
    *path, last = rng.choice(list(places(data)))
    inner = data
    for key in path:
        inner = inner[key]
    if rng.random() < 0.2:
        del inner[last]
        return f"without {[*path, last]}"
    inner[last] = rng.choice(VALUES)
    return f"{[*path, last]} = {inner[last]!r:.30}"


def edit_arrays(rng: random.Random, arrays) -> str:
    name = rng.choice(list(arrays))
    array = arrays[name].copy()
    way = rng.randrange(7)
    with np.errstate(all="ignore"):
        if way == 0:
            array.flat[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, 1e30, 0, -1, 1e5, 1e-300, 30, -30))
        elif way == 1:
            array = array * rng.choice((0, -1, 1e3, 1e-3, 1e6, 1e-30, 30))
        elif way == 2:
            array = rng.choice((array[:-1], array[:0], array[..., None], np.concatenate([array] * 40)))
        elif way == 3:
            array = array.astype(rng.choice(("f2", "f4", "f8", "f16")))
        elif way == 4:
            array = np.full_like(array, rng.choice((0, 1, -40, 39, 1e5)))
        elif way == 5:
            array = np.asfortranarray(array[::-1])
        else:
            del arrays[name]
            return f"without {name}"
    arrays[name] = array
    return f"{name}: way {way}, {array.shape}"


def put(folder: Path, data, arrays) -> None:
    """A predictor's folder of these values and arrays, with an honest manifest."""
    folder.mkdir(exist_ok=True)
    (folder / "predictor.json").write_text(json.dumps(data), encoding="utf-8")
    np.savez(folder / "draws.npz", **arrays)
    (folder / "MANIFEST.json").unlink(missing_ok=True)
    write_manifest(folder)


def parts(folder: Path):
    with np.load(folder / "draws.npz") as archive:
        return json.loads((folder / "predictor.json").read_text(encoding="utf-8")), dict(archive)


def at_a_plan(predictor: Predictor) -> np.ndarray:
    """Medians and intervals of all targets for a run that each of them can read."""
    columns = dict.fromkeys(("mix.web", "mix.code", "mix.wiki", "mix.forum"), np.array([0.25]))
    columns |= {"params": np.array([1e9]), "tokens": np.array([2e10]), "lr": np.array([1e-3])}
    columns |= {"batch_tokens": np.array([1e6]), "unique_tokens": np.array([2e10])}
    answers = [model.predict(columns) for model in predictor.models.values()]
    return np.array([[one.loss_nats[0], *np.ravel(one.interval(0.9))] for one in answers])


@pytest.mark.parametrize("kind", KINDS)
def test_edits_are_refused_or_sound(kind, folders, tmp_path):
    rng = random.Random(KINDS.index(kind))
    values, arrays = parts(folders[kind])
    refusals: list[str] = []
    for _ in range(EDITS):
        data, changed = copy.deepcopy(values), dict(arrays)
        what = edit_values(rng, data) if rng.random() < 0.6 else edit_arrays(rng, changed)
        put(tmp_path / "mine", data, changed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                predictor = load(tmp_path / "mine")
            except PredictorError as error:
                refusals.append(str(error))
                continue
        assert np.all(np.isfinite(at_a_plan(predictor))), what
    assert 20 < len(refusals) < EDITS - 5  # neither all nor none: the edits are of both kinds
    assert max(map(len, refusals)) < 700


DEEP = json.loads("[" * 400 + "]" * 400)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("notes",), [["a"], {}], "notes: expected a list of texts"),
        (("name",), float("nan"), "name: got nan"),
        (("about", "follows_plan"), 1, "about.follows_plan: got 1; expected true or false"),
        (("about", "follows_plan"), True, "there is no title"),
        (("about", "text_of_plan"), True, "there is no bytes_per_token"),
        (("about", "bytes_per_token"), "3", "expected a number from 0 to 1000"),
        (("about", "table"), ["runs.csv"], "expected a text"),
        (("about", "seed"), float("inf"), "expected a finite number"),
        (("about", "levels"), [], "expected facts by name"),
        (("about", "levels"), {"architecture": {"hyena": 3}}, "'hyena': got 3; expected facts by name"),
        (("about", "levels"), {"architecture": {"hyena": {}}}, "'hyena': there is no runs"),
        (("about", "levels"), {"selection": {"dedup": {"runs": -1}}}, "'runs': got -1; expected a whole number"),
        (("about", "levels"), {"selection": {"dedup": {"params": [1]}}}, "expected the lowest and the highest value"),
        (("about", "levels"), {"selection": {"dedup": {"params": [None, "a"]}}}, "the lowest and the highest value"),
        (("about", "x"), DEEP, "deep"),
        (("targets", "loss", "choice", "why"), "x" * 200_000, "200000 characters"),
        (("targets", "loss", "seen", "compute"), [1e-308, 1e20], "expected a number above 1e-06"),
        (("format",), "x" * 10_000, "has format 'xxx"),
    ],
    ids=lambda part: part[-1] if isinstance(part, tuple) else "",
)
def test_facts_that_no_fit_writes_are_refused(path, value, words, folders, tmp_path):
    values, arrays = parts(folders["posterior"])
    values["about"].pop("title", None)
    inner = values
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    put(tmp_path / "mine", values, arrays)
    with pytest.raises(PredictorError, match=words) as refused:
        load(tmp_path / "mine")
    assert len(str(refused.value)) < 700


def test_a_nest_too_deep_for_the_reader_is_refused(folders, tmp_path):
    values, arrays = parts(folders["posterior"])
    put(tmp_path / "mine", values, arrays)
    text = json.dumps(values)[:-1] + ', "x": ' + "[" * 900 + "]" * 900 + "}"
    (tmp_path / "mine" / "predictor.json").write_text(text, encoding="utf-8")
    (tmp_path / "mine" / "MANIFEST.json").unlink()
    write_manifest(tmp_path / "mine")
    with pytest.raises(PredictorError):
        load(tmp_path / "mine")


def test_more_draws_or_learned_runs_than_a_fit_has_are_refused(folders, tmp_path, monkeypatch):
    values, arrays = parts(folders["steplaw"])
    put(tmp_path / "mine", values, {**arrays, "draws_0": np.repeat(arrays["draws_0"], 60, axis=0)})
    with pytest.raises(PredictorError, match=r"draws of shape \(12000, 26\)"):
        load(tmp_path / "mine")
    monkeypatch.setattr(stored_format, "_MOST_LEARNED_ROWS", 29)
    with pytest.raises(PredictorError, match="learners of 30 runs together; expected at most 29"):
        load(folders["gp+trees"])


def test_an_archive_larger_than_may_be_is_not_opened(folders, tmp_path):
    values, arrays = parts(folders["posterior"])
    put(tmp_path / "mine", values, arrays)
    with (tmp_path / "mine" / "draws.npz").open("r+b") as file:
        file.truncate(64_000_001)  # sparse: takes no disk
    (tmp_path / "mine" / "MANIFEST.json").unlink()
    write_manifest(tmp_path / "mine")
    with pytest.raises(PredictorError, match="holds 64000001 bytes"):
        load(tmp_path / "mine")
