"""Pictures of what could be planned: titles that say what the numbers say, and labels of any name."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from foretrain.core.errors import UsageError
from foretrain.core.quantity import Difference, Quantity
from foretrain.simulator.allocation.compute_optimal.curves import isoflop, isoloss
from foretrain.simulator.allocation.compute_optimal.optimal import compute_optimal
from foretrain.simulator.allocation.sensitivity.sensitivity import sensitivity
from foretrain.simulator.allocation.under_limits.marginal import Change, Marginal, More
from foretrain.simulator.allocation.under_limits.money import money_optimal
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.report import words
from foretrain.simulator.report.charts.placing import Spot, sides, text_px
from foretrain.simulator.report.charts.planning.front import Limit, Named, figure, front_picture
from foretrain.simulator.report.charts.planning.isoflop import isoflop_picture
from foretrain.simulator.report.charts.planning.isoloss import isoloss_picture
from foretrain.simulator.report.charts.planning.mix import mix_picture
from foretrain.simulator.report.charts.planning.money import money_picture
from foretrain.simulator.report.charts.planning.more import more_picture
from foretrain.simulator.report.charts.planning.study import study_pictures
from foretrain.simulator.report.charts.planning.tornado import knob_in_words, tornado_picture
from foretrain.simulator.search.optimize import optimize
from hypothesis import given, settings
from hypothesis import strategies as st

SEVEN_B = Path(__file__).parents[4] / "examples/llama-7b.yaml"
COST, LOSS = figure("cost_usd"), figure("loss_nats")
FRONT = [(cost, 2.2 - 0.06 * float(np.log(cost / 4e4))) for cost in np.geomspace(4e4, 4.8e5, 1200).tolist()]
STUDY = {
    "run": {
        "model": {
            "architecture": {
                "layers": 16,
                "width": 2048,
                "heads": 16,
                "ffn_width": 5632,
                "vocab_size": 32000,
                "context_length": 2048,
            }
        },
        "data": {"tokens": "100B"},
        "optim": {"batch_tokens": "1M"},
        "hardware": {"accelerator": "H100-SXM-80", "count": 64, "price_usd_per_hour": 2.0},
    },
    "predictor": "web-text",
    "space": {
        "model.params": {"low": "300M", "high": "5B", "log": True},
        "data.tokens": {"low": "10B", "high": "1T", "log": True},
    },
    "objective": {"minimise": "loss_nats"},
    "constraints": {"cost_usd": {"at_most": "30k", "chance": 0.9}},
    "search": {"trials": 4, "sampler": "tpe", "polish": False},
}


@pytest.fixture(scope="module")
def chinchilla():
    return load("chinchilla-massivetext")


@pytest.fixture(scope="module")
def seven_b():
    return RunConfig.load(SEVEN_B)


@pytest.fixture(scope="module")
def turned():
    run = RunConfig.from_mapping({**STUDY["run"], "optim": {"batch_tokens": "1M", "lr": 3e-4}})
    return sensitivity(run, load("web-text"))


# front


def test_the_title_of_a_front_is_what_the_baselines_loss_takes(drawn):
    baseline = Named("baseline", 3.1e5, 2.126, "6.7B × 2T")
    named = [Named("best", *FRONT[-1], "25B × 757B"), Named("same loss", *FRONT[600], "13B × 470B")]
    picture = front_picture(FRONT, named, COST, LOSS, baseline=baseline, limit=Limit(5e5, 4.9e5, 0.9), tried=1200)
    takes = min(cost for cost, loss in FRONT if loss <= baseline.y)
    assert picture.title == f"The baseline’s loss comes at {COST.text(takes)}, not $310k"
    assert {"best", "25B × 757B", "same loss", "baseline", "$500k limit", "kept with 90 %"} <= set(drawn(picture))
    assert "1,200 plans" in picture.subtitle
    assert "less than 90 %" in picture.caption


def test_a_front_that_does_not_undercut_the_baseline_says_what_its_money_buys():
    def title(baseline, front=FRONT):
        return front_picture(front, [Named("best", *front[-1])], COST, LOSS, baseline=baseline).title

    assert title(Named("baseline", 4.05e4, 2.24)) == "The baseline’s cost buys 2.20 nats instead of 2.24"
    assert title(Named("baseline", 1e5, 1.9)) == "No plan found has less loss than the baseline’s 1.90 nats"
    assert title(None) == f"$40k buys {LOSS.text(FRONT[0][1])}, $480k buys {LOSS.unit.number(FRONT[-1][1])}"
    assert title(None, FRONT[:1]) == "$40k buys 2.20 nats"


def test_names_on_a_front_are_short_and_harmless(drawn, hostile):
    named = [Named(hostile, *FRONT[-1], hostile), Named(hostile, *FRONT[3], hostile)]
    drawn(front_picture(FRONT, named, COST, figure(f"loss_nats.{hostile}"), baseline=Named(hostile, 1e5, 2.1)), 320)


# a study


@pytest.fixture(scope="module")
def found():
    return optimize(STUDY)


def test_a_study_leads_with_its_front_and_ends_with_its_history(drawn, found):
    first, last = study_pictures(found)
    assert (first.name, last.name) == ("front", "history")
    shown = drawn(first)
    assert {"baseline", "$30k limit"} <= set(shown)
    assert any("best" in text for text in shown)
    costs = [cost for cost, _ in found.loss_for_cost]
    losses = [loss for _, loss in found.loss_for_cost]
    assert costs == sorted(costs)
    assert losses == sorted(losses, reverse=True)
    drawn(last)
    best = min(goals[0] for _, goals, feasible, _ in found.history if feasible)
    trial = next(number for number, goals, feasible, _ in found.history if feasible and goals[0] == best)
    assert last.title == f"Trial {trial} of 4 found the best: {words.LOSS.text(best)}"


def test_a_study_of_two_goals_has_its_own_front(drawn):
    two = optimize({**STUDY, "objective": ["loss_nats", "cost_usd"]})
    first = study_pictures(two)[0]
    assert first.name == "front"
    assert {"balanced", "cost, log scale"} <= set(drawn(first))


def test_a_study_without_a_feasible_plan_shows_what_would_do(drawn):
    none = optimize({**STUDY, "constraints": {"cost_usd": {"at_most": 10, "chance": 0.9}}}, trials=1)
    (only,) = study_pictures(none)
    needed = none.relaxations[0].limits[0][1]
    assert only.title == f"No plan keeps $10; {COST.text(needed)} would do"
    assert "smallest relaxation" in drawn(only)
    assert "No plan keeps every limit" in only.caption


# equal compute, equal loss, a sum of money


def test_curves_of_equal_compute_are_labelled_at_their_ends(drawn, chinchilla):
    curves = isoflop(chinchilla, [1e22, 1e21])
    picture = isoflop_picture(curves)
    shown = drawn(picture)
    assert {"1e21 FLOPs", "1e22 FLOPs"} <= set(shown)
    sizes = [curve.optimum.params.median for curve in curves]
    assert picture.title == f"10 times the compute asks for {words.plain(sizes[0] / sizes[1])} times the size"
    for curve in curves:
        best = curve.optimum
        assert f"{words.count(best.params.median)} × {words.count(best.tokens.median)}" in shown
    assert isoflop_picture(curves[:1]).title.startswith("1e22 FLOPs are best spent on 9.1B × ")
    wide = isoflop_picture(isoflop(load("web-text"), [1e21, 1e22]))
    assert "known to −" in wide.caption


def test_the_plan_lies_on_its_own_curve(drawn, chinchilla, seven_b):
    own = compute_optimal(chinchilla, config=seven_b)
    curves = isoflop(chinchilla, [own.flops / 10, own.flops, own.flops * 10], config=seven_b)
    plan = own.plan.params, own.plan.loss_nats
    picture = isoflop_picture(curves, plan)
    times = words.plain(own.params.median / plan[0])
    extra = words.plain(plan[1] - own.loss_nats.median)
    assert picture.title == f"The plan is {times} times smaller than the best: {extra} nats more"
    assert f"plan {words.count(plan[0])}" in drawn(picture)
    best = own.params.median, own.loss_nats.median
    assert isoflop_picture(curves, best).title == "The plan’s size is as good as any"


def test_curves_of_equal_loss_stay_where_anybody_would_train(drawn, chinchilla):
    two = isoloss(chinchilla, [2.2, 2.3])
    picture = isoloss_picture(two, isoflop(chinchilla, [1e21, 1e22]))
    times = words.plain(two[0].cheapest_flops.median / two[1].cheapest_flops.median)
    assert picture.title == f"From 2.3 to 2.2 nats takes {times} times the compute"
    assert {"2.2 nats", "2.3 nats", words.flops(two[0].cheapest_flops.median)} <= set(drawn(picture))
    (curve,) = isoloss(chinchilla, [2.2])
    alone = isoloss_picture([curve])
    assert alone.title.startswith(f"2.2 nats take at least {words.flops(curve.cheapest_flops.median)}: ")
    tallest = max(row["tokens"] for part in alone.draw(320)["layer"] for row in part["data"]["values"])
    assert tallest <= 30 * curve.cheapest_tokens < np.max(curve.tokens)


def test_no_curves_are_no_picture():
    for picture in (isoflop_picture, isoloss_picture):
        with pytest.raises(UsageError, match="no curve to draw"):
            picture([])


def test_sizes_for_a_sum_of_money_with_the_best_and_the_plans_own(drawn, seven_b):
    result = money_optimal(seven_b, load("web-text"), budget_usd=1e6)
    picture = money_picture(result)
    own, best = result.plan, result.config
    size, tokens = words.count(best.model.params_total), words.count(best.data.tokens)
    less = words.plain(own.loss_nats - result.loss_nats.median)
    assert picture.title == f"{size} on {tokens} beats 6.7B on {words.count(own.tokens)} by {less} nats"
    assert {"best", "the plan’s size", f"{size} × {tokens}"} <= set(drawn(picture))
    assert len(picture.numbers.rows) == len(result.sizes)


# what more buys


def changed(params: float, loss: float) -> Change:
    by = Difference(loss, {0.5: (loss - 0.01, loss + 0.01), 0.9: (loss - 0.03, loss + 0.03)}, 0.9)
    return Change(params, 1e12, 64, 2.0 + loss, by, by, 1.2e5, 2.0 * bool(loss), {})


def marginal(*rows: More) -> Marginal:
    one = Quantity(2.0, {})
    return Marginal("plan", "web-text", 6.7e9, 2e12, 64, one, one, one, None, rows, ("one note",))


def test_what_more_buys_leads_with_what_is_free_or_else_with_the_largest_gain(drawn, hostile):
    free = More("nothing more, best shape", changed(6.7e9, 0.0), changed(2.2e10, -0.05))
    week = More("1 week more", changed(6.7e9, -0.015), changed(2.7e10, -0.08))
    odd = More(hostile, None, None, "impossible")
    picture = more_picture(marginal(free, week, odd))
    assert picture.title == "22B instead of 6.7B gains 0.050 nats for nothing more"
    assert {"1 week more", "no change", "−0.015 as planned", "−0.080 best size"} <= set(drawn(picture))
    title = more_picture(marginal(week, More("10% more money", changed(6.7e9, -0.003), None))).title
    assert title == "1 week more: −0.015 nats as planned, −0.080 at best size"
    assert more_picture(marginal(More("x", None, changed(1e9, -0.2)))).title == "X: −0.200 nats at the best size"
    drawn(more_picture(marginal(More(hostile, week.same_model, None), week)), 320)
    with pytest.raises(UsageError, match="nothing to draw"):
        more_picture(marginal(odd))


# what matters


def test_a_tornado_has_a_panel_for_each_outcome_and_its_title_is_its_largest_bar(drawn, turned):
    picture = tornado_picture(turned)
    shown = drawn(picture)
    most = max(
        abs(change) for row in turned.rows for change in (row.down["wall_clock_days"], row.up["wall_clock_days"])
    )
    of_time = words.days_unit(most)
    heading = f"wall clock,{of_time.after}"
    assert {"loss, nats", "cost", heading, "no effect", "model size", "price per hour"} <= set(shown)
    top = max(turned.rows, key=lambda row: abs(row.up["loss_nats"]))
    said = [
        words.signed(top.up["loss_nats"], words.Unit(after=" nats")),
        words.signed(top.up["cost_usd"], words.money_unit(top.up["cost_usd"])),
        words.signed(top.up["wall_clock_days"], of_time),
    ]
    assert picture.title == f"10 % more {knob_in_words(top.key)}: {', '.join(said)}"
    names = words.listed([knob_in_words(key) for key in turned.not_read])
    assert (f"Not read by this predictor or estimate: {names}" in picture.caption) == bool(turned.not_read)
    assert len(texts_of(picture, 320, "model size")) == 3, "panels stand below each other"
    assert len(texts_of(picture, 1040, "model size")) == 1, "panels stand beside each other"


def texts_of(picture, width: int, text: str) -> list:
    rows = [row for part in picture.draw(width)["layer"] for row in part["data"]["values"]]
    return [row for row in rows if row.get("text") == text][::2]  # each label has a rim of its own


def test_a_plan_without_machines_has_one_panel(drawn, plan):
    found = sensitivity(plan("7B", "2T", unique_tokens="500B", optim={"lr": 3e-4}), load("web-text"))
    shown = set(drawn(tornado_picture(found)))
    assert {"loss, nats", "model size", "training tokens", "distinct tokens"} <= shown
    assert "cost" not in shown


def test_names_of_domains_in_a_tornado_are_short_and_harmless(drawn, turned, hostile):
    row = turned.rows[0]
    named = SimpleNamespace(**{**vars(row), "key": f"data.mix.{hostile}", "read": True})
    drawn(tornado_picture(SimpleNamespace(rows=[named], step=0.1, predictor=hostile, not_read=[])), 320)  # type: ignore[arg-type]


def test_nothing_that_moves_is_no_picture(turned):
    with pytest.raises(UsageError, match="nothing to draw"):
        tornado_picture(SimpleNamespace(rows=[], step=0.1, predictor="web-text", not_read=[]))  # type: ignore[arg-type]


# mixes


def test_a_mix_goes_from_todays_to_the_best(drawn):
    today = {"web": 0.6, "code": 0.12, "books": 0.28}
    best = {"web": 0.481, "code": 0.239, "books": 0.28}
    picture = mix_picture(best, today)
    assert picture.title == "code rises from 12 to 24 %, web falls to 48 %"
    shown = drawn(picture)
    assert {"web", "code", "books", "today", "best", "60 %", "48 %"} <= set(shown)
    assert [row[0] for row in picture.numbers.rows] == ["code", "books", "web"]
    assert mix_picture(today, today).title == "The best mix is today’s, within half a point"
    assert mix_picture(best).title == "web gets the most, 48 % of the tokens"
    many = {f"d{place}": 1 / 40 for place in range(40)}
    assert "24 domains" in mix_picture(many, {**many, "d0": 0.5}).caption
    with pytest.raises(UsageError, match="no mix"):
        mix_picture({})


def test_names_of_domains_in_a_mix_are_short_and_harmless(drawn, hostile):
    drawn(mix_picture({hostile: 0.7, "web": 0.3}, {hostile: 0.2, "web": 0.8}), 320)
    drawn(mix_picture({hostile: 0.7, "web": 0.3}), 320)


# labels

SPOT = st.builds(
    Spot,
    st.floats(0, 400),
    st.floats(0, 300),
    st.lists(st.sampled_from(["plan", "same money", "20B × 697B"]), min_size=1, max_size=2),
    st.booleans(),
)


@given(st.lists(SPOT, max_size=6))
@settings(max_examples=60, deadline=None)
def test_labels_stay_inside(spots):
    for spot, side in zip(spots, sides(spots, 400, 300), strict=True):
        long = max(text_px(line) for line in spot.lines)
        left = spot.x + side["dx"] - {"left": 0.0, "right": long, "center": long / 2}[side["align"]]
        assert left >= -1e-6
        assert left + long <= 400 + 1e-6
        assert spot.y + side["dy"] - 8 >= -1e-6
