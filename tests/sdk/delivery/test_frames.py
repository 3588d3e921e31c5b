"""Frames: what is good is found, whatever else is in the file."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlsdk.delivery import frames

CONTENTS = st.lists(st.binary(max_size=40) | st.text(max_size=20).map(str.encode), max_size=8)


@given(CONTENTS)
def test_what_was_written_is_read(contents: list[bytes]) -> None:
    found = frames.scan(b"".join(map(frames.frame, contents)))
    assert (found.contents, found.damage) == (contents, 0)


@given(st.binary(max_size=400))
def test_anything_can_be_scanned(data: bytes) -> None:
    found = frames.scan(data)
    assert (found.damage == 0) == (b"".join(map(frames.frame, found.contents)) == data)
    for content in found.contents:
        frames.read_event(content)
        frames.read_numbers(content)


@given(CONTENTS, st.data())
def test_damage_costs_the_frames_that_it_hit_and_invents_none(contents: list[bytes], data: st.DataObject) -> None:
    written = [frames.frame(content) for content in contents]
    whole = b"".join(written)
    begin = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(begin, len(whole)))
    damaged = whole[:begin] + data.draw(st.binary(max_size=30)) + whole[end:]
    good = []
    place = 0
    for content, frame in zip(contents, written, strict=True):
        if place + len(frame) <= begin or place >= end:
            good.append(content)
        place += len(frame)
    found = frames.scan(damaged).contents
    # In order; what was hit may be whole all the same, where the damage put back what had been there.
    assert [content for content in found if content in good] or not good
    remaining = iter(found)
    assert all(any(content == each for each in remaining) for content in good)
    assert set(found) <= set(contents)


@given(CONTENTS, st.integers(min_value=1))
def test_a_torn_write_costs_the_last_frame(contents: list[bytes], missing: int) -> None:
    last = frames.frame(b"the last one")
    torn = last[: -(1 + missing % (len(last) - 1))]
    found = frames.scan(b"".join(map(frames.frame, contents)) + torn)
    assert (found.contents, found.damage) == (contents, 1)


def test_a_mark_inside_a_content_is_not_the_begin_of_a_frame() -> None:
    content = b"{}" + frames.frame(b"inner") + frames.MARK
    found = frames.scan(frames.frame(content) + frames.frame(b"next"))
    assert (found.contents, found.damage) == ([content, b"next"], 0)


def test_a_length_that_lies_reads_nothing_beyond_the_file() -> None:
    good = frames.frame(b"good")
    huge = bytearray(good)
    huge[4:8] = b"\xff\xff\xff\xff"
    assert frames.scan(bytes(huge)).contents == []
    assert frames.scan(bytes(huge) + good).contents == [b"good"]


@given(st.integers(0, frames.MAX_NUMBER), st.binary(min_size=1))
def test_an_event_keeps_its_number(number: int, body: bytes) -> None:
    (content,) = frames.scan(frames.event_frame(number, body)).contents
    assert frames.read_event(content) == (number, body)


@given(st.lists(st.integers(0, frames.MAX_NUMBER)))
def test_numbers_are_read_as_they_were_written(numbers: list[int]) -> None:
    (content,) = frames.scan(frames.numbers_frame(numbers)).contents
    assert frames.read_numbers(content) == numbers


def test_what_is_no_event_is_none() -> None:
    assert frames.read_event(b"") is None
    assert frames.read_event(b"12345678") is None
