import os
import re
from pathlib import Path

import pytest
from foretrain.core.errors import CorpusError
from foretrain.datasets.corpus.text_files import find_files


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x", encoding="utf-8")


def found(folder: Path, pattern: str) -> list[str]:
    return [file.path.relative_to(folder).as_posix() for file in find_files(folder, pattern, "c.yaml:1: path")]


def refused(folder: Path, pattern: str) -> str:
    with pytest.raises(CorpusError) as caught:
        find_files(folder, pattern, "c.yaml:1: path")
    assert str(caught.value).startswith("c.yaml:1: path: ")
    return str(caught.value)


def test_a_folder_is_read_in_sorted_order_without_what_is_hidden_or_of_another_kind(tmp_path):
    make(tmp_path, "t/b.txt", "t/a/z.md", "t/a/y.txt.zst", "t/.hidden.txt", "t/.git/c.txt", "t/p.png", "t/LICENSE")
    assert found(tmp_path, "t") == ["t/a/y.txt.zst", "t/a/z.md", "t/b.txt"]


def test_kinds_and_packings(tmp_path):
    make(tmp_path, "a.jsonl", "b.NDJSON.GZ", "c.json.zst", "d.parquet", "e.txt.gz", "f.md")
    files = [find_files(tmp_path, name, "")[0] for name in sorted(path.name for path in tmp_path.iterdir())]
    assert [(file.kind, file.packing) for file in files] == [
        ("json lines", ""),
        ("json lines", ".gz"),
        ("json lines", ".zst"),
        ("parquet", ""),
        ("text", ".gz"),
        ("text", ""),
    ]


def test_globs(tmp_path):
    make(tmp_path, "w/2.jsonl", "w/1.jsonl", "w/deep/3.jsonl", "w/.4.jsonl", "w/x[1].txt")
    assert found(tmp_path, "w/*.jsonl") == ["w/1.jsonl", "w/2.jsonl"]
    assert found(tmp_path, "w/**/*.jsonl") == ["w/1.jsonl", "w/2.jsonl", "w/deep/3.jsonl"]
    assert found(tmp_path, "w/x[1].txt") == ["w/x[1].txt"]  # a file of that very name
    assert found(tmp_path, str(tmp_path / "w" / "?.jsonl")) == ["w/1.jsonl", "w/2.jsonl"]


def test_json_that_is_not_named_is_left_alone(tmp_path):
    """Folders of data often hold a manifest.json, which is one object over many lines."""
    make(tmp_path, "t/a.jsonl", "t/manifest.json")
    assert found(tmp_path, "t") == ["t/a.jsonl"]
    assert found(tmp_path, "t/*.json") == ["t/manifest.json"]


def test_a_readme_beside_records_is_not_taken_for_data(tmp_path):
    make(tmp_path, "t/a.parquet", "t/b.jsonl.gz", "t/README.md")
    for pattern in ("t", "t/*"):
        message = refused(tmp_path, pattern)
        assert "leads to records (2 files, such as a.parquet) and plain text (1, such as README.md)" in message
        assert "say which with a glob, such as folder/**/*.parquet" in message


def test_nothing_there(tmp_path):
    make(tmp_path, "t/a.pdf", "t/b.docx")
    (tmp_path / "empty").mkdir()
    assert "got 'u'; there is no such file or folder (looked for " in refused(tmp_path, "u")
    assert "got 'u*.txt'; no file matches" in refused(tmp_path, "u*.txt")
    assert re.search(
        r"t: holds a\.pdf, b\.docx; expected files that end in \.jsonl, .*\.parquet", refused(tmp_path, "t")
    )
    assert "holds no files; expected" in refused(tmp_path, "empty")
    assert "a.pdf: isn't a kind of file that can be read; expected .jsonl" in refused(tmp_path, "t/a.pdf")
    assert "a.pdf: isn't a kind" in refused(tmp_path, "t/*.pdf")
    refused(tmp_path, "a\0b")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in the file system")
def test_a_pipe_would_wait_for_ever(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    assert "is a device or a pipe" in refused(tmp_path, "a.txt")
    make(tmp_path, "b.txt")
    assert found(tmp_path, ".") == ["b.txt"]


def test_links_to_files_are_read_and_links_to_folders_are_not_followed(tmp_path):
    make(tmp_path, "store/a.txt", "t/b.txt")
    try:
        (tmp_path / "t" / "link.txt").symlink_to(tmp_path / "store" / "a.txt")
        (tmp_path / "t" / "round").symlink_to(tmp_path / "t")
    except OSError:
        pytest.skip("this system lets nobody make links")
    assert found(tmp_path, "t") == ["t/b.txt", "t/link.txt"]
