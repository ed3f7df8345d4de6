"""Plans for real runs: asked for, trained (here by a known law), told, by processes that come and go."""

import json
import math
import threading

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import (
    ConfigError,
    DataWarning,
    InfeasibleError,
    InputError,
    LogError,
    UsageError,
)
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.search.planning.outcomes.outcome import RunOutcome
from foretrain.simulator.search.planning.planner import Planner
from foretrain.simulator.search.study import Study

pytestmark = pytest.mark.usefixtures("fit_once")

FIT = {"law": "chinchilla", "surrogate": "none"}
LIMIT = 1e21
STUDY = {
    "name": "web",
    "run": {"model": {"params": "1B"}, "data": {"tokens": "20B"}},
    "space": {
        "model.params": {"low": "100M", "high": "10B", "log": True},
        "data.tokens": {"low": "2B", "high": "200B", "log": True},
    },
    "objective": "loss_nats",
    "constraints": {"training_flops": LIMIT},
    "search": {"trials": 30, "sampler": "tpe", "polish": False},
}


def law(params, tokens):
    return 1.7 + 480 * params**-0.35 + 2100 * tokens**-0.37


def trained(config: RunConfig, run_noise: float = 0.0) -> float:
    """What a real run would end at."""
    return float(law(config.model.params_total, config.data.tokens) * math.exp(run_noise))


@pytest.fixture(scope="module")
def runs() -> RunTable:
    rng = np.random.default_rng(0)
    params = 10 ** rng.uniform(7, 9, 16)
    tokens = params * 10 ** rng.uniform(0.7, 2.2, 16)
    loss = law(params, tokens) * np.exp(rng.normal(0, 0.003, 16))
    return RunTable.from_frame(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}), where="runs.csv")


@pytest.fixture
def open_planner(runs, tmp_path):
    """`open_planner(**options)`: the planner of this test's journal, as a new process would open it."""

    def make(study=STUDY, table=runs, **options) -> Planner:
        return Planner(study, table, **{"fit": FIT, "storage": str(tmp_path / "plans.journal"), **options})

    return make


# asking


def test_proposals_keep_the_limits_and_differ(open_planner):
    planner = open_planner()
    proposals = planner.ask(4)
    assert [one.number for one in proposals] == [0, 1, 2, 3]
    assert [one.name for one in proposals] == [one.config.name for one in proposals] == [f"web-{n}" for n in range(4)]
    assert all(one.config.training_flops <= LIMIT for one in proposals)
    places = np.log([[one.config.model.params_total, one.config.data.tokens] for one in proposals])
    apart = np.abs(places[:, None] - places[None]).max(axis=2)[~np.eye(4, dtype=bool)]
    assert apart.min() > 0.04 * np.log(100), "the range of either is two decades"
    losses = [one.forecast.headline.loss_nats.median for one in proposals]
    assert losses == sorted(losses), "the best comes first"


def test_the_best_is_near_the_optimum_of_the_law(open_planner):
    found = open_planner({**STUDY, "search": {"trials": 30, "sampler": "tpe"}}).ask()[0]
    params = np.geomspace(1e8, 1e10, 2000)
    least = law(params, LIMIT / 6 / params).min()
    assert trained(found.config) == pytest.approx(least, rel=0.003)


def test_what_is_proposed_is_a_complete_run_in_plain_json(open_planner):
    found = open_planner().ask()[0]
    facts = json.loads(json.dumps(found.to_dict()))
    assert RunConfig.from_mapping(facts["config"]) == found.config
    assert facts["forecast"]["loss_nats"]["median"] == found.forecast.headline.loss_nats.median


def test_a_planner_that_died_finds_what_it_had_asked_for(open_planner):
    before = open_planner().ask(2)
    after = open_planner().waiting
    assert [(one.number, one.values, one.config) for one in after] == [
        (one.number, one.values, one.config) for one in before
    ]
    assert open_planner().ask()[0].number == 2, "nothing is asked for twice"


