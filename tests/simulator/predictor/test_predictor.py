"""`Predictor`: fits of known laws, what it refuses and warns about, intervals, and folders on disk."""

import warnings

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import DataWarning, FitError, InputError, PredictorError, UsageError
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import public_prior, weak_prior
from foretrain.simulator.predictor.named import views
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage import folder as predictor_io
from foretrain.simulator.predictor.storage.folder import load, save, shipped

LEVELS = (0.1, 0.5, 0.8, 0.9, 0.95, 0.99)


def runs(params, tokens, **more) -> dict[str, np.ndarray]:
    return {
        k: np.atleast_1d(np.asarray(v, dtype=float)) for k, v in {"params": params, "tokens": tokens, **more}.items()
    }


def quietly(table: RunTable, *args, **kwargs) -> Predictor:
    """Fit a table whose doubts are not this test's business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return Predictor.fit(table, *args, **kwargs)


def same_bits(one: Predictor, other: Predictor, columns) -> bool:
    for target in one.models:
        a, b = one.predict(columns, target), other.predict(columns, target)
        pairs = [(a.log_loss, b.log_loss), (a.scale, b.scale), (a.extrapolation_decades, b.extrapolation_decades)]
        pairs += [*zip(a.interval(0.9), b.interval(0.9), strict=True)]
        if not all(np.array_equal(x, y) for x, y in pairs):
            return False
    return list(one.models) == list(other.models)


@pytest.fixture(scope="module")
def fitted(make_table) -> Predictor:
    return Predictor.fit(make_table(40), name="mine")


@pytest.fixture(scope="module")
def elsewhere() -> dict[str, np.ndarray]:
    """Runs inside, beyond and far beyond the fitted ones."""
    rng = np.random.default_rng(0)
    params = 10 ** rng.uniform(7, 12, 60)
    return runs(params, params * 10 ** rng.uniform(0.7, 2.2, 60))


# what a fit finds


@pytest.mark.parametrize("law", ["auto", "general", "chinchilla"])
def test_finds_a_known_law(law, make_table, true_loss_at):
    predictor = Predictor.fit(make_table(60, 0.001), law)
    for params, tokens in ((1e8, 2e9), (1e9, 1e11), (3e9, 1e11)):
        predicted = predictor.predict(runs(params, tokens)).loss_nats[0]
        assert predicted == pytest.approx(true_loss_at(params, tokens), rel=0.01)


def test_textbook_parameters_of_noise_free_runs(make_table):
    found = Predictor.fit(make_table(60, 0.0), "chinchilla").models["loss"].parameters
    expected = {"E": 1.7, "A": 480, "alpha": 0.35, "B": 2100, "beta": 0.37, "gamma": 1.0}
    assert found == pytest.approx(expected, rel=1e-3)


def test_failed_runs_change_nothing(make_frame, elsewhere):
    good = make_frame(30)
    bad = make_frame(5, seed=1).assign(status="diverged", loss=50.0)
    columns = ["params", "tokens", "loss", "status"]
    both = RunTable.from_frame(pd.concat([good.assign(status="ok")[columns], bad[columns]]))
    one, other = Predictor.fit(RunTable.from_frame(good), "chinchilla"), Predictor.fit(both, "chinchilla")
    assert same_bits(one, other, elsewhere)
    assert other.models["loss"].rows == 30


def test_a_dozen_small_runs_extrapolate_sanely(make_table, true_loss_at):
    """Two decades beyond a dozen runs of at most a billion parameters, noise 0.3 %."""
    errors, inside = [], 0
    for seed in range(6):
        table = make_table(12, 0.003, seed, decades=(7.5, 9.0))
        predictor = Predictor.fit(table)
        params, tokens = table.column("params"), table.column("tokens")
        top = int((params * tokens).argmax())
        prediction = predictor.predict(runs(10 * params[top], 10 * tokens[top]))
        true = true_loss_at(10 * params[top], 10 * tokens[top])
        errors.append(abs(prediction.loss_nats[0] / true - 1))
        (low,), (high,) = prediction.interval(0.9)
        inside += low < true < high
        assert 0.01 < np.log(high / low) < 0.4, "neither certain nor useless"
        assert prediction.extrapolation_decades[0] == pytest.approx(2.0, abs=0.01)
    assert np.median(errors) < 0.04
    assert max(errors) < 0.1
    assert inside >= 5


# targets


@pytest.fixture(scope="module")
def two_targets(make_frame):
    frame = make_frame(25)
    frame["loss.web"], frame["loss.code"] = frame["loss"], 0.6 * frame["loss"] * np.exp(0.02 * np.sin(np.arange(25)))
    return frame.drop(columns="loss")


@pytest.fixture(scope="module")
def pair(two_targets) -> Predictor:
    return Predictor.fit(RunTable.from_frame(two_targets), "chinchilla")


def test_every_loss_column_is_a_target(pair, two_targets, elsewhere):
    predictor = pair
    assert list(predictor.models) == ["loss.web", "loss.code"]
    assert predictor.main_loss == "loss.average"
    np.testing.assert_array_equal(predictor.predict(elsewhere).log_loss, predictor.average(elsewhere).log_loss)
    code, web = (predictor.predict(elsewhere, target) for target in ("loss.code", "loss.web"))
    np.testing.assert_allclose((code.loss_nats / web.loss_nats)[web.extrapolation_decades == 0], 0.6, rtol=0.05)
    three = RunTable.from_frame(two_targets.assign(loss=two_targets["loss.web"]))
    assert Predictor.fit(three, "chinchilla").main_loss == "loss"


def test_permuting_domains_permutes_results(pair, two_targets, elsewhere):
    one = pair
    permuted = two_targets[["loss.code", "tokens", "params", "loss.web"]]
    other = Predictor.fit(RunTable.from_frame(permuted), "chinchilla")
    assert list(other.models) == ["loss.code", "loss.web"]
    for target in one.models:
        a, b = one.predict(elsewhere, target), other.predict(elsewhere, target)
        np.testing.assert_array_equal(a.log_loss, b.log_loss)
        np.testing.assert_array_equal(a.scale, b.scale)


def test_a_target_alone_is_fitted_as_among_others(pair, two_targets, elsewhere):
    one, other = pair, Predictor.fit(RunTable.from_frame(two_targets.drop(columns="loss.web")), "chinchilla")
    np.testing.assert_array_equal(
        one.predict(elsewhere, "loss.code").scale, other.predict(elsewhere, "loss.code").scale
    )


def test_progress_names_each_target(two_targets):
    told = []
    Predictor.fit(RunTable.from_frame(two_targets), "chinchilla", progress=lambda *words: told.append(words))
    assert told == [("loss.web", 0.5), ("loss.code", 1.0)]  # each when it is done; they are fitted side by side


# seeds


def test_the_same_seed_gives_the_same_bits(make_table, elsewhere, fitted):
    assert same_bits(fitted, Predictor.fit(make_table(40)), elsewhere)


def test_another_seed_draws_otherwise_around_the_same_centre(make_table, elsewhere, fitted):
    other = Predictor.fit(make_table(40), seed=1)
    one, two = fitted.predict(elsewhere), other.predict(elsewhere)
    assert (np.abs(one.log_loss - two.log_loss) < 0.3 * one.scale).all()
    assert not np.array_equal(one.scale, two.scale)
    np.testing.assert_allclose(one.scale, two.scale, rtol=0.5)
    assert (fitted.about["seed"], other.about["seed"]) == (0, 1)


def test_fitting_leaves_the_global_random_state_alone(make_table):
    np.random.seed(3)  # noqa: NPY002 - the state that must not move
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    Predictor.fit(make_table(12), "chinchilla")
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


# intervals


def test_intervals_contain_the_point_and_nest(fitted, elsewhere):
    prediction = fitted.predict(elsewhere)
    inner_low = inner_high = prediction.loss_nats
    for level in LEVELS:
        low, high = prediction.interval(level)
        assert ((low > 0) & (low <= inner_low) & (inner_high <= high)).all(), level
        inner_low, inner_high = low, high
    assert ((inner_low < prediction.loss_nats) & (prediction.loss_nats < inner_high)).all()


@pytest.mark.parametrize("level", [0, 1, -0.5, 1.5, 90, float("nan")])
def test_an_impossible_level_is_a_usage_error(level, fitted, elsewhere):
    with pytest.raises(UsageError, match=r"expected a fraction between 0 and 1, such as 0\.9"):
        fitted.predict(elsewhere).interval(level)


def test_intervals_widen_with_the_gap(fitted):
    factor = 10 ** np.linspace(0, 3, 13)
    prediction = fitted.predict(runs(5e8 * factor, 2e10 * factor))
    assert (np.diff(prediction.extrapolation_decades) >= 0).all()
    beyond = prediction.extrapolation_decades > 0
    assert beyond.sum() > 6
    assert (np.diff(prediction.scale[beyond]) > 0).all()
    low, high = prediction.interval(0.9)
    assert np.log(high / low)[-1] > 2 * np.log(high / low)[0]


def test_noisier_tables_have_wider_intervals(make_table, elsewhere):
    tables = [make_table(40, noise) for noise in (0.001, 0.01, 0.05)]
    for law, by_factor in (("general", 3.0), ("auto", 1.3)):
        widths = [quietly(t, law, prior="public").predict(elsewhere).scale.mean() for t in tables]
        assert widths == sorted(widths)
        assert widths[-1] > by_factor * widths[0]


def test_chances_follow_the_interval(fitted, elsewhere):
    prediction = fitted.predict({k: v[:5] for k, v in elsewhere.items()})
    low, high = prediction.interval(0.8)
    for i in range(5):
        assert prediction.probability_at_most(float(prediction.loss_nats[i]))[i] == pytest.approx(0.5, abs=0.02)
        assert prediction.probability_at_most(float(low[i]))[i] == pytest.approx(0.1, abs=0.01)
        assert prediction.probability_at_most(float(high[i]))[i] == pytest.approx(0.9, abs=0.01)


def test_one_run_or_many_makes_no_difference(fitted, elsewhere):
    together = fitted.predict(elsewhere)
    for i in (0, 17, 59):
        alone = fitted.predict({k: v[i : i + 1] for k, v in elsewhere.items()})
        assert alone.log_loss[0] == pytest.approx(together.log_loss[i], rel=1e-13)
        assert alone.scale[0] == pytest.approx(together.scale[i], rel=1e-12)


# refusals


ONE_SIZE = [("tokens", "params", "params_only"), ("params", "tokens", "tokens_only")]


@pytest.mark.parametrize(("column", "other", "law"), ONE_SIZE)
def test_a_law_of_one_dimension_refuses_the_other(column, other, law, make_frame):
    frame = make_frame(20).assign(**{column: 5e9})
    frame["loss"] = 1.7 + 500 * frame[other] ** -0.3
    predictor = quietly(RunTable.from_frame(frame), law)
    inside = {column: 5e9 * 1.9, other: 1e9}
    assert np.isfinite(predictor.predict(runs(**inside)).log_loss).all()
    for factor in (2.1, 1 / 2.1, 1000):
        with pytest.raises(InputError, match=f"{column}: got .*every fitted run has about 5e\\+09"):
            predictor.predict(runs(**{**inside, column: 5e9 * factor}))


@pytest.mark.parametrize(("column", "other", "law"), ONE_SIZE)
def test_what_never_varied_is_left_to_the_public_tables(column, other, law, make_frame, true_loss_at):
    frame = make_frame(20).assign(**{column: 5e9})
    frame["loss"] = true_loss_at(frame["params"], frame["tokens"])
    predictor = quietly(RunTable.from_frame(frame))
    found = predictor.predict(runs(**{column: 5e9 * np.array([1.0, 4.0, 16.0]), other: np.full(3, 1e9)}))
    assert (np.diff(found.log_loss) < 0).all()
    assert (np.diff(found.scale) > 0).all()
    if column == "tokens":
        low, high = found.interval(0.95)
        true = true_loss_at(1e9, 5e9 * np.array([1.0, 4.0, 16.0]))
        assert ((low < true) & (true < high)).all()


def test_a_mixed_batch_names_the_worst_run(make_frame):
    predictor = quietly(RunTable.from_frame(make_frame(20).assign(tokens=5e9)), "params_only")
    with pytest.raises(InputError, match=r"tokens: got 1e\+12"):
        predictor.predict(runs([1e8, 1e8, 1e8], [5e9, 1e12, 2e10]))


def test_a_law_that_the_table_cannot_support_is_refused(make_table):
    with pytest.raises(FitError, match=r"runs\.csv: target 'loss': law 'chinchilla': column 'tokens' takes one value"):
        Predictor.fit(make_table(20, tokens=5e9), "chinchilla")
    with pytest.raises(FitError, match="unknown law"):
        Predictor.fit(make_table(20), "chinchila")
    with pytest.raises(FitError, match="expected auto, public, weak or none"):
        Predictor.fit(make_table(20), prior="strong")
    for law in ("general", "chinchilla"):
        with pytest.raises(FitError, match="at least 4 are needed"):
            Predictor.fit(make_table(3), law)


# priors


def test_priors_by_name(make_table, elsewhere):
    table = make_table(12)
    assert Predictor.fit(table).about["prior"] == "public"
    assert Predictor.fit(table, "general").about["prior"] is None
    for name, prior in (("public", public_prior()), ("weak", weak_prior()), ("none", None)):
        one, other = (Predictor.fit(table, "general", prior=p) for p in (name, prior))
        assert one.about["prior"] == other.about["prior"] == (prior.name if prior else None)
        assert same_bits(one, other, elsewhere)


# doubts


def warned(table: RunTable, *args, **kwargs) -> tuple[Predictor, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        predictor = Predictor.fit(table, *args, **kwargs)
    assert all(issubclass(w.category, DataWarning) for w in caught)
    return predictor, [str(w.message) for w in caught]


def test_an_ordinary_table_raises_no_doubt(make_table, fitted):
    assert fitted.notes == ()
    table = make_table(20, source="ours", tokenizer="bpe", val_domain="web")
    predictor, messages = warned(table)
    assert (messages, predictor.notes) == ([], ())
    assert (predictor.about["val_domain"], predictor.about["tokenizer"]) == ("web", "bpe")


@pytest.mark.parametrize(
    ("law", "words"), [("auto", "rest on the public tables' prior"), ("chinchilla", "can't be told")]
)
def test_size_and_data_that_rise_together(law, words, make_frame, true_loss_at):
    frame = make_frame(20)
    frame["tokens"] = 20 * frame["params"]
    frame["loss"] = true_loss_at(frame["params"], frame["tokens"])
    predictor, messages = warned(RunTable.from_frame(frame), law)
    assert messages == list(predictor.notes)
    assert any("params and tokens rise together" in text and words in text for text in messages)


@pytest.mark.parametrize("column", ["source", "tokenizer", "val_domain", "architecture", "corpus", "dataset"])
def test_a_column_of_several_kinds(column, make_table):
    predictor, messages = warned(make_table(20, **{column: ["one", "two"] * 10}), "chinchilla")
    assert messages == list(predictor.notes)
    assert messages == [f"column {column!r} takes 2 values ('one', 'two'): one law is fitted over all of them"]
    assert column not in predictor.about


def test_runs_from_random_and_from_trained_weights_are_not_mixed_silently(make_table):
    _, messages = warned(make_table(20, tokens_before=[float("nan"), 8e6] * 10), "chinchilla")
    assert messages == [
        "column 'tokens_before' takes 2 values ('0.0', '8000000.0'): one law is fitted over all of them"
    ]
    assert warned(make_table(20, tokens_before=[8e6] * 20), "chinchilla")[1] == []


def test_failed_runs_raise_no_doubt(make_table):
    table = make_table(20, source=["one"] * 19 + ["two"], status=["ok"] * 19 + ["failed"])
    assert warned(table, "chinchilla")[1] == []


@pytest.mark.parametrize(("spread", "doubted"), [(0.3, True), (0.001, False)])
def test_a_mix_that_varies(spread, doubted, make_table):
    web = 0.5 + spread * np.sin(np.arange(20))
    _, messages = warned(make_table(20, **{"mix.web": web, "mix.code": 1 - web}), "chinchilla")
    assert any("mix columns vary" in text for text in messages) == doubted


@pytest.mark.parametrize(
    ("law", "words"),
    [
        ("auto", "column 'tokens' takes one value, 5e+09: what else it does to the loss rests on the prior"),
        ("params_only", None),
    ],
)
def test_a_dimension_that_never_varied(law, words, make_frame):
    _, messages = warned(RunTable.from_frame(make_frame(20).assign(tokens=5e9)), law)
    assert (words in messages) == (words is not None)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_few_runs_say_what_they_leave_to_others(number, make_table):
    predictor, messages = warned(make_table(number))
    assert messages == list(predictor.notes)
    assert any("rest" in text for text in messages) == (number < 3)  # two rise together
    experts = make_table(number, num_experts=np.array([1, 4, 16])[:number])
    assert "experts" in quietly(experts).models["loss"].choice["left_out"]


# disk


def test_loading_gives_the_same_bits_every_time(fitted, tmp_path, elsewhere):
    save(fitted, tmp_path / "mine")
    one, other = load(tmp_path / "mine"), load(tmp_path / "mine")
    assert same_bits(one, other, elsewhere)
    save(one, tmp_path / "again")
    assert same_bits(one, load(tmp_path / "again"), elsewhere)
    for name in ("predictor.json", "draws.npz"):
        assert (tmp_path / "mine" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_what_was_saved_is_what_was_fitted(fitted, tmp_path, elsewhere):
    """Parameters keep ten digits, draws are float32, noise and quantiles keep five digits."""
    save(fitted, tmp_path / "mine")
    before, after = fitted.predict(elsewhere), load(tmp_path / "mine").predict(elsewhere)
    np.testing.assert_allclose(after.log_loss, before.log_loss, rtol=1e-9)
    np.testing.assert_allclose(after.scale, before.scale, rtol=1e-4)
    np.testing.assert_allclose(after.extrapolation_decades, before.extrapolation_decades, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(np.log(after.interval(0.9)), np.log(before.interval(0.9)), rtol=1e-4)


def test_a_saved_predictor_keeps_its_facts(two_targets, tmp_path):
    table = RunTable.from_frame(two_targets, where="two.csv")
    before = Predictor.fit(table, "chinchilla", name="two", about={"corpus": "ours", "params_kind": "non_embedding"})
    save(before, tmp_path / "two")
    after = load(tmp_path / "two")
    assert (after.name, set(after.models), after.notes) == ("two", {"loss.web", "loss.code"}, before.notes)
    for key in ("table", "digest", "seed", "corpus", "params_kind", "prior"):
        assert after.about[key] == before.about[key], key
    assert after.about["digest"] == table.digest()
    for name, model in before.models.items():
        assert after.models[name].rows == 25
        assert after.models[name].fit.law.name == model.fit.law.name
        assert after.models[name].choice["why"] == model.choice["why"]
        assert after.models[name].parameters == pytest.approx(model.parameters, rel=1e-7)


def test_targets_keep_their_order_and_their_own_draws_on_disk(pair, tmp_path, elsewhere):
    """Two targets out of alphabetical order exchanged their draws, so that every interval became huge."""
    save(pair, tmp_path / "two")
    after = load(tmp_path / "two")
    for target in pair.models:
        before = pair.predict(elsewhere, target)
        np.testing.assert_allclose(after.predict(elsewhere, target).scale, before.scale, rtol=1e-4)
    assert (list(after.models), after.main_loss) == (list(pair.models), pair.main_loss)


@pytest.mark.parametrize("law", ["kaplan", "params_only", "general+experts"])
def test_every_kind_of_law_survives_the_disk(law, make_table, tmp_path):
    more = {"num_experts": np.tile([1, 2, 4, 8], 5)} if "experts" in law else {}
    before = quietly(make_table(20, tokens=5e9, **more) if law == "params_only" else make_table(20, **more), law)
    save(before, tmp_path / "mine")
    columns = runs([1e8, 1e9], [5e9, 5e9], num_experts=[1, 4])
    np.testing.assert_allclose(
        load(tmp_path / "mine").predict(columns).log_loss, before.predict(columns).log_loss, rtol=1e-9
    )


@pytest.mark.parametrize("failing", ["write_json", "write_bytes", "write_text"])
@pytest.mark.parametrize("over", [False, True])
def test_a_save_that_breaks_off_leaves_what_was_there(failing, over, fitted, make_table, tmp_path, monkeypatch):
    """The manifest of the old predictor was removed first, so that a full disk took the old one too."""
    folder = tmp_path / "mine"
    if over:
        save(Predictor.fit(make_table(12), "kaplan"), folder)

    def fail(*_, **__):
        raise OSError(28, "no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(predictor_io, failing, fail)
        with pytest.raises(PredictorError, match="mine: can't be written: no space"):
            save(fitted, folder)
    if over:
        assert load(folder).models["loss"].fit.law.name == "kaplan"
    else:
        assert not folder.exists()
    save(fitted, folder)
    assert load(folder).models["loss"].fit.law.name == fitted.models["loss"].fit.law.name
    assert len(list(folder.iterdir())) == 4


def test_saving_over_an_old_predictor(fitted, make_table, tmp_path, elsewhere):
    save(Predictor.fit(make_table(12), "kaplan"), tmp_path / "mine")
    save(fitted, tmp_path / "mine")
    save(fitted, tmp_path / "new")
    assert same_bits(load(tmp_path / "mine"), load(tmp_path / "new"), elsewhere)
    assert load(tmp_path / "mine").name == "mine"


def test_renaming_keeps_the_fits(fitted, elsewhere):
    other = fitted.renamed("other", {"corpus": "web"})
    assert (other.name, other.about["corpus"], fitted.name) == ("other", "web", "mine")
    assert "corpus" not in fitted.about
    assert same_bits(fitted, other, elsewhere)


@pytest.mark.parametrize("name", shipped())
def test_shipped_predictors_say_what_they_are(name):
    predictor = load(name)
    assert predictor.name == name
    assert predictor.about["params_kind"] in ("total", "active", "non_embedding")
    assert predictor.about["title"]
    assert all(model.rows >= 20 for model in predictor.models.values())
    if name in views():
        return
    card = (predictor_io._facts() / name / "MODEL_CARD.md").read_text(encoding="utf-8")
    for model in predictor.models.values():
        assert f"`{model.fit.law.name}`" in card
