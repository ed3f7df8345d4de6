from pathlib import Path

import pytest
from foretrain.core.errors import ConfigError, CorpusError
from foretrain.datasets.corpus.corpus import Corpus

FULL = """\
name: my-text
tokenizer: {kind: bpe, vocab_size: 2k}
validation_share: 0.1
domains:
  books: {path: texts/books, text_field: body, unique_tokens: 20B, max_epochs: 4}
  web:
    path: web.*.jsonl.zst
  code: {path: code.train.jsonl.gz, validation_path: code.valid.jsonl.gz}
  py: {builtin: python_source}
  known: {synthetic: {kind: zipf_markov, vocab_size: 64, branching: 8, tokens: 1M}}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "corpora.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_that_a_file_may_say(tmp_path):
    corpus = Corpus.load(write(tmp_path, FULL))
    assert (corpus.name, corpus.validation_share) == ("my-text", 0.1)
    assert (corpus.tokenizer.kind, corpus.tokenizer.vocab_size) == ("bpe", 2000)
    assert list(corpus.domains) == ["books", "web", "code", "py", "known"]
    books = corpus.domains["books"]
    assert (books.path, books.text_field, books.unique_tokens, books.max_epochs) == ("texts/books", "body", 20e9, 4)
    assert corpus.domains["code"].validation_path == "code.valid.jsonl.gz"
    assert corpus.domains["known"].synthetic is not None
    assert corpus.domains["known"].synthetic.tokens == 1e6
    assert [domain.kind for domain in corpus.domains.values()] == ["path", "path", "path", "builtin", "synthetic"]
    assert corpus.folder == tmp_path
    assert corpus.where == str(tmp_path / "corpora.yaml")
    assert corpus.place("domains", "web", "path") == f"{corpus.where}:7"
    assert corpus.place("domains", "web", "text_field") == f"{corpus.where}:6"


def test_defaults():
    corpus = Corpus.from_mapping({"domains": {"a": {"path": "a.txt"}}})
    assert (corpus.name, corpus.tokenizer.kind, corpus.tokenizer.vocab_size) == (None, "bytes", None)
    assert (corpus.validation_share, corpus.domains["a"].text_field) == (0.05, "text")
    assert (corpus.where, corpus.folder) == ("corpus", Path("."))


def test_what_is_written_reads_back(tmp_path):
    corpus = Corpus.load(write(tmp_path, FULL))
    again = Corpus.from_mapping(corpus.to_mapping(), corpus.where, tmp_path)
    assert again.domains == corpus.domains
    assert again.to_mapping() == corpus.to_mapping()


def test_a_corpus_cannot_be_changed(tmp_path):
    corpus = Corpus.load(write(tmp_path, FULL))
    with pytest.raises(ValueError, match="frozen"):
        corpus.validation_share = 0.2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("name: x\n", "domains: is missing (Where the text of each domain comes from, by the domain's name)"),
        ("domains: {}\n", ":1: domains: got 0 domains; expected 1 to 1000"),
        ("domains: [a]\n", ":1: domains: got ['a']; expected a mapping"),
        ("domains:\n  a:\n", ":2: domains.a: got None; expected a section"),
        ("domains:\n  a: {}\n", ":2: domains.a: names no text; expected one of path, builtin and synthetic"),
        ("domains:\n  a:\n    path: x\n    builtin: headers\n", ":4: domains.a.builtin: comes beside path"),
        ("domains:\n  a: {pth: x}\n", ":2: domains.a.pth: unknown key; did you mean domains.a.path?"),
        ("path: x\ndomains: {a: {path: x}}\n", ":1: path: unknown key; did you mean domains.<name>.path?"),
        ("domains:\n  a: {zzz: x}\n", "expected one of path, validation_path, text_field"),
        ("domains:\n  a: {path: 7}\n", ":2: domains.a.path: got 7; expected text"),
        ("domains:\n  a: {path: ''}\n", "expected text that isn't empty"),
        ('domains:\n  a: {path: "a\\nb"}\n', "expected one line of printable text"),
        (
            "domains:\n  a: {builtin: perl}\n",
            ":2: domains.a.builtin: got 'perl'; expected one of 'python_source', 'doc",
        ),
        ("domains:\n  a: {builtin: headers, validation_path: x}\n", "domains.a.validation_path: got 'x'; it goes with"),
        ("domains:\n  a: {builtin: headers, text_field: x}\n", "domains.a.text_field: got 'x'; it goes with path only"),
        ("domains:\n  'a,b': {path: x}\n", ":2: domains.a,b: got 'a,b'; expected a name without commas"),
        ("domains:\n  ' a': {path: x}\n", "without blanks at its ends"),
        ("domains:\n  '': {path: x}\n", "expected text that isn't empty"),
        ("domains:\n  a: {path: x, unique_tokens: 0}\n", ":2: domains.a.unique_tokens: got 0"),
        ("domains:\n  a: {path: x, unique_tokens: lots}\n", "got 'lots'"),
        ("domains:\n  a: {path: x, max_epochs: true}\n", "got True; expected a plain number"),
        ("domains:\n  a: {path: x, max_epochs: 0}\n", "domains.a.max_epochs: got 0; expected a number above 0"),
        (
            "validation_share: 0.6\ndomains: {a: {path: x}}\n",
            ":1: validation_share: got 0.6; expected a number of at m",
        ),
        ("validation_share: 1e-5\ndomains: {a: {path: x}}\n", "got 1e-05; expected 0 or at least 0.0001"),
        ("tokenizer: {kind: bpe}\ndomains: {a: {path: x}}\n", ":1: tokenizer.vocab_size: is missing; bpe needs it"),
        ("tokenizer: {vocab_size: 300}\ndomains: {a: {path: x}}\n", "bytes have 256 values, leave it out or use bpe"),
        ("tokenizer: {kind: bpe, vocab_size: 200}\ndomains: {a: {path: x}}\n", "expected a number of at least 272"),
        ("tokenizer: {kind: words}\ndomains: {a: {path: x}}\n", "expected one of 'bytes' or 'bpe'"),
        ("domains:\n  a:\n    synthetic: {vocab_size: 8}\n", "domains.a.synthetic.kind: is missing"),
        (
            "domains:\n  a:\n    synthetic: {kind: zipf, branching: 4}\n",
            "domains.a.synthetic.branching: got 4; it goes",
        ),
        ("domains:\n  a:\n    synthetic: {kind: zipf, vocabsize: 4}\n", "did you mean domains.a.synthetic.vocab_size?"),
        ("domains: {a: {path: x}, a: {path: y}}\n", ":1: 'a' is given twice"),
    ],
)
def test_a_wrong_file_is_refused_with_place_value_and_remedy(text, fragment, tmp_path):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        Corpus.load(path)
    message = str(caught.value)
    assert fragment in message
    assert message.startswith(str(path))
    assert len(message) < 400 + len(str(path))


def test_all_problems_come_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        Corpus.load(write(tmp_path, "validation_share: 2\ndomains:\n  a: {}\n  b: {path: x, max_epochs: -1}\n"))
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "validation_share",
        "domains.a",
        "domains.b.max_epochs",
    ]


def test_a_mapping_is_needed():
    with pytest.raises(ConfigError, match=r"here: got \[\]; expected a mapping with domains"):
        Corpus.from_mapping([], "here")  # type: ignore[arg-type]


def test_a_domain_that_is_not_there():
    with pytest.raises(CorpusError, match="corpus: no domain 'b'; the domains are a"):
        Corpus.from_mapping({"domains": {"a": {"path": "x"}}}).domain("b")
