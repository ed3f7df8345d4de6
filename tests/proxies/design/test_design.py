import json
import math
from dataclasses import replace

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, InfeasibleError
from foretrain.core.reading.yaml_reader import loads_yaml
from foretrain.proxies.design.design import design
from foretrain.proxies.design.estimate import Machine, Speed, estimate
from foretrain.proxies.design.learning_rate import LearningRateTrial, pick_lr
from foretrain.proxies.design.mixes import DomainFacts
from foretrain.proxies.design.space import ProxySpace
from foretrain.proxies.settings import EngineSettings
from hypothesis import given, settings
from hypothesis import strategies as st

DOMAINS = {"books": DomainFacts(7e6), "code": DomainFacts(5e6), "web": DomainFacts(8e6)}
MACHINE = Machine(Speed(75e9, "cpu"), 2, EngineSettings())
LADDER = {"corpora": "c.yaml", "sizes": ["20k", "65k", "220k"], "tokens": ["0.5M", "1M", "2M"], "seeds": 2}
TUNED = {**LADDER, "lr": {"low": 0.003, "high": 0.03, "points": 4}}
MIXES = {"mixes": {"sample": 8, "include": ["uniform", "single"]}}
SOBOL = {
    "sobol": {
        "points": 6,
        "vary": {
            "weight_decay": {"low": 0.01, "high": 0.3, "log": True},
            "batch_sequences": {"low": 4, "high": 16},
            "lr": {"low": 0.005, "high": 0.02},
        },
    }
}
FULL = {**TUNED, **MIXES, **SOBOL}


def make(raw, budget=None, lr=None, domains=DOMAINS, machine=MACHINE):
    return design(ProxySpace.from_mapping(raw), domains, 256, machine, budget, lr)


def choice(best=0.01):
    lrs = np.geomspace(0.003, 0.03, 4)
    return pick_lr(LearningRateTrial(1, w, float(x), math.log(x / best) ** 2) for w in (16, 32) for x in lrs)


def part(found, name):
    return [run for run in found.runs if run.run_id.startswith(name)]


def test_a_ladder_passes_through_its_token_counts():
    found = make(LADDER)
    assert (found.stage, len(found.runs), found.dropped) == ("main", 6, ())
    assert {run.evaluate_at for run in found.runs} == {(500_000, 1_000_000)}
    assert {run.tokens for run in found.runs} == {2e6}
    assert sorted({run.shape.width for run in found.runs}) == [16, 32, 64]
    assert {run.seed for run in found.runs} == {0, 1}
    assert {run.recipe.lr for run in found.runs} == {0.005}
    assert found.runs[0].mix == pytest.approx({"books": 0.35, "code": 0.25, "web": 0.4})
    assert found.estimates["main"].rows == 18


@pytest.mark.parametrize(("schedule", "runs"), [("constant", 6), ("inverse_sqrt", 6), ("cosine", 18), ("wsd", 18)])
def test_a_schedule_with_a_horizon_takes_a_run_per_token_count(schedule, runs):
    found = make({**LADDER, "recipe": {"schedule": schedule}})
    assert len(found.runs) == runs
    assert found.estimates["main"].rows == 18


def test_the_recipe_is_every_runs_but_for_the_learning_rate():
    found = make({**LADDER, "recipe": {"weight_decay": 0.02, "lr_final": 0.001}, "lr": 0.004, "seed": 2**32 - 1})
    assert {(r.recipe.weight_decay, r.recipe.lr_final, r.recipe.lr) for r in found.runs} == {(0.02, 0.001, 0.004)}
    assert {run.seed for run in found.runs} == {2**32 - 1, 0}


def test_tuning_comes_first_at_two_sizes_and_reckons_with_the_rest():
    found = make(TUNED)
    assert found.stage == "lr"
    assert [*found.estimates] == ["lr", "main"]
    assert len(found.runs) == 8
    assert {run.shape.width for run in found.runs} == {16, 32}
    assert {run.tokens for run in found.runs} == {1e6}
    assert sorted({run.recipe.lr for run in found.runs}) == [0.003, 0.006463, 0.01392, 0.03]
    after = make(TUNED, lr=choice())
    assert (after.stage, [*after.estimates]) == ("main", ["main"])
    assert after.estimates["main"] == found.estimates["main"]
    assert {run.recipe.lr for run in after.runs} == {0.01}


