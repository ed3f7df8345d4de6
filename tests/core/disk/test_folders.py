"""A folder is replaced whole: killed at any step, by two writers at once, on a full disk, and while it is read."""

import errno
import os
import resource
import threading
from pathlib import Path

import pytest
from foretrain.core.disk.folders import read_whole, replaced
from foretrain.core.errors import InputError, PredictorError
from foretrain.core.files import check_manifest, write_text

NAMES = ("a.txt", "b.txt", "c.txt")


def ours(name: str) -> bool:
    return name in (*NAMES, "MANIFEST.json", "old.txt")


def write(folder: Path, text: str, names=NAMES) -> None:
    with replaced(folder, ours) as new:
        for name in names:
            write_text(new / name, text)


def content(folder: Path) -> tuple[str, ...]:
    def read(where: Path) -> tuple[str, ...]:
        check_manifest(where)
        return tuple((where / name).read_text() for name in NAMES)

    return read_whole(folder, read)


def test_killed_at_every_step_old_or_new_is_there(dies_at, tmp_path):
    folder, seen = tmp_path / "mine", []
    for step in range(100):
        write(folder, "old")
        if not dies_at(step, lambda: write(folder, "new")):
            break
        seen.append(content(folder)[0])
        assert set(content(folder)) == {seen[-1]}
    assert step > 15
    assert seen == sorted(seen, reverse=True)  # old up to some step, new from it on
    assert {"old", "new"} == set(seen)
    write(folder, "last")
    assert sorted(path.name for path in folder.iterdir()) == ["MANIFEST.json", *NAMES]


def test_killed_before_there_was_anything_the_next_one_is_written(dies_at, tmp_path):
    for step in range(3):
        assert dies_at(step, lambda: write(tmp_path / "mine", "new"))
        write(tmp_path / "mine", "last")
        assert content(tmp_path / "mine") == ("last",) * 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", range(4))
def test_a_full_disk_leaves_what_was_there(number, call, tmp_path, monkeypatch):
    write(tmp_path / "mine", "old")
    sync, left = os.fsync, iter(range(call, -100, -1))

    def full(descriptor):
        if next(left) <= 0:
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises((PredictorError, InputError), match=os.strerror(number)):
            write(tmp_path / "mine", "new")
    assert content(tmp_path / "mine") == ("old",) * 3
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["MANIFEST.json", *NAMES]


def test_a_limit_on_the_size_of_files_leaves_what_was_there(tmp_path):
    write(tmp_path / "mine", "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(InputError, match="too large"):
            write(tmp_path / "mine", "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert content(tmp_path / "mine") == ("old",) * 3


def test_readers_see_one_writer_while_two_write(tmp_path):
    folder, ended = tmp_path / "mine", threading.Event()
    write(folder, "0")

    def writing(text: str) -> None:
        for number in range(25):
            write(folder, f"{text}{number}")

    writers = [threading.Thread(target=writing, args=(text,)) for text in "ab"]
    found: list[tuple[str, ...]] = []
    reader = threading.Thread(target=lambda: [found.append(content(folder)) for _ in iter(ended.is_set, True)])
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    reader.join()
    assert len(found) > 5
    assert all(len(set(texts)) == 1 for texts in found)
    assert content(folder)[0] in ("a24", "b24")


def test_a_folder_made_for_nothing_is_removed_and_one_that_was_there_stays(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        with pytest.raises(RuntimeError), replaced(tmp_path / name, ours):
            raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert not list((tmp_path / "empty").iterdir())


def test_files_that_the_new_one_lacks_go_and_others_stay(tmp_path):
    write(tmp_path / "mine", "x", (*NAMES, "old.txt"))
    (tmp_path / "mine" / "notes.md").write_text("somebody else's")
    write(tmp_path / "mine", "y")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["MANIFEST.json", *NAMES, "notes.md"]


def test_a_link_and_the_working_folder_stay_what_they_are(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    monkeypatch.chdir(tmp_path / "real")
    write(Path("."), "y")
    assert content(Path(".")) == ("y",) * 3
    assert Path.cwd().exists()


def test_what_an_earlier_version_left_does_not_block(tmp_path):
    write(tmp_path / "mine", "x")
    (tmp_path / "mine" / f".tmp-{'0' * 16}").write_text("half")
    assert content(tmp_path / "mine") == ("x",) * 3
    write(tmp_path / "mine", "y")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["MANIFEST.json", *NAMES]
