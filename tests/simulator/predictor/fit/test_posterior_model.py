"""A table as one more table of the model over tables: any number of runs from none up."""

from itertools import pairwise

import numpy as np
import pytest
from foretrain.core.errors import UsageError
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import Observations
from foretrain.simulator.hierarchy.labels import describe
from foretrain.simulator.hierarchy.shipped import population
from foretrain.simulator.predictor.fit.posterior_model import posterior_model, tables_ranges
from foretrain.simulator.predictor.predictor import Predictor
from hypothesis import given, settings
from hypothesis import strategies as st

LABELS = describe("c4", "gpt2")
LEVELS = (0.5, 0.8, 0.9, 0.95)


def at(params, tokens) -> dict[str, np.ndarray]:
    return {"params": np.atleast_1d(np.asarray(params, float)), "tokens": np.atleast_1d(np.asarray(tokens, float))}


def width(model, columns, level=0.9) -> np.ndarray:
    low, high = model.predict(columns).interval(level)
    return np.log(high / low)


@pytest.fixture(scope="module")
def runs_of(true_loss_at):
    """`runs_of(n)`: the n largest of eight runs up to 1B parameters, a few per mille off a known law."""

    def make(n: int, labels=LABELS) -> Observations:
        params = np.geomspace(3e7, 1e9, 8)[::-1][:n]
        tokens = params * np.resize([20.0, 60.0, 10.0], n)
        noise = 0.002 * np.random.default_rng(0).standard_normal(8)[:n]
        return Observations.from_columns(at(params, tokens), true_loss_at(params, tokens) * np.exp(noise))

    return make


@pytest.fixture(scope="module")
def models(runs_of):
    """Posterior models by their number of runs."""
    return {n: posterior_model(LABELS, runs_of(n) if n else None) for n in (0, 1, 2, 3, 5, 8)}


def test_every_run_narrows_what_is_a_decade_above(models):
    above = at(3e9, 7e10)
    widths = [width(model, above)[0] for model in models.values()]
    assert widths[1] < 0.8 * widths[0]
    for fewer, more in pairwise(widths[1:]):
        assert more < 1.05 * fewer
    assert widths[-1] < 0.7 * widths[1]


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_a_finished_run_brings_its_level_in(models, runs_of, n):
    seen = runs_of(n)
    found = models[n].predict({name: values[:1] for name, values in seen.columns.items()})
    assert found.loss_nats[0] == pytest.approx(seen.loss[0], rel=0.005)
    low, high = found.interval(0.9)
    assert low[0] < seen.loss[0] < high[0]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_the_truth_a_decade_above_is_inside(models, true_loss_at, n):
    low, high = models[n].predict(at(3e9, 7e10)).interval(0.95)
    assert low[0] < true_loss_at(3e9, 7e10) < high[0]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([0, 1, 3, 8]), st.floats(1e7, 1e12), st.floats(1e8, 1e14), st.floats(1.01, 100), st.booleans())
def test_more_never_raises_the_loss_and_intervals_nest(models, n, params, tokens, factor, of_size):
    more = (params * factor, tokens) if of_size else (params, tokens * factor)
    found = models[n].predict(at([params, more[0]], [tokens, more[1]]))
    assert found.log_loss[1] <= found.log_loss[0] + 1e-9
    inner = (found.loss_nats, found.loss_nats)
    for level in LEVELS:
        low, high = found.interval(level)
        assert np.all((low <= inner[0]) & (inner[1] <= high))
        inner = (low, high)


def test_same_seed_same_bits(models, runs_of):
    again = posterior_model(LABELS, runs_of(3))
    other = posterior_model(LABELS, runs_of(3), seed=1)
    assert np.array_equal(again.fit.draws, models[3].fit.draws)
    assert not np.array_equal(other.fit.draws, models[3].fit.draws)
    near = at(1e9, 2e10)
    assert other.predict(near).log_loss[0] == pytest.approx(models[3].predict(near).log_loss[0], abs=0.005)


def test_no_runs_are_the_public_tables(models):
    assert models[0].rows == 0
    assert dict(models[0].fitted_ranges) == tables_ranges(population())
    low, high = models[0].fitted_ranges["params"]
    assert low < 1e8 < 1e10 < high


def test_one_size_predicts_another_with_a_wider_interval(true_loss_at):
    """A table in one size was refused for every other size."""
    tokens = np.geomspace(5e9, 2e11, 10)
    seen = Observations.from_columns(at(np.full(10, 1e9), tokens), true_loss_at(1e9, tokens))
    model = posterior_model(LABELS, seen)
    same, larger = (width(model, at(params, 2e11))[0] for params in (1e9, 8e9))
    assert same < 0.6 * larger
    low, high = model.predict(at(8e9, 2e11)).interval(0.95)
    assert low[0] < true_loss_at(8e9, 2e11) < high[0]


def test_a_single_curve_brings_in_level_and_fall(true_loss_at):
    tokens = np.geomspace(4e9, 2e11, 30)
    progress = tokens / tokens.max()
    loss = true_loss_at(1e9, tokens) * np.exp(0.05 * np.sqrt(1 - progress))
    seen = Observations(
        at(np.full(30, 1e9), tokens), loss, np.ones(30), origins=np.zeros(30, dtype=int), progress=progress
    )
    model = posterior_model(LABELS, seen)
    end, beyond = at(1e9, 2e11), at(1e9, 2e12)
    assert model.predict(end).loss_nats[0] == pytest.approx(true_loss_at(1e9, 2e11), rel=0.005)
    assert model.predict(beyond).loss_nats[0] == pytest.approx(true_loss_at(1e9, 2e12), rel=0.03)
    assert width(model, beyond)[0] < width(posterior_model(LABELS), beyond)[0] / 2


def test_runs_without_a_tokenizer_set_their_own_level():
    """Their tokens may be bytes, or words: the level is the runs', whatever English text has."""
    for factor in (0.3, 1.0, 2.0):
        columns = at([1e8, 1e9], [2e9, 2e10])
        seen = Observations.from_columns(columns, factor * np.array([3.6, 2.9]))
        assert posterior_model(describe(), seen).predict(columns).loss_nats == pytest.approx(seen.loss, rel=0.02)


def test_hundreds_of_runs_are_thinned_and_do_not_make_it_certain(true_loss_at):
    rng = np.random.default_rng(0)
    params = 10 ** rng.uniform(7, 9, 400)
    tokens = params * 10 ** rng.uniform(0.7, 2.2, 400)
    loss = true_loss_at(params, tokens) * np.exp(rng.normal(0, 0.004, 400))
    model = posterior_model(LABELS, Observations.from_columns(at(params, tokens), loss))
    assert model.rows == 400
    assert len(model.misfit.runs) <= 240
    assert model.choice["cuts"] > 0
    assert width(model, at(1e9, 3e10))[0] > 0.005


def test_like_says_which_text_the_runs_are_of(make_frame):
    table = RunTable.from_frame(make_frame(6))
    code = Predictor.fit(table, like="starcoder")
    assert code.about["like"] == "starcoder"
    web = Predictor.fit(table, like="c4")
    assert not np.array_equal(code.models["loss"].fit.draws, web.models["loss"].fit.draws)
    with pytest.raises(UsageError, match=r"like: got 'fineweb-edv'; did you mean fineweb_edu"):
        Predictor.fit(table, like="fineweb-edv")
    with pytest.raises(UsageError, match="expected a corpus of the catalogue"):
        Predictor.fit(table, like="zzzzzzzz")
