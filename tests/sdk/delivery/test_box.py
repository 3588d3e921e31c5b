"""The files of one process, and what the next one makes of them."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.spool import entry, files, start, turn, turns

from mlsdk import events
from mlsdk.delivery import box as module
from mlsdk.delivery import frames
from mlsdk.delivery.box import Box, as_event
from mlsdk.delivery.lease import Lease

Written = list[tuple[int, bytes]]


def written(*sessions: str) -> Written:
    made = [entry(turn(session_id, f"{place} of {session_id}")) for place, session_id in enumerate(sessions)]
    return [(each.number, each.body) for each in made]


@contextmanager
def opened(folder: Path, *, is_new: bool = True, syncs: bool = False) -> Iterator[Box]:
    folder.mkdir(parents=True, exist_ok=True)
    lease = Lease.take(folder, is_new=is_new)
    assert lease is not None
    box = Box(folder, lease, syncs=syncs)
    try:
        yield box
    finally:
        box.close()


def adopted(folder: Path) -> tuple[list[bytes], int]:
    """What the next process finds: the bodies in order, and how many damaged stretches."""
    with opened(folder, is_new=False) as box:
        found = box.take_over()
        bodies = [body for segment in box.segments for _, body in box.read(segment)]
        assert len(bodies) == len(found.session_ids)
        return bodies, found.damage


def test_what_is_not_settled_is_there_for_the_next(tmp_path: Path) -> None:
    events_ = written("a", "b", "a")
    with opened(tmp_path / "scope" / "box") as box:
        segment = box.append(events_)
        box.settle(segment, [events_[1][0]])
    assert adopted(tmp_path / "scope" / "box") == ([events_[0][1], events_[2][1]], 0)


def test_what_must_survive_a_loss_of_power_is_on_the_disk_itself_when_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    name = "fdatasync" if hasattr(os, "fdatasync") else "fsync"
    sync = getattr(os, name)
    monkeypatch.setattr(os, name, lambda handle: synced.append(os.fstat(handle).st_size) or sync(handle))
    for syncs in (False, True):
        folder = tmp_path / str(syncs)
        with opened(folder, syncs=syncs) as box:
            box.append(written("a"))
            size = (folder / "00000001.events").stat().st_size
            assert synced == ([size] if syncs else [])


def test_a_segment_goes_when_all_of_it_is_settled_and_no_more_is_written_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 1)
    one, other = written("a"), written("b")
    with opened(tmp_path / "box") as box:
        first = box.append(one)
        second = box.append(other)
        assert first is not second
        box.settle(first, [one[0][0]])
        assert [segment.path.name for segment in box.segments] == ["00000002.events"]
        box.settle(second, [other[0][0]])
        assert second.path.exists()  # more may come
        assert box.is_empty
        box.remove()
    assert not (tmp_path / "box").exists()


def test_what_is_left_of_a_segment_that_was_half_removed_goes_with_its_folder(tmp_path: Path) -> None:
    """Whoever removes one may die before its second file is gone; a later segment of that name must not find it."""
    folder = tmp_path / "scope" / "box"
    events_ = written("a", "a")
    with opened(folder) as box:
        segment = box.append(events_)
        box.settle(segment, [events_[0][0]])
        segment.path.unlink()
    with opened(folder, is_new=False) as box:
        assert box.take_over().session_ids == []
        assert box.is_empty
        box.remove()
    assert not folder.exists()


@given(st.data())
def test_of_a_damaged_file_the_good_part_is_delivered_and_the_file_is_set_aside(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "scope" / "box"
    events_ = written(*"abcab")
    with opened(folder) as box:
        segment = box.append(events_)
    whole = segment.path.read_bytes()
    begin = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(begin + 1, len(whole)))
    segment.path.write_bytes(whole[:begin] + data.draw(st.binary(max_size=20)) + whole[end:])
    damaged = segment.path.read_bytes()
    hit, place = set(), 0
    for number, body in events_:
        length = len(frames.event_frame(number, body))
        if place < end and place + length > begin:
            hit.add(body)
        place += length
    bodies, damage = adopted(folder)
    assert [body for _, body in events_ if body in bodies] == bodies
    assert {body for _, body in events_} - set(bodies) <= hit
    if damage:
        (aside,) = (folder.parent / "damaged").iterdir()
        assert aside.read_bytes() == damaged
        assert adopted(folder) == (bodies, 0)  # said once


@given(st.binary(max_size=300), st.sampled_from(["00000001.events", "00000001.settled", "sessions", "00000001.new"]))
def test_no_file_whatever_is_in_it_keeps_a_folder_from_being_read(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    folder = tmp_path_factory.mktemp("any") / "scope" / "box"
    (good,) = written("a")
    with opened(folder) as box:
        box.append([good])
        box.seal()
    if name == "00000001.events":
        (folder / name).rename(folder / "00000002.events")
    (folder / name).write_bytes(content)
    bodies, _ = adopted(folder)
    assert good[1] in bodies


@given(st.lists(st.binary(max_size=30), max_size=4))
def test_frames_that_hold_no_event_are_damage(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("frames") / "scope" / "box"
    with opened(folder):
        pass
    (folder / "00000001.events").write_bytes(b"".join(map(frames.frame, contents)))
    assert adopted(folder) == ([], len(contents))


def test_only_the_newest_damaged_files_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "scope" / "box"
    with opened(folder):
        pass
    for number in range(1, 31):
        (folder / f"{number:08d}.events").write_bytes(b"nonsense")
    assert adopted(folder) == ([], 30)
    kept = sorted(path.name for path in (tmp_path / "scope" / "damaged").iterdir())
    assert kept == [f"box-{number:08d}.events" for number in range(15, 31)]


def test_a_damaged_file_that_cannot_be_set_aside_is_read_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "scope" / "box"
    (good,) = written("a")
    with opened(folder) as box:
        segment = box.append([good])
    segment.path.write_bytes(segment.path.read_bytes() + b"torn")
    (folder.parent / "damaged").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING, logger="mlsdk"):
        assert adopted(folder) == ([good[1]], 1)
    assert "could not be set aside" in caplog.text


def test_sessions_that_were_left_open_are_ended_once(tmp_path: Path) -> None:
    folder = tmp_path / "scope" / "box"
    opening = entry(start("a"))
    with opened(folder) as box:
        segment = box.append([(opening.number, opening.body)])
        parsed = as_event(opening.body)
        assert parsed is not None
        box.open.note(parsed)
        box.note(["a"])
        box.settle(segment, [opening.number])
    ending = events.encode(events.end_session(events.common(session_id="a", user_id="u"), 1_000_000))
    for _ in range(3):  # whoever dies before it is delivered leaves it to the next
        assert adopted(folder) == ([ending], 0)


def test_a_conversation_that_ended_is_not_open_again_for_an_old_file_that_is_still_there(tmp_path: Path) -> None:
    folder = tmp_path / "scope" / "box"
    who = events.common(session_id="a", user_id="u")
    told = [
        events.start_session(who, 1),
        events.conversation_started(who, 2, conversation_id="c"),
        events.conversation_ended(who, 3, conversation_id="c"),
    ]
    (other,) = written("b")
    with opened(folder) as box:
        numbered = [(number, events.encode(event)) for number, event in enumerate(told, other[0] + 1)]
        segment = box.append([other, *numbered])
        for event in told:
            box.open.note(event)
        box.note(["a"])
        box.settle(segment, [number for number, _ in numbered])
    assert adopted(folder) == ([other[1], events.encode(events.end_session(who, 3))], 0)


def test_what_is_known_of_sessions_takes_no_more_room_than_there_are_sessions(tmp_path: Path) -> None:
    with opened(tmp_path / "box") as box:
        for number in range(3000):
            box.open.note(start(f"session {number}"))
            box.note([f"session {number}"])
            if number >= 5:
                box.open.note(events.end_session(events.common(session_id=f"session {number}"), 2))
                box.note([f"session {number}"])
        assert (tmp_path / "box" / "sessions").stat().st_size < 80_000
    bodies, _ = adopted(tmp_path / "box")
    assert len(bodies) == 5


@pytest.mark.skipif(sys.platform == "win32", reason="/dev/full is a device of Linux")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device")
def test_a_write_that_fails_raises_and_what_was_written_before_stays(tmp_path: Path) -> None:
    events_ = written("a")
    with opened(tmp_path / "box") as box:
        box.append(events_)
        box.seal()
        (tmp_path / "box" / "00000002.events").symlink_to("/dev/full")
        with pytest.raises(OSError):
            box.append(written("b"))
    (tmp_path / "box" / "00000002.events").unlink()
    assert adopted(tmp_path / "box") == ([events_[0][1]], 0)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no modes")
def test_all_files_are_the_owners_alone(tmp_path: Path) -> None:
    with opened(tmp_path / "box") as box:
        segment = box.append(written("a", "b"))
        box.settle(segment, list(segment.loaded)[:1])
        box.open.note(start("a"))
        box.note(["a"])
        assert {path.stat().st_mode & 0o777 for path in (tmp_path / "box").iterdir()} == {0o600}
        assert len(files(tmp_path.parent)) >= 4


@given(st.binary(max_size=50) | st.text(max_size=20).map(str.encode))
def test_what_is_no_event_is_none(body: bytes) -> None:
    assert as_event(body) is None


def test_an_event_is_read_as_it_was_written() -> None:
    (each,) = turns("a", ["text"])
    assert as_event(each.body) == turn("a", "text")
