"""Manifests of provenance: what they say of a file holds for that file, and for no other that took its name."""

import json

import pytest
from foretrain.core.errors import ConfigError, CorpusError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.corpus.documents import documents
from foretrain.datasets.corpus.quality import DomainReport, inspect
from foretrain.datasets.provenance.domains import DomainProvenance
from foretrain.datasets.provenance.manifest import PROVENANCE_NAME, Manifests, read_manifest, write_manifest
from foretrain.datasets.provenance.provenance import GeneratedBy, Provenance
from foretrain.datasets.selection.derived.writing import derive
from foretrain.datasets.tokens.prepare import prepare
from foretrain.datasets.tokens.store import TokenStore

WIKI = Provenance(source="wiki dump", licence="CC BY-SA 4.0", origin="human")
MADE = Provenance(
    source="samples",
    origin="generator",
    generator=GeneratedBy(kind="ngram", digest="a" * 64, parent="b" * 64, seed=3, generation=2),
)


def pages(what: str, count: int = 40) -> str:
    return "".join(json.dumps({"text": f"{what} {n} " * 20}) + "\n" for n in range(count))


@pytest.fixture
def folder(tmp_path):
    """Three files, of which a manifest lists two."""
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.jsonl").write_text(pages(name))
    write_manifest(tmp_path, {"a.jsonl": WIKI, "b.jsonl": MADE})
    return tmp_path


def corpus(folder, **more) -> Corpus:
    return Corpus.from_mapping(
        {"validation_share": 0.2, "domains": {"web": {"path": "*.jsonl", **more}}}, folder=folder
    )


def test_reads_back_and_is_the_same_for_each_document(folder):
    manifest = read_manifest(folder)
    assert manifest is not None
    assert {name: file.provenance for name, file in manifest.files.items()} == {"a.jsonl": WIKI, "b.jsonl": MADE}
    assert write_manifest(folder, {"a.jsonl": WIKI, "b.jsonl": MADE}) == manifest
    rest = Provenance(source="crawl")
    found = DomainProvenance(corpus(folder, provenance={"source": "crawl"}), "web")
    assert found.all() == (WIKI, MADE, rest)
    by_letter = {"a": WIKI, "b": MADE, "c": rest}
    for document in documents(corpus(folder), "web", "train"):
        assert found.of(document) == by_letter[document.text[0]]


def test_a_file_that_is_another_one_is_named(folder):
    (folder / "b.jsonl").write_text(pages("other"))
    for use in (lambda: DomainProvenance(corpus(folder), "web"), lambda: prepare(corpus(folder), folder / "tokens")):
        with pytest.raises(CorpusError, match=r"b\.jsonl: isn't the file that provenance\.json lists"):
            use()
    assert Manifests().of(folder / "c.jsonl") is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[]", "isn't a manifest"),
        ("{", "Invalid JSON"),
        ('{"format": 2, "files": {}}', "format"),
        ('{"format": 1, "files": {}}', "files"),
        ('{"format": 1, "files": {"../a": {"sha256": "%s", "provenance": {}}}}' % ("a" * 64), "name of a file in"),
        ('{"format": 1, "files": {"a": {"sha256": "x", "provenance": {}}}}', "64 hexadecimal digits"),
        ('{"format": 1, "files": {"a": {"sha256": "%s", "provenance": {"origin": "bot"}}}}' % ("a" * 64), "origin"),
        ('{"format": 1, "files": {"a": {"sha256": "%s"}}}' % ("a" * 64), "provenance"),
    ],
)
def test_what_is_no_manifest_is_refused(folder, text, key):
    (folder / PROVENANCE_NAME).write_text(text)
    with pytest.raises(CorpusError, match=PROVENANCE_NAME) as caught:
        DomainProvenance(corpus(folder), "web")
    assert key in str(caught.value)


