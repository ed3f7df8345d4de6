"""What selection, synthetic text and continued pretraining change in the year in which a plan's stocks are used up."""

import math

import numpy as np
import pytest
from foretrain.core.errors import ConfigError
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.data_budget.data_budget import plan_stock
from foretrain.simulator.data_budget.exhaustion import UsedUp, YearsLater
from foretrain.simulator.data_budget.strategies import continued_tokens
from hypothesis import given, settings
from hypothesis import strategies as st

MIX = {"web": 0.7, "code": 0.2, "wiki": 0.1}
LEAVES_A_TENTH = {"kind": "judge", "keep": 0.1}


def config(continued=None, **data) -> RunConfig:
    plain = {"model": {"params": "7B"}, "data": {"tokens": "8T", "mix": MIX, **data}, "start": "2026-07-02"}
    return RunConfig.from_mapping(plain if continued is None else {**plain, "continued_pretraining": continued})


def texts(plan, name="web", **options):
    dates = plan_stock(plan, **options).strategies
    return next(one.texts for one in dates.domains if one.name == name)


def end(date) -> UsedUp:
    return date.budget.public.used_up


@settings(deadline=None, max_examples=8)
@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_stricter_selection_is_never_later(one, other):
    strict, loose = (end(texts(config(selection={"kind": "judge", "keep": keep}))["selection"]) for keep in
                     (min(one, other), max(one, other)))  # fmt: skip
    assert (strict.years <= loose.years).all()
    assert strict.p_already >= loose.p_already


@settings(deadline=None, max_examples=8)
@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_more_synthetic_text_is_never_sooner(one, other):
    less, more = (end(texts(config(synthetic={"share": share}))["synthetic"]) for share in sorted((one, other)))
    assert (more.years >= less.years).all()


@settings(deadline=None, max_examples=25)
@given(st.sampled_from([*MIX, "law"]), st.floats(1e6, 1e13), st.one_of(st.none(), st.floats(0, 1)))
def test_continued_pretraining_is_shared_out_whole_and_in_proportion_of_the_mix(domain, tokens, share):
    found = continued_tokens(config({"domain": domain, "tokens": tokens, "share": share}), {})
    assert math.fsum(found.values()) - found["all"] == pytest.approx(tokens)
    assert found["all"] == tokens
    assert found[domain] == pytest.approx((1.0 if share is None else share) * tokens)
    first, second = [name for name in MIX if name != domain][:2]
    assert found[first] * MIX[second] == pytest.approx(found[second] * MIX[first])


def test_what_is_drawn_and_left_multiplies():
    plan = config({"domain": "code", "tokens": "1T", "share": 0.4}, selection=LEAVES_A_TENTH, synthetic={"share": 0.5})
    for name, continued in (("web", 0.6e12 * 7 / 8), ("code", 0.4e12), ("all", 1e12)):
        found = {key: one.budget.public for key, one in texts(plan, name).items()}
        plain = found["as_it_is"]
        assert found["selection"].tokens == pytest.approx(0.1 * plain.tokens)
        assert found["synthetic"].drawn_tokens == pytest.approx(0.5 * plain.drawn_tokens)
        assert found["continued_pretraining"].drawn_tokens == pytest.approx(plain.drawn_tokens + continued)
        assert found["together"].drawn_tokens == pytest.approx(0.5 * plain.drawn_tokens + continued)
        assert found["together"].tokens == pytest.approx(0.1 * plain.tokens)
        for one in found.values():
            usable = one.tokens * (1 if one.stock.counts_repeats else 4)
            assert one.share == pytest.approx(one.drawn_tokens / usable)


def test_a_plan_without_strategies_has_the_dates_that_a_plan_with_them_is_compared_with():
    plain = plan_stock(config())
    assert plain.strategies.stated == ()
    plan = config(selection=LEAVES_A_TENTH)
    assert end(texts(plan)["as_it_is"]) == plain.domains[0].public.used_up
    assert end(texts(plan)["selection"]) == plan_stock(plan).domains[0].public.used_up