def test_an_optimistic_choice_looks_where_less_is_known(open_planner):
    plain = open_planner(name="plain").ask()[0]
    bold = open_planner(name="bold", explore=0.02).ask()[0]

    def width(one):
        return np.diff(one.forecast.headline.loss_nats.intervals[0.9])[0]

    assert width(bold) >= width(plain)
    assert bold.config != plain.config


def test_no_feasible_plan(open_planner):
    study = {**STUDY, "constraints": {"training_flops": 1e15}}
    with pytest.raises(InfeasibleError, match="smallest relaxation"):
        open_planner(study).ask()


def test_a_space_may_be_used_up(open_planner):
    study = {**STUDY, "space": {"data.tokens": ["2B", "4B", "8B"]}}
    planner = open_planner(study)
    assert sorted(one.config.data.tokens for one in planner.ask(7)) == [2e9, 4e9, 8e9]
    with pytest.raises(InfeasibleError, match="every plan that keeps the limits is waiting or told"):
        planner.ask()
    planner.give_up(1, "no machines")
    assert len(planner.ask(2)) == 1, "what was given up may be proposed again"


def test_two_that_ask_at_once_get_different_plans(open_planner):
    planners = [open_planner() for _ in range(2)]
    found, start = [], threading.Barrier(2)

    def ask(planner):
        start.wait()
        found.extend(planner.ask(2))

    threads = [threading.Thread(target=ask, args=(planner,)) for planner in planners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.number for one in found}) == len(found) == 4
    assert len({one.config.data.tokens for one in found}) == 4
    assert [one.number for one in planners[0].waiting] == sorted(one.number for one in found)


@pytest.mark.xdist_group("postgresql")
def test_planners_on_several_machines_share_a_database(open_planner, postgresql_url):
    """What one asks for and another is told, a third knows."""
    asking, told = (open_planner(storage=postgresql_url) for _ in range(2))
    first, second = asking.ask(2)
    assert [one.config for one in told.waiting] == [first.config, second.config]
    lesson = told.tell(first.number, trained(first.config))
    told.give_up(second.number, "no machines")
    third = open_planner(storage=postgresql_url)
    assert third.history[0].told == lesson.told
    assert (third.waiting, third.status()["given_up"]) == ([], {"1": "no machines"})
    assert asking.predictor.models["loss"].parameters == third.predictor.models["loss"].parameters
    with pytest.raises(InputError, match=r"trial 0: was told .* before"):
        asking.tell(first.number, 9.9)


# telling


def test_a_result_makes_the_forecast_of_its_plan_better(open_planner):
    planner = open_planner()
    proposal = planner.ask()[0]
    truth = trained(proposal.config)
    lesson = planner.tell(proposal, truth)
    before, after = lesson.before["loss"], lesson.after["loss"]
    assert before.median == proposal.forecast.headline.loss_nats.median
    assert abs(after.median - truth) < abs(before.median - truth)
    assert after.high - after.low < before.high - before.low
    assert before.low < truth < before.high
    assert 0.05 < lesson.places["loss"] < 0.95
    assert (lesson.news, lesson.notes) == (True, ())
    assert len(planner.table) == 17
    assert planner.waiting == []


def test_results_outlive_the_process(open_planner):
    first = open_planner()
    proposal = first.ask()[0]
    lesson = first.tell(proposal.number, trained(proposal.config))
    second = open_planner()
    assert second.predictor.models["loss"].parameters == first.predictor.models["loss"].parameters
    again = second.history[0]
    assert (again.told, again.before, again.places) == (lesson.told, lesson.before, lesson.places)
    assert (again.number, again.after) == (0, {})
    assert second.ask()[0].config.data.tokens != proposal.config.data.tokens


def test_a_planner_learns_of_what_another_process_was_told(open_planner):
    one, other = open_planner(), open_planner()
    proposal = one.ask()[0]
    other.tell(proposal.number, trained(proposal.config))
    assert one.predictor.models["loss"].parameters == other.predictor.models["loss"].parameters


