"""When events go to the disk, and what happens when it does not take them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from support.home import config
from support.spool import entry, files, start, turn, turns

from mlsdk import events
from mlsdk.config import SPILL, WRITE_AHEAD, Spooling
from mlsdk.delivery import keeper as module
from mlsdk.delivery.buffer import Buffer, Entry
from mlsdk.delivery.keeper import Keeper


class Shelf:
    """A keeper and the buffer that it works for; time stands still until it is moved."""

    def __init__(self, folder: Path, *, mode: str = SPILL, max_events: int = 100, **settings: Any) -> None:
        self.time = 1000.0
        self.buffer = Buffer(max_events=max_events, max_bytes=1 << 20)
        self.keeper = Keeper(
            Spooling(str(folder), mode=mode, **settings),
            config().connection,
            memory_bytes=1 << 20,
            now=lambda: self.time,
        )
        self.keeper.look_for_dead()
        self.keeper.is_ready = True

    def offer(self, *entries: Entry) -> None:
        for each in entries:
            each.number = 0
            if self.keeper.wants(each, self.buffer):
                self.buffer.accept(each)
                assert self.keeper.annex.take(each)
            else:
                assert self.buffer.offer(each) == ()

    def keep(self) -> list[Entry]:
        """A round of the sender's; returns what was dropped."""
        self.keeper.store(self.keeper.due(self.buffer))
        left, gone = self.keeper.move(self.buffer)
        self.keeper.leave(left)
        return gone

    @property
    def on_disk(self) -> int:
        return sum(each.place is not None for each in self.buffer.entries()) + self.keeper.annex.absent


def test_write_ahead_has_everything_on_disk_before_it_can_be_sent(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, mode=WRITE_AHEAD)
    shelf.offer(*turns("a", range(5)))
    assert shelf.buffer.cut() == []
    shelf.keep()
    batch = shelf.buffer.cut()
    assert len(batch) == 5
    assert all(each.place is not None for each in batch)


