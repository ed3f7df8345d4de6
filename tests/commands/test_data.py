"""`simulate data inspect|prepare` as a user meets them, on small real files."""

import gzip
import json

import pytest

TEXT = "The quick brown fox jumps over the lazy dog, and number {n} of its friends does not follow it. " * 4


@pytest.fixture
def corpus(tmp_path):
    """Two domains of 60 short documents each, described by corpora.yaml."""
    for name, suffix in (("left", ".jsonl"), ("right", ".jsonl.gz")):
        lines = "".join(json.dumps({"text": f"{name}. " + TEXT.format(n=n)}) + "\n" for n in range(60))
        data = lines.encode()
        (tmp_path / f"{name}{suffix}").write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    domains = "domains:\n  left: {path: left.jsonl}\n  right: {path: right.jsonl.gz}\n"
    (tmp_path / "corpora.yaml").write_text("validation_share: 0.2\n" + domains)
    return tmp_path


def test_inspect_counts_and_names_units(run, call, corpus):
    done = run("data", "inspect", "corpora.yaml", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {name: domain["documents"] for name, domain in report["domains"].items()} == {"left": 60, "right": 60}
    shown = call("data", "inspect", "corpora.yaml").stdout
    assert "left" in shown
    assert "validation split has only" in shown


def test_inspect_counts_bytes_per_token(call, corpus):
    call("data", "prepare", "corpora.yaml", "--out", "tokens")
    tokenizer = next((corpus / "tokens").glob("tokenizer.*.json"))
    report = json.loads(call("data", "inspect", "corpora.yaml", "--tokenizer", tokenizer, "--json").stdout)
    assert (report["tokenizer"], report["vocab_size"], report["bytes_per_token"]) == (tokenizer.name, 256, 1.0)
    assert {name: domain["bytes_per_token"] for name, domain in report["domains"].items()} == {"left": 1, "right": 1}
    shown = call("data", "inspect", "corpora.yaml", "--tokenizer", tokenizer).stdout
    assert "in a plan: data.tokenizer: {vocab_size: 256, bytes_per_token: 1.000}" in shown
    plain = json.loads(call("data", "inspect", "corpora.yaml", "--json").stdout)
    assert (plain["tokenizer"], plain["bytes_per_token"], plain["domains"]["left"]["bytes_per_token"]) == (None,) * 3


@pytest.mark.parametrize(
    ("tokenizer", "code", "message"),
    [
        ("llama3", 2, "has figures (4.61 bytes per token of web text) but no vocabulary; expected its file"),
        ("absent.json", 3, "absent.json"),
        ("corpora.yaml", 3, "isn't valid JSON"),
    ],
)
def test_inspect_needs_the_file_of_a_tokenizer(call, corpus, tokenizer, code, message):
    done = call("data", "inspect", "corpora.yaml", "--tokenizer", tokenizer)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr.replace("\n", " ")


def test_inspect_counts_documents_with_a_mark(call, corpus):
    (corpus / "mark.yaml").write_text('key: "9f86d081884c7d65"\n')
    report = json.loads(call("data", "inspect", "corpora.yaml", "--watermark", "mark.yaml", "--json").stdout)
    left = report["watermark"]["left"]
    assert (left["documents"], left["documents_marked"], left["alpha"], left["tokens_needed"]) == (60, 0, 3e-5, 19)
    assert 0 < left["expected_false_positives"] <= 60 * 3e-5
    assert left["p_of_all_together"] > 3e-5
    done = call("data", "inspect", "corpora.yaml", "--watermark", "mark.yaml")
    assert "9f86d081884c7d65" not in done.stdout + done.stderr
    assert "All others are undecided" in done.stdout.replace("\n", " ")
    assert json.loads(call("data", "inspect", "corpora.yaml", "--json").stdout)["watermark"] is None


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("gamma: 0.5", "--watermark: mark.yaml: key: is missing"),
        ('key: "9f86d081884c7d65"\nvocab_size: 300', "a vocabulary of 300 tokens, got one of 256"),
        ('key: "9f86d081884c7d65"\ncontext: 1', "mark.yaml:2: context: got 1; expected 3 tokens or more"),
    ],
)
def test_inspect_refuses_what_is_no_watermark_of_bytes(call, corpus, stated, message):
    (corpus / "mark.yaml").write_text(stated)
    done = call("data", "inspect", "corpora.yaml", "--watermark", "mark.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.replace("\n", " ")


def test_prepare_is_reused_and_says_what_it_made(run, call, corpus):
    first = json.loads(run("data", "prepare", "corpora.yaml", "--out", "tokens", "--json").stdout)
    assert first["tokenizer"] == "bytes"
    assert first["domains"]["left"]["train_tokens"] + first["domains"]["left"]["valid_tokens"] > 60 * len(TEXT)
    before = {path.name: path.stat().st_mtime_ns for path in (corpus / "tokens").glob("*.bin")}
    again = call("data", "prepare", "corpora.yaml", "--out", "tokens")
    assert again.returncode == 0
    assert first["digest"][:16] in again.stdout
    assert {path.name: path.stat().st_mtime_ns for path in (corpus / "tokens").glob("*.bin")} == before


BAD = {
    "a binary file": (lambda folder: (folder / "left.jsonl").write_bytes(b"\0\1\2"), "left.jsonl"),
    "an empty file": (lambda folder: (folder / "left.jsonl").write_bytes(b""), "left.jsonl"),
    "undecodable bytes": (lambda folder: (folder / "left.jsonl").write_bytes(b'{"text": "\xff\xfe"}\n'), "UTF-8"),
    "another field": (lambda folder: (folder / "left.jsonl").write_text('{"body": "x"}\n'), "body"),
    "an unknown key": (lambda folder: (folder / "corpora.yaml").write_text("domain: {}\n"), "domains"),
    "a torn archive": (
        lambda folder: (folder / "right.jsonl.gz").write_bytes((folder / "right.jsonl.gz").read_bytes()[:-20]),
        "right.jsonl.gz",
    ),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("command", ["inspect", "prepare"])
def test_bad_text_is_named_and_nothing_is_lost(call, corpus, case, command):
    spoil, word = BAD[case]
    if command == "prepare":
        assert call("data", "prepare", "corpora.yaml").returncode == 0
    before = sorted(path.name for path in corpus.rglob("*"))
    spoil(corpus)
    done = call("data", command, "corpora.yaml")
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in corpus.rglob("*")) == before
