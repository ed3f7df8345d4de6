"""A file of lines that outlives the processes that append to it."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from foretrain.core.errors import InputError
from foretrain.simulator.search.storage.line_file import LineFile
from hypothesis import given, settings
from hypothesis import strategies as st

# takes the lock, says so, and waits to be killed
HOLD = """
import sys, time
from foretrain.simulator.search.storage.line_file import LineFile
with LineFile(sys.argv[1], 1.0)._locked() as descriptor:
    print("held", flush=True)
    time.sleep(60)
"""

records = st.lists(st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False) | st.text(), max_size=3), max_size=6)


def lines(found: list[dict]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in found).encode()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "lines"
    file.touch()
    return str(file)


@pytest.fixture
def held(path):
    """Another process that holds the lock of `path`."""
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@given(records, st.data())
@settings(deadline=None)
def test_whatever_was_torn_what_is_left_is_whole_and_can_be_appended_to(tmp_path_factory, whole, data):
    path = tmp_path_factory.mktemp("torn") / "lines"
    last = json.dumps({"last": data.draw(st.text())}).encode()
    torn = last[: data.draw(st.integers(0, len(last) - 1))]
    path.write_bytes(lines(whole) + torn)
    file = LineFile(str(path), 1.0)
    assert file.repair() == len(torn)
    assert path.read_bytes() == lines(whole)
    path.write_bytes(lines(whole) + torn)
    file.append(b'{"next":1}\n', to_disk=False)
    assert path.read_bytes() == lines(whole) + b'{"next":1}\n'


@pytest.mark.parametrize("tail", [b"\0" * 5000, b'{"a":1{"a":2}\n', b"{" * 40_000, b'{"a":"' + b"x" * 100_000 + b"\n"])
def test_tails_that_a_power_cut_or_a_second_writer_leaves_are_cut_too(path, tail):
    with open(path, "wb") as stream:
        stream.write(lines([{"a": 0}]) + tail)
    assert LineFile(path, 1.0).repair() == len(tail)
    with open(path, "rb") as stream:
        assert stream.read() == lines([{"a": 0}])


def test_only_the_last_line_is_read(path, monkeypatch):
    """An append must cost the same to a file of a gigabyte."""
    with open(path, "wb") as stream:
        stream.write(lines([{"number": n} for n in range(200_000)]))
    read, sizes = os.read, []
    monkeypatch.setattr(os, "read", lambda descriptor, n: sizes.append(n) or read(descriptor, n))
    LineFile(path, 1.0).append(b"{}\n", to_disk=False)
    assert sum(sizes) < 10_000


@pytest.mark.skipif(os.name == "nt", reason="other locks")
def test_a_lock_that_is_held_is_an_error_and_not_a_wait_for_ever(path, held):
    with pytest.raises(InputError, match=r"is locked by another process, for more than 0\.2 s.*stop it"):
        LineFile(path, 0.2).append(b"{}\n", to_disk=True)
    assert os.path.getsize(path) == 0


@pytest.mark.skipif(os.name == "nt", reason="other locks")
def test_the_lock_goes_with_the_process_that_held_it(path, held):
    """Optuna's own lock is a file that stays behind: everybody waits for 30 seconds."""
    held.send_signal(signal.SIGKILL)
    LineFile(path, 5.0).append(b"{}\n", to_disk=True)
    assert os.path.getsize(path) == 3
    assert os.listdir(os.path.dirname(path)) == ["lines"]


def test_threads_take_turns(path):
    file = LineFile(path, 20.0)
    threads = [
        threading.Thread(target=lambda n=n: [file.append(lines([{"n": n}]), False) for _ in range(50)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(path, "rb") as stream:
        assert sorted(json.loads(line)["n"] for line in stream) == sorted(list(range(8)) * 50)


def test_a_full_disk_leaves_no_half_line(path, monkeypatch):
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 4:
            return write(descriptor, data[:4])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(InputError, match="can't be written: No space left on device"):
        LineFile(path, 1.0).append(b'{"abc":1}\n', to_disk=True)
    assert os.path.getsize(path) == 0


def test_a_file_that_was_removed_is_not_begun_anew(path):
    os.unlink(path)
    with pytest.raises(InputError, match="can't be written: No such file"):
        LineFile(path, 1.0).append(b"{}\n", to_disk=True)
    assert not os.path.exists(path)
