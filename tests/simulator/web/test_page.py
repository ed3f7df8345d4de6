"""The page, asked without a browser: its address is its state, its numbers need no script, and nothing breaks it."""

import csv
import io
import json
import re
from dataclasses import replace
from html import unescape
from urllib.parse import urlencode

import pytest
from foretrain.core.reading.yaml_reader import loads_yaml
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.compare import compare
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.report import words
from foretrain.simulator.report.charts.picture import Numbers
from foretrain.simulator.search.study import Study
from foretrain.simulator.web.what_if import router
from foretrain.simulator.web.what_if.stated import Asked
from hypothesis import given, settings
from hypothesis import strategies as st

BARE = {"name": "bare", "model": {"params": "1B"}, "data": {"tokens": "20B"}}
CHANGED = "from=llama-7b&base.from=llama-7b&data.tokens=1T&model.params=13B&hardware.count=256"
HUGGING_FACE = {
    "model_type": "llama", "hidden_size": 2048, "intermediate_size": 5504, "num_hidden_layers": 16,
    "num_attention_heads": 16, "vocab_size": 32000, "max_position_embeddings": 2048,
}  # fmt: skip
KEYS = ["model.params", "data.tokens", "optim.lr", "hardware.count", "data.corpus", "nobody.knows", "targets.deadline"]
CHANGES = st.dictionaries(st.sampled_from(KEYS), st.text(st.characters(codec="utf-8"), max_size=40), max_size=5)


def plan_query(plan, **more) -> str:
    return urlencode({"plan": json.dumps(plan), **more})


def field(page: str, key: str) -> str:
    """What stands in a field of the page."""
    return unescape(re.search(rf'name="{re.escape(key)}" value="([^"]*)"', page)[1])


def problem(page: str) -> str:
    """What the page says is wrong; nothing where it says nothing."""
    hidden, text = re.search(r'<p id="problem"[^>]*?( hidden)?>(.*?)</p>', page, re.DOTALL).groups()
    return "" if hidden else unescape(text)


# the address


@settings(max_examples=40, deadline=None)
@given(CHANGES, CHANGES, st.booleans())
def test_an_address_is_read_as_it_was_written(own, base, stated):
    first = {"plan": json.dumps(BARE)} if stated else {"from": "llama-7b"}
    pairs = [*first.items(), *own.items(), *((f"base.{key}", text) for key, text in {**first, **base}.items())]
    asked = Asked.of(urlencode(pairs))
    assert dict(asked.own.changes) == own
    assert dict(asked.base.changes) == base
    assert Asked.of(asked.query()) == asked


@settings(max_examples=8, deadline=None)
@given(st.floats(1e8, 1e12), st.floats(1e11, 1e14), st.integers(1, 4096), st.floats(0.1, 50))
def test_numbers_of_the_address_are_those_of_the_plan(params, tokens, count, price):
    own = {"model.params": params, "data.tokens": tokens, "hardware.count": count, "hardware.price_usd_per_hour": price}
    config = Asked.of(urlencode({"from": "llama-7b", **own})).own.config()
    assert config.model.params_total == pytest.approx(params, rel=0.2)  # the nearest shape of the family
    assert config.data.tokens == tokens
    assert (config.hardware.count, config.hardware.price_usd_per_hour) == (count, price)


@pytest.mark.parametrize("change", [{"data.tokens": "1T"}, {"data.tokens": "20T"}, {"optim.batch_tokens": "4M"}])
def test_stages_keep_their_proportions_when_the_run_is_changed(change):
    first = Asked.of("from=staged-7b").own.config()
    config = Asked.of(urlencode({"from": "staged-7b", **change})).own.config()
    (key,) = change
    by = 0.5 if key == "optim.batch_tokens" else config.data.tokens / first.data.tokens
    for name in ("tokens", "batch_tokens"):
        factor = by if key.endswith(f".{name}") else 1.0
        own, before = ([getattr(stage, name) for stage in one.optim.stages] for one in (config, first))
        assert own == [None if value is None else pytest.approx(value * factor) for value in before]
    assert [stage.share for stage in config.data.stages] == [stage.share for stage in first.data.stages]


