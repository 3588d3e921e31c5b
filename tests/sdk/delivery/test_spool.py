"""The spool: in order, each once per acknowledgement, through crashes; bounded; shared by processes."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.spool import bodies, entry, files, read_all, segments, spool_at, start, turn, turns

from mlsdk import events
from mlsdk.delivery import box
from mlsdk.delivery.buffer import Entry
from mlsdk.delivery.lease import Lease
from mlsdk.delivery.spool import NoRoomError, Spool, scope_of


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "SEGMENT_BYTES", 2000)


def left_behind(folder: Path, entries: list[Entry]) -> None:
    """What a process that died has left."""
    spool = spool_at(folder)
    spool.store(entries)
    spool.close()


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "spool")
    assert spool.adopt().session_ids == []
    spool.store([])
    assert spool.take_gone() == []
    spool.note([entry(turn("joined")).body])
    assert not (tmp_path / "spool").exists()
    assert not spool.has_folder


def test_what_was_given_up_in_memory_comes_back_in_order_in_pieces_that_fit(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    entries = turns("a", range(100))
    for first in range(0, 100, 7):
        part = entries[first : first + 7]
        spool.store(part)
        spool.leave(part)
    back: list[Entry] = []
    while spool.has_absent:
        piece = spool.read(max_events=9, max_bytes=1000)
        assert 0 < len(piece) <= 9
        assert sum(len(each.body) for each in piece) <= 1000
        back += piece
    assert [(each.number, each.body) for each in back] == [(each.number, each.body) for each in entries]
    assert all(spool.is_own(each) for each in back)
    spool.settle(back)
    spool.tidy()
    assert files(tmp_path) == []


def test_one_event_larger_than_the_room_comes_back_alone(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    entries = turns("a", ["x" * 5000, "y"])
    spool.store(entries)
    spool.leave(entries)
    assert bodies(spool.read(max_events=9, max_bytes=10)) == bodies(entries[:1])
    assert spool.read(max_events=0, max_bytes=10) == []


def test_the_next_process_finds_what_was_left_before_its_own(tmp_path: Path) -> None:
    left = turns("a", range(20))
    left_behind(tmp_path, left)
    spool = spool_at(tmp_path)
    assert spool.adopt().session_ids == ["a"] * 20
    own = turns("a", range(20, 25))
    spool.store(own)
    spool.leave(own)
    found = read_all(spool)
    assert bodies(found) == bodies(left + own)
    numbers = [each.number for each in found]
    assert numbers == sorted(set(numbers))
    spool.settle(found)
    spool.tidy()
    assert files(tmp_path) == []


def test_what_was_adopted_and_is_done_takes_no_room_and_no_handle_in_a_process_that_lives_on(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    spool.store(turns("own", range(3)))
    leases = []
    for session_id in ("a", "b", "c"):
        left_behind(tmp_path, [entry(start(session_id)), *turns(session_id, range(3))])
        assert spool.adopt().session_ids == [session_id] * 5  # its end, too
        found = read_all(spool)
        spool.settle(found)
        leases.append(found[0].place.box.folder / "lease")  # type: ignore[attr-defined]
    assert [lease.exists() for lease in leases] == [False, False, True]
    spool.adopt()
    assert not leases[-1].parent.exists()
    assert segments(tmp_path) != []


def test_what_a_living_process_has_is_left_alone(tmp_path: Path) -> None:
    spool, other = spool_at(tmp_path), spool_at(tmp_path)
    spool.store(turns("a", range(3)))
    assert other.adopt().session_ids == []
    spool.close()
    assert other.adopt().session_ids == ["a"] * 3
    assert spool_at(tmp_path).adopt().session_ids == []


def test_other_projects_are_left_alone() -> None:
    scopes = {scope_of(address, project) for address in ("https://a", "https://b") for project in ("p", "q")}
    assert len(scopes) == 4


def test_strange_things_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    scope = tmp_path / "scope"
    for name in ("notes", "damaged", "0123456789abcdef-01234567x"):
        (scope / name).mkdir(parents=True)
    (scope / "0123456789abcdef-01234567").mkdir()  # one that was never finished
    (scope / "fedcba9876543210-01234567").write_text("a file")
    assert spool_at(tmp_path).adopt().session_ids == []
    assert len(list(scope.iterdir())) == 5


@pytest.mark.skipif(sys.platform == "win32", reason="there are no modes")
def test_all_folders_are_the_owners_alone(tmp_path: Path) -> None:
    spool_at(tmp_path / "made").store(turns("a", [1]))
    folders = [tmp_path / "made", *(path for path in (tmp_path / "made").rglob("*") if path.is_dir())]
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700] * 3


# -- the bound --------------------------------------------------------------------------------------------------------


def test_the_oldest_ordinary_events_go_first_and_ends_stay(tmp_path: Path) -> None:
    spool = spool_at(tmp_path, max_bytes=20_000)
    entries: list[Entry] = []
    gone: list[tuple[int, str]] = []
    for number in range(300):
        entries.append(entry(start(f"s{number}") if number % 10 == 0 else turn(f"s{number}")))
        spool.store(entries[-1:])
        gone += spool.take_gone()
        spool.leave(entries[-1:])
        size = sum(path.stat().st_size for path in tmp_path.rglob("*.events"))
        assert size <= 20_000
    kept = read_all(spool)
    assert {number for number, _ in gone} == {each.number for each in entries} - {each.number for each in kept}
    ordinary = [each for each in entries if not each.is_essential]
    assert [number for number, _ in gone] == [each.number for each in ordinary[: len(gone)]]
    assert gone[0][1] == ordinary[0].session_id
    assert 0 < len(gone) < len(ordinary)


def test_a_full_spool_does_not_read_all_its_files_for_each_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: reads.append(self) or read_bytes(self))
    spool = spool_at(tmp_path, max_bytes=40_000)
    for number in range(600):
        each = [entry(start(f"s{number}") if number % 10 == 0 else turn(f"s{number}"))]
        spool.store(each)
        spool.leave(each)
    assert len(reads) < 200  # once for each file that was thinned out


def test_when_nothing_else_is_left_the_oldest_essential_ones_go_too(tmp_path: Path) -> None:
    spool = spool_at(tmp_path, max_bytes=10_000)
    gone = 0
    for number in range(200):
        each = [entry(start(f"s{number}"))]
        spool.store(each)
        gone += len(spool.take_gone())
        spool.leave(each)
    assert gone > 0
    assert gone + len(read_all(spool)) == 200


def test_what_is_in_memory_does_not_go(tmp_path: Path) -> None:
    spool = spool_at(tmp_path, max_bytes=10_000)
    spool.store(turns("a", range(30)))
    with pytest.raises(NoRoomError):
        spool.store(turns("a", range(30)))
    assert spool.take_gone() == []
    assert spool.adopt().session_ids == []


def test_nothing_goes_for_an_event_that_would_not_fit_even_then(tmp_path: Path) -> None:
    spool = spool_at(tmp_path, max_bytes=10_000)
    kept = turns("a", range(30))
    spool.store(kept)
    spool.leave(kept)
    with pytest.raises(NoRoomError):
        spool.store(turns("b", ["x" * 20_000]))
    assert spool.take_gone() == []
    assert bodies(read_all(spool)) == bodies(kept)


def test_what_is_too_much_is_written_as_far_as_there_is_room(tmp_path: Path) -> None:
    spool = spool_at(tmp_path, max_bytes=10_000)
    absent, many = turns("a", range(30)), turns("b", range(100))
    spool.store(absent)
    spool.leave(absent)
    with pytest.raises(NoRoomError):
        spool.store(many)
    written = [each for each in many if each.place is not None]
    assert 30 < len(written) < 100
    assert written == many[: len(written)]
    assert len(spool.take_gone()) == 30
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.events")) <= 10_000


def test_an_event_of_another_process_that_goes_is_not_taken_for_one_of_ours(tmp_path: Path) -> None:
    left = turns("a", range(30))
    left_behind(tmp_path, left)
    spool = spool_at(tmp_path, max_bytes=10_000)
    spool.adopt()
    own = turns("b", range(30))
    spool.store(own)
    gone = spool.take_gone()
    assert gone
    assert {session_id for _, session_id in gone} == {"a"}
    assert {number for number, _ in gone}.isdisjoint(each.number for each in [*left, *own])


def test_the_bound_is_for_all_processes_together(tmp_path: Path) -> None:
    spool, other = spool_at(tmp_path, max_bytes=10_000), spool_at(tmp_path, max_bytes=10_000)
    spool.store(turns("a", range(30)))
    with pytest.raises(NoRoomError):
        other.store(turns("b", range(30)))


# -- trouble ----------------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_read_is_said_once_and_left_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left_behind(tmp_path, turns("a", [1]))
    (events_file,) = tmp_path.rglob("*.events")
    events_file.unlink()
    events_file.mkdir()
    spool = spool_at(tmp_path)
    with caplog.at_level(logging.WARNING, logger="mlsdk"):
        assert spool.adopt().session_ids == []
        assert spool.adopt().session_ids == []
    assert len(caplog.records) == 1
    assert events_file.exists()


def test_a_file_system_without_locks_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lease, "take", lambda _folder, **_: None)
    with pytest.raises(OSError, match="No locks"):
        spool_at(tmp_path).store(turns("a", [1]))
    assert list((tmp_path / "scope").iterdir()) == []


def test_a_process_that_removes_its_folder_meanwhile_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = spool_at(tmp_path)
    other.store(turns("a", [1]))
    real = os.scandir

    def scandir(path: Any) -> Any:
        if isinstance(path, int):
            return real(path)
        found = list(real(path))
        for each in found:
            if Path(path).name == "scope" and any(name.endswith(".events") for name in os.listdir(each.path)):
                shutil.rmtree(each.path)
        return nullcontext(iter(found))

    monkeypatch.setattr(os, "scandir", scandir)
    spool = spool_at(tmp_path)
    own = turns("b", [1])
    spool.store(own)
    assert own[0].place is not None


def test_a_folder_that_another_process_takes_as_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = Lease.take, 0

    def take(folder: Path, **how: bool) -> Lease | None:
        nonlocal tries
        tries += 1
        return None if tries == 1 else real(folder, **how)

    monkeypatch.setattr(Lease, "take", take)
    spool = spool_at(tmp_path)
    own = turns("b", [1])
    spool.store(own)
    assert own[0].place is not None
    assert len(list((tmp_path / "scope").iterdir())) == 1


def test_a_full_disk_keeps_nothing_from_being_adopted_and_ends_are_made_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a spool that has filled its disk would never be emptied."""
    spool = spool_at(tmp_path)
    left = [entry(start("a")), *turns("a", range(3))]
    spool.store(left)
    spool.note(bodies(left))
    spool.close()

    def full(_handle: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    other = spool_at(tmp_path)
    assert other.adopt().session_ids == ["a"] * 4
    assert bodies(read_all(other)) == bodies(left)
    assert other.adopt().session_ids == []
    monkeypatch.undo()
    found = other.adopt()
    assert (found.session_ids, found.ends) == (["a"], 1)
    (end,) = read_all(other)
    assert b"end_session" in end.body
    assert other.adopt().session_ids == []


def test_files_that_somebody_removes_are_not_waited_for(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    entries = turns("a", range(5))
    spool.store(entries)
    spool.leave(entries)
    (events_file,) = tmp_path.rglob("*.events")
    events_file.write_bytes(events_file.read_bytes()[:300])
    assert 0 < len(read_all(spool)) < 5
    assert not spool.has_absent


# -- any history ------------------------------------------------------------------------------------------------------


class History(RuleBasedStateMachine):
    """A process stores, gives up, reads and settles; now and then it dies, and the next one goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = self._new_folder()
        self.spool = spool_at(self.folder)
        self.memory: list[Entry] = []
        self.unsettled: dict[bytes, None] = {}
        self.settled: set[bytes] = set()
        self.count = 0

    _folders: Iterator[Path]

    def _new_folder(self) -> Path:
        return next(self._folders)

    @rule(sessions=st.lists(st.sampled_from("abc"), min_size=1, max_size=6))
    def store(self, sessions: list[str]) -> None:
        new = []
        for session_id in sessions:
            self.count += 1
            new.append(entry(turn(session_id, str(self.count))))
        self.spool.store(new)
        self.unsettled |= dict.fromkeys(bodies(new))
        if self.spool.has_absent:
            self.spool.leave(new)
        else:
            self.memory += new

    @rule(keep=st.integers(0, 5))
    def give_up_the_newest(self, keep: int) -> None:
        # As the keeper does: only what was just written, so that none behind it is in memory.
        if not self.spool.has_absent and self.memory and all(self.spool.is_own(each) for each in self.memory):
            self.spool.leave(self.memory[keep:])
            del self.memory[keep:]

    @rule(most=st.integers(1, 5))
    def read(self, most: int) -> None:
        self.memory += self.spool.read(max_events=most, max_bytes=1 << 20)

    @rule(most=st.integers(1, 8))
    def settle(self, most: int) -> None:
        done = self.memory[:most]
        self.spool.settle(done)
        for each in done:
            del self.unsettled[each.body]
            self.settled.add(each.body)
        del self.memory[:most]

    @rule()
    def die(self) -> None:
        self.spool.close()
        self.memory.clear()
        self.spool = spool_at(self.folder)
        found = self.spool.adopt()
        assert len(found.session_ids) == len(self.unsettled)
        assert found.damage == 0

    @rule()
    def tidy(self) -> None:
        self.spool.tidy()

    @invariant()
    def memory_is_in_order_and_holds_nothing_that_is_settled(self) -> None:
        places = {body: place for place, body in enumerate(self.unsettled)}
        by_session = defaultdict(list)
        for each in self.memory:
            by_session[each.session_id].append(places[each.body])
        assert all(found == sorted(set(found)) for found in by_session.values())

    def teardown(self) -> None:
        self.die()
        found = read_all(self.spool)
        by_session: dict[str, list[bytes]] = defaultdict(list)
        for each in found:
            by_session[each.session_id].append(each.body)
        for session_id, held in by_session.items():
            mark = f'"session_id":"{session_id}"'.encode()
            assert held == [body for body in self.unsettled if mark in body]
        assert len(found) == len(self.unsettled)
        self.spool.settle(found)
        self.spool.tidy()
        assert files(self.folder) == []


def test_no_event_is_lost_or_comes_twice_whatever_happens(tmp_path: Path) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    History._folders = (tmp_path / str(number) for number in range(10**9))
    run_state_machine_as_test(History, settings=settings(stateful_step_count=30))  # type: ignore[no-untyped-call]


def test_a_session_is_ended_for_a_dead_process_and_not_for_a_living_one(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    spool.note([entry(start("a")).body, entry(turn("a")).body, entry(turn("joined")).body])
    other = spool_at(tmp_path)
    assert other.adopt().session_ids == []
    spool.close()
    found = other.adopt()
    assert (found.session_ids, found.ends) == (["a"], 1)
    (end,) = read_all(other)
    assert end.body == events.encode(events.end_session(events.common(session_id="a", user_id="u"), 1_000_000))
    assert end.is_essential
    assert isinstance(other, Spool)