def test_the_same_result_again_is_harmless(open_planner):
    planner = open_planner()
    proposal = planner.ask()[0]
    planner.tell(proposal, 2.2)
    again = planner.tell(proposal, {"loss_nats": 2.2})
    assert not again.news
    assert again.before == planner.history[0].before
    assert len(planner.table) == 17


@pytest.mark.parametrize(("first", "second"), [(2.2, 2.3), (2.2, None), (None, 2.2), ("diverged", "failed")])
def test_another_result_than_before_is_refused(open_planner, first, second):
    planner = open_planner()
    planner.tell(planner.ask()[0], first)
    with pytest.raises(InputError, match=r"trial 0: was told .* before, which is kept; got"):
        planner.tell(0, second)
    assert len(planner.history) == 1


@pytest.mark.parametrize(
    ("result", "status"), [(None, "failed"), ("failed", "failed"), ("diverged", "diverged"), (math.nan, "diverged")]
)
def test_a_run_without_a_loss_is_kept_and_not_fitted(open_planner, result, status):
    planner = open_planner()
    before = planner.predictor.models["loss"].parameters
    lesson = planner.tell(planner.ask()[0], result)
    assert (lesson.told.status, lesson.told.losses, lesson.before, lesson.after) == (status, {}, {}, {})
    assert len(planner.table) == 16
    assert planner.predictor.models["loss"].parameters == before
    assert open_planner().history[0].told.status == status


def test_a_loss_far_from_its_forecast_is_taken_and_noted(open_planner):
    planner = open_planner()
    lesson = planner.tell(planner.ask()[0], 2.6)
    assert lesson.places["loss"] > 0.995
    assert lesson.notes == ("loss is far above what was forecast, beyond the 99 % interval",)
    assert planner.history[0].notes == lesson.notes


def test_a_run_that_saw_other_tokens_counts_at_those(open_planner):
    planner = open_planner()
    proposal = planner.ask()[0]
    half = proposal.config.data.tokens / 2
    loss = float(law(proposal.config.model.params_total, half))
    lesson = planner.tell(proposal, RunOutcome("x", "ok", {"loss": loss}, half, None, 0, "runs/x"))
    assert lesson.notes == (f"the run saw {half:.4g} tokens, not {2 * half:.4g} as planned",)
    assert lesson.before["loss"].low < loss < lesson.before["loss"].high
    assert planner.table.column("tokens")[-1] == half


@pytest.mark.parametrize(
    ("number", "result", "message"),
    [
        (7, 2.2, "trial 7: web has no such proposal; expected one that waits: 0"),
        (None, 2.2, "doesn't say which proposal it belongs to; expected one that waits: 0"),
        (0, -1.0, "web-0: loss: got -1; expected a loss above 0"),
        (0, "2.2", "got '2.2'; expected a loss in nats per token, diverged or failed"),
        (0, True, "loss: got True; expected a loss in nats per token"),
        (0, {"loss.web": 2.0}, "got a loss of 'loss.web'; expected loss"),
        (
            0,
            RunOutcome("x", "ok", {"loss.a": 2.0, "loss.b": 2.0}, None, None, 0, "x"),
            "got loss.a, loss.b; expected loss",
        ),
        (
            0,
            RunOutcome("x", "ok", {"loss": 2.0}, None, None, 3, "x"),
            "x: is of trial 3; expected the result of trial 0",
        ),
    ],
)
def test_what_is_no_result(open_planner, number, result, message):
    planner = open_planner()
    planner.ask()
    with pytest.raises(InputError) as caught:
        planner.tell(number, result)
    assert message in str(caught.value)
    assert planner.history == []


def test_giving_up(open_planner):
    planner = open_planner()
    planner.ask()
    planner.give_up(0, "no machines")
    assert planner.waiting == planner.history == []
    assert planner.status()["given_up"] == {"0": "no machines"}
    with pytest.raises(InputError, match=r"trial 0: was given up \(no machines\)"):
        planner.tell(0, 2.2)
    with pytest.raises(InputError, match="isn't waiting any more"):
        planner.give_up(0)


