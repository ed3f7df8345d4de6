"""Whole searches: the same seed gives the same trials, what was interrupted goes on, recipes come first."""

import io
import json
import re

import numpy as np
import optuna
import pytest
from foretrain.core.errors import InfeasibleError, InputError
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.report.tables.study import study_view
from foretrain.simulator.search.evaluate import Evaluator
from foretrain.simulator.search.optimize import optimize
from foretrain.simulator.search.trials.first_trial import SeededByFirstTrial
from foretrain.simulator.search.trials.samplers import choose_sampler
from rich.console import Console

LIMITS = {"cost_usd": {"at_most": "30k", "chance": 0.9}}


def trials(found) -> list:
    return [(number, goals, feasible) for number, goals, feasible, _ in found.history]


@pytest.fixture(scope="module")
def searched(make_study):
    """A search of 20 trials, polish included."""
    return optimize(make_study(constraints=LIMITS, search={"trials": 20, "sampler": "tpe"}))


def test_the_best_is_feasible_the_best_and_better_than_the_run(searched):
    feasible = [goals[0] for _, goals, kept, _ in searched.history if kept]
    assert searched.feasible
    assert searched.best.evaluation.goals[0] == min(feasible)
    assert searched.best.evaluation.goals[0] < searched.baseline.evaluation.goals[0]
    assert searched.best.forecast.cluster.cost_usd.intervals[0.8][1] <= 30_000 * (1 + 1e-9)


def test_the_same_seed_gives_the_same_trials(searched, make_study):
    again = optimize(make_study(constraints=LIMITS, search={"trials": 20, "sampler": "tpe"}))
    assert trials(again) == trials(searched)
    options = {"trials": 8, "sampler": "tpe", "seed": 1, "polish": False}
    other = optimize(make_study(constraints=LIMITS, search=options))
    assert trials(other) != trials(searched)[:8]


def test_recipes_come_first_and_polish_says_so(searched):
    origins = [origin for *_, origin in searched.history]
    assert origins[:2] == ["as it is", "compute-optimal"]
    assert "polish" in origins
    assert searched.trials["polished"] == origins.count("polish")


def test_a_study_on_disk_goes_on(make_study, tmp_path):
    storage = str(tmp_path / "study.journal")
    study = make_study(constraints=LIMITS, search={"sampler": "tpe", "polish": False})
    assert optimize(study, trials=6, storage=storage).trials["complete"] == 6
    more = optimize(study, trials=10, storage=storage)
    assert more.trials["complete"] == 10
    assert len({number for number, *_ in more.history}) == 10
    assert optimize(study, trials=4, storage=storage).trials["complete"] == 10  # there are enough already
    with pytest.raises(InputError, match="take another name or another storage"):
        optimize(make_study(constraints={"cost_usd": "9k"}), trials=3, storage=storage)


def test_without_a_feasible_plan_the_result_says_what_would_do(make_study):
    found = optimize(make_study(constraints={"cost_usd": 5}, search={"trials": 8, "sampler": "tpe", "polish": False}))
    assert not found.feasible
    with pytest.raises(InfeasibleError, match="smallest relaxation: cost_usd at_most"):
        found.require_feasible()
    needed = found.relaxations[0].to_dict()["limits"][0]["needed"]
    again = optimize(make_study(constraints={"cost_usd": needed}, search={"trials": 12, "sampler": "tpe"}))
    assert again.feasible


def test_every_plan_has_its_difference_to_the_run_as_it_is(make_study):
    objective = [{"minimise": "loss_nats"}, {"minimise": "cost_usd"}]
    found = optimize(make_study(objective=objective, search={"trials": 12, "sampler": "random", "polish": False}))
    own = found.baseline.forecast
    assert found.baseline.difference == {}
    for plan in (found.best, *found.front):
        loss, cost = (plan.difference[name] for name in ("loss_nats", "cost_usd"))
        assert loss.median == pytest.approx(plan.forecast.headline.loss_nats.median - own.headline.loss_nats.median)
        assert cost.median == pytest.approx(plan.forecast.cluster.cost_usd.median - own.cluster.cost_usd.median)
        assert np.ptp(loss.intervals[0.9]) < 0.5 * np.ptp(own.headline.loss_nats.intervals[0.9])
        assert plan.to_dict()["difference"]["loss_nats"] == loss.to_dict()
    shown = Console(width=200, file=io.StringIO())
    shown.print(study_view(found))
    assert "against the run as it is" in shown.file.getvalue()
    assert "loss_nats against the run" in shown.file.getvalue()


