"""TensorBoard event files: against one that TensorBoard itself wrote, and damaged in every way."""

import struct
from pathlib import Path

import numpy as np
import pytest
from foretrain.core.errors import LogError
from foretrain.datasets.run_logs import events
from foretrain.datasets.run_logs.events import masked_crc, read_events
from foretrain.datasets.run_logs.records import read_records
from hypothesis import given
from hypothesis import strategies as st

# written by torch.utils.tensorboard 2.13.0: scalars in three encodings, and a text that is none
GOLDEN = Path(__file__).parents[2] / "data" / "tensorboard.tfevents"
SCALARS = [
    ("train/loss", 100, 3.75, 1.7e9 + 1),
    ("lr", 100, float(np.float32(1e-3)), 1.7e9 + 1),
    ("train/loss", 200, 3.5, 1.7e9 + 2),
    ("lr", 200, float(np.float32(2e-3)), 1.7e9 + 2),
    ("train/loss", 300, 3.25, 1.7e9 + 3),
    ("lr", 300, float(np.float32(3e-3)), 1.7e9 + 3),
    ("new", 400, 2.5, 1.7e9 + 4),
    ("double", 400, 1.5, 1.7e9 + 4),
]


def frame(data: bytes) -> bytes:
    """A TFRecord."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def attempt(data: bytes) -> tuple[list, list, str]:
    """Scalars and notes, or an error's message."""
    try:
        return *read_events(data, "log"), ""
    except LogError as error:
        return [], [], str(error)


def test_what_tensorboard_wrote_is_read():
    assert read_events(GOLDEN.read_bytes(), "golden") == (SCALARS, [])


def test_the_checksum_is_crc32c():
    # the check value of CRC-32C is 0xE3069283 (RFC 3720, appendix B.4); the mask: tensorflow/core/lib/hash/crc32c.h
    crc = 0xE3069283
    assert masked_crc(b"123456789") == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@given(st.integers(0, GOLDEN.stat().st_size))
def test_cut_anywhere_what_is_whole_is_read(size):
    """A running job's file ends anywhere."""
    scalars, notes = read_events(GOLDEN.read_bytes()[:size], "log")
    assert scalars == SCALARS[: len(scalars)]
    assert all("cut off" in note for note in notes)


@given(st.integers(0, GOLDEN.stat().st_size - 1), st.integers(1, 255))
def test_a_flipped_byte_is_noticed(at, flip):
    data = bytearray(GOLDEN.read_bytes())
    data[at] ^= flip
    scalars, notes, message = attempt(bytes(data))
    assert notes or message.startswith("log: ")
    assert set(scalars) <= set(SCALARS)


@given(st.binary(max_size=200))
def test_anything_in_a_whole_record_is_an_event_or_an_error(data):
    _, _, message = attempt(frame(data))
    assert not message or "isn't a TensorBoard event" in message


@given(st.binary(max_size=200))
def test_any_bytes_are_events_or_an_error(data):
    scalars, _, message = attempt(data)
    assert scalars == []
    assert not message or message.startswith("log: ")


def test_many_damaged_records_are_an_error():
    records = [bytearray(frame(bytes([9]) + struct.pack("<d", i))) for i in range(20)]
    for record in records[:8]:
        record[-1] ^= 1
    with pytest.raises(LogError, match=r"log: 8 of 20 records don't match their checksum"):
        read_events(b"".join(records), "log")


def test_a_folder_of_files_is_one_log(tmp_path):
    for name in ("events.out.tfevents.2.host", "events.out.tfevents.1.host"):
        (tmp_path / name).write_bytes(GOLDEN.read_bytes())
    (tmp_path / "notes.txt").write_text("not a log", encoding="utf-8")
    records = read_records(tmp_path)
    assert len(records.rows) == 2 * len(SCALARS)
    assert records.rows[0] == (1, {"step": 100, "train/loss": 3.75, "_timestamp": 1.7e9 + 1})


def test_a_folder_without_event_files_says_where_there_are_some(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "events.out.tfevents.1").write_bytes(GOLDEN.read_bytes())
    with pytest.raises(LogError, match=r"is a folder without event files.*train has some"):
        read_records(tmp_path)


def test_checksums_of_records_of_all_lengths_take_one_pass(monkeypatch):
    """A pass for each length would take minutes for a file in which each record has a length of its own."""
    data = b"".join(frame(bytes(length)) for length in (7, 3, 0, 3000, 12))
    starts, lengths, torn = events._frames(data, "log")
    assert lengths.tolist() == [7, 3, 0, 3000, 12]
    assert not torn
    passes = []
    monkeypatch.setattr(events, "range", lambda end: passes.append(end) or range(end), raising=False)
    kept, damaged = events._checked(data, starts, lengths, "log")
    assert (len(kept), damaged) == (5, 0)
    assert 3000 in passes
    assert sum(passes) < 3100


def test_more_records_or_scalars_than_may_be_are_refused(monkeypatch):
    data = b"".join(frame(b"") for _ in range(5))
    assert read_events(data, "log") == ([], [])
    monkeypatch.setattr(events, "MAX_RECORDS", 4)
    with pytest.raises(LogError, match="log: too large: more than 4 records"):
        read_events(data, "log")