def test_a_result_that_the_table_of_runs_has_by_now_counts_once(open_planner, runs):
    planner = open_planner()
    proposal = planner.ask()[0]
    planner.tell(proposal, trained(proposal.config))
    frame = runs.frame[["params", "tokens", "loss", "run_id"]]
    row = planner.table.frame.iloc[-1][["params", "tokens", "loss", "run_id"]]
    grown = RunTable.from_frame(pd.concat([frame, row.to_frame().T], ignore_index=True), where="grown.csv")
    assert len(open_planner(table=grown).table) == 17


# several targets, and mixes


@pytest.fixture(scope="module")
def mixed() -> RunTable:
    """Runs on two domains with a loss for each."""
    rng = np.random.default_rng(1)
    params = 10 ** rng.uniform(7, 9, 16)
    tokens, share = params * 10 ** rng.uniform(0.7, 2.0, 16), rng.uniform(0.1, 0.9, 16)
    facts = {"params": params, "tokens": tokens, "mix.web": share, "mix.code": 1 - share, "lr": 1e-3}
    for name, part in (("web", share), ("code", 1 - share)):
        facts[f"loss.{name}"] = law(params, tokens * (0.3 + 0.7 * part)) * np.exp(rng.normal(0, 0.003, 16))
    return RunTable.from_frame(pd.DataFrame(facts), where="mixed.csv")


MIXED = {
    **STUDY,
    "run": {**STUDY["run"], "data": {"tokens": "20B", "mix": {"web": 0.5, "code": 0.5}}},
    "space": {**STUDY["space"], "data.mix": {"simplex": ["web", "code"]}},
    "objective": {"minimise": "loss_nats", "weights": {"web": 1, "code": 3}},
}


def test_losses_of_several_targets(open_planner, mixed):
    planner = open_planner(MIXED, mixed, fit={"law": "chinchilla+mixture", "surrogate": "none"})
    proposal = planner.ask()[0]
    with pytest.raises(InputError, match=r"several: expected those of loss\.web, loss\.code"):
        planner.tell(proposal, 2.2)
    with pytest.raises(InputError, match=r"has no loss.code; expected loss.web, loss.code"):
        planner.tell(proposal, {"loss.web": 2.2})
    lesson = planner.tell(proposal, {"loss.web": 2.3, "loss_nats.code": 2.2})
    assert set(lesson.before) == set(lesson.after) == set(lesson.places) == {"loss.web", "loss.code"}
    assert lesson.notes[0] == "neither the plan nor the run says its lr: the fit no longer reads it"
    table = planner.table
    assert table.column("mix.web")[-1] == pytest.approx(proposal.config.data.mix["web"])
    assert table.column("loss.code")[-1] == 2.2
    facts = planner._store._study.trials[0]
    assert facts.values == [pytest.approx((2.3 + 3 * 2.2) / 4)]


# a folder that runs write to


def test_watching_a_folder(open_planner, tmp_path):
    planner = open_planner()
    proposals, folder, heard = planner.ask(3), tmp_path / "results", []
    folder.mkdir()
    losses = [trained(one.config) for one in proposals]
    tokens = [one.config.data.tokens for one in proposals]
    (folder / "export.csv").write_text(
        f"name,state,foretrain_trial,val_loss\na,finished,0,{losses[0]}\nb,running,1,9\nother,finished,,2.0\n",
        encoding="utf-8",
    )
    log = folder / "web-2"
    log.mkdir()
    (log / "metrics.jsonl").write_text(
        "".join(
            json.dumps({"run_name": "web-2", "tokens": share * tokens[2], "val_loss": losses[2] * (1.1 - 0.1 * share)})
            + "\n"
            for share in (0.5, 1.0)
        ),
        encoding="utf-8",
    )
    lessons = planner.watch(folder, heard.append)
    assert lessons == heard
    assert {one.number: one.told.losses for one in lessons} == {0: {"loss": losses[0]}, 2: {"loss": losses[2]}}
    assert [one.number for one in planner.waiting] == [1]
    assert planner.watch(folder) == [], "nothing is told twice"
    assert open_planner().watch(folder) == [], "by no process"
    (folder / "again.csv").write_text("name,state,val_loss\nweb-0,finished,9.0\nweb-5,finished,2\n", encoding="utf-8")
    with pytest.warns(DataWarning) as caught:
        assert planner.watch(folder) == []
    texts = sorted(str(one.message) for one in caught)
    assert ["trial 0: was told loss" in texts[0], "trial 5: web has no such proposal" in texts[1]] == [True, True]
    with pytest.raises(LogError, match="no such folder"):
        planner.watch(tmp_path / "absent")


