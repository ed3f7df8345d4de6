"""`simulate report` as a planning meeting meets it: one command, one file, and plain words where something is wrong."""

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
BARE = "model: {params: 1B}\ndata: {tokens: 20B}\n"


@pytest.fixture
def plans(tmp_path):
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(f"name: {name[0]}\n{BARE}", encoding="utf-8")
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 3.0}\n', encoding="utf-8")


def test_a_report_of_a_plan_without_a_file(run, tmp_path):
    """The whole program once: a page and its Markdown, with the command that makes them again."""
    done = run("report", "--params", "1.5B", "--tokens", "30B", "--on", "8xH100", "--out", "r.html", "--out", "r.md")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    title = first.removeprefix("wrote r.html: ")
    assert second == f"wrote r.md: {title}"
    page, text = ((tmp_path / name).read_text(encoding="utf-8") for name in ("r.html", "r.md"))
    assert f"<h1>{title}</h1>" in page
    assert "<script" not in page
    assert page.count("<figure") == text.count("\n### ")
    assert text.splitlines()[2] == f"# {title}"
    assert "```sh\nsimulate report --params 1.5B --tokens 30B --on 8xH100\n```" in text


def test_the_command_that_is_shown_makes_the_report_again(call, plans, tmp_path):
    first = call("report", "a.yaml", "b.yaml", "--set", "data.tokens=30B", "--set", "name=it's <b>", "--out", "r.md")
    assert first.returncode == 0, first.stderr
    text = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "simulate report a.yaml b.yaml --set data.tokens=30B --set 'name=it'\"'\"'s <b>'\n" in text
    assert "No times, memory or cost: state" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "expected one of plans, --study, --log with one plan, or --backtest"),
        (["a.yaml", "--study", "s.yaml"], "expected one of plans, --study"),
        (["--study", "s.yaml", "--backtest", "r.csv"], "expected one of plans, --study"),
        (["a.yaml", "b.yaml", "--log", "log.jsonl"], "--log with one plan"),
        (["--study", "s.yaml", "--log", "log.jsonl"], "--log with one plan"),
        (["--log", "log.jsonl"], "--log with one plan"),
        (["a.yaml", "--params", "1B"], "got a plan and --params"),
        (["a.yaml", "--out", "report.docx"], "unknown format '.docx'; expected .html, .md, .pdf"),
        (["a.yaml", "--out", "report"], "unknown format ''"),
        (["a.yaml", "--trials", "0"], "--trials"),
        (["a.yaml", "--trials", "5"], "--trials says nothing about this kind of report"),
        (["a.yaml", "--log", "log.jsonl", "--predictor", "steplaw"], "--predictor says nothing"),
        (["--backtest", "r.csv", "--set", "a=1", "--calibration", "c.csv"], "--set, --calibration says nothing"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(call, plans, tmp_path, arguments, told):
    done = call("report", *arguments)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("report*"))


def test_a_plan_that_is_not_there_leaves_no_file(call, tmp_path):
    done = call("report", "nowhere.yaml")
    assert done.returncode not in (0, 1)
    assert "nowhere.yaml" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_pdf_without_a_browser_says_what_to_do(call, plans, monkeypatch):
    monkeypatch.setenv("FORETRAIN_BROWSER", "no-such-browser")
    done = call("report", "a.yaml", "--out", "r.pdf")
    assert done.returncode == 2
    assert "--out report.html, which every browser prints" in done.stderr
