import hashlib
import json
import os

import numpy as np
import pytest
from foretrain.core import files
from foretrain.core.errors import InputError, PredictorError
from foretrain.core.files import (
    MANIFEST_NAME,
    check_manifest,
    read_bounded_text,
    sha256_file,
    write_bytes,
    write_json,
    write_manifest,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "one")
    write_text(str(path), "zwei\r\nü")
    assert path.read_bytes() == "zwei\r\nü".encode()
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch, failure, step):
    def fail(*_):
        raise failure

    path = tmp_path / "a.txt"
    path.write_text("old")
    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises((InputError, KeyboardInterrupt)) as caught:
        write_text(path, "new")
    if isinstance(failure, OSError):
        assert str(caught.value) == f"{path}: can't be written: No space left on device"
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_what_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "absent" / "a", tmp_path / "file" / "a", tmp_path / "pipe", "a\0b"):
        with pytest.raises(InputError, match="can't be written"):
            write_bytes(path, b"x")
    # Renaming over a pipe, or over /dev/null, would have replaced it by a plain file.
    assert (tmp_path / "pipe").is_fifo()
    assert names(tmp_path) == ["file", "pipe"]


def test_a_link_keeps_pointing_at_its_file(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_new_file_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_equal_values_give_equal_json(tmp_path):
    write_json(tmp_path / "a", {"b": 0.1, "a": [np.float64(0.1), np.int64(3), np.arange(2)], "ü": None})
    write_json(tmp_path / "b", {"ü": None, "a": [0.1, 3, [0, 1]], "b": np.float64(0.1)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_text("utf-8"))["b"] == 0.1


@pytest.mark.parametrize("value", [float("nan"), {"a": float("inf")}, np.array([np.nan])])
def test_json_has_no_nan(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a", value)
    assert names(tmp_path) == []


def test_json_refuses_objects(tmp_path):
    with pytest.raises(TypeError, match="can't be written as JSON"):
        write_json(tmp_path / "a", {"a": object()})


def test_text_is_read_within_bounds(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbfabc")
    assert read_bounded_text(path, 6) == "abc"
    with pytest.raises(InputError, match="larger than 5 bytes"):
        read_bounded_text(path, 5)
    path.write_bytes(b"ab\xff")
    with pytest.raises(InputError, match="byte 2 isn't UTF-8"):
        read_bounded_text(path, 5)
    with pytest.raises(InputError, match="is a folder"):
        read_bounded_text(tmp_path, 5)
    with pytest.raises(PredictorError, match="no such file"):
        read_bounded_text(tmp_path / "absent", 5, PredictorError)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "predictor"
    (root / "inner").mkdir(parents=True)
    (root / "a.json").write_text("{}")
    (root / "inner" / "b.npz").write_bytes(b"\0" * 1000)
    write_manifest(root)
    return root


def test_an_intact_folder_passes(folder):
    assert check_manifest(folder) == {
        "a.json": hashlib.sha256(b"{}").hexdigest(),
        "inner/b.npz": sha256_file(folder / "inner" / "b.npz"),
    }
    before = (folder / MANIFEST_NAME).read_bytes()
    write_manifest(folder)
    assert (folder / MANIFEST_NAME).read_bytes() == before


def damage_same_size(root):
    (root / "a.json").write_text("[]")


def damage_size(root):
    (root / "inner" / "b.npz").write_bytes(b"\0" * 999)


def remove(root):
    (root / "inner" / "b.npz").unlink()


def add(root):
    (root / "inner" / "extra").write_text("")


def link_file(root):
    (root / "a.json").rename(root.parent / "a.json")
    (root / "a.json").symlink_to(root.parent / "a.json")


def link_folder(root):
    (root / "away").symlink_to(root.parent, target_is_directory=True)


def link_manifest(root):
    (root / MANIFEST_NAME).rename(root.parent / "m")
    (root / MANIFEST_NAME).symlink_to(root.parent / "m")


def pipe(root):
    os.mkfifo(root / "pipe")


def no_manifest(root):
    (root / MANIFEST_NAME).unlink()


@pytest.mark.parametrize(
    ("harm", "fragment"),
    [
        (damage_same_size, r"a\.json: is damaged: its SHA-256 isn't the one"),
        (damage_size, r"b\.npz: is damaged: its size is 999 bytes, not the 1000"),
        (remove, r"b\.npz: is missing"),
        (add, r"extra: isn't listed in MANIFEST\.json"),
        (link_file, r"a\.json: is a link or a device"),
        (link_folder, "away: is a link or a device"),
        (link_manifest, r"MANIFEST\.json: is a"),
        (pipe, "pipe: is a link or a device"),
        (no_manifest, r"MANIFEST\.json: there is no such file"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_harmed_folder_is_refused_by_the_name_of_the_file(folder, harm, fragment):
    harm(folder)
    with pytest.raises(PredictorError, match=fragment):
        check_manifest(folder)


ENTRY = {"bytes": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "{}",
        '{"format": 2, "files": {}}',
        '{"format": 1, "files": []}',
        "[" * 100_000,
        '{"format": ' + "9" * 5000 + "}",
        "x" * 1_000_001,
        *(
            json.dumps({"format": 1, "files": {name: ENTRY}})
            for name in ("", ".", "..", "../a", "a/../b", "/etc/passwd", "a//b", "./a", "a\\b", "C:a", "a\0")
        ),
        *(
            json.dumps({"format": 1, "files": {"a.json": entry}})
            for entry in (None, {}, {**ENTRY, "bytes": True}, {**ENTRY, "bytes": -1}, {**ENTRY, "sha256": "x"})
        ),
    ],
    ids=range(24),
)
def test_a_forged_manifest_is_refused(folder, manifest):
    (folder / MANIFEST_NAME).write_text(manifest)
    with pytest.raises(PredictorError, match=MANIFEST_NAME):
        check_manifest(folder)


def test_a_manifest_needs_a_folder(tmp_path):
    for act in (write_manifest, check_manifest):
        with pytest.raises(PredictorError, match="there is no such folder"):
            act(tmp_path / "absent")


def test_a_manifest_is_not_written_over_links(folder):
    link_folder(folder)
    with pytest.raises(PredictorError, match="away"):
        write_manifest(folder)