def test_sizes_and_tokens_of_the_tuning_can_be_stated():
    found = make({**TUNED, "lr": {**TUNED["lr"], "sizes": ["220k"], "tokens": "0.3M"}})
    assert {(run.shape.width, run.tokens) for run in found.runs} == {(64, 300_000)}


def test_each_width_has_the_learning_rate_chosen_for_it():
    lrs = np.geomspace(0.001, 0.1, 9)
    trials = [LearningRateTrial(1, w, float(x), math.log(x / b) ** 2) for w, b in ((16, 0.04), (64, 0.01)) for x in lrs]
    found = make(TUNED, lr=pick_lr(trials))
    assert {run.shape.width: run.recipe.lr for run in found.runs} == pytest.approx({16: 0.04, 32: 0.02, 64: 0.01})


def test_mixes_are_trained_at_the_smallest_size_with_the_same_seeds():
    found = part(make({**LADDER, "mixes": {**MIXES["mixes"], "seeds": 2}}), "mix-")
    assert len(found) == (1 + 3 + 8) * 2
    assert {(run.shape.width, run.tokens, run.evaluate_at) for run in found} == {(16, 1e6, ())}
    mixes = [run.mix for run in found[::2]]
    assert mixes[0] == pytest.approx(dict.fromkeys(DOMAINS, 1 / 3))
    assert mixes[1:4] == [{name: 1.0} for name in DOMAINS]
    assert [run.mix for run in found[1::2]] == mixes


def test_bounds_follow_the_names_of_domains():
    raw = {**LADDER, "mixes": {"sample": 10, "bounds": {"code": {"low": 0.2, "high": 0.3}}}}
    backwards = dict(reversed(DOMAINS.items()))
    for found in (make(raw), make(raw, domains=backwards)):
        assert all(0.2 <= run.mix["code"] <= 0.3 for run in part(found, "mix-"))
    assert [r.mix for r in part(make(raw), "mix-")] == [r.mix for r in part(make(raw, domains=backwards), "mix-")]


def test_sobol_points_lie_in_their_ranges():
    found = part(make({**LADDER, **SOBOL}), "sobol")
    assert len(found) == 6
    assert all(0.01 <= run.recipe.weight_decay <= 0.3 for run in found)
    assert all(0.005 <= run.recipe.lr <= 0.02 for run in found)
    assert all(4 <= run.batch_sequences <= 16 for run in found)
    assert len({run.recipe.weight_decay for run in found}) == 6
    # on a log scale half of the points lie below the geometric middle
    many = part(make({**LADDER, "sobol": {**SOBOL["sobol"], "points": 64}}), "sobol")
    assert sum(run.recipe.weight_decay < math.sqrt(0.003) for run in many) == 32


def test_equal_spaces_make_equal_designs_and_parts_do_not_touch_each_other():
    assert make(FULL).runs == make(FULL).runs
    together = make(FULL, lr=choice())
    assert together.runs == (
        *make(TUNED, lr=choice()).runs,
        *part(make({**TUNED, **MIXES}, lr=choice()), "mix-"),
        *part(make({**TUNED, **SOBOL}, lr=choice()), "sobol"),
    )
    reseeded = make({**FULL, "seed": 1}, lr=choice())
    assert part(reseeded, "mix-011")[0].mix != part(together, "mix-011")[0].mix
    assert part(reseeded, "sobol-003")[0].recipe != part(together, "sobol-003")[0].recipe


def test_run_ids_are_unique_and_can_name_folders():
    ids = [run.run_id for stage in (make(FULL), make(FULL, lr=choice())) for run in stage.runs]
    assert len(set(ids)) == len(ids)
    assert "ladder-n20368-d2000000-s1" in ids
    assert all(name.replace("-", "").replace(".", "").isalnum() for name in ids)


def test_a_budget_that_is_ample_drops_nothing():
    assert make(FULL, 1e6).runs == make(FULL).runs
    assert make(FULL, 1e6).dropped == ()


def shrinking(raw, step=0.05):
    """What is dropped as the budget shrinks from more than enough, each distinct answer once."""
    budget, seen = 2 * make(raw).wall_clock_s, []
    while True:
        try:
            lines = make(raw, budget).dropped
        except InfeasibleError:
            return seen
        if lines not in seen:
            seen.append(lines)
        budget *= 1 - step


