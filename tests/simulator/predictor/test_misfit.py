"""What a fitted law leaves over is said: that a table isn't of one recipe, and which column of text explains it."""

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import DataWarning
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.evaluation.scoring import score
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load, save

CASES = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).parents[3].parent / "shared")) / "field_cases"
FLOORS = {"code": 0.75, "web": 2.05, "books": 2.35}
MISSES = "they aren't one recipe"
EXPLAINS = "explains most of what the law leaves over"


def pooled(noise: float = 0.0, column: str = "data", floors: dict[str, float] = FLOORS) -> pd.DataFrame:
    """Ten sizes of each corpus, each corpus with its own floor."""
    rng = np.random.default_rng(0)
    parts = []
    for corpus, floor in floors.items():
        params = np.geomspace(3e7, 3e9, 10)
        tokens = params * np.resize([10, 20, 60], 10)
        loss = (floor + 400 * params**-0.34 + 1500 * tokens**-0.34) * np.exp(rng.normal(0, noise, 10))
        parts.append(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss, column: corpus}))
    return pd.concat(parts, ignore_index=True)


def fitted(frame: pd.DataFrame, **how) -> Predictor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return Predictor.fit(RunTable.from_frame(frame), **how)


def said(predictor: Predictor, words: str) -> bool:
    return any(words in note for note in predictor.notes)


@pytest.mark.parametrize("column", ["data", "train_set", "anything"])
def test_pooled_corpora_are_told_by_whatever_column(column):
    predictor = fitted(pooled(column=column))
    assert said(predictor, MISSES)
    assert said(predictor, f"column {column!r} {EXPLAINS}")
    assert said(predictor, f"--where {column}=books")
    assert said(predictor, f"--by {column}")
    plan = RunConfig.from_mapping({"model": {"params": "1B"}, "data": {"tokens": "20B"}})
    assert any(MISSES in warning for warning in forecast(plan, predictor).warnings)


def test_without_the_column_only_the_misfit_is_said():
    predictor = fitted(pooled().drop(columns="data"))
    assert said(predictor, MISSES)
    assert not said(predictor, EXPLAINS)


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_runs_of_one_corpus_are_not_doubted(noise):
    one = pd.concat([pooled(noise, floors={"web": 2.05})] * 3, ignore_index=True)
    one["loss"] *= np.exp(np.random.default_rng(1).normal(0, noise, len(one)))
    one["machine"] = np.resize(["a", "b", "c", "d"], len(one))
    predictor = fitted(one)
    assert not said(predictor, MISSES)
    assert not said(predictor, EXPLAINS)


def test_the_table_of_the_field():
    path = CASES / "05_corpora_pooled" / "runs.csv"
    if not path.is_file():
        pytest.skip("no field cases beside this checkout")
    predictor = fitted(pd.read_csv(path))
    assert said(predictor, "% on average: they aren't one recipe")
    assert said(predictor, "0.28 % where each of its values ('books', 'code', 'web-clean') has its own law")


def test_a_law_for_each_value(tmp_path):
    predictor = fitted(pooled(column="corpus"), by="corpus", name="mine")
    assert list(predictor.models) == ["loss.books", "loss.code", "loss.web"]
    assert predictor.notes == ()
    for corpus, floor in FLOORS.items():
        plan = {"model": {"params": "1B"}, "data": {"tokens": "20B", "corpus": corpus}}
        found = forecast(RunConfig.from_mapping(plan), predictor)
        assert found.main == f"loss.{corpus}"
        truth = floor + 400 * 1e9**-0.34 + 1500 * 2e10**-0.34
        assert found.headline.loss_nats.median == pytest.approx(truth, rel=0.01)
    save(predictor, tmp_path / "mine")
    again = load(str(tmp_path / "mine"))
    assert again.about["by"] == "corpus"
    scored = score(again, RunTable.from_frame(pooled(column="corpus").iloc[:10]))
    assert list(scored["targets"]) == ["loss.code"]
    assert scored["targets"]["loss.code"]["median_relative_error"] < 0.01


def test_runs_far_above_the_law_are_told_with_what_they_share():
    """Thirty runs of all sizes, four of which spent half of their steps on warm-up."""
    frame = pooled(floors={"web": 2.05})
    frame = pd.concat([frame.assign(tokens=frame.tokens * more) for more in (1.0, 3.0, 9.0)], ignore_index=True)
    loss = 2.05 + 400 * frame.params**-0.34 + 1500 * frame.tokens**-0.34
    strays = frame.index.isin([3, 9, 15, 24])
    frame = frame.assign(loss=loss * np.where(strays, 1.25, 1.0), steps=10_000)
    frame["warmup_steps"] = np.where(strays, 5_000, 100)
    predictor = fitted(frame)
    assert said(predictor, "4 runs lie ")
    assert said(predictor, "they have the highest share of warm-up (0.5 to 0.5)")


def test_facts_of_the_table_where_all_runs_agree():
    about = fitted(pooled(floors={"web": 2.05}).assign(tokenizer="llama3", val_domain="c4_en")).about
    assert (about["corpus"], about["tokenizer"], about["val_domain"]) == ("web", "llama3", "c4_en")
    assert "corpus" not in fitted(pooled(floors={"web": 2.05}).assign(data=1.0)).about