def test_an_empty_field_takes_away_what_the_plan_states(client):
    config = Asked.of("from=llama-7b&hardware.price_usd_per_hour=&targets.budget_usd=").own.config()
    assert config.hardware.price_usd_per_hour is None
    page = client.get("/?from=llama-7b&hardware.price_usd_per_hour=&targets.budget_usd=").text
    assert "no cost: state hardware.price_usd_per_hour" in page


# the page


def test_the_numbers_are_there_without_a_script(client):
    answer = client.get(f"/?{CHANGED}")
    page = answer.text
    assert answer.status_code == 200
    assert problem(page) == ""
    asked = Asked.of(CHANGED)
    found = compare([asked.base.config(), asked.own.config()], load("web-text"))
    plan, apart = found.forecasts[1], found.differences[1]
    perplexity, cost = plan.headline.perplexity, plan.cluster.cost_usd
    values = re.findall(r'<div class="value">(.*?)</div>', page)
    assert values[0] == words.PERPLEXITY.text(perplexity.median, words.width_of(perplexity))
    assert values[2] == words.money_unit(cost.median).text(cost.median, words.width_of(cost))
    assert len(values) == 4
    assert f"lower in {words.of_fifty(apart['perplexity'].chance_lower)} cases" in page
    for name in ("forecast", "cost", "time", "memory"):
        assert re.search(rf'<figure id="{name}".*?<tbody><tr>.*?</figure>', page, re.DOTALL)
    assert field(page, "model.params") == "13B"
    assert field(page, "data.tokens") == "1T"
    assert field(page, "base.from") == "llama-7b"


def test_the_stages_after_pretraining_are_on_the_page(client):
    stages = {
        "post_training": {"method": "ppo", "comparisons": "30k"},
        "oversight": {"kind": "debate", "elo_gap": 400},
    }
    query = plan_query(BARE | stages, **{"data.tokens": "40B", "base.plan": json.dumps(BARE)})
    page = client.get(f"/?{query}").text
    assert problem(page) == ""
    assert '<figure id="feedback-gain"' in page
    assert "published, not measured" in page
    answer = client.post("/page/answer", json={"query": query}).json()
    assert "feedback-gain" in answer["pictures"]
    report = client.get(f"/page/report.html?{query}").text
    assert "After pretraining" in report
    assert "gain by feedback" in report


def test_the_page_loads_nothing_from_elsewhere_and_runs_no_inline_script(client):
    page = client.get("/").text
    addresses = re.findall(r'(?:src|href|action)="([^"]*)"', page)
    assert addresses
    assert all(re.match(r"/(?!/)|#", address) for address in addresses)
    assert not re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\son\w+=", page)
    for address in re.findall(r'(?:src|href)="(/(?:static|page)/[^"?]*)"', page):
        assert client.get(address).status_code == 200, address
    modules = set(re.findall(r'from "\./(\w+\.js)"', client.get("/static/app.js").text))
    assert len(modules) == 5
    assert all(client.get(f"/static/{name}").status_code == 200 for name in modules)


def test_an_answer_is_what_the_page_of_its_address_shows(client):
    page = client.get(f"/?{CHANGED}").text
    answer = client.post("/page/answer", json={"query": CHANGED, "half_px": 400, "whole_px": 900}).json()
    assert f"<title>{answer['title']} · foretrain</title>" in page
    assert answer["answer"] in page
    assert re.findall(r"<td>.*?</td>", answer["figures"]) == [
        cell for cell in re.findall(r"<td>.*?</td>", page) if cell in answer["figures"]
    ]
    assert [value for value, _, _ in answer["dock"]] == [
        re.sub(" <small>.*", "", text) for text in re.findall(r'<div class="value">(.*?)</div>', page)
    ]
    assert set(answer["pictures"]) == set(re.findall(r'data-picture="([\w-]+)"', answer["figures"]))
    assert all(spec.get("width") in (None, 400, 900) for spec in answer["pictures"].values())


