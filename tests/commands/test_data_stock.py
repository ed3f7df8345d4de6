import json
import re

import pytest

PLAN = """
name: mixed
start: 2026-12-01
model: {params: 7B}
data:
  tokens: 8T
  mix: {web: 0.7, code: 0.2, wiki: 0.1}
  unique_tokens_by_domain: {web: 10T, code: 300B}
"""


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "run.yaml").write_text(PLAN, encoding="utf-8")
    return "run.yaml"


def test_a_plan(call, plan):
    done = call("data", "stock", "--config", plan)
    assert (done.returncode, done.stderr) == (0, "")
    assert "at most 6.00T tokens at 4 epochs with this mix; code runs out first" in done.stdout
    assert "! no public figure is known for wiki" in done.stdout
    assert "arXiv:2211.04325v2" in done.stdout


def test_a_plan_sees_the_figures_and_references_of_its_own_stocks_once(call, plan):
    shown = call("data", "stock", "--config", plan).stdout
    assert "common-crawl" not in shown
    assert "muennighoff2023" not in shown
    assert "common-crawl" in call("data", "stock").stdout
    single = call("data", "stock", "--config", plan, "--set", "data.mix={web: 1.0}").stdout
    assert not any(line.startswith("all ") for line in single.splitlines())
    texts = [line for line in shown.splitlines() if line]
    assert len(texts) == len(set(texts))


def test_json_has_the_same_facts(call, plan):
    options = ("--growth", "2.4x", "--max-epochs", "2", "--public", "wiki=20B", "--set", "data.tokens=4T")
    done = call("data", "stock", "--config", plan, *options, "--start-year", "2030", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert facts["plan"]["max_tokens"] == 3e12
    assert facts["plan"]["start_year"] == 2030
    assert facts["plan"]["domains"]["wiki"]["public"]["share"] == pytest.approx(4e11 / 4e10)
    assert facts["public"]["growth_per_year"] == pytest.approx(2.4)
    assert facts["public"]["max_epochs"] == 2


def rows_of(shown: str, domain: str) -> dict[str, list[str]]:
    """Cells of the rows of a domain in the table of strategies, by what begins them."""
    lines = shown.split("\n")
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{domain}: ")) + 1
    found = {}
    for line in lines[first:]:
        if not line.startswith("  "):
            break
        name, *cells = re.split(r"\s{2,}", line.strip())
        found[name] = cells
    return found


def test_a_plan_with_synthetic_tokens_is_shown_beside_its_text_as_it_is(call, plan):
    options = ("--config", plan, "--set", "data.synthetic={share: 0.5}")
    shown = call("data", "stock", *options).stdout
    rows = rows_of(shown, "all")
    assert list(rows) == ["as it is", "50% synthetic"]
    assert rows["50% synthetic"][-3:] == ["later", "1.14", "12.0T"]
    assert rows["as it is"][-2:] == ["1.19", "6.00T"]
    assert "a scenario: what models wrote of public text" in shown
    assert "arXiv:2604.26965" in shown
    assert "scenario" not in call("data", "stock", "--config", plan).stdout
    facts = json.loads(call("data", "stock", *options, "--json").stdout)
    texts = facts["plan"]["strategies"]["domains"]["all"]["texts"]
    assert [one["max_tokens"] for one in texts.values()] == [6e12, 12e12]
    assert facts["synthetic_text"]["years"][0]["year"] == 2024


STRATEGIES = (
    "--set", "data.selection={kind: judge, keep: 0.25}", "--set", "data.synthetic={share: 0.2}",
    "--set", "continued_pretraining={domain: code, tokens: 1T, share: 0.4}",
)  # fmt: skip


def test_strategies_by_domain_as_table_json_and_chart(call, plan, tmp_path):
    options = ("--config", plan, *STRATEGIES)
    done = call("data", "stock", *options, "--chart", "dates.svg")
    assert (done.returncode, done.stderr) == (0, "")
    rows = rows_of(done.stdout, "code")
    assert list(rows) == ["as it is", "selection, 25% kept", "20% synthetic", "continued pretraining", "all together"]
    assert [cells[0] for cells in rows.values()] == ["1.60T", "1.60T", "1.28T", "2.00T", "1.68T"]
    assert [cells[8] for cells in list(rows.values())[1:]] == ["sooner", "later", "sooner", "sooner"]
    drawn = (tmp_path / "dates.svg").read_text(encoding="utf-8")
    assert all(f" {said}<" in drawn for said in ("selection", "synthetic", "continued", "together"))
    found = json.loads(call("data", "stock", *options, "--json").stdout)["plan"]["strategies"]
    assert found["stated"] == ["selection", "synthetic", "continued_pretraining", "together"]
    code = found["domains"]["code"]["texts"]
    assert set(code["together"]) == {
        "drawn_tokens", "stock_tokens", "share", "epochs", "max_tokens", "used_up", "years_later",
    }  # fmt: skip
    assert set(code["together"]["years_later"]) == {"median", "intervals", "verdict"}
    assert code["as_it_is"]["years_later"] is None
    assert code["continued_pretraining"]["drawn_tokens"] == pytest.approx(1.6e12 + 0.4e12)


def test_a_plan_without_strategies_has_no_rows_of_them(call, plan):
    shown = call("data", "stock", "--config", plan).stdout
    assert "as it is" not in shown
    assert json.loads(call("data", "stock", "--config", plan, "--json").stdout)["plan"]["strategies"]["stated"] == []


def test_the_public_alone(call):
    done = call("data", "stock", "--growth", "1%")
    assert (done.returncode, done.stderr) == (0, "")
    assert "after 2200" in done.stdout
    assert json.loads(call("data", "stock", "--json").stdout)["plan"] is None


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--growth", "fast"), 2, "--growth: got 'fast'; expected a growth per year such as 140% or 2.4x"),
        (("--growth", "1.4"), 2, "--growth: got '1.4'; expected"),
        (("--growth", "0%"), 3, "growth: got 0; expected a share per year above 0"),
        (("--public", "web"), 2, "--public: got 'web'; expected DOMAIN=STOCK"),
        (("--public", "web=cod"), 3, "got 'cod', which no figure is published for; did you mean code?"),
        (("--max-epochs", "nan"), 3, "max_epochs: got nan; expected 1 to 1000"),
        (("--predictor", "absent"), 3, "absent"),
        (("--set", "data.selection={kind: judge, keep: 0}"), 3, "data.selection.keep"),
        (("--set", "data.synthetic={share: -0.1}"), 3, "data.synthetic.share"),
        (("--set", "continued_pretraining={domain: code, tokens: -1T}"), 3, "continued_pretraining.tokens"),
        (("--set", "continued_pretraining={domain: code, tokens: 1T, share: 1.2}"), 3, "continued_pretraining.share"),
        (("--set", "continued_pretraining={domain: all, tokens: 1T}"), 3, "continued_pretraining.domain: got 'all'"),
        (("--chart", "dates.docx"), 2, "--chart dates.docx: unknown format"),
    ],
)
def test_bad_options(call, plan, options, code, message):
    done = call("data", "stock", "--config", plan, *options)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr


def test_options_of_a_plan_need_one(call):
    done = call("data", "stock", "--public", "web=code")
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected --config FILE" in done.stderr
