import json
import math
from pathlib import Path

import numpy as np
import pytest
from foretrain.core.errors import ConfigError
from foretrain.datasets.facts import data_stock
from foretrain.datasets.facts.catalogue import folded
from foretrain.datasets.facts.data_stock import Growth, PublicStock, find, largest_runs, public_stock, public_stocks
from pydantic import ValidationError

FACTS = json.loads((Path(__file__).parents[3] / "datasets/facts/data_stock.json").read_text(encoding="utf-8"))
EVERY = pytest.mark.parametrize("stock", public_stocks().values(), ids=lambda stock: stock.name)


@EVERY
def test_every_stock_says_where_it_is_from(stock):
    assert stock.evidence in ("read", "computed", "recalled")
    assert stock.sources
    assert set(stock.sources) <= set(data_stock.sources())
    assert stock.evidence != "computed" or stock.notes


@EVERY
def test_figures_hang_together(stock):
    low, high = stock.interval
    assert low < stock.tokens < high
    # figures of several digits are medians of log-normals, within the slack of skewed and of rounded ones
    assert 0.6 < stock.tokens / math.sqrt(low * high) < 1.7
    assert 1e11 < stock.tokens < 1e16
    assert 0.01 <= stock.growth.final <= stock.growth.rate < 0.2


@pytest.mark.parametrize(
    "entry", [*FACTS["growth"].values(), *FACTS["largest_runs"].values(), *FACTS["repeats"].values()]
)
def test_every_rate_says_where_it_is_from(entry):
    assert entry["evidence"] in ("read", "computed", "recalled")
    assert set(entry["sources"]) <= set(FACTS["sources"])


def test_the_range_that_planners_quote():
    """Villalobos et al. 2024: 100T to 1000T; 2022: text grows by 7 % a year, which falls."""
    stock = public_stock("effective-text")
    assert stock.interval == (1e14, 1e15)
    assert (stock.growth.rate, stock.growth.final) == (0.07, 0.01)
    assert stock.growth.fall > 0


def test_computed_figures_follow_from_those_read():
    rng, n = np.random.default_rng(1), 400_000

    def within(low, high, level_z):
        return np.exp(rng.normal(math.log(low * high) / 2, math.log(high / low) / (2 * level_z), n))

    web = public_stock("indexed-web").tokens * np.exp(rng.normal(0, public_stock("indexed-web").log_sd, n))
    papers = within(1e8, 1.7e8, 1.645) * 6000
    code = within(21, 65, 1.645) * within(0.05, 0.5, 1.645) * 2e11
    books = within(1e6, 3e6, 1.645) * within(0.02, 0.2, 1.645) / np.log(within(1.02, 1.06, 1.645))
    books = (books + within(1e7, 3e7, 1.645)) / 2 * 1e5
    for name, draws in {
        "filtered-web": web * within(0.1, 0.4, 1.96),
        "code": code / 0.8,
        "papers": papers / 0.8,
        "books": books / 0.8,
    }.items():
        stock = public_stock(name)
        edges = ((1 - stock.level) / 2, (1 + stock.level) / 2)
        assert stock.tokens == pytest.approx(np.median(draws), rel=0.02)
        assert stock.interval == pytest.approx(np.quantile(draws, edges), rel=0.04)


def test_words_become_tokens():
    assert public_stock("papers").tokens == pytest.approx(7.8e11 / 0.8)


def test_growth_of_data_sets_is_038_orders_of_magnitude_a_year():
    growth = largest_runs().growth
    assert growth.log_rate / math.log(10) == pytest.approx(0.38, abs=0.001)
    assert math.log10(1 + growth.low) == pytest.approx(0.27, abs=0.001)
    assert math.log10(1 + growth.high) == pytest.approx(0.48, abs=0.001)
    assert growth.fall == 0


def test_a_fall_ends_where_it_says():
    growth = data_stock.growths()["text"]
    left = growth.log_rate * math.exp(-growth.fall * (growth.final_year - growth.year))
    assert math.expm1(left) == pytest.approx(growth.final)


@pytest.mark.parametrize(
    ("written", "name"), [("Web", "filtered-web"), ("GitHub", "code"), ("pile_cc", "filtered-web")]
)
def test_domains_as_people_name_them(written, name):
    assert find(written) is public_stocks()[name]


def test_no_name_stands_for_two_stocks():
    names = [folded(name) for one in public_stocks().values() for name in (one.name, *one.aliases)]
    assert len(names) == len(set(names))


def test_unknown_names():
    assert find("wiki") is None
    with pytest.raises(ConfigError, match=r"got 'indexed-wb', .*did you mean indexed-web\? expected one of effective"):
        public_stock("indexed-wb")
    with pytest.raises(ConfigError, match="expected one of effective-text, "):
        public_stock("nothing like it")


def test_a_stated_stock_has_no_doubt():
    stock = PublicStock.stated("forum", 3e12, 2026)
    assert (stock.tokens, stock.interval, stock.log_sd) == (3e12, (3e12, 3e12), 0.0)


@pytest.mark.parametrize(
    ("wrong", "key"), [({"low": 0.1}, "rate"), ({"final_year": 2000}, "final_year"), ({"final": 0.2}, "final")]
)
def test_contradictions_are_refused(wrong, key):
    facts = {"rate": 0.07, "low": 0.02, "high": 0.14, "year": 2022, "final": 0.01}
    with pytest.raises(ValidationError, match=f"{key}: got"):
        Growth.model_validate({**facts, **wrong})


def test_a_stock_in_disorder_is_refused():
    facts = {"name": "a", "what": "b", "level": 0.9, "unit": "tokens", "year": 2024, "growth": Growth.constant(0.1)}
    with pytest.raises(ValidationError, match="median: got"):
        PublicStock.model_validate({**facts, "median": 5, "low": 10, "high": 20})
    with pytest.raises(ValidationError, match="median: got"):
        PublicStock.model_validate({**facts, "low": 30, "high": 20})
