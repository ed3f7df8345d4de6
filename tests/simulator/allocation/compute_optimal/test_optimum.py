"""Compute-optimal sizes: published laws' own, closed form against search, corners where a stock is used up."""

import math

import numpy as np
import pytest
from foretrain.core.errors import InfeasibleError, InputError
from foretrain.simulator.allocation.compute_optimal.optimum import (
    closed_form,
    find_optimum,
    lowest_on_grid,
    numeric_optimum,
    optima_of_draws,
)
from foretrain.simulator.allocation.compute_optimal.surface import LossSurface
from foretrain.simulator.predictor.storage.folder import load
from hypothesis import assume, given, settings
from hypothesis import strategies as st

GOPHER_FLOPS = 5.76e23

exponents = st.floats(0.15, 0.9)


def eq4(A, B, alpha, beta, flops) -> float:
    """N* by Hoffmann et al. 2022 (arXiv:2203.15556), eq. 4."""
    return (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta))


@given(
    E=st.floats(0.5, 3),
    at_reference=st.floats(0.05, 2),
    balance=st.floats(-2, 2),
    alpha=exponents,
    beta=exponents,
    gamma=st.floats(0.3, 2),
    decades=st.floats(18, 26),
)
@settings(max_examples=150, deadline=None)
def test_closed_form_and_search_agree_with_the_paper(
    law_surface, E, at_reference, balance, alpha, beta, gamma, decades
):
    """Near the optimum the loss is so flat that a search for the lowest value finds N to 1e-7 at best."""
    A, B = at_reference * math.exp(balance) * 1e9**alpha, at_reference * math.exp(-balance) * 2e10**beta
    flops = 10.0**decades
    expected = eq4(A, B, alpha, beta, flops)
    assume(1e5 < expected < flops / 6e5)
    surface = law_surface(E, A, B, alpha, beta, gamma)
    assert math.exp(closed_form(surface, surface.fit.theta[None], flops)[0]) == pytest.approx(expected, rel=1e-9)
    found = numeric_optimum(surface, flops)
    assert found.params == pytest.approx(expected, rel=1e-6)
    assert found.params * found.tokens * 6 == pytest.approx(flops, rel=1e-12)


@pytest.mark.parametrize(
    ("law", "params", "tolerance"),
    [
        # Hoffmann et al. 2022, section 3.3: 40B for Gopher's compute by approach 3; constants of its appendix D.3
        ((1.69, 406.4, 410.7, 0.3392, 0.2849), 40e9, 0.02),
        # Besiroglu et al. 2024 (arXiv:2404.10102), the law refitted: Chinchilla's 70B was right
        ((1.8172, 482.01, 2085.43, 0.3478, 0.3658), 70e9, 0.05),
    ],
    ids=["as printed", "refitted"],
)
def test_published_laws_have_their_published_optimum(law_surface, law, params, tolerance):
    found = find_optimum(law_surface(*law), GOPHER_FLOPS)
    assert found.method == "closed form"
    assert found.params == pytest.approx(params, rel=tolerance)


@pytest.mark.parametrize("stock", [1e10, 1e11, 1e12, 1e15])
def test_a_stock_moves_the_optimum_to_the_best_of_all_sizes(web, stock):
    surface = LossSurface.of(web, unique_tokens=stock)
    found = find_optimum(surface, 1e23)
    assert found.method == "numeric"
    params = np.geomspace(1e8, 1e13, 20_001)
    assert found.log_loss <= surface.log_loss(params, surface.tokens_for(1e23, params)).min() + 1e-12


def test_a_stock_that_nobody_uses_up_changes_nothing(web):
    plain, ample = LossSurface.of(web), LossSurface.of(web, unique_tokens=1e16)
    one, other = find_optimum(plain, 1e22), find_optimum(ample, 1e22)
    assert other.params == pytest.approx(one.params, rel=1e-6)
    assert (one.method, other.method) == ("closed form", "numeric")


def test_an_optimum_may_lie_where_the_stock_is_just_used_up(web):
    """The first repeats cost at once, so the best size may be the one that sees all of the stock exactly once."""
    at_once = find_optimum(LossSurface.of(web), 1e22)
    surface = LossSurface.of(web, unique_tokens=at_once.tokens * 0.98)
    found = find_optimum(surface, 1e22)
    assert found.tokens == pytest.approx(at_once.tokens * 0.98, rel=1e-9)


def test_draws_on_a_grid_have_the_optima_of_the_closed_form(chinchilla):
    surface = LossSurface.of(chinchilla)
    centre = find_optimum(surface, 1e23).params
    exact = optima_of_draws(surface, 1e23, centre)
    x = math.log(centre) + np.arange(-2.0, 2.01, 0.02)
    params = np.exp(x)
    place, value = lowest_on_grid(x, surface.log_loss_draws(params, surface.tokens_for(1e23, params)))
    assert place == pytest.approx(exact, abs=2e-4)
    assert len(place) == len(value) == len(surface.fit.draws)


def test_the_lowest_point_of_a_grid_may_be_an_end():
    x = np.linspace(0.0, 1.0, 11)
    place, value = lowest_on_grid(x, np.array([x, -x, (x - 0.53) ** 2]))
    assert place == pytest.approx([0.0, 1.0, 0.53])
    assert value == pytest.approx([0.0, -1.0, 0.0])


def test_a_law_without_tokens_has_no_optimum():
    with pytest.raises(InputError, match=r"routing-moe.*how the loss changes with tokens"):
        LossSurface.of(load("routing-moe"))


def test_a_loss_that_only_falls_has_no_optimum(law_surface):
    surface = law_surface(1.7, 1e-9, 1e9, 0.01, 0.8)
    with pytest.raises(InfeasibleError, match="no optimum"):
        numeric_optimum(surface, 1e20)


@pytest.mark.parametrize("flops", [0.0, -1.0, 1e3, 1e40, math.nan, math.inf])
def test_a_compute_that_no_run_has_is_refused(chinchilla, flops):
    with pytest.raises(InputError, match=r"flops: got .* expected training FLOPs"):
        find_optimum(LossSurface.of(chinchilla), flops)
