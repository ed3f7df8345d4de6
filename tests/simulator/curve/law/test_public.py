"""The laws that ship: what a job without curves of related runs is told."""

import numpy as np
import pytest
from foretrain.core.errors import FitError
from foretrain.simulator.curve.forecasting import Run, choose_family, choose_size, forecast_curve
from foretrain.simulator.curve.law.prior import NAMES, generic_prior
from foretrain.simulator.curve.law.public import PUBLIC, far_from_public, public_laws, public_prior
from foretrain.simulator.curve.law.transfer import Library
from foretrain.simulator.curve.prefix import condition
from foretrain.simulator.curve.rates.path import named_path

PATH = named_path("cosine", 20_000, 500, 0.1)


def test_what_ships_is_complete():
    laws = public_laws()
    assert len({law.source for law in laws}) == 7
    assert all(np.isfinite(law.law.theta).all() and law.law.identified for law in laws)
    assert all(0 < law.law.misfit < 0.01 and 0 < law.steps[0] <= law.steps[1] for law in laws)
    assert Library.public().families == list(dict.fromkeys(law.family for law in laws))


def test_the_unit_of_the_loss_and_the_order_of_the_laws_change_nothing():
    usual, bits = public_prior(1e9, PATH, 3.0), public_prior(1e9, PATH, 3.0 / np.log(2))
    np.testing.assert_allclose(bits.mean[5:] - usual.mean[5:], -np.log(np.log(2)))
    np.testing.assert_allclose(public_prior(1e9, PATH, 3.0, public_laws()[::-1]).mean, usual.mean)


def test_larger_runs_have_more_to_lose_and_longer_ones_fade_no_more():
    """A grows with the size; a fall of the rate at the end of a run is worth as much, however many steps it takes."""
    a, b = NAMES.index("log_A"), NAMES.index("log_B")
    small, large = (public_prior(size, PATH, 3.0).mean for size in (1e8, 1e10))
    assert large[a] > small[a] + 0.2
    ends = []
    for steps in (2_000, 200_000):
        path = named_path("wsd", steps, steps // 50, 0.1)
        theta = public_prior(1e9, path, 3.0)
        belief = condition(path, theta, anchor=(3.0, 1e-3))
        before, after = np.log(belief.band(np.array([0.8 * steps, steps])).loss)
        ends.append(before - after)
        assert theta.mean[b] != small[b]
    assert ends[0] == pytest.approx(ends[1], rel=0.5)


@pytest.mark.parametrize(("size", "path"), [(5e12, PATH), (1e9, named_path("cosine", 40_000_000, 500, 0.1))])
def test_far_from_the_public_curves_is_wide_and_said(size, path):
    near, far = public_prior(1e9, PATH, 3.0), public_prior(size, path, 3.0)
    assert (far.sd > near.sd).all()
    assert far.drift > near.drift
    assert not far_from_public(1e9, PATH)
    (said,) = far_from_public(size, path)
    assert "they have" in said
    library = Library.public()
    notes = forecast_curve(library, Run(choose_family(library, None), size, path), (2.0, 0.01)).notes
    assert any("so the interval is wide" in note for note in notes)


def test_a_recipe_that_is_named_tells_more_than_all_of_them():
    library = Library.public()
    anyone, ladder = (library.prior(family, 7e9, PATH, 2.5) for family in (PUBLIC, "olmo-ladder"))
    assert (anyone.name, ladder.name) == (PUBLIC, "other sizes")
    assert (ladder.sd < anyone.sd).all()
    assert ladder.drift < anyone.drift


def test_curves_of_ones_own_replace_what_ships(make_curve):
    mine = Library([make_curve(name) for name in ("cosine", "wsd")])
    assert mine.families == ["made"]
    assert mine.prior("nobody's", 1e9, PATH, 3.0).name == generic_prior(3.0).name
    with pytest.raises(FitError, match="expected one of made"):
        choose_family(mine, "olmo-ladder")


def test_the_level_is_not_in_the_public_curves():
    library = Library.public()
    with pytest.raises(FitError, match=r"the public curves tell its shape but not its level; .*--final-loss"):
        forecast_curve(library, Run(PUBLIC, 1e9, PATH))
    with pytest.raises(FitError, match="size: is missing"):
        choose_size(library, PUBLIC, None)
    found = forecast_curve(library, Run(PUBLIC, 1e9, PATH), (2.6, 0.01))
    assert found.rests_on == PUBLIC
    assert found.final.median == pytest.approx(2.6, rel=2e-3)
