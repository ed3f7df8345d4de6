"""What a forecast says of the selection that it rests on."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from foretrain import Predictor, RunConfig, RunTable, compare, forecast
from foretrain.core.errors import InputError
from foretrain.simulator.forecast.forecast import Forecast
from foretrain.simulator.report.documents.contents.plans import notes
from foretrain.simulator.report.tables.comparison import comparison_view
from foretrain.simulator.report.tables.forecast import forecast_view
from rich.console import Console

GAIN = {"none": 0.0, "dedup": 0.02, "judge+strata": 1.2}
"""Of tokens, in log."""


def fitted(levels) -> Predictor:
    rng = np.random.default_rng(0)
    rows = []
    for level in levels:
        for params in (1e5, 4e5, 1.6e6):
            for ratio in (5, 20, 80):
                for seed in (1, 2, 3):
                    worth = params * ratio * np.exp(GAIN[level])
                    loss = 1.0 + 3.0 * (params / 1e5) ** -0.3 + 3.5 * (worth / 1e6) ** -0.3
                    rows.append((params, params * ratio, level, seed, loss * np.exp(rng.normal(0, 0.004))))
    table = RunTable.from_frame(pd.DataFrame(rows, columns=["params", "tokens", "selection", "seed", "loss"]))
    return Predictor.fit(table, "chinchilla+selection", prior="public")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return fitted(GAIN)


def plan(kind: str | None, params: float = 1.6e7, tokens: float = 1.28e9) -> dict:
    data = {"tokens": tokens} if kind is None else {"tokens": tokens, "selection": {"kind": kind, "keep": 0.5}}
    return {"name": kind or "plain", "model": {"params": params}, "data": data}


def asked(kind: str | None, predictor: Predictor, **sizes: float) -> Forecast:
    return forecast(RunConfig.from_mapping(plan(kind, **sizes)), predictor)


def in_text(view) -> str:
    console = Console(width=10_000, file=io.StringIO())
    console.print(view)
    return console.file.getvalue()


def test_a_forecast_says_from_which_runs_it_knows_a_selection_and_what_that_is_worth(predictor):
    found = asked("judge+strata", predictor)
    (one,) = found.strategies
    assert one.runs == {"runs": 27, "params": [1e5, 1.6e6], "tokens": [5e5, 1.28e8], "seeds": 3}
    assert one.beyond_decades == pytest.approx({"params": 1.0, "tokens": 1.0})
    assert one.verdict == "better"
    assert 0 < one.share_of_variance < 1
    low, high = one.difference.intervals[0.9]
    true = 3.5 * (1.28e9 / 1e6) ** -0.3 * (np.exp(-0.3 * GAIN["judge+strata"]) - 1)
    assert low < true < high < 0
    assert found.to_dict()["strategies"][0]["verdict"] == "better"
    assert "27 runs of 100k to 1.60M parameters and 500k to 128M tokens (3 seeds)" in one.sentence
    assert one.sentence in in_text(forecast_view(found))
    assert any("judge+strata" in note.cause for note in notes(found)[1])
    assert not any("not stated" in warning or "not read" in warning for warning in found.warnings)


def test_the_baseline_is_nothing_to_speak_of(predictor):
    found = asked(None, predictor)
    assert found.strategies == ()
    assert not any("keep" in warning for warning in found.warnings)


def test_what_copies_cost_is_a_lower_bound_and_undecided_where_it_may_be_nothing(predictor):
    (one,) = asked("dedup", predictor).strategies
    assert one.lower_bound
    assert "lower bound" in one.sentence
    assert one.verdict == "undecided"


def test_further_from_the_proxies_a_selection_is_less_certain(predictor):
    near, far = (asked("judge+strata", predictor, params=p, tokens=80 * p).strategies[0] for p in (1.6e6, 1.6e8))
    reducible = [3.0 * (p / 1e5) ** -0.3 + 3.5 * (80 * p / 1e6) ** -0.3 for p in (1.6e6, 1.6e8)]
    widths = [np.ptp(one.difference.intervals[0.9]) / of for one, of in zip((near, far), reducible, strict=True)]
    assert widths[1] > 1.2 * widths[0]


def test_a_new_selection_is_answered_with_what_selections_differ_by(predictor):
    found = asked("perplexity", predictor)
    (one,) = found.strategies
    assert not one.known
    assert one.runs["runs"] == 54
    assert one.verdict == "undecided"
    assert one.share_of_variance > 0.5
    assert "no fitted run had 'perplexity'" in " ".join(found.warnings)


def test_how_strict_a_selection_is_is_held_against_its_runs(predictor):
    """A plan that names a selection and no share keeps all by default: where strictness counts, it selects nothing."""
    runs = predictor.about["levels"]["selection"]["dedup"] | {"keep": [0.4, 0.8]}
    levels = {"selection": predictor.about["levels"]["selection"] | {"dedup": runs}}
    fit = predictor.models["loss"].fit
    reference = replace(fit.reference, values={**fit.reference.values, "keep": 0.6})
    model = replace(predictor.models["loss"], fit=replace(fit, reference=reference))
    strict = replace(predictor, models={"loss": model}, about={**predictor.about, "levels": levels})
    for keep, doubt in ((0.05, "0.05 lies outside the runs of 'dedup', 0.4 to 0.8"), (1.0, "is 1, so 'dedup' changes")):
        stated = plan("dedup")
        stated["data"]["selection"]["keep"] = keep
        found = forecast(RunConfig.from_mapping(stated), strict)
        assert any(doubt in warning for warning in found.warnings)
    assert found.strategies[0].difference.median == 0.0
    assert "so 0.5 counts as what they had" in " ".join(asked("dedup", predictor).warnings)


def test_a_new_selection_is_refused_where_one_was_fitted():
    with pytest.raises(InputError, match="the fitted runs had 'dedup', 'none'"):
        asked("perplexity", fitted(["none", "dedup"]))


def test_plans_that_differ_in_selection_share_what_is_open_of_the_law(predictor):
    found = compare([plan(None), plan("judge+strata"), plan("dedup"), plan("perplexity")], predictor)
    alone = [np.ptp(one.headline.loss_nats.intervals[0.9]) for one in found.forecasts]
    apart = [its["loss_nats"] for its in found.differences[1:]]
    assert np.ptp(apart[0].intervals[0.9]) < 0.7 * min(alone)
    assert [one.verdict for one in apart] == ["better", "undecided", "undecided"]
    assert len(found.notes) == 2
    assert all("undecided" in note for note in found.notes)
    assert found.notes[0] in in_text(comparison_view(found))
