"""Reports: every number is the forecast's and the same everywhere, and the page stands alone whoever named its runs."""

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from foretrain.core.reading.yaml_reader import loads_yaml
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.compare import compare
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.evaluation.backtesting import backtest_table
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.report.documents.contents.backtest import backtest_document
from foretrain.simulator.report.documents.contents.judged import Judged
from foretrain.simulator.report.documents.contents.plans import answer_document, plan_document, plans_document
from foretrain.simulator.report.documents.contents.sentences import decision
from foretrain.simulator.report.documents.contents.study import study_document
from foretrain.simulator.report.documents.contents.tracking import tracking_document
from foretrain.simulator.report.documents.html import html_page
from foretrain.simulator.report.documents.markdown import markdown_text
from foretrain.simulator.report.documents.pdf import browser, pdf_bytes
from foretrain.simulator.search.optimize import optimize
from foretrain.simulator.search.study import Study
from foretrain.simulator.tracking.track import predictor_for, track

SEVEN_B = Path(__file__).parents[4] / "examples/llama-7b.yaml"
COMMAND = "simulate report 'a b.yaml' --set \"name=<b>\""
MOST_BYTES, MOST_WORDS = 2_000_000, 12
STUDY = {
    "run": {
        "name": "small",
        "model": {"params": "1B"},
        "data": {"tokens": "20B"},
        "optim": {"batch_tokens": "1M"},
        "hardware": {"accelerator": "H100-SXM-80", "count": 16, "price_usd_per_hour": 2.5},
    },
    "predictor": "web-text",
    "space": {
        "model.params": {"low": "300M", "high": "3B", "log": True},
        "data.tokens": {"low": "10B", "high": "100B", "log": True},
    },
    "objective": "loss_nats",
    "constraints": {"cost_usd": {"at_most": 3000}},
    "search": {"trials": 5, "sampler": "random", "polish": False, "seed": 1},
}
HOSTILE = {
    "script": "</title><script>alert(1)</script><img src=x onerror=alert(1)>",
    "long": "n" * 500,
    "lines": "two\nlines\n# and a heading",
    "reversed": "\u202eright to left",
    "empty": "",
    "formula": '=HYPERLINK("http://example.org")',
    "markdown": "| [a](http://example.org) `b` **c** <!-- # d",
    "template": "{{ 7 * 7 }}{% raw %}&amp;",
}


class Page(HTMLParser):
    """What tests ask of a page: its tags, its text that is seen, its headings."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.headings, self.words, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append([int(tag[1]), ""])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if self.open and self.open[-1] in ("style", "title"):
            return
        self.words.append(data)
        if self.open and re.fullmatch(r"h[1-6]", self.open[-1]):
            self.headings[-1][1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def said(text: str) -> tuple[float, float]:
    """A number with its suffix, and half a step of its last digit: `$193k` is (193000, 500)."""
    found = re.search(r"([−-]?)\$?([\d,]*\.?\d+)(?:e(-?\d+))?([kMBT]?)", text)
    assert found, text
    digits = found[2].replace(",", "")
    decimals = len(digits.partition(".")[2])
    scale = {"": 1.0, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[found[4]] * 10 ** int(found[3] or 0)
    # a whole number that ends in noughts may be rounded at any of them
    noughts = 0 if decimals else len(digits) - len(digits.rstrip("0"))
    return float(digits) * scale * (-1 if found[1] else 1), 0.5 * 10.0 ** (noughts - decimals) * scale


def agrees(text: str, value: float) -> bool:
    """Whether a text says a value, to the digits shown."""
    shown, half = said(text)
    return abs(shown - value) <= half * 1.0001


def rows_of(picture, column: int = 1) -> dict[str, str]:
    return {row[0]: row[column] for row in picture.numbers.rows}


@pytest.fixture(scope="module")
def predictor():
    return load("web-text")


@pytest.fixture(scope="module")
def plan(predictor):
    return forecast(RunConfig.load(SEVEN_B, ["name=a & b", "start=2026-12-01"]), predictor)


@pytest.fixture(scope="module")
def comparison(predictor):
    shorter = ["name=shorter", "data.tokens=1T"]
    larger = ["name=larger", "data.tokens=2.4T", "hardware.price_usd_per_hour=2.4"]
    return compare([RunConfig.load(SEVEN_B, more) for more in ([], shorter, larger)], predictor)


@pytest.fixture(scope="module")
def document(plan, predictor):
    return plan_document(plan, predictor, [COMMAND])


@pytest.fixture(scope="module")
def found():
    return optimize(Study.from_mapping(STUDY))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Six tenths of a run of 5,000 steps."""
    log = tmp_path_factory.mktemp("log") / "log.jsonl"
    lines = [f'{{"step": {step}, "loss": {2.0 + 20 / step**0.5}}}\n' for step in range(50, 3001, 50)]
    log.write_text("".join(lines), encoding="utf-8")
    config = RunConfig.from_mapping(
        {
            "name": "small",
            "model": {"params": "10M"},
            "data": {"tokens": 5000 * 4096},
            "optim": {"batch_tokens": 4096, "lr": 1e-3, "schedule": "constant", "warmup_steps": 20},
            "targets": {"loss_nats": 2.4},
        }
    )
    return track(config, log, predictor_for(config, None))


