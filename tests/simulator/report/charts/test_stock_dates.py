"""The picture of the years in which a plan's public stocks are used up."""

from dataclasses import replace

from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.data_budget.data_budget import plan_stock
from foretrain.simulator.report.charts.data.stock_dates import stock_dates_picture


def budget(growth=None, **sections):
    data = {"tokens": "8T", "mix": {"web": 0.9, "code": 0.1}, **sections.pop("data", {})}
    plan = RunConfig.from_mapping({"model": {"params": "7B"}, "start": "2026-12-01", "data": data, **sections})
    return plan_stock(plan, growth=growth)


def picture(**sections):
    return stock_dates_picture(budget(**sections))


def test_one_mark_for_each_strategy(drawn):
    data = {"selection": {"kind": "judge", "keep": 0.25}, "synthetic": {"share": 0.2}}
    found = picture(data=data, continued_pretraining={"domain": "code", "tokens": "1T", "share": 0.5})
    said = drawn(found)
    for strategy in ("as it is", "selection", "synthetic", "continued", "together"):
        assert sum(text.endswith(f" {strategy}") for text in said) == 2 * 3, strategy  # each text stands on its rim
    assert found.title.startswith("Code runs out first, in 202")
    assert found.title.endswith("sooner")
    assert len(found.numbers.rows) == 3 * 5


def test_a_plan_without_strategies_and_one_that_never_uses_them_up(drawn):
    assert drawn(picture())
    never = picture(growth=0.005)
    assert drawn(never)
    assert "What goes on is cut at 20" in never.caption


def test_names_of_domains_are_harmless(drawn, hostile):
    found = budget(data={"synthetic": {"share": 0.5}})
    code, dates = found.domains[1], found.strategies
    named = (dates.domains[0], replace(dates.domains[1], name=hostile), dates.domains[2])
    odd = replace(
        found,
        domains=(found.domains[0], replace(code, name=hostile)),
        strategies=replace(dates, domains=named),
    )
    assert drawn(stock_dates_picture(odd))


def test_synthetic_text_alone_is_shown_as_its_text_is(drawn):
    found = picture(data={"synthetic": {"share": 1.0}})
    assert drawn(found)
    assert {row[0].rpartition(", ")[2] for row in found.numbers.rows} == {"as it is"}
