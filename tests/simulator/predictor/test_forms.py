"""Several forms of a law in one forecast: between them, as wide as they lie apart, and the same from the disk."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from foretrain.simulator.fitting import Forms, Observations, fit_observations, public_prior, ranges
from foretrain.simulator.laws import get_law
from foretrain.simulator.predictor.calibration import public_calibration
from foretrain.simulator.predictor.loss_model import LossModel
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load, save
from foretrain.simulator.predictor.storage.format import arrays_of, from_dict, to_dict
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def model(make_table) -> LossModel:
    observations = Observations.from_table(make_table(24), "loss")
    fits = {
        name: fit_observations(get_law(name), observations, public_prior(), draws=40 if name == "general" else 0)
        for name in ("general", "chinchilla", "kaplan")
    }
    forms = Forms((fits["chinchilla"], fits["kaplan"]), np.array([0.3, 0.1]))
    return LossModel(fits["general"], public_calibration(), ranges(observations), 24, forms=forms)


def at(params, tokens) -> dict[str, np.ndarray]:
    return {"params": np.atleast_1d(np.asarray(params, float)), "tokens": np.atleast_1d(np.asarray(tokens, float))}


def test_the_forecast_is_between_the_forms_and_as_wide_as_they_lie_apart(model):
    far = at([1e9, 7e10], [1e11, 1e13])
    found, alone = model.predict(far), replace(model, forms=None).predict(far)
    each = np.array([fit.log_loss(far) for fit in (model.fit, *model.forms.fits)])
    assert np.all((each.min(axis=0) < found.log_loss) & (found.log_loss < each.max(axis=0)))
    between = [0.6, 0.3, 0.1] @ (each - found.log_loss) ** 2
    np.testing.assert_allclose(found.scale**2, alone.scale**2 + between, rtol=1e-9)


def test_runs_share_what_forms_disagree_on(model):
    found = model.predict(at([7e10, 7e10], [1e13, 1.2e13]), joint=True)
    assert np.linalg.eigvalsh(found.correlation).min() > -1e-9
    assert found.correlation[0, 1] > 0.8
    assert found.difference(1).scale_nats < 0.5 * found.loss_nats[0] * found.scale[0]


@settings(max_examples=25, deadline=None)
@given(st.floats(1e6, 1e12), st.floats(1e8, 1e14), st.floats(1.01, 1000), st.booleans())
def test_more_parameters_or_tokens_never_raise_the_loss(model, params, tokens, factor, of_size):
    more = (params * factor, tokens) if of_size else (params, tokens * factor)
    found = model.predict(at([params, more[0]], [tokens, more[1]]), joint=True)
    assert found.log_loss[1] <= found.log_loss[0] + 1e-9
    assert found.interval(0.9)[1][1] <= found.interval(0.9)[1][0] * (1 + 1e-3)
    assert found.never_above[1, 0]


def test_forms_survive_the_disk(model, tmp_path):
    save(Predictor("mine", {"loss": model}), tmp_path / "mine")
    again = load(tmp_path / "mine").models["loss"]
    far = at([1e9, 7e10], [1e11, 1e13])
    np.testing.assert_allclose(again.predict(far).log_loss, model.predict(far).log_loss, rtol=1e-9)
    np.testing.assert_allclose(again.predict(far).scale, model.predict(far).scale, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda form: form.update(weight=0.95), "leave some to the law"),
        (lambda form: form.update(weight=float("nan")), "weights above 0"),
        (lambda form: form["theta"].update(log_gamma=float("nan")), "not finite"),
        (lambda form: form["theta"].update(params_exponent=1e3), "out of its range"),
        (lambda form: form["reference"].update(params=0.0), "reference value"),
    ],
)
def test_forms_that_no_fit_makes_are_refused(model, change, message):
    predictor = Predictor("mine", {"loss": model})
    data = copy.deepcopy(to_dict(predictor))
    change(data["targets"]["loss"]["forms"][1])
    with pytest.raises(ValueError, match=message):
        from_dict(data, arrays_of(predictor))