@pytest.fixture(scope="module")
def backtested():
    params = np.repeat([1e7, 3e7, 1e8, 3e8], 3)
    tokens = params * np.tile([5, 20, 80], 4)
    loss = 1.7 + 400 * params**-0.34 + 1500 * tokens**-0.34
    return backtest_table(RunTable.from_frame(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss})))


@pytest.fixture(scope="module")
def documents(comparison, predictor, found, running, backtested):
    """A report of each kind; that of plans has all pictures of one."""
    return {
        "plans": plans_document(comparison, predictor, [COMMAND]),
        "study": study_document(found, [COMMAND]),
        "job": tracking_document(running, [COMMAND]),
        "backtest": backtest_document(backtested, "runs <b>.csv", [COMMAND]),
    }


@pytest.fixture(scope="module")
def pages(documents):
    return {kind: html_page(one) for kind, one in documents.items()}


KINDS = pytest.mark.parametrize("kind", ["plans", "study", "job", "backtest"])


def alone(text: str) -> Page:
    """A page, after all was checked that a page on its own must keep."""
    assert len(text.encode()) <= MOST_BYTES
    page = Page(text)
    assert not page.open
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "object", "embed", "base", "link", "img", "form"}
    (policy,) = [attributes["content"] for tag, attributes in page.tags if tag == "meta" and "http-equiv" in attributes]
    assert "default-src 'none'" in policy
    assert "script" not in policy
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
    assert not re.findall(r"url\((?!#)[^)]*\)|@import", text)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)), sorted(name for name in set(ids) if ids.count(name) > 1)
    for _, attributes in page.tags:
        pointed = [attributes.get("aria-labelledby"), attributes.get("href", "")[1:]]
        assert all(name in ids for name in pointed if name), attributes
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), page.headings
    assert all(text.strip() for _, text in page.headings)
    for tag, attributes in page.tags:
        if attributes.get("role") == "img":
            assert attributes.get("aria-label", "").strip()
        elif tag == "svg":
            assert attributes.get("aria-hidden") == "true"
    return page


@KINDS
def test_a_page_stands_alone_and_can_be_read_aloud(documents, pages, kind):
    page, document = alone(pages[kind]), documents[kind]
    assert page.headings[0][1] == document.title
    assert COMMAND in page.text
    for picture in document.pictures.values():
        assert len(picture.title.split()) <= MOST_WORDS, picture.title
        assert [title for _, title in page.headings].count(picture.title) >= 1
    for one in document.headlines:
        assert one.value in page.text


@KINDS
def test_only_numbers_stand_where_numbers_are(documents, pages, kind):
    assert not re.search(r"\b(nan|None|inf|undefined)\b", Page(pages[kind]).text)
    for one in documents[kind].headlines:
        assert one.label == "Done" or not re.search(r"(?<![\d.])(0|100) %", one.value + one.interval + one.note)
        if one.strip is not None:
            ticks = one.strip.plan
            order = [ticks.low_90, ticks.low_50, ticks.median, ticks.high_50, ticks.high_90]
            assert order == sorted(order)
            assert 0 <= order[0] <= order[-1] <= 100


