"""Reports of plans with stages after pretraining: the figures are the forecast's, rows add up, sources are named."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from foretrain.simulator.after_pretraining.oversight.outlook import PUBLISHED
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.compare import WITH_STAGES, compare
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.report.after_pretraining import adding_up, stage_rows, stage_sentences
from foretrain.simulator.report.documents.contents.after_pretraining import stages_section
from foretrain.simulator.report.documents.contents.judged import Judged
from foretrain.simulator.report.documents.contents.plan_sections import plan_pictures
from foretrain.simulator.report.documents.contents.plans import answer_document, judged_best
from foretrain.simulator.report.documents.contents.sentences import doubt, lede
from foretrain.simulator.report.documents.document import Section
from foretrain.simulator.report.documents.markdown import markdown_text
from foretrain.simulator.report.tables.comparison import comparison_view
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

PLAN = {
    "name": "mine",
    "model": {"params": "7B"},
    "data": {"tokens": "1T"},
    "optim": {"batch_tokens": "4M"},
    "hardware": {"accelerator": "H100-SXM-80", "count": 512, "price_usd_per_hour": 2.5},
}
STAGES = {
    "post_training": {"method": "ppo", "comparisons": "30k", "kl_nats": 20, "labellers": 40},
    "oversight": {"kind": "debate", "elo_gap": 400},
}


def printed(view) -> str:
    console = Console(width=160, record=True)
    with console.capture() as captured:
        console.print(view)
    return captured.get()


@pytest.fixture(scope="module")
def web():
    return load("web-text")


@pytest.fixture(scope="module")
def judged(web) -> Judged:
    return Judged(forecast(RunConfig.from_mapping(PLAN | STAGES), web), web)


@pytest.fixture(scope="module")
def section(judged) -> Section:
    found = stages_section(judged)
    assert found is not None
    return found


@given(st.lists(st.floats(0.0, 1e7), min_size=1, max_size=6), st.integers(0, 4))
def test_rounded_rows_add_up_and_are_no_further_off_than_a_digit(parts, decimals):
    *rows, total = (float(text.replace(",", "")) for text in adding_up(parts, decimals))
    assert math.isclose(math.fsum(rows), total, rel_tol=1e-9, abs_tol=1e-9)
    step = 10.0**-decimals
    assert all(abs(row - part) <= step * 1.001 for row, part in zip(rows, parts, strict=True))
    assert abs(total - sum(parts)) <= 0.5001 * step


def test_the_sum_is_of_its_rows_and_of_the_forecast(judged, section):
    after = judged.plan.after
    assert [part.name for part in after.parts] == ["pretraining", "feedback, machines", "feedback, labels"]
    assert after.total_cost_usd.median == sum(part.cost_usd.median for part in after.parts)
    assert after.total_days.median == sum(part.wall_clock_days.median for part in after.parts)
    assert after.parts[0].cost_usd == judged.plan.cluster.cost_usd
    table = section.tables[1][1]
    for column, total in ((1, after.total_cost_usd), (3, after.total_days)):
        *rows, whole = (float(row[column].replace(",", "")) for row in table.rows)
        assert math.isclose(math.fsum(rows), whole, abs_tol=1e-9)
        assert whole == pytest.approx(total.median, rel=1e-3)
    assert [part["name"] for part in judged.plan.to_dict()["after_pretraining"]["parts"]] == [
        row[0] for row in table.rows[:-1]
    ]


def test_the_table_is_the_terminals_and_names_every_source(judged, section):
    rows = section.tables[0][1].rows
    assert [(row.label.strip(), *row.cells) for row in stage_rows(judged.plan)] == [row[:4] for row in rows]
    assert all(row[-1] for row in rows)
    sources = {row[0]: row[-1] for row in rows}
    assert sources["gain by feedback at KL 20 nats"] == "prior, nothing measured"
    assert "recalled" in sources["labels, USD"]
    oversight = [row for row in rows if "oversight" in row[0] or "debates" in row[0]]
    assert len(oversight) == 2
    for row in oversight:
        assert PUBLISHED in row[0]
        assert re.search(r"arXiv:\d+\.\d+$", row[-1])


def test_labels_that_are_stated_are_said_to_be(web):
    stage = STAGES["post_training"] | {"label_usd": 2.0, "label_minutes": 4}
    found = forecast(RunConfig.from_mapping(PLAN | {"post_training": stage}), web)
    sources = {row.label: row.source for row in stage_rows(found)}
    assert sources["labels, USD"] == sources["labels, hours of work"] == "stated"


def test_the_report_says_what_the_stages_come_to(judged, section):
    document = answer_document(judged)
    after = judged.plan.after
    assert section.title == "After pretraining"
    assert len(section.points) == len(stage_sentences(after))
    assert any(PUBLISHED in point for point in section.points)
    assert any("label_usd" in note.cause for note in document.assumptions)
    notes = {one.label.split(",")[0]: one.note for one in document.headlines}
    assert "with all stages $" in notes["Cost"]
    assert "with all stages" in notes["Wall clock"]
    assert "With all stages after it: " in lede(judged)
    assert [picture.name for picture in plan_pictures(judged)][-1] == "feedback-gain"
    text = markdown_text(replace(document, sections=(section,)))
    assert "## After pretraining" in text
    for row in section.tables[1][1].rows:
        assert row[1] in text


def test_a_budget_that_the_stages_exceed_is_said_to_be(web, judged):
    between = (judged.plan.after.total_cost_usd.median + judged.plan.cluster.cost_usd.median) / 2
    tight = RunConfig.from_mapping(PLAN | STAGES | {"targets": {"budget_usd": between}})
    assert "over the budget" in doubt(Judged(forecast(tight, web), web))
    ample = RunConfig.from_mapping(PLAN | STAGES | {"targets": {"budget_usd": 10 * between}})
    assert "over the budget" not in doubt(Judged(forecast(ample, web), web))


def test_a_plan_without_stages_has_no_section(web):
    plain = Judged(forecast(RunConfig.from_mapping(PLAN), web), web)
    assert stages_section(plain) is None
    assert "stages" not in lede(plain)
    assert not any("stages" in one.note for one in answer_document(plain).headlines)


@pytest.mark.parametrize("first", [PLAN, PLAN | STAGES])
def test_plans_with_and_without_stages_are_compared(first, web):
    other = PLAN | {"name": "other"} | ({} if first is not PLAN else STAGES)
    found = compare([first, other], web)
    plain, staged = sorted(found.forecasts, key=lambda one: one.after is not None)
    text = printed(comparison_view(found))
    assert "cost with all stages, USD" in text
    by_name = {one["name"]: one for one in found.to_dict()["plans"]}
    assert by_name[plain.config.name]["total_cost_usd"]["median"] == plain.cluster.cost_usd.median
    assert by_name[staged.config.name]["total_cost_usd"]["median"] == staged.after.total_cost_usd.median
    section = stages_section(judged_best(found, web))
    assert len(section.tables) == 2
    assert ("The plan states no stages" in section.text) is (found.forecasts[1].after is None)


def test_plans_without_stages_have_no_such_rows(web):
    found = compare([PLAN, PLAN | {"name": "other"}], web)
    assert "all stages" not in printed(comparison_view(found))
    assert not set(WITH_STAGES) & set(found.to_dict()["plans"][0])


def test_intervals_of_the_sum_hold_those_of_its_doubt(judged):
    total, parts = judged.plan.after.total_cost_usd, judged.plan.after.parts
    widths = [np.diff(part.cost_usd.intervals[0.9])[0] for part in parts]
    assert max(widths) <= np.diff(total.intervals[0.9])[0] <= sum(widths) + 1e-9
