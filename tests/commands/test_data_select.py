"""`simulate data select` as a user meets it."""

import json

import pytest

TEXT = "The quick brown fox jumps over the lazy dog, and number {n} of its friends does not follow it. " * 3
MARKUP = "<script>alert(1)</script> | *stars* \x1b[31m "


@pytest.fixture
def corpus(tmp_path):
    """Forty documents, ten of them twice, some of which hold markup."""
    texts = [f"{MARKUP if n < 5 else ''}{TEXT.format(n=n)}" for n in range(40)]
    lines = [json.dumps({"text": text}) for text in [*texts, *texts[:10]]]
    (tmp_path / "web.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "corpora.yaml").write_text("domains:\n  web: {path: web.jsonl, select: [{dedup: {kind: exact}}]}\n")
    return tmp_path


def test_select_writes_a_corpus_and_says_what_went(run, call, corpus):
    done = run("data", "select", "corpora.yaml", "--out", "kept", "--json", "--report", "selection.md")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == json.loads((corpus / "kept" / "selection.json").read_text(encoding="utf-8"))
    assert (said["kind"], said["domains"]["web"]["steps"][0]["documents_kept"] < 50) == ("dedup", True)
    report = (corpus / "selection.md").read_text(encoding="utf-8")
    assert "# dedup keeps" in report
    assert "simulate data select corpora.yaml --out kept --report selection.md" in report
    shown = call("data", "select", "corpora.yaml", "--out", "kept").stdout
    assert "in a plan: data.selection: {kind: dedup, keep: 0." in shown
    assert "--report or --json" in shown
    assert call("data", "prepare", "kept/corpora.yaml", "--out", "tokens").returncode == 0


def test_the_report_escapes_what_documents_hold(call, corpus):
    done = call("data", "select", "corpora.yaml", "--out", "kept", "--report")
    assert (done.returncode, "\x1b" in done.stdout) == (0, False)
    page = (corpus / "selection.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page


def test_inspect_says_that_it_looks_before_the_selection(call, corpus):
    assert (
        "web: figures are of the text before its selection (dedup)." in call("data", "inspect", "corpora.yaml").stdout
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--out", "kept", "--report", "kept/report.html"), 2, "--report kept/report.html: lies in --out"),
        (("--out", "kept", "--report", "report.csv"), 2, "--report report.csv: unknown format '.csv'"),
        (("--out", "kept", "--report", "no/report.md"), 2, "expected a file in a folder that is there"),
        ((), 2, "--out"),
        (("--out", "."), 3, "holds other files"),
    ],
)
def test_select_refuses_before_it_starts(call, corpus, arguments, code, message):
    before = sorted(path.name for path in corpus.iterdir())
    done = call("data", "select", "corpora.yaml", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr.replace("\n", " ")
    assert sorted(path.name for path in corpus.iterdir()) == before
