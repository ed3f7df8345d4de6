import datetime
import json
import math

import pytest
from foretrain.core.errors import ConfigError
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.data_budget.data_budget import plan_stock
from foretrain.simulator.predictor.storage.folder import load
from hypothesis import given, settings
from hypothesis import strategies as st

MIX = {"web": 0.7, "code": 0.2, "wiki": 0.1}
STOCKS = {"web": 10e12, "code": 3e11, "wiki": 2e10}


def config(start="2026-07-02", **data) -> RunConfig:
    facts = {"model": {"params": "7B"}, "data": {"tokens": "1T", **data}}
    return RunConfig.from_mapping(facts | ({} if start is None else {"start": start}))


def test_epochs_and_the_most_tokens_by_domain():
    stock = plan_stock(config(tokens="2T", mix=MIX, unique_tokens_by_domain=STOCKS))
    web, code, wiki = stock.domains
    assert (web.epochs, code.epochs, wiki.epochs) == pytest.approx((0.14, 4 / 3, 10))
    assert (web.tokens_beyond, code.tokens_beyond, wiki.tokens_beyond) == pytest.approx((0, 0, 1.2e11))
    assert wiki.max_tokens == pytest.approx(4 * 2e10 / 0.1)
    assert (stock.bound_by, stock.whole.max_tokens) == ("wiki", wiki.max_tokens)
    assert stock.whole.tokens_beyond == pytest.approx(1.2e11)
    assert stock.whole.unique_tokens == pytest.approx(1.4e12 + 3e11 + 2e10)
    assert plan_stock(config(tokens="800B", mix=MIX, unique_tokens_by_domain=STOCKS)).whole.tokens_beyond == 0


def test_one_stock_for_all():
    stock = plan_stock(config(unique_tokens="200B", mix=MIX))
    assert (stock.bound_by, stock.whole.epochs, stock.whole.max_tokens) == ("all", 5, 8e11)
    assert stock.whole.tokens_beyond == pytest.approx(2e11)
    assert [one.epochs for one in stock.domains] == [None] * 3


def test_without_a_stock_everything_is_new():
    stock = plan_stock(config(mix=MIX))
    assert (stock.bound_by, stock.whole.max_tokens, stock.whole.epochs) == (None, None, None)
    assert stock.whole.effective_tokens == stock.whole.tokens
    assert any("no stock is stated" in note for note in stock.notes)


def test_a_selection_keeps_a_share_of_every_stock():
    selection = {"kind": "judge", "keep": 0.5}
    stock = plan_stock(config(tokens="2T", mix=MIX, unique_tokens_by_domain=STOCKS, selection=selection))
    web, code, wiki = stock.domains
    assert (web.stock_tokens, web.unique_tokens) == (10e12, 5e12)
    assert (web.epochs, code.epochs, wiki.epochs) == pytest.approx((0.28, 8 / 3, 20))
    assert stock.whole.unique_tokens == pytest.approx(1.4e12 + 1.5e11 + 1e10)
    assert wiki.max_tokens == pytest.approx(4 * 1e10 / 0.1)
    assert plan_stock(config(mix=MIX, selection=selection)).whole.epochs is None


def test_synthetic_tokens_are_not_drawn_from_the_stocks():
    of = {"tokens": "2T", "mix": MIX, "unique_tokens_by_domain": STOCKS}
    stock, plain = plan_stock(config(**of, synthetic={"share": 0.5})), plan_stock(config(**of))
    web, code, wiki = stock.domains
    assert (web.epochs, code.epochs, wiki.epochs) == pytest.approx((0.07, 2 / 3, 5))
    assert wiki.tokens_beyond == pytest.approx(2e10)
    assert wiki.max_tokens == pytest.approx(2 * 4 * 2e10 / 0.1)
    assert (stock.whole.synthetic_tokens, stock.whole.real_tokens) == (1e12, 1e12)
    assert stock.whole.unique_tokens == pytest.approx(7e11 + 2e11 + 2e10)
    assert stock.whole.effective_tokens > plain.whole.effective_tokens
    alone = plan_stock(config(unique_tokens="1B", synthetic={"share": 1}))
    assert (alone.whole.epochs, alone.whole.max_tokens, alone.bound_by) == (0.0, None, None)


@pytest.mark.parametrize(
    ("keep", "tokens", "looser"), [(0.1, "200B", "keep at least 0.25, or data.tokens at most 80.0B"), (0.3, "2T", "")]
)
def test_a_selection_that_leaves_too_little(keep, tokens, looser):
    plan = config(
        tokens=tokens, mix=MIX, unique_tokens_by_domain=STOCKS, selection={"kind": "dedup+judge", "keep": keep}
    )
    assert plan_stock(plan).whole.tokens_beyond > 0
    with pytest.raises(ConfigError, match=r"data\.selection\.keep: got .* of wiki; .* max_epochs allows 4") as caught:
        plan_stock(plan, max_epochs=4)
    assert looser in str(caught.value)
    assert ("keep at least" in str(caught.value)) == bool(looser)


def test_what_repeats_are_worth():
    """Muennighoff et al. 2023, equation 5, R* = 15.39: tokens seen 4 times are worth 3.7 times as many fresh ones."""
    stock = plan_stock(config(tokens="400B", unique_tokens="100B"))
    worth = 1 + 15.387756 * (1 - math.exp(-3 / 15.387756))
    assert stock.whole.effective_tokens == pytest.approx(worth * 1e11)
    assert stock.repeat_star_from == "Muennighoff et al. 2023"


