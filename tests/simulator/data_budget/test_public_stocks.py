import json

import pytest
from foretrain.core.errors import ConfigError
from foretrain.datasets.facts.data_stock import public_stocks
from foretrain.simulator.data_budget.public_stocks import public_outlook


def test_every_stock_is_there_and_only_whole_ones_have_a_date():
    outlook = public_outlook()
    assert list(outlook.stocks) == list(public_stocks())
    assert {name for name, use in outlook.stocks.items() if use.used_up is None} == {"code", "papers", "books"}
    facts = json.loads(json.dumps(outlook.to_dict(), allow_nan=False))
    assert facts["growth_per_year"] == pytest.approx(2.4)
    assert set(facts["stocks"]["code"]) == {
        "what", "published_tokens", "published_interval", "level", "year", "counts_repeats", "growth", "growth_year",
        "stock", "tokens", "drawn_tokens", "share", "used_up", "evidence", "sources",
    }  # fmt: skip


def test_a_stated_growth_and_epochs():
    usual, slow = public_outlook(), public_outlook(growth=0.5)
    once = public_outlook(max_epochs=1)
    for name, use in usual.stocks.items():
        if use.used_up is not None:
            assert use.used_up.median_year <= slow.stocks[name].used_up.median_year
            assert once.stocks[name].used_up.median_year <= use.used_up.median_year
            assert once.stocks[name].share == pytest.approx(use.share * (1 if use.stock.counts_repeats else 4))
    assert slow.to_dict()["growth_per_year"] == pytest.approx(1.5)


@pytest.mark.parametrize("epochs", [0.5, 1e4, float("nan")])
def test_epochs_out_of_bounds(epochs):
    with pytest.raises(ConfigError, match=r"max_epochs: got .*; expected 1 to 1000"):
        public_outlook(epochs)
