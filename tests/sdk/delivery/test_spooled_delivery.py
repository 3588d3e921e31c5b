"""Delivery with a spool behind it: full queues, outages, processes that are gone; by script in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import json
import logging
import os
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import virtual_time
from support.delivery import NOBODY, OK, ScriptedTransport, Sent, status
from support.home import PATIENCE, Here, config, delivering_to
from support.spool import files, segments, size_of

from mlsdk import events
from mlsdk.config import SPILL, WRITE_AHEAD, Spooling
from mlsdk.delivery.buffer import Stats
from mlsdk.delivery.outcome import Outcome
from mlsdk.delivery.pipeline import Delivery, delivery_for
from mlsdk.errors import DeliveryError
from mlsdk.events import Event
from mlsdk.local import LocalMindlytics

_moments = itertools.count(1)


def turn(session_id: str, text: object = "") -> Event:
    who = events.common(session_id=session_id, user_id="u")
    return events.turn(who, next(_moments), conversation_id="c", user=str(text), assistant="")


def start(session_id: str) -> Event:
    return events.start_session(events.common(session_id=session_id, user_id="u"), next(_moments))


class Script(ScriptedTransport):
    """Answers the same to all, and remembers which texts of each session it has taken."""

    def __init__(self) -> None:
        super().__init__(self._judge)
        self.everywhere: Outcome = OK
        self.taken: dict[str, list[str]] = defaultdict(list)

    def _judge(self, sent: Sent) -> Outcome:
        if self.everywhere is OK:
            content = json.loads(sent.body)
            for event in [content] if isinstance(content, dict) else content:
                self.taken[event["session_id"]].append(event.get("properties", {}).get("user", event["type"]))
        return self.everywhere


@pytest.fixture(autouse=True)
def names_of_wire_events(monkeypatch: pytest.MonkeyPatch) -> None:
    def names(self: Sent) -> list[str]:
        content = json.loads(self.body)
        return [f"{event['session_id']}" for event in ([content] if isinstance(content, dict) else content)]

    monkeypatch.setattr(Sent, "names", property(names))


@contextlib.asynccontextmanager
async def process(folder: Path, transport: Script, *, mode: str = SPILL, **limits: Any) -> AsyncIterator[Delivery]:
    """A process's delivery; when the block is left it is gone, whatever it was about to do."""
    spool_bytes = limits.pop("max_bytes", 1 << 30)
    home = Here()
    settings = config(spool=Spooling(str(folder), mode=mode, max_bytes=spool_bytes), **limits)
    delivery = Delivery(settings, home=home, connect=lambda _: transport)
    await asyncio.sleep(0)
    try:
        yield delivery
        assert adds_up(delivery.stats())
    finally:
        for task in home.tasks:
            task.cancel()
        await asyncio.wait(home.tasks)


def adds_up(stats: Stats) -> bool:
    held = stats["delivered"] + stats["queued"] + stats["spooled"] + stats["handed_over"]
    return stats["accepted"] + stats["recovered"] == held + sum(stats["dropped"].values())


async def settled(delivery: Delivery) -> bool:
    return await asyncio.wrap_future(delivery.settled())