@pytest.mark.parametrize(
    ("domain", "fragment"),
    [
        ("path: x, provenance: {origin: robot}", ":3: domains.a.provenance.origin: got 'robot'; expected one of"),
        ("path: x, provenance: {sorce: y}", "did you mean domains.a.provenance.source?"),
        ("path: x, provenance: {generator: {kind: ngram, digest: 7}}", "domains.a.provenance.generator.digest"),
        ("synthetic: {kind: zipf, vocab_size: 64, tokens: 1M}, provenance: {}", "domains.a.provenance: goes with text"),
    ],
)
def test_a_wrong_statement_is_refused_with_its_line(domain, fragment, tmp_path):
    path = tmp_path / "corpora.yaml"
    path.write_text(f"name: x\ndomains:\n  a: {{{domain}}}\n")
    with pytest.raises(ConfigError) as caught:
        Corpus.load(path)
    assert fragment in str(caught.value)


def test_a_store_carries_it_and_packs_nothing_anew_when_it_changes(folder):
    before = prepare(corpus(folder), folder / "tokens")
    assert before.index.domains["web"].provenance == (WIKI, MADE)
    shards = {path.name: path.stat().st_mtime_ns for path in (folder / "tokens").glob("*.bin")}
    (folder / PROVENANCE_NAME).unlink()
    assert prepare(corpus(folder), folder / "tokens").index.domains["web"].provenance == ()
    assert '"provenance"' not in (folder / "tokens" / "tokens.json").read_text()  # as stores were before there was any
    after = prepare(corpus(folder, provenance={"licence": "CC0"}), folder / "tokens")
    assert after.index.domains["web"].provenance == (Provenance(licence="CC0"),)
    assert after.digest == before.digest
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "tokens").glob("*.bin")} == shards
    assert TokenStore.open(folder / "tokens").to_dict()["domains"]["web"]["provenance"][0]["licence"] == "CC0"


def test_inspect_says_whose_text_it_is(folder):
    report = inspect(corpus(folder, provenance={"licence": "CC0"}))
    web = report.domains["web"]
    assert isinstance(web, DomainReport)
    assert [source.provenance for source in web.sources] == [WIKI, MADE, Provenance(licence="CC0")]
    assert sum(source.train_bytes for source in web.sources) == web.train_bytes
    assert sum(source.documents for source in web.sources) == web.documents
    assert {key: round(share, 6) for key, share in report.share_by_origin().items()} == dict.fromkeys(
        ("human", "generator", "unknown"), round(1 / 3, 6)
    )
    assert set(report.to_dict()["share_by_licence"]) == {"CC BY-SA 4.0", "CC0", "unknown"}
    assert any("generators wrote" in note for note in report.notes)


def test_a_selection_carries_it_on_file_by_file(folder, tmp_path):
    source = corpus(folder, provenance={"licence": "CC0"}, select=[{"sample": {"keep": 0.5}}])
    derived = derive(source, tmp_path / "kept")
    rest = Provenance(licence="CC0")
    train = derived.domains["web"].train
    assert train is not None
    assert [file.provenance for file in train.files] == [WIKI, MADE, rest]
    again = Corpus.load(tmp_path / "kept" / "corpora.yaml")
    assert again.domains["web"].path == "web.train.*.jsonl.zst"
    found = DomainProvenance(again, "web")
    by_letter = {"a": WIKI, "b": MADE, "c": rest}
    kept = list(documents(again, "web", "train"))
    assert len(kept) == train.documents
    assert all(found.of(document) == by_letter[document.text[0]] for document in kept)
    said = json.loads((tmp_path / "kept" / "selection.json").read_text())["domains"]["web"]["train"]
    manifest = read_manifest(tmp_path / "kept")
    assert manifest is not None
    for file in said["files"]:
        listed = manifest.files[file["file"]]
        assert (file["sha256"], file["provenance"]) == (listed.sha256, listed.provenance.model_dump(mode="json"))
    # a second selection, from what was kept
    further = Corpus.from_mapping(
        {"domains": {"web": {"path": "web.train.*", "select": ["dedup"]}}}, folder=tmp_path / "kept"
    )
    assert [file.provenance for file in derive(further, tmp_path / "less").files()][:3] == [WIKI, MADE, rest]
    first, second = (tmp_path / "kept" / f"web.train.{number:02}.jsonl.zst" for number in (0, 1))
    second.write_bytes(first.read_bytes())
    with pytest.raises(CorpusError, match=r"web\.train\.01\.jsonl\.zst: isn't the file"):
        derive(further, tmp_path / "less")