def test_the_ladder_gives_tokens_then_seeds_then_sizes_then_the_rest():
    tokens, seed = "ladder: token counts 2.00M", "ladder: 1 of 2 seeds"
    assert shrinking(LADDER) == [
        (),
        (tokens,),
        (tokens, seed),
        (tokens, "ladder: sizes 223k parameters", seed),
        ("ladder: token counts 1.00M, 2.00M", "ladder: sizes 223k parameters", seed),
        ("ladder: token counts 1.00M, 2.00M", "ladder: sizes 64.3k, 223k parameters", seed),
    ]


def test_the_part_that_takes_longest_gives_first():
    raw = {**LADDER, "seeds": 1, "mixes": {"sample": 400, "include": ["single"]}}
    whole = make(raw)
    found = make(raw, 0.6 * whole.wall_clock_s)
    [line] = found.dropped
    assert line.startswith("mixes: ")
    assert line.endswith(" of 403 mixes")
    assert found.runs == whole.runs[: len(found.runs)]


def test_fewer_learning_rates_still_reach_both_ends():
    raw = {**TUNED, "lr": {"low": 0.003, "high": 0.03, "points": 12}, "sizes": ["20k"], "seeds": 1}
    found = make(raw, 0.8 * make(raw).wall_clock_s)
    lrs = sorted({run.recipe.lr for run in found.runs})
    assert (lrs[0], lrs[-1]) == (0.003, 0.03)
    assert 3 <= len(lrs) < 12
    assert any(line.startswith("lr: ") and line.endswith("of 12 learning rates") for line in found.dropped)


@settings(deadline=None, max_examples=12)
@given(st.sampled_from([LADDER, TUNED, FULL]), st.floats(0.3, 1.5))
def test_what_is_left_fits_the_budget_and_more_time_never_leaves_less(raw, share):
    budget = share * make(raw).wall_clock_s
    found, more = make(raw, budget), make(raw, 2 * budget)
    assert found.wall_clock_s <= 0.9 * budget
    assert found.estimates["main"].training_flops <= more.estimates["main"].training_flops
    for stage in (found, more):
        assert bool(stage.dropped) == (stage.wall_clock_s < make(raw).wall_clock_s)


def test_a_budget_below_the_cheapest_run_is_infeasible():
    with pytest.raises(InfeasibleError) as caught:
        make(FULL, 5)
    cheapest = [run for run in make({**LADDER, "tokens": ["0.5M"]}).runs if run.shape.width == 16][:1]
    alone = estimate(cheapest, MACHINE, 3).wall_clock_s
    assert "time_budget: 5s" in str(caught.value)
    assert f"(20.4k parameters, 500k tokens) is predicted to take {alone:.3g}s, start included" in str(caught.value)
    assert ", the smallest campaign " in str(caught.value)
    assert caught.value.exit_code == 4
    with pytest.raises(InfeasibleError, match=r"start included; allow more time"):
        make(LADDER, 5)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {**LADDER, "mix": {"bok": 1.0}},
            r"space: mix\.bok: there is no domain 'bok'; expected one of books, code, web",
        ),
        ({**LADDER, "mixes": {"include": [{"x": 1}]}}, r"mixes\.include\.0\.x: there is no domain 'x'"),
        ({**LADDER, "mixes": {"sample": 1, "bounds": {"x": {}}}}, r"mixes\.bounds\.x: there is no domain 'x'"),
        (
            {**LADDER, "mixes": {"sample": 1, "bounds": {"web": {"low": 0.6}, "code": {"low": 0.6}}}},
            r"mixes\.bounds: the lowest shares sum to 1\.2; expected at most 1",
        ),
        ({**LADDER, "sizes": ["1k"]}, r"sizes: got 1\.00k; the smallest model"),
        (
            {**LADDER, "mixes": {"sample": 250, "seeds": 100}},
            "asks for 25006 runs; expected at most 20000",
        ),
    ],
)
def test_a_space_that_does_not_fit_the_data(raw, message):
    with pytest.raises(ConfigError, match=message):
        make(raw)


def test_a_problem_with_the_data_has_its_line(tmp_path):
    (tmp_path / "s.yaml").write_text("corpora: c\ntokens: [1M]\nsizes: [20k]\nmix:\n  books: 0.5\n  bok: 0.5\n")
    with pytest.raises(ConfigError, match=r"s\.yaml:6: mix\.bok: there is no domain 'bok'"):
        design(ProxySpace.load(tmp_path / "s.yaml"), DOMAINS, 256, MACHINE)