def test_the_decision_and_the_headlines_are_the_forecasts(plan, document):
    perplexity, days, cost = plan.headline.perplexity, plan.cluster.wall_clock_days, plan.cluster.cost_usd
    on_top = f"{document.title}. {document.lede}"
    in_short = re.search(r"(?i)perplexity ([\d.]+) after ([\d.]+ days) for (\$[\d.]+[kM])", on_top)
    for text, one, quantity in zip(in_short.groups(), document.headlines, (perplexity, days, cost), strict=False):
        assert agrees(text, quantity.median)
        assert text == f"{one.value} {one.unit}".strip()
        low, high = re.search(r"90 %: (\S+) to ([^\s,]+)", one.interval).groups()
        assert agrees(low, quantity.intervals[0.9][0])
        assert agrees(high, quantity.intervals[0.9][1])
    assert agrees(re.search(r"Loss ([\d.]+) nats", document.lede)[1], plan.headline.loss_nats.median)
    finish = plan.cluster.finish["median"]
    assert f"{finish.day} {finish:%b %Y}" in document.lede
    assert f"{finish.day} {finish:%b %Y}" in document.headlines[1].label


def test_the_exact_plan_is_in_the_report(plan, document):
    ((name, text),) = document.plans
    assert name == plan.config.name
    assert RunConfig.from_mapping(loads_yaml(text, "plan")) == plan.config


def test_pictures_say_what_the_headlines_say(plan, document):
    perplexity, days, cost, _chance = document.headlines
    titles = {name: picture.title for name, picture in document.pictures.items()}
    assert titles["forecast"].startswith(f"Perplexity {perplexity.value}:")
    assert f"the {cost.value} " in titles["cost"]
    assert f"the {days.value} {days.unit} " in titles["time"]
    behind = rows_of(document.pictures["forecast"])
    assert agrees(behind["perplexity"], plan.headline.perplexity.median)
    assert agrees(behind["loss, nats per token"], plan.headline.loss_nats.median)


@pytest.mark.parametrize("name", ["cost", "time"])
def test_parts_add_up_to_the_whole(documents, comparison, name):
    picture = documents["plans"].pictures[name]
    of_which = {"cost": "cost_usd", "time": "wall_clock_days"}[name]
    best, first = comparison.forecasts[2], comparison.forecasts[0]
    for column, one in ((1, best), (2, first)):
        rows = rows_of(picture, column)
        whole = rows.pop("in all")
        low, high = rows.pop("90 %").split(" to ")
        quantity = getattr(one.cluster, of_which)
        assert agrees(whole, quantity.median)
        assert agrees(low, quantity.intervals[0.9][0])
        assert agrees(high, quantity.intervals[0.9][1])
        parts = [said(text) for text in rows.values()]
        assert len(parts) >= 3
        room = sum(half for _, half in parts) + said(whole)[1]
        assert abs(sum(value for value, _ in parts) - said(whole)[0]) <= room


def test_differences_are_those_of_the_comparison(documents, comparison):
    """The best by loss against the first, as `compare` says it."""
    document, apart = documents["plans"], comparison.differences[2]
    first = comparison.forecasts[0]
    for one, key, theirs in zip(
        document.headlines,
        ("perplexity", "wall_clock_days", "cost_usd"),
        (first.headline.perplexity, first.cluster.wall_clock_days, first.cluster.cost_usd),
        strict=False,
    ):
        size, side, base = re.fullmatch(r"(\S+)(?: days)? (\w+) than the baseline \((.*)\)", one.difference).groups()
        assert agrees(size, abs(apart[key].median))
        assert agrees(base, theirs.median)
        assert side == {"perplexity": "lower", "wall_clock_days": "longer", "cost_usd": "more"}[key]
    (table,) = [table for section in document.sections for _, table in section.tables]
    rows = {row[0]: row[1:] for row in table.rows}
    assert table.columns == ("", "llama-7b", "shorter", "larger")
    for place in range(3):
        assert agrees(rows["perplexity"][place], comparison.forecasts[place].headline.perplexity.median)
    for place in (1, 2):
        assert agrees(rows["loss against the first"][place], comparison.differences[place]["loss_nats"].median)
    assert rows["loss against the first"][0] == ""