def test_the_predictors_own_worth():
    fitted = load("repeats-c4")
    stock = plan_stock(config(unique_tokens="100B"), fitted)
    star = math.exp(fitted.models[fitted.main_loss].parameters["log_repeat_star"])
    assert (stock.repeat_star, stock.repeat_star_from) == (star, "predictor repeats-c4")
    other = plan_stock(config(unique_tokens="100B"), load("steplaw"))
    assert "steplaw has no repeats" in other.repeat_star_from
    assert other.repeat_star == pytest.approx(15.387756)


@settings(deadline=None, max_examples=25)
@given(st.floats(1e9, 1e14), st.floats(1e9, 1e14), st.floats(1, 100))
def test_repeats_are_worth_less_than_new_tokens_and_more_than_none(tokens, unique, epochs):
    whole = plan_stock(config(tokens=tokens, unique_tokens=unique), max_epochs=epochs).whole
    assert min(tokens, unique) * (1 - 1e-12) <= whole.effective_tokens <= tokens * (1 + 1e-12)
    assert whole.max_tokens == pytest.approx(epochs * unique)
    assert whole.tokens_beyond == pytest.approx(max(tokens - epochs * unique, 0))


def test_more_epochs_allow_more_tokens():
    plan = config(mix=MIX, unique_tokens_by_domain=STOCKS)
    few, many = plan_stock(plan, max_epochs=2), plan_stock(plan, max_epochs=10)
    assert many.whole.max_tokens == pytest.approx(5 * few.whole.max_tokens)
    assert many.domains[0].public.used_up.median_year > few.domains[0].public.used_up.median_year


def test_public_stocks_by_name_and_as_stated():
    stock = plan_stock(config(mix=MIX))
    assert [one.public and one.public.stock.name for one in stock.domains] == ["filtered-web", "code", None]
    assert stock.whole.public.stock.name == "effective-text"
    assert any("no public figure is known for wiki" in note for note in stock.notes)
    stated = plan_stock(config(mix=MIX), public={"wiki": 5e9, "web": "indexed-web", "all": "whole-web"})
    assert [one.public.stock.name for one in stated.domains] == ["indexed-web", "code", "wiki"]
    assert stated.whole.public.stock.name == "whole-web"
    assert stated.domains[2].public.share == pytest.approx(1e11 / (4 * 5e9))
    assert stated.domains[2].public.used_up.p_already == 1


def test_a_corpus_has_the_stock_of_its_name():
    assert plan_stock(config(corpus="C4")).whole.public.stock.name == "filtered-web"
    assert plan_stock(config(corpus="tales")).whole.public.stock.name == "effective-text"


def test_faster_growth_uses_up_sooner():
    plan = config(mix=MIX)
    years = [plan_stock(plan, growth=rate).whole.public.used_up.median_year for rate in (0.5, 1.4, 4.0)]
    assert sorted(years, reverse=True) == years
    # without doubt of the growth the years are those of log(stock / plan) / log(2.4), stock moving a little
    spread = [plan_stock(plan, growth=rate).whole.public.used_up.intervals[0.9] for rate in (None, 1.4)]
    assert spread[0][1] - spread[0][0] > spread[1][1] - spread[1][0]


def test_a_domain_keeps_its_interval_when_another_comes():
    alone = plan_stock(config(mix={"web": 0.7, "tales": 0.3})).domains[0].public
    beside = plan_stock(config(mix=MIX)).domains[0].public
    assert alone == beside


def test_the_start():
    assert plan_stock(config()).start_year == pytest.approx(2026.5, abs=0.003)
    assert plan_stock(config(), start_year=2030).start_year == 2030
    today = plan_stock(config(start=None))
    assert int(today.start_year) in (datetime.date.today().year, datetime.date.today().year - 1)
    assert any("years count from today" in note for note in today.notes)


def test_stating_more_than_there_is_gets_a_note():
    stock = plan_stock(config(mix=MIX, unique_tokens_by_domain={"code": "90T"}))
    assert any(
        note.startswith("code: the plan states 90.0T distinct tokens; published for code") for note in stock.notes
    )


def test_json_keys_stay():
    stock = plan_stock(config(mix={**MIX, "wiki": 0.1, "none": 0.0}, unique_tokens_by_domain=STOCKS))
    facts = json.loads(json.dumps(stock.to_dict(), allow_nan=False))
    budget = {"tokens", "stock_tokens", "unique_tokens", "epochs", "effective_tokens", "tokens_beyond", "max_tokens"}
    budget |= {"public", "synthetic_tokens"}
    assert set(facts) == budget | {
        "name", "domains", "keep", "max_epochs", "bound_by", "repeat_star", "repeat_star_from", "start_year",
        "growth_per_year", "notes", "seed", "synthetic_share", "strategies",
    }  # fmt: skip
    assert set(facts["domains"]["web"]) == budget | {"share"}
    assert set(facts["public"]) == {"stock", "tokens", "drawn_tokens", "share", "used_up", "evidence", "sources"}


def test_a_domain_of_no_tokens():
    plan = config(mix={"web": 1.0, "code": 0.0}, unique_tokens_by_domain={"code": "1B"})
    code = plan_stock(plan).domains[1]
    assert (code.epochs, code.max_tokens, code.effective_tokens, code.public.used_up) == (0, None, 0, None)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"max_epochs": 0}, "max_epochs: got 0; expected 1 to 1000"),
        ({"growth": -1}, "growth: got -1; expected a share per year above 0"),
        ({"start_year": 26}, "start_year: got 26; expected a year"),
        ({"public": {"wik": "web"}}, "public: got 'wik', which is no domain of the mix; expected one of web, code"),
        ({"public": {"wiki": "wb"}}, "got 'wb', which no figure is published for"),
        ({"public": {"wiki": -5.0}}, "public: wiki: got -5; expected tokens above 0"),
    ],
)
def test_bad_questions(asked, message):
    with pytest.raises(ConfigError, match=message):
        plan_stock(config(mix=MIX), **asked)
