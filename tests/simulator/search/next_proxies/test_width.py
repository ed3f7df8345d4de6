import numpy as np
import pytest
from foretrain.simulator.fitting import public_prior
from foretrain.simulator.predictor.calibration import public_calibration
from foretrain.simulator.predictor.fit.loss_fit import fit_loss_model
from foretrain.simulator.search.next_proxies import LEVEL, Candidates, LawPosterior, Region, Width, choose_runs


def test_a_width_is_a_share_of_the_loss():
    """No extrapolation and no spread: q times the noise of a single run."""
    here = {"params": np.array([1e8]), "tokens": np.array([2e9])}
    fitted_ranges = {"params": (1e7, 1e9), "tokens": (1e8, 1e10), "compute": (6e15, 6e19)}
    width = Width(Candidates(here, np.ones(1)), Region(here), noise=0.004, fitted_ranges=fitted_ranges)
    expected = np.expm1(float(public_calibration().width(LEVEL)) * 1.25 * 0.004)
    assert width.half_width([], np.zeros(1), np.zeros(1)) == pytest.approx(expected)


def test_larger_runs_shorten_the_extrapolation(candidates, region):
    width = Width(candidates, region, noise=0.003, fitted_ranges=None)
    left = np.full(2, 1e-6)
    size = np.argsort(candidates.cost)
    small, large = (width.half_width([int(run)], left, left) for run in (size[0], size[-1]))
    assert small > large


@pytest.mark.parametrize("law", ["general", "auto"])
def test_widths_start_where_the_predictor_is(columns, region, observe, law):
    """The belief says by what factor they shrink; where they start is the predictor's to say."""
    small = np.flatnonzero(columns["params"] < 2e8)
    rest = np.setdiff1d(np.arange(18), small)
    done = observe({name: values[small] for name, values in columns.items()})
    model = fit_loss_model(done, law, public_prior())
    assert (model.misfit is not None) == (law == "auto")
    pool = Candidates({name: values[rest] for name, values in columns.items()}, np.ones(len(rest)))
    prediction = model.predict(region.columns)
    width = Width.of(prediction, model, pool, region)
    low, high = prediction.interval(LEVEL)
    stated = np.sqrt(np.mean((0.5 * np.log(high / low)) ** 2))
    belief = LawPosterior.of(model.fit.law, public_prior(), region, pool.columns, done, model.fit)
    found = choose_runs(belief, pool, region, 3.0, width=width)
    assert found.half_width is not None
    assert found.half_width[0] == pytest.approx(np.expm1(stated), rel=0.02)
    assert (np.diff(found.half_width) < 0).all()
    after = fit_loss_model(observe(columns).take(np.sort([*small, *rest[list(found.runs)]])), law, public_prior())
    low, high = after.predict(region.columns).interval(LEVEL)
    assert found.half_width[-1] == pytest.approx(np.expm1(0.5 * np.mean(np.log(high / low))), rel=0.6)