def test_telling_from_a_file(open_planner, tmp_path):
    planner = open_planner()
    planner.ask(2)
    file = tmp_path / "runs.csv"
    file.write_text("name,state,val_loss\nweb-0,finished,2.2\nweb-1,crashed,\n", encoding="utf-8")
    with pytest.raises(InputError, match="holds 2 runs; expected the one of trial 0"):
        planner.tell_from(file, 0)
    assert [one.told.status for one in planner.tell_from(file)] == ["ok", "failed"]
    file.write_text("name,state,val_loss\nmine,finished,2.2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"doesn't say which proposal .* by foretrain_trial"):
        planner.tell_from(file)
    assert not planner.tell_from(file, 0)[0].news


# what it starts from


def test_the_best_by_everything_told(open_planner):
    planner = open_planner()
    proposal = planner.ask()[0]
    planner.tell(proposal, trained(proposal.config))
    found = planner.best()
    assert found.feasible
    assert found.storage is None
    assert found.best.forecast.predictor["rows"] == 17


def test_a_study_and_its_file(open_planner, tmp_path):
    path = tmp_path / "from-file.json"
    path.write_text(json.dumps({key: value for key, value in STUDY.items() if key != "name"}), encoding="utf-8")
    planner = open_planner(path)
    assert planner.name == "from-file"
    again = open_planner(Study.from_mapping(STUDY, predictor=planner.predictor), name="from-file")
    again.ask()
    assert len(planner.waiting) == 1


def test_a_planner_beside_a_search_in_one_storage(open_planner, tmp_path):
    from foretrain.simulator.search.optimize import optimize

    planner = open_planner()
    planner.ask()
    optimize(STUDY, planner.predictor, trials=3, storage=str(tmp_path / "plans.journal"))
    assert len(open_planner().waiting) == 1


def test_in_memory(open_planner):
    planner = open_planner(storage=None)
    proposal = planner.ask()[0]
    assert planner.tell(proposal, trained(proposal.config)).after
    assert planner.storage is None


def test_another_study_of_the_same_name_is_refused(open_planner):
    open_planner().ask()
    with pytest.raises(InputError, match="another space, other objectives or other constraints"):
        open_planner({**STUDY, "constraints": {"training_flops": 2 * LIMIT}})
    assert len(open_planner().waiting) == 1, "nothing was changed"


def test_what_a_planner_needs(open_planner, runs, tmp_path):
    predictor = Predictor.fit(runs, **FIT)
    for wrong in (predictor, tmp_path, 7):
        with pytest.raises(UsageError, match="expected the table of runs"):
            open_planner(table=wrong)
    with pytest.raises(UsageError, match=r"explore: got 1\.5; expected a quantile"):
        open_planner(explore=1.5)
    with pytest.raises(UsageError, match="fit: got 'lw'; expected some of law, prior"):
        open_planner(fit={"lw": "chinchilla"})
    with pytest.raises(UsageError, match="count: got 0"):
        open_planner().ask(0)
    with pytest.raises(ConfigError, match="has no loss of 'github'"):
        open_planner({**STUDY, "objective": "loss_nats.github"})
