"""Scalars of TensorBoard event files, read without TensorFlow: TFRecord framing, masked CRC-32C, protocol buffers.

A file is a sequence of records: length (8 bytes, little endian), its masked CRC (4), the data, their masked CRC (4).
The data are one `Event` each: wall time in seconds (field 1), step (2), a summary (5) whose values (1) have a tag (1)
and a number (2), or a tensor of one element (8). Field numbers: tensorflow/core/util/event.proto,
framework/summary.proto and framework/tensor.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from ...core.errors import LogError

__all__ = ["Scalar", "masked_crc", "read_events"]

Scalar = tuple[str, int, float, float]
"""Tag, step, value, wall time in seconds since 1970."""

MAX_RECORDS = 5_000_000
"""Most records of an event file, and most scalars in them."""

_HEADER, _FOOTER = 12, 4  # bytes around the data of a record
_LARGEST = 65_536  # bytes of a record that is looked into; images and histograms are larger, scalars some 60
_POLYNOMIAL = 0x82F63B78  # of CRC-32C, reflected
_MASK_DELTA = 0xA282EAD8  # tensorflow/core/lib/hash/crc32c.h
_FLOAT, _DOUBLE = 1, 2  # DT_FLOAT, DT_DOUBLE of tensorflow/core/framework/types.proto
_WIDTHS = {1: 8, 5: 4}  # bytes of protobuf's fixed-width wire types


def read_events(data: bytes, where: str) -> tuple[list[Scalar], list[str]]:
    """The scalars of an event file in its order, and what was dropped, as sentences. Raises `LogError` for damage.

    A record that the file's end cuts off is dropped and said: a running job's file ends anywhere.
    """
    starts, lengths, torn = _frames(data, where)
    kept, damaged = _checked(data, starts, lengths, where)
    notes = [f"{where}: the last record is cut off and left out, as in a file that is being written"] if torn else []
    if damaged:
        notes.append(f"{where}: {damaged} of {len(starts)} records are damaged (checksum) and left out")
    scalars: list[Scalar] = []
    for start, length in kept:
        try:
            scalars += _scalars(memoryview(data)[start : start + length])
        except (ValueError, TypeError, IndexError, struct.error):  # UnicodeDecodeError is a ValueError
            raise LogError(f"{where}: the record at byte {start} isn't a TensorBoard event") from None
        if len(scalars) > MAX_RECORDS:
            raise LogError(f"{where}: too large: more than {MAX_RECORDS:,} scalars; log fewer points")
    return scalars, notes


def _frames(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """Where the data of each whole record start and how long they are, `(n,)` each; whether the last is cut off."""
    starts, lengths, at = [], [], 0
    while at + _HEADER <= len(data):
        if len(starts) >= MAX_RECORDS:
            raise LogError(f"{where}: too large: more than {MAX_RECORDS:,} records; log fewer points")
        (length,) = struct.unpack_from("<Q", data, at)
        if at + _HEADER + length + _FOOTER > len(data):
            break
        starts.append(at + _HEADER)
        lengths.append(length)
        at += _HEADER + length + _FOOTER
    first, size = np.array(starts, dtype=np.int64), np.array(lengths, dtype=np.int64)
    headers = np.append(first - _HEADER, at) if at + _HEADER <= len(data) else first - _HEADER
    wrong = np.flatnonzero(_masked_at(data, headers, np.full(len(headers), 8)) != _stored(data, headers + 8))
    if len(wrong):
        offset = int(headers[wrong[0]])
        hint = "; expected a TensorBoard event file (events.out.tfevents.…)" if not offset else ""
        raise LogError(f"{where}: damaged at byte {offset}: the length of a record doesn't match its checksum{hint}")
    return first, size, at < len(data)


def _checked(data: bytes, starts: np.ndarray, lengths: np.ndarray, where: str) -> tuple[list[tuple[int, int]], int]:
    """Start and length of the records that are whole and small enough for scalars, and how many are damaged."""
    good = lengths <= _LARGEST
    rows = np.flatnonzero(good)
    right = _masked_at(data, starts[rows], lengths[rows]) == _stored(data, starts[rows] + lengths[rows])
    good[rows] = right
    damaged = int(len(rows) - right.sum())
    if damaged > max(3, 0.01 * len(starts)):
        raise LogError(f"{where}: {damaged} of {len(starts)} records don't match their checksum; the file is damaged")
    return list(zip(starts[good].tolist(), lengths[good].tolist(), strict=True)), damaged


@cache
def _table() -> np.ndarray:
    """CRC-32C of each byte, `(256,)` uint32."""
    value = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        value = np.where(value & 1, (value >> 1) ^ np.uint32(_POLYNOMIAL), value >> 1).astype(np.uint32)
    return value


def masked_crc(data: bytes) -> int:
    """Masked CRC-32C, as TFRecord files store it."""
    return int(_masked_at(data, np.array([0]), np.array([len(data)]))[0])


def _masked_at(data: bytes, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Masked CRC-32C of as many bytes from each start, `(n,)`: byte by byte, all records together."""
    array, table = np.frombuffer(data, dtype=np.uint8), _table()
    longest = np.argsort(-lengths, kind="stable")
    first, ends = starts[longest], -lengths[longest]
    crc = np.full(len(starts), 0xFFFFFFFF, dtype=np.uint32)
    for offset in range(-int(ends[0]) if len(ends) else 0):
        left = crc[: np.searchsorted(ends, -offset)]  # of the records that are longer
        left[:] = table[(left ^ array[first[: len(left)] + offset]) & 0xFF] ^ (left >> np.uint32(8))
    crc = ~crc
    found = np.empty_like(crc)
    found[longest] = ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(_MASK_DELTA)
    return found


def _stored(data: bytes, at: np.ndarray) -> np.ndarray:
    """The little-endian uint32 at each place, `(n,)`."""
    array = np.frombuffer(data, dtype=np.uint8)
    return sum((array[at + i].astype(np.uint32) << np.uint32(8 * i) for i in range(4)), np.zeros(len(at), np.uint32))


def _scalars(event: memoryview) -> list[Scalar]:
    wall_s, step, found = 0.0, 0, []
    for number, value in _fields(event):
        if number == 1:
            (wall_s,) = struct.unpack("<d", value)
        elif number == 2:
            step = value - (1 << 64) if value >> 63 == 1 else value
        elif number == 5:
            found += [_value(part) for inner, part in _fields(value) if inner == 1]
    return [(tag, step, number, wall_s) for tag, number in found if number is not None]


def _value(summary: memoryview) -> tuple[str, float | None]:
    """Tag and number of one value of a summary; None for what is no scalar."""
    tag, number = "", None
    for field, value in _fields(summary):
        if field == 1:
            tag = bytes(value).decode("utf-8")
        elif field == 2:
            (number,) = struct.unpack("<f", value)
        elif field == 8:
            number = _tensor(value)
    return tag, number


def _tensor(tensor: memoryview) -> float | None:
    """The number of a tensor of one float or double; None for any other."""
    kind, held = 0, b""
    for field, value in _fields(tensor):
        if field == 1:
            kind = value
        elif field in (4, 5, 6):  # tensor_content, float_val, double_val (packed or not)
            held = bytes(value)
    code = {_FLOAT: "<f", _DOUBLE: "<d"}.get(kind)
    return struct.unpack(code, held)[0] if code and len(held) == struct.calcsize(code) else None


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: an int for varints, else the bytes. ValueError for what is no message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in _WIDTHS:
            length = _WIDTHS[kind]
        else:
            raise ValueError(f"wire type {kind}")
        if at + length > len(message):
            raise ValueError("a field beyond its message")
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
