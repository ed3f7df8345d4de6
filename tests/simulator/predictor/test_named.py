"""Predictors that are views of the model over tables."""

import numpy as np
import pytest
from foretrain.simulator.hierarchy.labels import describe
from foretrain.simulator.hierarchy.shipped import population
from foretrain.simulator.predictor.named import label_facts, named_predictor, view, views
from foretrain.simulator.predictor.storage.folder import load, save
from hypothesis import given, settings
from hypothesis import strategies as st

VIEWS = {name: view(name) for name in views()}


def at(params, tokens, **more) -> dict[str, np.ndarray]:
    columns = {"params": params, "tokens": tokens, **more}
    return {name: np.atleast_1d(np.asarray(values, dtype=float)) for name, values in columns.items()}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(views()), st.floats(1e6, 1e13), st.floats(1e8, 1e15), st.floats(1.01, 1000), st.booleans())
def test_more_parameters_or_tokens_never_raise_the_loss(name, params, tokens, factor, of_size):
    more = (params * factor, tokens) if of_size else (params, tokens * factor)
    found = VIEWS[name].predict(at([params, more[0]], [tokens, more[1]]))
    assert found.log_loss[1] <= found.log_loss[0] + 1e-9


@pytest.mark.parametrize("name", views())
def test_the_extremes_are_finite(name):
    params, tokens = np.meshgrid(np.geomspace(1e6, 1e13, 8), np.geomspace(1e7, 1e16, 8))
    for more in ({}, {"num_experts": np.full(64, 256.0)}, {"unique_tokens": tokens.ravel() / 100}):
        found = VIEWS[name].predict(at(params.ravel(), tokens.ravel(), **more))
        low, high = found.interval(0.95)
        assert np.isfinite([low, found.loss_nats, high]).all()
        assert ((low > 0) & (low < found.loss_nats) & (found.loss_nats < high)).all()


@pytest.mark.parametrize("name", views())
def test_a_view_is_loaded_by_its_name_and_says_what_it_is(name):
    loaded = load(name)
    assert loaded.about == VIEWS[name].about
    assert np.array_equal(loaded.models["loss"].fit.draws, VIEWS[name].models["loss"].fit.draws)
    assert loaded.about["params_kind"] == "non_embedding"
    assert loaded.models["loss"].rows > 20


def test_a_view_survives_the_disk(tmp_path):
    save(VIEWS["olmo-c4"], tmp_path / "mine")
    inside = at([3e8, 1e9], [1e10, 1e11])
    again = load(tmp_path / "mine").predict(inside)
    np.testing.assert_allclose(again.log_loss, VIEWS["olmo-c4"].predict(inside).log_loss, rtol=1e-9)
    np.testing.assert_allclose(again.scale, VIEWS["olmo-c4"].predict(inside).scale, rtol=1e-4)


def test_a_named_table_is_known_better_than_a_named_corpus_and_that_better_than_nothing():
    labels = describe("olmo_mix_1124", "dolma2", "c4_en", source="olmo_ladder")
    assert population().tables_of(labels)
    here = at(1e9, 1e11)
    known, of_corpus, nothing = (
        named_predictor(some, "mine", {}).predict(here).scale[0] for some in (labels, labels.of_source(""), describe())
    )
    assert known < of_corpus < nothing


def test_repeats_and_experts_have_their_effect():
    model = VIEWS["web-text"]
    once, often, routed = (
        model.predict(at(1e9, 1e11, **more)).loss_nats[0] for more in ({}, {"unique_tokens": 1e9}, {"num_experts": 64})
    )
    assert routed < once < often


def test_facts_of_labels():
    facts = label_facts(describe({"web": 0.8, "starcoder": 0.2}, "llama3"))
    assert (facts["corpus"], facts["tokenizer"]) == ("web:0.8+starcoder:0.2", "llama3")
    assert facts["bytes_per_token"] > 3
    nothing = label_facts(describe())
    assert nothing["corpus"] is nothing["tokenizer"] is nothing["val_domain"] is None