def virtual(test: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        virtual_time.run(lambda: test(tmp_path))

    run.__doc__ = test.__doc__
    return run


both_modes = pytest.mark.parametrize("mode", [SPILL, WRITE_AHEAD])


@both_modes
def test_what_the_queue_cannot_hold_is_delivered_in_order(tmp_path: Path, mode: str) -> None:
    async def main() -> None:
        transport = Script()
        transport.everywhere = NOBODY
        async with process(tmp_path, transport, mode=mode, queue_events=50) as delivery:
            for number in range(600):
                delivery.offer(turn(f"s{number % 3}", number // 3))
                if number % 40 == 0:
                    await asyncio.sleep(0.3)
                    assert adds_up(delivery.stats())
            stats = delivery.stats()
            assert stats["dropped"] == {}
            assert stats["spooled"] > 400
            assert stats["queued"] <= 100
            transport.everywhere = OK
            assert await settled(delivery) is True
            assert delivery.stats()["delivered"] == 600
            assert transport.taken == {f"s{each}": [str(number) for number in range(200)] for each in range(3)}

    virtual_time.run(main)


@both_modes
def test_the_next_process_delivers_what_is_left_before_newer_events_of_its_sessions(tmp_path: Path, mode: str) -> None:
    async def main() -> None:
        transport = Script()
        transport.everywhere = NOBODY
        async with process(tmp_path, transport, mode=mode) as delivery:
            delivery.offer(start("a"))
            for number in range(20):
                delivery.offer(turn("a", number))
            await asyncio.sleep(3)
            assert delivery.left_over() == 0
        transport.everywhere = OK
        async with process(tmp_path, transport, mode=mode) as delivery:
            delivery.offer(turn("b", "other"))
            delivery.offer(turn("a", "newer"))
            await settled(delivery)
            stats = delivery.stats()
            assert (stats["accepted"], stats["recovered"], stats["delivered"]) == (2, 22, 24)
        told = [str(number) for number in range(20)]
        assert transport.taken == {"a": ["start_session", *told, "end_session", "newer"], "b": ["other"]}
        async with process(tmp_path, transport, mode=mode) as delivery:
            await asyncio.sleep(1)
            assert delivery.stats()["recovered"] == 0

    virtual_time.run(main)


@virtual
async def test_the_next_process_does_so_without_an_event_of_its_own(tmp_path: Path) -> None:
    transport = Script()
    transport.everywhere = NOBODY
    async with process(tmp_path, transport) as delivery:
        delivery.offer(turn("a", 1))
        await asyncio.sleep(3)
    transport.everywhere = OK
    async with process(tmp_path, transport):
        await asyncio.sleep(1)
        assert transport.taken == {"a": ["1"]}


@virtual
async def test_what_a_process_leaves_later_is_found_by_one_that_lives(tmp_path: Path) -> None:
    transport, other = Script(), Script()
    async with process(tmp_path, transport):
        other.everywhere = NOBODY
        async with process(tmp_path, other) as delivery:
            delivery.offer(turn("a", 1))
            await asyncio.sleep(3)
            assert transport.taken == {}
        await asyncio.sleep(61)
        assert transport.taken == {"a": ["1"]}


@virtual
async def test_write_ahead_loses_nothing_older_than_the_window(tmp_path: Path) -> None:
    transport = Script()
    transport.latency = 1000  # a request that is never answered in this life
    async with process(tmp_path, transport, mode=WRITE_AHEAD) as delivery:
        for number in range(10):
            delivery.offer(turn("a", number))
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.11)
    transport = Script()
    async with process(tmp_path, transport, mode=WRITE_AHEAD) as delivery:
        await asyncio.sleep(1)
        assert transport.taken == {"a": [str(number) for number in range(10)]}


@virtual
async def test_spill_leaves_what_is_delivered_off_the_disk(tmp_path: Path) -> None:
    transport = Script()
    async with process(tmp_path, transport) as delivery:
        for number in range(20):
            delivery.offer(turn("a", number))
            await asyncio.sleep(0.2)
        await settled(delivery)
        assert files(tmp_path) == []


@both_modes
def test_what_ended_well_leaves_nothing(tmp_path: Path, mode: str) -> None:
    async def main() -> None:
        transport = Script()
        async with process(tmp_path, transport, mode=mode) as delivery:
            delivery.offer(start("a"))
            delivery.offer(events.end_session(events.common(session_id="a", user_id="u"), next(_moments)))
            delivery.finish()
            await asyncio.sleep(1)
            assert delivery.is_drained()
            assert files(tmp_path) == []
            assert delivery.left_over() == 0

    virtual_time.run(main)


@virtual
async def test_at_exit_all_goes_to_the_disk_at_once_and_delivery_goes_on(tmp_path: Path) -> None:
    transport = Script()
    transport.latency = 5
    async with process(tmp_path, transport) as delivery:
        delivery.offer(turn("a", 1))
        await asyncio.sleep(0.01)
        delivery.offer(turn("a", 2))
        assert delivery.left_over() == 2
        assert delivery.is_storing()
        delivery.finish()
        await asyncio.sleep(0.01)
        assert delivery.left_over() == 0
        assert not delivery.is_storing()
        assert not delivery.is_drained()
        await settled(delivery)
        await asyncio.sleep(0.01)
        assert delivery.is_drained()


@virtual
async def test_a_refused_key_keeps_events_for_the_next_process_whose_key_is_good(tmp_path: Path) -> None:
    transport = Script()
    transport.everywhere = status(401)
    async with process(tmp_path, transport) as delivery:
        delivery.offer(turn("a", 1))
        await asyncio.sleep(5)
        assert delivery.left_over() == 0
    transport.everywhere = OK
    async with process(tmp_path, transport):
        await asyncio.sleep(1)
        assert transport.taken == {"a": ["1"]}


class Observer:
    def __init__(self) -> None:
        self.errors: list[DeliveryError] = []

    def report(self, error: DeliveryError) -> None:
        self.errors.append(error)


@virtual
async def test_what_a_full_spool_gives_up_is_counted_and_told(tmp_path: Path) -> None:
    transport = Script()
    transport.everywhere = NOBODY
    observer = Observer()
    done: list[bool] = []
    async with process(tmp_path, transport, queue_events=10, max_bytes=20_000) as delivery:
        for number in range(500):
            delivery.offer(turn("a", number), observer=observer, on_settled=done.append)
            if number % 10 == 0:
                await asyncio.sleep(0.2)
        stats = delivery.stats()
        assert sum(stats["dropped"].values()) > 300
        assert size_of(tmp_path) < 40_000
        gone = [error for error in observer.errors if not error.retryable]
        assert len(gone) == sum(stats["dropped"].values()) == done.count(False)
        transport.everywhere = OK
        await settled(delivery)
        assert delivery.stats()["delivered"] == 500 - len(gone) == done.count(True)
        numbers = [int(text) for text in transport.taken["a"]]
        assert numbers == sorted(set(numbers))


@virtual
async def test_files_that_are_gone_are_counted_and_nobody_waits_for_them(tmp_path: Path) -> None:
    transport = Script()
    transport.everywhere = NOBODY
    observer = Observer()
    async with process(tmp_path, transport, queue_events=5) as delivery:
        for number in range(50):
            delivery.offer(turn("a", number), observer=observer)
        await asyncio.sleep(2)
        for path in segments(tmp_path):
            path.write_bytes(b"")
        transport.everywhere = OK
        await asyncio.wait_for(settled(delivery), 1000)
        stats = delivery.stats()
        assert stats["dropped"] == {"spool_damaged": 45}
        assert stats["delivered"] == 5
        delivery.offer(turn("a", "later"))
        await settled(delivery)
        assert transport.taken["a"][-1] == "later"


def test_damage_is_counted_and_said_once_and_the_good_part_is_delivered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        transport = Script()
        transport.everywhere = NOBODY
        async with process(tmp_path, transport) as delivery:
            for number in range(5):
                delivery.offer(turn("a", number))
            await asyncio.sleep(3)
        (path,) = segments(tmp_path)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] + b"\0" + data[len(data) // 2 + 1 :])
        transport.everywhere = OK
        async with process(tmp_path, transport) as delivery:
            await asyncio.sleep(1)
            assert delivery.stats()["recovered"] == 5
            assert delivery.stats()["dropped"] == {"spool_damaged": 1}
        assert transport.taken == {"a": ["0", "1", "3", "4"]}

    with caplog.at_level(logging.ERROR, logger="mlsdk"):
        virtual_time.run(main)
    assert len(list(tmp_path.rglob("damaged/*"))) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "files of the spool are damaged in 1 places; they are kept in 'damaged'"
    ]


@both_modes
def test_a_disk_that_cannot_be_used_costs_no_event(tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: str) -> None:
    async def main() -> None:
        transport = Script()
        folder = tmp_path / "spool"
        folder.write_text("a file where the folder should be")
        async with process(folder, transport, mode=mode) as delivery:
            for number in range(50):
                delivery.offer(start(f"s{number}"))
                delivery.offer(turn(f"s{number}", number))
                await asyncio.sleep(0.1)
            await settled(delivery)
            assert delivery.stats()["delivered"] == 100
            delivery.finish()
            await asyncio.sleep(0.1)
            assert delivery.is_drained()

    with caplog.at_level(logging.WARNING, logger="mlsdk"):
        virtual_time.run(main)
    assert [record.getMessage() for record in caplog.records] == [
        "the spool cannot be written (File exists); events are kept in memory alone"
    ]


def test_a_disk_that_hangs_holds_up_no_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, goes_on = threading.Event(), threading.Event()
    threads = set()
    real = os.write

    def write(handle: int, data: bytes) -> int:
        if len(data) > 100 and b"session_id" in data:
            threads.add(threading.current_thread().name)
            hangs.set()
            assert goes_on.wait(PATIENCE)
        return real(handle, data)

    with LocalMindlytics.in_thread(port=0) as service:
        monkeypatch.setattr(os, "write", write)
        with delivering_to(service.url, spool=Spooling(str(tmp_path), mode=WRITE_AHEAD)) as delivery:
            delivery.offer(turn("a", 0))
            assert hangs.wait(PATIENCE)
            for number in range(1, 500):
                delivery.offer(turn("a", number))
            assert service.received == 0
            goes_on.set()
            assert delivery.settled().result(PATIENCE) is True
            assert delivery.stats()["delivered"] == 500
    assert threads == {"test-delivery"}


def test_an_event_larger_than_the_spool_costs_nothing_that_is_in_it(tmp_path: Path) -> None:
    async def main() -> None:
        transport = Script()
        transport.everywhere = NOBODY
        async with process(tmp_path, transport, max_bytes=20_000, queue_events=10) as delivery:
            for number in range(60):
                delivery.offer(turn("a", number))
                await asyncio.sleep(0.2)
            delivery.offer(turn("b", "x" * 30_000))
            await asyncio.sleep(3)
            assert delivery.stats()["spooled"] == 50
            transport.everywhere = OK
            await settled(delivery)
            await asyncio.sleep(100)
            assert transport.taken["a"] == [str(number) for number in range(60)]

    virtual_time.run(main)


def test_events_that_can_neither_be_written_nor_sent_do_not_keep_the_sender_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come after others of their session that are on a disk which fails now."""
    real = os.write

    def full(handle: int, data: bytes) -> int:
        if b"session_id" in data:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, data)

    async def main() -> None:
        transport = Script()
        transport.everywhere = NOBODY
        async with process(tmp_path, transport, queue_events=5) as delivery:
            for number in range(20):
                delivery.offer(turn("a", number))
                await asyncio.sleep(0.3)
            assert delivery.stats()["spooled"] > 0
            monkeypatch.setattr(os, "write", full)
            delivery.offer(turn("a", 20))
            await asyncio.sleep(25)  # the loop minds if no time passes
            monkeypatch.undo()
            transport.everywhere = OK
            await settled(delivery)
            assert transport.taken["a"] == [str(number) for number in range(21)]

    virtual_time.run(main)


STEP = st.sampled_from(["offer", "offer", "offer", "offer", "down", "up", "refuse", "wait", "tick", "die"])


@both_modes
@given(steps=st.lists(st.tuples(STEP, st.sampled_from("abc")), min_size=1, max_size=60), queue=st.integers(1, 12))
def test_whatever_happens_each_session_arrives_whole_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, mode: str, steps: list[tuple[str, str]], queue: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    transport = Script()
    offered: dict[str, list[str]] = defaultdict(list)
    count = itertools.count()

    async def life(todo: list[tuple[str, str]]) -> None:
        async with process(folder, transport, mode=mode, queue_events=queue) as delivery:
            while todo:
                step, session_id = todo.pop(0)
                if step == "offer":
                    text = str(next(count))
                    offered[session_id].append(text)
                    delivery.offer(turn(session_id, text))
                elif step in ("down", "up", "refuse"):
                    transport.everywhere = {"down": NOBODY, "up": OK, "refuse": status(403)}[step]
                elif step == "die":
                    await asyncio.sleep(2.5)  # what is younger may be lost in the mode `spill`
                    assert delivery.left_over() == 0
                    return
                else:
                    await asyncio.sleep(5 if step == "wait" else 0.02)
                assert adds_up(delivery.stats())
                assert delivery.stats()["dropped"] == {}
            transport.everywhere = OK
            await asyncio.sleep(100)
            await settled(delivery)
            delivery.finish()
            await asyncio.sleep(1)
            assert delivery.is_drained()

    async def main() -> None:
        todo = list(steps)
        while todo:
            await life(todo)
        await life(todo)

    virtual_time.run(main)
    # A process that dies while a request is on its way sends those events again: at least once, in order.
    for session_id, texts in offered.items():
        assert list(dict.fromkeys(transport.taken[session_id])) == texts
    assert files(folder) == []


def test_one_delivery_takes_the_spool_of_whoever_brings_one_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = "http://127.0.0.1:9/spool-of-the-first"
    delivery = delivery_for(config(base))
    assert delivery_for(config(base, spool=Spooling(str(tmp_path / "one")))) is delivery
    with caplog.at_level(logging.WARNING, logger="mlsdk"):
        delivery_for(config(base, spool=Spooling(str(tmp_path / "one"))))
        assert caplog.records == []
        delivery_for(config(base, spool=Spooling(str(tmp_path / "two"))))
    assert "one spool" in caplog.records[0].getMessage()