def test_a_plan_that_is_its_baseline_has_no_differences(client):
    page = client.get("/?from=llama-7b&base.from=llama-7b").text
    assert "the baseline" not in re.search(r'<section id="answer".*?</section>', page, re.DOTALL)[0]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("from=nothing", "expected one of"),
        ("data.tokens=1T&data.tokens=2T", "given twice"),
        ("base.from=llama-7b&base.from=llama-7b", "given twice"),
        ("data.tokens=lots", "data.tokens"),
        ("data.tokens=-5", "data.tokens"),
        ("data.tokens=nan", "data.tokens"),
        ("model.params=1e400", "model.params"),
        ("model.params=3", "params: got 3; expected from"),
        ("hardware.count=2.5", "hardware.count"),
        ("hardware.accelerator=abacus", "abacus"),
        ("nobody.knows=1", "nobody"),
        ("data.corpus=" + "x" * 401, "expected at most 400"),
        ("data.corpus=" + "%7B" * 300, "data.corpus"),
        ("plan=[1]", "expected a mapping"),
        ("plan={", "JSON"),
        ("plan=%7B%7D", "model"),
        ("plan=" + "[" * 2000, "nested"),
        ("from=%ff", "UTF-8"),
        ("data=1", "data"),
        ("=1", ""),
        ("&".join(f"a{n}=1" for n in range(130)), "at most 120 keys"),
        ("data.corpus=" + "x" * 60_000, "expected at most 400"),
        ("data.tokens=<script>alert(1)</script>", "data.tokens"),
        ("hardware.count=1&model.params=1T", "memory"),
        (plan_query({**BARE, "known_runs": "/etc/passwd"}), "names no files"),
        (plan_query(BARE, known_runs="/etc/passwd"), "names no files"),
        (plan_query({**BARE, "curves": "../up"}), "names no files"),
    ],
)
def test_an_address_with_something_wrong_gives_the_page_that_says_it(client, query, told):
    answer = client.get(f"/?{query}")
    assert answer.status_code == 200
    assert told in problem(answer.text)
    assert problem(answer.text)
    assert "<script>" not in answer.text
    assert 'class="headlines"' in answer.text
    refused = client.post("/page/answer", json={"query": query})
    assert 400 <= refused.status_code < 500
    assert told in refused.json()["error"]["message"]
    for name in ("plan.yaml", "report.html", "numbers.csv"):
        assert client.get(f"/page/{name}?{query}").status_code in (400, 409, 422) or name == "plan.yaml"


def test_an_address_of_any_length_is_answered(client):
    refused = client.post("/page/answer", json={"query": "data.corpus=" + "x" * 100_000})
    assert refused.status_code == 422
    assert "expected at most 100,000" in refused.json()["error"]["message"]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "x" * 200, '"><img src=x onerror=alert(1)>', "{{7*7}}"])
def test_a_name_is_text_on_the_page(client, name):
    plan = {**BARE, "name": name}
    page = client.get(f"/?{plan_query(plan)}").text
    assert problem(page) == ""
    assert "<script>alert" not in page
    assert "<img" not in page
    assert json.loads(field(page, "plan")) == plan


# starts


def test_three_fields_start_a_page(client):
    answer = client.get("/start?params=7B&tokens=2T&on=512xH100&price=", follow_redirects=False)
    assert answer.status_code == 303
    page = client.get(answer.headers["location"]).text
    assert problem(page) == ""
    assert field(page, "data.tokens") == "2T"
    assert field(page, "hardware.count") == "512"
    assert json.loads(field(page, "plan"))["data"]["tokens"]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "params"),
        ("params=", "params"),
        ("params=many", "many"),
        ("params=7B&on=3xAbacus", "Abacus"),
        ("a=1", "'a'"),
    ],
)
def test_fields_that_make_no_plan_are_named_on_the_page(client, query, told):
    answer = client.get(f"/start?{query}", follow_redirects=False)
    assert answer.status_code == 422
    assert told in problem(answer.text)
    assert 'class="headlines"' in answer.text