def test_epochs_are_limited_and_reported():
    little = {**DOMAINS, "code": DomainFacts(2e5, max_epochs=2)}
    found = make({**LADDER, "mixes": {"sample": 10}}, domains=little)
    assert all(run.mix.get("code", 0) <= 0.4 for run in part(found, "mix-"))
    assert found.epochs["code"] <= 2
    assert found.epochs["books"] > 0
    with pytest.raises(InfeasibleError, match=r"ladder-n20368-d2000000-s0: domain 'code': 0\.333 of 2\.00M tokens are"):
        make({**LADDER, "mix": "uniform"}, domains=little)


def test_the_summary_and_the_plain_data_agree():
    budget = 0.6 * make(FULL).wall_clock_s
    found = make(FULL, budget)
    facts = json.loads(json.dumps(found.to_dict()))
    assert facts["stage"] == "lr"
    assert facts["runs"] == len(found.runs) == facts["stages"]["lr"]["runs"]
    assert facts["wall_clock_s"] == pytest.approx(sum(stage["wall_clock_s"] for stage in facts["stages"].values()))
    assert facts["training_flops"] == pytest.approx(sum(s["training_flops"] for s in facts["stages"].values()))
    assert facts["dropped"] == list(found.dropped)
    assert (facts["workers"], facts["time_budget_s"]) == (2, budget)
    lines = found.summary()
    assert lines[0].startswith(f"lr: {len(found.runs)} runs, ")
    assert sum(line.startswith("dropped to fit: ") for line in lines) == len(found.dropped) > 0
    assert any(line.startswith("together about ") and line.endswith(" on 2 workers") for line in lines)


def test_more_workers_take_less_time():
    one, four = (make(FULL, machine=replace(MACHINE, workers=n)).wall_clock_s for n in (1, 4))
    assert four < one / 2


FIRST = """
corpora: corpora.yaml
time_budget: 6min
seed: 0
context_length: 128
depth: 4
sizes: [20k, 40k, 65k, 130k, 220k]
tokens: [250k, 500k, 1M, 1.5M]
seeds: 1
batch_sequences: 8
recipe: {schedule: constant, weight_decay: 0.1, warmup_tokens: 20000}
lr: {low: 0.003, high: 0.03, points: 4, tokens: 250k}
mixes:
  sample: 12
  include: [uniform, single]
  tokens: 500k
engine: {eval_tokens: 32k}
"""


@pytest.mark.parametrize("speed", [47e9, 75e9])
def test_a_first_campaign_fits_six_minutes_on_two_slow_cores(speed):
    space = ProxySpace.from_mapping(loads_yaml(FIRST))
    builtin = dict.fromkeys(("documentation", "headers", "python_source"), DomainFacts(7.5e6))
    machine = Machine(Speed(speed, "cpu"), 2, space.engine)
    found = design(space, builtin, 256, machine, space.time_budget)
    assert found.dropped == ()
    assert found.wall_clock_s < 330
    assert found.estimates["main"].rows >= 5 * 4 + 12


def test_shares_of_a_domain_take_the_place_of_the_mix():
    found = make({**LADDER, "shares": {"domain": "code", "of": [0, 0.5, 1]}})
    assert len(found.runs) == 3 * 3 * 2
    assert {run.run_id.split("-n")[0] for run in found.runs} == {"share-0", "share-0.5", "share-1"}
    for run in found.runs:
        code = float(run.run_id.split("-")[1])
        others = {"books": (1 - code) * 7 / 15, "web": (1 - code) * 8 / 15}
        assert run.mix == pytest.approx({name: part for name, part in {**others, "code": code}.items() if part})


def test_shares_that_no_mix_can_have_are_refused():
    with pytest.raises(
        ConfigError, match=r"shares\.domain: there is no domain 'law'; expected one of books, code, web"
    ):
        make({**LADDER, "shares": {"domain": "law", "of": [0.5]}})
    with pytest.raises(ConfigError, match=r"shares\.of: got 0\.5, but mix has no other domain than 'code'"):
        make({**LADDER, "mix": {"code": 1.0}, "shares": {"domain": "code", "of": [0.5, 1]}})