def test_a_study_reports_its_best_plan_and_its_alternatives(documents, found):
    document = documents["study"]
    (table,) = [table for section in document.sections for _, table in section.tables]
    assert f"{found.trials['complete']} plans tried" in document.kicker
    assert len(table.rows) == len(found.alternatives) + 1
    for row, one in zip(table.rows, found.alternatives, strict=False):
        assert agrees(row[2], one.figures["loss_nats"].median)
        assert agrees(row[3], one.figures["cost_usd"].median)
    best = found.alternatives[0].candidate.forecast
    assert agrees(document.headlines[0].value, best.headline.perplexity.median)


def test_a_study_without_a_feasible_plan_is_led_by_the_smallest_relaxation():
    document = study_document(optimize(Study.from_mapping({**STUDY, "constraints": {"cost_usd": {"at_most": 1}}})))
    assert re.fullmatch(r"No plan keeps every limit.* \$\d+ .*", document.title)
    assert document.headlines
    assert all(picture.numbers.rows for picture in document.pictures.values())


def test_a_study_of_plans_that_cannot_be_run_says_why_and_draws_nothing():
    run = {**STUDY["run"], "model": {"params": "1T"}, "hardware": {"accelerator": "H100-SXM-80", "count": 1}}
    space = {"model.params": {"low": "500B", "high": "2T", "log": True}}
    study = {**STUDY, "run": run, "space": space, "constraints": {"wall_clock_days": 3000}}
    document = study_document(optimize(Study.from_mapping(study)), [COMMAND])
    assert "memory" in document.title
    assert not document.pictures
    assert not document.headlines
    page = alone(html_page(document))
    assert "figure" not in {tag for tag, _ in page.tags}
    assert document.title in page.text


def test_a_job_is_reported_as_it_is_tracked(documents, running):
    document = documents["job"]
    loss, *_ = document.headlines
    assert agrees(loss.value, running.loss_nats.median)
    assert document.headlines[-1].value == "60 %"
    (table,) = [table for section in document.sections for _, table in section.tables]
    rows = dict(table.rows)
    assert agrees(rows["expected at the end"], running.loss_nats.median)
    assert agrees(rows["planned loss, nats"], running.plan.loss_nats)


def test_a_backtest_reports_the_errors_of_its_law(documents, backtested):
    document, result = documents["backtest"], backtested["loss"]
    error = 100 * result["laws"][result["chosen"]]["median_relative_error"]
    assert agrees(document.headlines[0].value, error)
    assert agrees(re.search(r"median error (?:is )?([\d.]+) %", document.title)[1], error)


def test_a_backtest_without_larger_runs_says_so(backtested):
    result = backtested["loss"]
    law = {**result["laws"][result["chosen"]], "coverage": {}}
    few = {"loss": {**result, "points": [], "laws": {result["chosen"]: law}, "why": "too few sizes"}}
    document = backtest_document(few, "runs.csv")
    assert document.title == "Too few runs to back-test: too few sizes"
    assert not document.pictures
    alone(html_page(document))


# what plans may lack


def test_a_plan_without_machines_has_no_money_and_says_what_to_state(predictor):
    bare = forecast(RunConfig.from_mapping({"model": {"params": "7B"}, "data": {"tokens": "1T"}}), predictor)
    document = plan_document(bare, predictor)
    assert not {"cost", "time", "memory"} & set(document.pictures)
    assert [one.label.partition(",")[0] for one in document.headlines] == ["Perplexity per token"]
    assert "$" not in document.title
    assert re.search(r"state .*hardware\.accelerator", " ".join(section.text for section in document.sections))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["data.tokenizer={vocab_size: 50000, bytes_per_token: 4.5}"], True),
        (["data.corpus=fineweb"], True),
        (["data.tokenizer=mine"], False),
    ],
    ids=["tokenizer", "corpus", "unknown tokenizer"],
)
def test_losses_of_different_text_are_not_compared(predictor, change, told):
    plans = [RunConfig.load(SEVEN_B, more) for more in ([], [*change, "name=other", "data.tokens=1T"])]
    comparison = compare(plans, predictor)
    judged = Judged(comparison.forecasts[1], predictor, comparison.forecasts[0], comparison.differences[1])
    document = answer_document(judged, comparison)
    assert not judged.comparable
    assert "can’t be compared" in document.lede
    assert "nats" not in document.title + document.lede
    perplexity, days, *_ = document.headlines
    assert perplexity.difference == ""
    assert perplexity.strip.baseline is None
    assert "not comparable" in perplexity.note
    assert "than the baseline" in days.difference
    bits = comparison.differences[1].get("bits_per_byte")
    assert (bits is not None) == told
    if bits is not None:
        assert agrees(re.search(r"by ([\d.]+) bits per byte", document.lede)[1], abs(bits.median))
    else:
        assert "different text" in document.title