@pytest.mark.parametrize(
    "text", [json.dumps(HUGGING_FACE), json.dumps(BARE), "model: {params: 1B}\ndata: {tokens: 1B}"]
)
def test_a_file_of_ones_own_starts_a_page(client, text):
    answer = client.post("/page/start", json={"text": text})
    assert answer.status_code == 200, answer.text
    page = client.get(f"/?{answer.json()['query']}").text
    assert problem(page) == ""
    stated = json.loads(field(page, "plan"))
    if "model_type" in text:
        assert stated["model"]["architecture"]["width"] == HUGGING_FACE["hidden_size"]
    assert "a plan of your own" in page


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing",
        "[1, 2]",
        "{a: 1}",
        "model: [",
        "model_type: squirrel",
        "known_runs: /etc/passwd\nmodel: {params: 1B}",
    ],
)
def test_a_file_that_is_no_plan_is_refused(client, text):
    answer = client.post("/page/start", json={"text": text})
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["message"]


# what is handed out


def test_the_plan_that_is_handed_out_is_the_plan_that_is_shown(client):
    answer = client.get(f"/page/plan.yaml?{CHANGED}")
    assert answer.headers["content-disposition"] == 'attachment; filename="run.yaml"'
    assert RunConfig.from_mapping(loads_yaml(answer.text, "run.yaml")) == Asked.of(CHANGED).own.config()


def test_the_report_that_is_handed_out_stands_alone(client):
    query = plan_query(BARE, **{"data.tokens": "30B", "base.plan": json.dumps(BARE)})
    answer = client.get(f"/page/report.html?{query}")
    assert answer.status_code == 200
    assert "<script" not in answer.text
    assert not re.findall(r'(?:src|href)="(?!#)', answer.text)
    title = re.search(r"<h1>(.*?)</h1>", answer.text)[1]
    assert f"<h1>{title}</h1>" in client.get(f"/?{query}").text


def test_no_cell_of_the_table_is_a_formula(client, monkeypatch):
    shown = router._shown

    def with_names(state, query):
        found = shown(state, query)
        names = ("=1+1", "+1", "-1+1", "@sum(a1)", "\t=1", "\r=1", "a,b", 'a"b', "two\nlines")
        picture = replace(found.pictures[0], numbers=Numbers(("=a", *"b" * 8), (names,)))
        return replace(found, pictures=(picture, *found.pictures[1:]))

    monkeypatch.setattr(router, "_shown", with_names)
    answer = client.get(f"/page/numbers.csv?{plan_query(BARE)}")
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert rows[1][1:7] == ["'=1+1", "'+1", "'-1+1", "'@sum(a1)", "'\t=1", "'\r=1"]
    assert not [cell for row in rows for cell in row if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]


def test_numbers_of_every_picture_are_in_the_table(client):
    rows = list(csv.reader(io.StringIO(client.get(f"/page/numbers.csv?{CHANGED}").text)))
    pictures = client.post("/page/answer", json={"query": CHANGED}).json()["pictures"]
    assert {row[0] for row in rows} == {"picture", *pictures}


# better plans


def test_a_search_starts_from_the_plan_of_the_page_and_keeps_its_limits(client):
    asked = client.post("/page/better", json={"query": CHANGED}).json()
    study = Study.from_mapping(asked["study"])
    assert study.run.data.tokens == 1e12
    assert study.run.targets.budget_usd == 500_000
    refused = client.post("/page/better", json={"query": plan_query(BARE)})
    assert refused.status_code == 422
    assert "a search needs machines: state" in refused.json()["error"]["message"]


def test_a_search_from_a_plan_in_stages_leaves_their_batches(client):
    study = Study.from_mapping(client.post("/page/better", json={"query": "from=staged-7b"}).json()["study"])
    assert not study.space.supplies("optim.batch_tokens")
    for count in (96, 520, 2048):
        values = {"model.params": 13e9, "data.tokens": 6e12, "hardware.count": count}
        config = study.space.config(values)
        assert (config.optim.batch_tokens, config.hardware.count) == (8e6, count)
