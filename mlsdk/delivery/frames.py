"""How a spool's files are written: frames that stand alone, so that damage costs what it hit and nothing else.

A frame is a mark, the length of its content, the content's checksum, and the content. The mark begins with a byte that
no UTF-8 text has, so it never occurs in an event: behind a damaged stretch the next mark is where the good part goes
on. A frame whose checksum is wrong is damage, wherever it came from: a torn write, a bad disk, somebody's editor.

Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

MARK: Final = b"\xffML\x01"
_HEADER: Final = struct.Struct("<4sII")
_NUMBER: Final = struct.Struct("<Q")
MAX_NUMBER: Final = 2**64 - 1
OVERHEAD: Final = _HEADER.size + _NUMBER.size
"""Bytes that an event takes beyond its own."""


@dataclass(slots=True)
class Scan:
    """What was found in a file.

    Attributes:
        contents: Of the good frames, in their order.
        damage: Stretches between them that are no frames; each may have held one event or many.
    """

    contents: list[bytes] = field(default_factory=list)
    damage: int = 0


def frame(content: bytes) -> bytes:
    """A content as it is written."""
    return _HEADER.pack(MARK, len(content), crc32(content)) + content


def scan(data: bytes) -> Scan:
    """Finds the good frames of a file, whatever else is in it."""
    found = Scan()
    place = 0
    is_damaged = False
    while place < len(data):
        content = _content_at(data, place)
        if content is not None:
            found.contents.append(content)
            place += _HEADER.size + len(content)
            is_damaged = False
            continue
        if not is_damaged:
            found.damage += 1
            is_damaged = True
        place = data.find(MARK, place + 1)
        if place < 0:
            break
    return found


def _content_at(data: bytes, place: int) -> bytes | None:
    if place + _HEADER.size > len(data):
        return None
    mark, length, checksum = _HEADER.unpack_from(data, place)
    begin = place + _HEADER.size
    if mark != MARK or begin + length > len(data):
        return None
    content = data[begin : begin + length]
    return content if crc32(content) == checksum else None


def event_frame(number: int, body: bytes) -> bytes:
    """An event as it is written: its number in the process that recorded it, and its JSON text."""
    return frame(_NUMBER.pack(number) + body)


def read_event(content: bytes) -> tuple[int, bytes] | None:
    """The number and the JSON text of an event; None when the content is none."""
    if len(content) <= _NUMBER.size:
        return None
    return _NUMBER.unpack_from(content)[0], content[_NUMBER.size :]


def numbers_frame(numbers: Iterable[int]) -> bytes:
    """The numbers of events that are settled, as they are written."""
    return frame(b"".join(map(_NUMBER.pack, numbers)))


def read_numbers(content: bytes) -> list[int]:
    """These numbers again."""
    whole = len(content) - len(content) % _NUMBER.size
    return [number for (number,) in _NUMBER.iter_unpack(content[:whole])]