def test_a_model_that_fits_nowhere_names_the_machines(make_study):
    study = make_study(
        run={"hardware": {"count": 1}},
        space={"model.params": {"low": "500B", "high": "900B", "log": True}},
        search={"trials": 4, "sampler": "random"},
    )
    found = optimize(study)
    assert found.trials["impossible"] == 4
    with pytest.raises(InfeasibleError, match=r"no plan can be run: .*memory"):
        found.require_feasible()
    json.dumps(found.to_dict(), allow_nan=False)


def test_two_goals_make_a_front_three_take_nsga(make_study):
    options = {"sampler": "tpe", "polish": False}
    two = make_study(objective=["loss_nats", "cost_usd"], search={**options, "trials": 16})
    found = optimize(two)
    losses = [one.evaluation.goals[0] for one in found.front]
    costs = [one.evaluation.goals[1] for one in found.front]
    assert losses == sorted(losses)
    assert costs == sorted(costs, reverse=True)
    assert found.best.number in {one.number for one in found.front}
    three = make_study(objective=["loss_nats", "cost_usd", "wall_clock_days"], search={"trials": 6, "polish": False})
    assert choose_sampler(three, 100) == "nsga"
    assert optimize(three).sampler == "nsga"


def test_maximised_goals(make_study):
    space = {"hardware.count": {"low": 8, "high": 64, "step": 8}, "layout.recompute": ["none", "full"]}
    found = optimize(make_study(objective={"maximise": "mfu"}, space=space, search={"trials": 12}))
    assert found.best.evaluation.goals[0] == max(goals[0] for _, goals, kept, _ in found.history if kept)
    assert found.best.evaluation.values["layout.recompute"] == "none"


def test_a_sampler_that_divides_nothing_by_nothing_is_not_heard(make_study):
    """Optuna's Gaussian process does, once one point alone is worth trying; users saw a warning of numpy's."""

    class Converged(optuna.samplers.RandomSampler):
        def sample_relative(self, study, trial, search_space):
            assert np.isnan(np.zeros(2) / np.zeros(1)).all()
            return super().sample_relative(study, trial, search_space)

    quiet = optuna.create_study(sampler=SeededByFirstTrial(lambda number: Converged(seed=number)))
    quiet.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert len(quiet.trials) == 2


def test_the_rule_of_samplers(make_study):
    assert choose_sampler(make_study(), 100) == "gp"
    assert choose_sampler(make_study(), 101) == "tpe"
    assert choose_sampler(make_study(space={"hardware.count": [8, 16]}), 20) == "tpe"
    assert choose_sampler(make_study(search={"sampler": "random"}), 20) == "random"


def test_a_gaussian_process_searches(make_study):
    found = optimize(make_study(constraints=LIMITS, search={"trials": 14, "sampler": "gp", "polish": False}))
    assert found.sampler == "gp"
    assert found.feasible


def test_what_no_law_reads_is_said(make_study):
    space = {"optim.weight_decay": [0.03, 0.1], "optim.batch_tokens": {"low": "1M", "high": "4M", "log": True}}
    notes = optimize(make_study(space=space, search={"trials": 3, "sampler": "random", "polish": False})).notes
    assert any("optim.weight_decay varies, but web-text doesn't know" in note for note in notes)
    assert not any("optim.batch_tokens varies" in note for note in notes)


def test_importances_are_shares(make_study):
    found = optimize(make_study(search={"trials": 24, "sampler": "random", "polish": False}))
    shares = found.importances["loss_nats"]
    assert set(shares) == {"model.params", "data.tokens"}
    assert sum(shares.values()) == pytest.approx(1)


def test_a_feasible_plan_that_is_found_last_still_counts(make_study):
    """Three random trials may all miss a limit that the search for a relaxation then keeps."""
    options = {"trials": 3, "sampler": "random", "polish": False, "warm_start": False}
    for seed in range(3):
        study = make_study(constraints={"tokens": "11B"}, search={**options, "seed": seed})
        found = optimize(study)
        assert found.feasible
        assert found.best.evaluation.feasible
        found.require_feasible()
        assert json.loads(json.dumps(found.to_dict()))["relaxations"] == []


def test_a_run_that_cant_be_judged_has_no_numbers(make_study, mixed_predictor):
    """Its goal was once shown as a loss of 0."""
    study = make_study(
        run={"data": {"tokens": "10B", "evaluated_on": "a"}},
        space={"data.mix": {"simplex": {"a": {"unique_tokens": "1B"}, "b": None}}},
        objective={"minimise": "loss_nats", "weights": {"a": 1, "b": 3}},
        predictor=mixed_predictor,
        search={"trials": 4, "sampler": "random", "polish": False},
    )
    found = optimize(study)
    baseline = found.to_dict()["baseline"]
    assert (baseline["goals"], baseline["forecast"]) == ([None], None)
    assert "data.mix" in baseline["why"]
    assert found.to_dict()["study"]["goals"][0]["weights"] == {"a": 1, "b": 3}
    shown = Console(width=200, file=io.StringIO())
    shown.print(study_view(found))
    text = shown.file.getvalue()
    assert "as it is: " in text
    assert re.search(r"minimise loss_nats of a 1, b 3 +– +[12]\.", text)