def test_a_strategy_alone_is_not_repeated_as_all_together():
    assert list(texts(config(selection=LEAVES_A_TENTH))) == ["as_it_is", "selection"]
    both = config(selection=LEAVES_A_TENTH, synthetic={"share": 0.5})
    assert list(texts(both)) == ["as_it_is", "selection", "synthetic", "together"]
    assert plan_stock(config(selection={"kind": "dedup"})).strategies.stated == ()


def test_differences_are_of_the_same_draws():
    """A tenth of the stock moves nearly every draw alike, though the dates themselves are far apart."""
    date = texts(config(selection=LEAVES_A_TENTH), growth=1.4)["selection"]
    low, high = date.years_later.intervals[0.9]
    ends = end(date).intervals[0.9]
    assert high - low < 0.3 * (ends[1] - ends[0])
    assert date.years_later.verdict == "sooner"


def test_verdicts():
    def shift(before, after):
        return YearsLater.between(*(UsedUp.of_draws(2026.0, np.array(years)) for years in (before, after)))

    assert shift([1.0, 2.0], [1.5, 2.5]).verdict == "later"
    assert shift([1.0, 2.0], [0.5, 1.9]).verdict == "sooner"
    assert shift([1.0, 0.0], [0.5, 0.0]).verdict == "undecided"
    assert shift([0.0, math.inf], [0.0, math.inf]).verdict == "no change"
    assert shift([1.0, 1.0], [math.inf, math.inf]).to_dict() == {
        "median": None, "intervals": {"0.5": [None, None], "0.8": [None, None], "0.9": [None, None],
                                      "0.95": [None, None]}, "verdict": "later",
    }  # fmt: skip


def test_text_that_was_found_on_the_web_is_drawn_from_the_public_stocks():
    plan = config(synthetic={"share": 0.5, "generator": "web"}, unique_tokens_by_domain={"web": "1T"})
    found = texts(plan)
    assert found["synthetic"].years_later.verdict == "no change"
    assert found["synthetic"].budget.epochs == pytest.approx(found["as_it_is"].budget.epochs / 2)
    assert any("found on the web" in note for note in plan_stock(plan).strategies.notes)


def test_a_share_that_is_left_open_counts_as_the_whole():
    left_open, whole = (config({"domain": "code", "tokens": "1T", "share": share}) for share in (None, 1.0))
    assert end(texts(left_open, "code")["continued_pretraining"]) == end(texts(whole, "code")["continued_pretraining"])
    assert any("share is left open" in note for note in plan_stock(left_open).strategies.notes)
    assert not plan_stock(whole).strategies.notes


def test_a_domain_that_the_mix_lacks():
    plan = config({"domain": "law", "tokens": "1T", "share": 0.5})
    assert any("no public figure is known for law" in note for note in plan_stock(plan).strategies.notes)
    stated = plan_stock(plan, public={"law": 1e12})
    assert list(texts(plan, "law", public={"law": 1e12})) == ["continued_pretraining"]
    assert any("the mix has nothing of law" in note for note in stated.strategies.notes)
    assert stated.domains[-1].public.share == pytest.approx(0.5e12 / 4e12)


def test_a_plan_of_one_corpus_draws_a_domain_elsewhere():
    plan = RunConfig.from_mapping(
        {"model": {"params": "7B"}, "data": {"tokens": "8T", "corpus": "c4"}, "start": "2026-07-02"}
        | {"continued_pretraining": {"domain": "code", "tokens": "1T", "share": 0.75}}
    )
    drawn = {name: texts(plan, name)["continued_pretraining"].budget.public.drawn_tokens for name in ("all", "code")}
    assert drawn == pytest.approx({"all": 8.25e12, "code": 0.75e12})


def test_a_domain_cannot_be_called_as_the_whole_is():
    with pytest.raises(ConfigError, match=r"continued_pretraining\.domain: got 'all', the plan's whole text"):
        plan_stock(config({"domain": "all", "tokens": "1T"}))
