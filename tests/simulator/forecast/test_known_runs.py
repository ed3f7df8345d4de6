"""Runs of one's own that a plan names: every forecast of it agrees with them, wherever it is made."""

import json

import foretrain
import pytest
from foretrain import RunConfig
from foretrain.core.errors import ConfigError, ForetrainError
from foretrain.core.reading.yaml_reader import dumps_yaml
from foretrain.simulator.forecast.for_plan import anchored, for_plan

PLAN = {"model": {"params": "7B"}, "data": {"tokens": "2T", "corpus": "llama2_mix", "tokenizer": "llama2"}}
KNOWN = {**PLAN, "known_runs": "runs/mine.csv"}
ROWS = "run_id,params,tokens,loss,flops\na,7e9,2e12,1.75,8.4e22\n"


@pytest.fixture(scope="module")
def web_text():
    return foretrain.load_predictor("web-text")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "plans/runs").mkdir(parents=True)
    (tmp_path / "plans/runs/mine.csv").write_text(ROWS, encoding="utf-8")
    (tmp_path / "plans/known.yaml").write_text(dumps_yaml(KNOWN), encoding="utf-8")
    (tmp_path / "plans/plain.yaml").write_text(dumps_yaml(PLAN), encoding="utf-8")
    return tmp_path / "plans"


def test_naming_runs_is_anchoring_on_them(folder, web_text):
    plan = RunConfig.load(folder / "known.yaml")
    table = foretrain.RunTable.read(folder / "runs/mine.csv")
    known, anchor = (foretrain.forecast(plan, one) for one in (web_text, anchored(plan, table)))
    assert known.headline == anchor.headline
    assert known.headline.loss_nats.median == pytest.approx(1.75, abs=0.01)
    assert for_plan(plan, web_text) is for_plan(RunConfig.load(folder / "known.yaml"), web_text)


def test_the_table_is_read_again_once_it_has_changed(folder, web_text):
    plan = RunConfig.load(folder / "known.yaml")
    before = foretrain.forecast(plan, web_text).headline.loss_nats.median
    (folder / "runs/mine.csv").write_text(ROWS.replace("1.75", "1.7"), encoding="utf-8")
    assert foretrain.forecast(plan, web_text).headline.loss_nats.median < before - 0.03


def test_a_plan_that_is_no_file_reads_none(tmp_path, web_text):
    """A mapping may come from a stranger: it must not choose what is read from the disk."""
    with pytest.raises(ConfigError, match=r"known_runs: got 'runs/mine.csv' in a plan that isn't a file"):
        foretrain.forecast(RunConfig.from_mapping(KNOWN), web_text)
    with pytest.raises(ConfigError, match=r"known_runs: .*runs/mine.csv: can't be read"):
        foretrain.forecast(RunConfig.from_mapping(KNOWN, folder=tmp_path), web_text)


def test_other_plans_are_what_they_were():
    plain, known = (RunConfig.from_mapping(one, folder="anywhere") for one in (PLAN, KNOWN))
    assert "known_runs" not in plain.to_mapping()
    assert plain == RunConfig.from_mapping(plain.to_mapping())
    assert known == RunConfig.from_mapping(known.to_mapping(), folder="anywhere")
    assert known.to_digest() == plain.to_digest()  # the runs are part of the predictor's digest


def test_who_has_runs_of_their_own_is_refused(call, folder):
    refused = call("predict", "--config", folder / "known.yaml", "--predictor", "olmo-c4")
    assert refused.returncode == 3
    assert "known_runs: olmo-c4 has runs of its own; expected the default predictor, web-text" in refused.stderr
    twice = call("predict", "--config", folder / "known.yaml", "--anchor", folder / "runs/mine.csv")
    assert twice.returncode == 2
    assert "--anchor: the plan names known_runs too; expected only one of the two" in twice.stderr


def test_compare_reads_the_runs_of_each_plan(call, folder):
    done = call("compare", folder / "known.yaml", folder / "plain.yaml", "--json")
    assert done.returncode == 0, done.stderr
    first, second = (plan["loss_nats"]["median"] for plan in json.loads(done.stdout)["plans"])
    assert first == pytest.approx(1.75, abs=0.01)
    assert second != first


def test_a_study_and_its_best_plan_agree(folder, web_text, tmp_path):
    space = {"data.tokens": {"low": "1T", "high": "3T"}}
    mapping = {"run": "known.yaml", "predictor": "web-text", "space": space, "objective": "loss_nats"}
    (folder / "study.yaml").write_text(dumps_yaml(mapping), encoding="utf-8")
    found = foretrain.optimize(foretrain.Study.load(folder / "study.yaml"), trials=3, storage="memory")
    found.save_best(tmp_path / "best.yaml")
    best = foretrain.forecast(RunConfig.load(tmp_path / "best.yaml"), web_text)
    assert best.headline.loss_nats.median == pytest.approx(found.best.forecast.headline.loss_nats.median, abs=1e-9)
    assert best.predictor["name"] == "anchor"


def test_a_study_of_several_texts_has_no_known_runs(folder):
    space = {"data.corpus": ["c4", "fineweb"]}
    mapping = {"run": KNOWN, "predictor": "web-text", "space": space, "objective": "loss_nats"}
    with pytest.raises(ForetrainError, match=r"known_runs: are of one text, and space varies data.corpus"):
        foretrain.Study.from_mapping(mapping, folder=folder)