def test_a_limit_on_memory_is_kept_by_another_layout(make_study, tmp_path):
    """The fastest layout takes all that fits; a leaner one is looked for, and stated in the plan that is found."""
    study = make_study(search={"trials": 3, "sampler": "random", "polish": False, "warm_start": False})
    values = study.space.current()
    free = Evaluator(study)(values), Evaluator(study).forecast(values)
    most = 0.6 * free[1].cluster.peak_memory_gib.median
    capped = make_study(
        constraints={"peak_memory_gib": {"at_most": most, "chance": 0.9}},
        search={"trials": 3, "sampler": "random", "polish": False},
    )
    evaluator = Evaluator(capped)
    assert evaluator(values).feasible
    seen = evaluator.forecast(values)
    assert seen.cluster.peak_memory_gib.intervals[0.8][1] <= most
    assert seen.cluster.step_time_s.median > free[1].cluster.step_time_s.median
    found = optimize(capped)
    assert found.feasible
    found.save_best(tmp_path / "best.yaml")
    again = forecast(RunConfig.load(tmp_path / "best.yaml"), capped.predictor)
    assert again.cluster.peak_memory_gib == found.best.forecast.cluster.peak_memory_gib
    assert again.cluster.cost_usd == found.best.forecast.cluster.cost_usd


def test_a_memory_that_no_layout_keeps_to_is_missed_by_the_leanest(make_study):
    study = make_study(constraints={"peak_memory_gib": 0.5}, search={"trials": 2, "sampler": "random", "polish": False})
    found = optimize(study)
    assert not found.feasible
    assert "peak_memory_gib at_most" in found.relaxations[0].text


def test_goals_are_of_the_text_that_each_plan_names(make_study):
    """Trials were judged by the loss of any text, whatever the plan named."""
    space = {"data.corpus": ["c4", "starcoder"], "data.tokens": {"low": "10B", "high": "1T", "log": True}}
    study = make_study(run={"data": {"tokens": "100B", "corpus": "c4", "tokenizer": "gpt2"}}, space=space)
    evaluator, current = Evaluator(study), study.space.current()
    plans = [{**current, "data.corpus": corpus} for corpus in ("c4", "starcoder", "c4")]
    goals = [one.goals[0] for one in evaluator.many(plans)]
    assert goals == [pytest.approx(evaluator.forecast(plan).headline.loss_nats.median) for plan in plans]
    assert goals[1] < goals[0] == goals[2]


def test_another_predictor_is_another_study(make_study, web_text, tmp_path):
    storage, study = str(tmp_path / "s.journal"), make_study(search={"sampler": "random", "polish": False})
    optimize(study, trials=1, storage=storage)
    with pytest.raises(InputError, match="take another name or another storage"):
        optimize(study, web_text.renamed("other", {"digest": "0"}), trials=2, storage=storage)


def test_recipes_take_a_choice_where_the_runs_own_is_none_of_them(make_study):
    space = {"hardware.accelerator": ["A100-SXM-80"], "data.tokens": {"low": "10B", "high": "1T", "log": True}}
    found = optimize(make_study(space=space, search={"trials": 2, "sampler": "random", "polish": False}))
    assert found.history[0][3] == "as it is"


def test_a_limit_on_what_a_plan_has_none_of_is_no_error(make_study, mixed_predictor):
    mix = {"simplex": {"a": {"max": 0.001, "unique_tokens": "1B"}, "b": None, "c": None}}
    study = make_study(
        run={"data": {"tokens": "10B", "evaluated_on": "a"}},
        space={"data.mix": mix},
        constraints={"epochs.a": {"at_least": 2}},
        predictor=mixed_predictor,
        search={"trials": 2, "sampler": "random", "polish": False},
    )
    found = optimize(study)
    with pytest.raises(InfeasibleError):
        found.require_feasible()


def test_a_limit_on_the_chance_to_fit_is_what_layouts_are_chosen_by(make_study):
    options = {"trials": 3, "sampler": "random", "polish": False, "warm_start": False}
    study = make_study(constraints={"p_fit": "99%"}, search=options)
    assert study.run.hardware.fit_chance == 0.99
    limit = next(one for one in study.limits if one.name.startswith("p_fit"))
    assert (limit.side, limit.bound) == ("at_least", 0.99)
    judged = Evaluator(study)(study.space.current())
    assert judged.feasible
    assert judged.measured[limit.name] >= 0.99