@pytest.mark.parametrize(
    ("chance", "begins", "says"),
    [
        (0.99, "Train ", "almost surely a better model"),
        (0.8, "Train ", "likely a better model"),
        (0.5, "6.7B on 2.4T tokens or 6.7B on 2T", "no telling which is better"),
        (0.1, "Keep 6.7B on 2T tokens: ", "likely the worse model"),
        (0.01, "Keep 6.7B on 2T tokens: ", "almost surely the worse model"),
    ],
)
def test_the_decision_is_as_sure_as_the_chance(comparison, predictor, chance, begins, says):
    apart = dict(comparison.differences[2])
    apart["loss_nats"] = replace(apart["loss_nats"], chance_lower=chance)
    text = decision(Judged(comparison.forecasts[2], predictor, comparison.forecasts[0], apart))
    assert text.startswith(begins)
    assert says in text


@pytest.mark.parametrize(
    ("chance", "begins", "dots"),
    [(0.99, "Train ", 20), (0.8, "Train ", 16), (0.5, "6.7B on 2T tokens: about 1 in 2", 10), (0.1, "Think again", 2)],
)
def test_a_plan_that_misses_its_targets_is_not_recommended(plan, predictor, chance, begins, dots):
    document = answer_document(Judged(replace(plan, p_all=chance, p_target=chance), predictor))
    assert document.title.startswith(begins)
    assert ("stays in doubt" in document.doubt) == (chance < 0.9)
    assert document.headlines[-1].dots == dots


def test_plans_of_one_name_and_size_are_told_apart(predictor):
    comparison = compare([RunConfig.load(SEVEN_B, more) for more in ([], ["hardware.count=256"])], predictor)
    text = decision(Judged(comparison.forecasts[1], predictor, comparison.forecasts[0], comparison.differences[1]))
    assert "the same model" in text
    assert re.search(r"[\d.]+ days later", text)
    assert "llama-7b" not in text


# names that somebody gave


@pytest.fixture(scope="module")
def bare(predictor):
    """`bare(forecast)`: its report without pictures, which have tests of their own."""
    return lambda one: answer_document(Judged(one, predictor))


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_name_is_text_wherever_it_is_shown(plan, bare, name):
    config = plan.config.model_copy(update={"name": name})
    document = bare(replace(plan, config=config))
    text = html_page(replace(document, commands=["simulate report run.yaml"]))
    page = alone(text)
    assert "<script>" not in text
    assert "\u202e" not in text
    assert " ".join(name.replace("\u202e", r"\u202e").split()) in page.text
    outside = re.sub(r"(?ms)^(`{3,})yaml$.*?^\1$", "", markdown_text(document))
    assert not re.search(r"(?<!\\)(<|>|`|\]\(|\*\*c)", outside)
    assert len(re.findall(r"(?m)^# ", outside)) == 1


def test_fences_in_a_plan_do_not_end_its_block(bare, plan):
    text = "x: |\n  ```\n  ````\n  # not a heading"
    written = markdown_text(replace(bare(plan), plans=[("a", text)]))
    fence = re.search(r"(?m)^(`+)yaml$", written)[1]
    assert f"{fence}yaml\n{text}\n{fence}\n" in written
    assert len(fence) > len("````")


def test_a_pdf_is_printed_by_a_browser(bare, plan):
    if browser() is None:
        pytest.skip("no Chromium, Chrome or Edge is installed")
    printed = pdf_bytes(html_page(bare(plan)))
    assert printed.startswith(b"%PDF-")
    assert len(printed) < MOST_BYTES
