import itertools
import json
import math

import numpy as np
import pytest
from foretrain.core.errors import ConfigError
from foretrain.datasets.facts.data_stock import PublicStock, public_stock
from foretrain.simulator.data_budget.exhaustion import Demand, crossing_years, stock_at, used_up
from hypothesis import given, settings
from hypothesis import strategies as st


def used(name, epochs=4.0, demand=None, seed=0):
    return used_up(demand or Demand.largest(), public_stock(name), np.random.default_rng(seed), epochs)


def test_published_years():
    """Villalobos et al. 2024: median 2028, 80 % between 2026 and 2032, for the effective stock."""
    end = used("effective-text")
    low, high = end.intervals[0.8]
    assert end.median_year == pytest.approx(2028.5, abs=0.5)
    assert 2026 <= low < high <= 2032


@settings(deadline=None, max_examples=200)
@given(st.floats(-12, 3), st.floats(0.01, 3), st.floats(-0.1, 1.5), st.one_of(st.just(0.0), st.floats(0.005, 0.5)))
def test_demand_meets_supply_when_it_says_so(log_ratio, demand, supply, fall):
    years = float(crossing_years(np.array([log_ratio]), np.array([demand]), np.array([supply]), fall)[0])
    if log_ratio >= 0:
        assert years == 0
    elif math.isinf(years):
        assert fall == 0
        assert supply >= demand
    else:
        assert years >= 0
        grown = supply * years if fall == 0 else supply / fall * -math.expm1(-fall * years)
        # the slack is that of a sum of large terms that cancel
        assert log_ratio + demand * years - grown == pytest.approx(0, abs=1e-6 * (1 + demand * years))


@settings(deadline=None, max_examples=30)
@given(st.floats(1e9, 1e13), st.floats(0.05, 5), st.floats(1.5, 100), st.floats(1, 20))
def test_more_stock_lasts_longer_and_faster_growth_less(tokens, growth, factor, epochs):
    stock, more = (PublicStock.stated("a", size, 2026) for size in (1e13, 1e13 * factor))
    rng = np.random.default_rng
    ends = [
        used_up(Demand.growing(tokens, 2026, growth), stock, rng(0), epochs).median_year,
        used_up(Demand.growing(tokens, 2026, growth), more, rng(0), epochs).median_year,
        used_up(Demand.growing(tokens, 2026, growth), more, rng(0), 2 * epochs).median_year,
        used_up(Demand.growing(tokens, 2026, growth * 2), stock, rng(0), epochs).median_year,
    ]
    assert ends[0] <= ends[1] <= ends[2]
    assert ends[3] <= ends[0]


def test_repeats_count_once():
    assert used("effective-text", 1.0) == used("effective-text", 8.0)
    assert used("filtered-web", 1.0).median_year < used("filtered-web", 8.0).median_year


def test_same_seed_same_bits_and_order():
    assert used("indexed-web", seed=3) == used("indexed-web", seed=3)
    assert used("indexed-web", seed=3) != used("indexed-web", seed=4)
    end = used("indexed-web")
    spans = list(end.intervals.values())
    assert all(a[0] >= b[0] and a[1] <= b[1] for a, b in itertools.pairwise(spans))
    assert spans[0][0] <= end.median_year <= spans[0][1]


def test_never_is_none_in_json():
    """Books grow by 4 % for good; runs that grow by 1 % never get there."""
    end = used("books", demand=Demand.growing(1e9, 2026, 0.01))
    assert math.isinf(end.median_year)
    facts = json.loads(json.dumps(end.to_dict(), allow_nan=False))
    assert facts["median_year"] is None
    assert facts["intervals"]["0.9"][1] is None
    assert facts["p_already"] == 0


def test_already_used_up():
    end = used("books", demand=Demand.growing(1e15, 2026, 1.0))
    assert (end.median_year, end.p_already) == (2026, 1.0)


def test_a_stock_in_other_years():
    stock = public_stock("effective-text")
    assert stock_at(stock, stock.year) == pytest.approx(stock.tokens)
    # 7 % in 2022 has fallen to 6.6 % two years later, and to 1 % in 2100
    assert stock_at(stock, 2025) / stock_at(stock, 2024) == pytest.approx(1.066, abs=0.002)
    assert stock_at(stock, 2101) / stock_at(stock, 2100) == pytest.approx(1.01, abs=0.001)
    assert stock_at(public_stock("books"), 2032) == pytest.approx(public_stock("books").tokens * 1.04**10)


@pytest.mark.parametrize("growth", [0.0, -0.5, math.nan, math.inf, 1e9])
def test_growth_out_of_bounds(growth):
    with pytest.raises(ConfigError, match=r"growth: got .*; expected a share per year above 0"):
        Demand.growing(1e12, 2026, growth)