def test_spill_leaves_the_disk_alone_while_events_are_delivered(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for _ in range(10):
        shelf.offer(*turns("a", range(5)))
        shelf.keep()
        batch = shelf.buffer.cut()
        shelf.keeper.sending(batch)
        shelf.keeper.settle(batch)
        shelf.buffer.settle(batch)
        shelf.time += 0.5
    assert not tmp_path.joinpath("x").exists()
    assert files(tmp_path) == []


def test_spill_writes_what_could_not_be_delivered_for_a_second(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.keep()
    shelf.offer(*turns("a", range(3)))
    shelf.time += module.LOOK
    shelf.keep()
    shelf.offer(*turns("a", range(2)))
    assert shelf.on_disk == 0
    shelf.time += module.LOOK
    shelf.keep()
    assert shelf.on_disk == 3


def test_spill_writes_all_there_is_when_trouble_begins_and_what_comes_while_it_lasts(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.offer(*turns("a", range(3)))
    shelf.keeper.set_trouble(is_on=True)
    shelf.keep()
    assert shelf.on_disk == 3
    shelf.offer(*turns("b", range(2)))
    shelf.keep()
    assert shelf.on_disk == 5
    shelf.keeper.set_trouble(is_on=False)
    shelf.offer(*turns("c", range(2)))
    shelf.keep()
    assert (shelf.on_disk, shelf.buffer.queued) == (5, 7)


def test_what_the_queue_cannot_hold_goes_to_the_disk_and_so_does_what_its_sessions_say_next(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, max_events=4)
    shelf.offer(*turns("a", range(3)), *turns("b", range(3)))
    assert shelf.keep() == []
    assert (shelf.buffer.queued, shelf.keeper.annex.absent) == (4, 2)
    batch = shelf.buffer.cut()
    shelf.buffer.settle(batch)
    shelf.offer(*turns("b", [3]), *turns("c", [0]))
    shelf.keep()
    assert shelf.keeper.annex.absent == 3
    assert [each.session_id for each in shelf.buffer.entries()] == ["c"]


def test_a_disk_that_fails_is_said_once_and_costs_no_event(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "spool"
    folder.write_text("a file where the folder should be")
    shelf = Shelf(folder, mode=WRITE_AHEAD, max_events=50)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="mlsdk"):
        for number in range(40):
            shelf.offer(*turns("a", [number]))
            assert shelf.keep() == []
            shelf.time += 1.5
        assert [record.getMessage() for record in caplog.records] == [
            "the spool cannot be written (File exists); events are kept in memory alone"
        ]
        assert shelf.keeper.is_broken
        assert shelf.buffer.queued == 40
        shelf.offer(*turns("a", range(10)))
        shelf.keep()
        folder.unlink()
        shelf.time += module.TRY_AGAIN
        shelf.keep()
    assert caplog.records[-1].getMessage() == "the spool can be written again"
    assert shelf.on_disk == 50


def test_behind_what_is_on_a_disk_that_fails_a_session_waits_and_others_pass(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, max_events=2)
    shelf.offer(*turns("a", range(4)))
    shelf.keep()
    assert shelf.keeper.annex.absent == 2
    shelf.keeper.is_broken = True
    shelf.keeper._try_from = shelf.time + 100
    shelf.buffer.settle(shelf.buffer.cut())
    shelf.offer(*turns("a", [4]), *turns("b", [0]), *turns("a", [5]))
    for _ in range(3):
        shelf.keep()
    assert [each.session_id for each in shelf.buffer.entries()] == ["b"]
    assert shelf.keeper.annex.arriving == 2
    # The disk can be read: what is on it comes first.
    room = shelf.buffer.reserve()
    back = shelf.keeper.read(events=room[0] or 1, size=1 << 20)
    shelf.buffer.release()
    assert len(back) >= 1


def test_an_end_is_noted_when_it_is_delivered_and_not_before(tmp_path: Path) -> None:
    """Were it noted before, and the process killed, nobody would end the session."""
    shelf = Shelf(tmp_path)
    who = events.common(session_id="a", user_id="u")
    end = entry(events.end_session(who, 2))
    shelf.offer(entry(start("a")), entry(turn("a")), end)
    batch = shelf.buffer.cut()
    shelf.keeper.sending(batch)
    shelf.keeper.close()
    next_one = Shelf(tmp_path)
    assert next_one.keeper.has_absent

    shelf = Shelf(tmp_path / "other")
    shelf.offer(entry(start("a")), end)
    batch = shelf.buffer.cut()
    shelf.keeper.sending(batch)
    shelf.keeper.settle(batch)
    shelf.keeper.close()
    assert not Shelf(tmp_path / "other").keeper.has_absent


def test_events_that_were_dropped_from_memory_do_not_come_back(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, mode=WRITE_AHEAD)
    shelf.offer(*turns("a", range(2)))
    shelf.keep()
    shelf.keeper.evicted.extend(shelf.buffer.entries())
    shelf.keeper.forget_evicted()
    shelf.keeper.close()
    assert not Shelf(tmp_path).keeper.has_absent


def test_what_is_empty_is_removed(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, mode=WRITE_AHEAD)
    shelf.offer(*turns("a", range(2)))
    shelf.keep()
    assert not shelf.keeper.is_tidy
    batch = shelf.buffer.cut()
    shelf.keeper.settle(batch)
    shelf.keeper.tidy()
    assert shelf.keeper.is_tidy
    assert files(tmp_path) == []


@pytest.mark.parametrize("mode", [SPILL, WRITE_AHEAD])
def test_a_window_of_nothing_does_not_keep_the_sender_busy(tmp_path: Path, mode: str) -> None:
    shelf = Shelf(tmp_path, mode=mode, window=0.0)
    shelf.keeper.set_trouble(is_on=True)
    assert shelf.keeper.pause == module.SHORTEST_WINDOW > 0
