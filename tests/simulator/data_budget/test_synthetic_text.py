"""The scenario of what models wrote of public text: it must add up with the stock that it is a part of."""

import pytest
from foretrain.datasets.facts.synthetic import synthetic_facts
from foretrain.simulator.data_budget.exhaustion import stock_at
from foretrain.simulator.data_budget.synthetic_text import synthetic_outlook

SCENARIO = synthetic_facts().public_text


def test_human_text_is_what_the_stock_had_before_and_what_people_added():
    level, later = synthetic_outlook([SCENARIO.level_year, 2035.0]).years
    stock = synthetic_outlook().stock
    human = [one.human_tokens[0] for one in (level, later)]
    grown = stock_at(stock, 2035.0) - stock_at(stock, SCENARIO.level_year)
    assert human[1] - human[0] == pytest.approx(grown * (1.0 - SCENARIO.share), rel=1e-6)
    assert stock_at(stock, SCENARIO.from_year) < human[0] < level.stock_tokens


def test_before_models_wrote_all_is_human_and_shares_only_grow():
    years = synthetic_outlook([2030.0, 2022.0, 2024.0, 2026.0]).years
    assert [one.year for one in years] == [2022.0, 2024.0, 2026.0, 2030.0]
    assert (years[0].of_stock, years[0].human_tokens[0]) == ((0.0, 0.0, 0.0), years[0].stock_tokens)
    of_stock = [one.of_stock[0] for one in years]
    assert of_stock == sorted(of_stock)
    for one in years:
        for middle, low, high in (one.of_stock, one.of_new_text, one.human_tokens):
            assert low <= middle <= high
        assert one.of_stock[0] <= one.of_new_text[0]
