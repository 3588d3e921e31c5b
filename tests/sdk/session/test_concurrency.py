"""Sessions of one client, and one session, from many places at a time."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.sdk import MemoryDoor, client_of, names, session_at, stream_problems, sync_client_of

from mlsdk import Client, Session
from mlsdk.local import Fault, LocalMindlytics

TURNS = 5


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


async def converse(client: Client, name: str) -> None:
    """A session in which every text names the session."""
    async with client.create_session(session_id=name, device_id=f"device of {name}") as session:
        for number in range(TURNS):
            await session.track_conversation_turn(user=f"{name} {number}", assistant=name)
            await session.track_event(event=f"{name} {number}")
            await asyncio.sleep(0)


def check_whole(service: LocalMindlytics, name: str) -> None:
    events = service.events(name)
    assert stream_problems(events) == []
    turns = [event["properties"] for event in events if event.get("event") == "Conversation Turn"]
    assert turns == [{"user": f"{name} {number}", "assistant": name} for number in range(TURNS)]
    custom = [event["event"] for event in events if event.get("event", "").startswith(name)]
    assert custom == [f"{name} {number}" for number in range(TURNS)]
    assert len(events) == 2 * TURNS + 4
    assert {event["device_id"] for event in events} == {f"device of {name}"}


def test_many_sessions_loops_and_threads_on_one_client(service: LocalMindlytics) -> None:
    """A hundred in one loop, four threads with a loop each, and code without one: nothing mixed, nothing lost."""
    client, sync_client = client_of(service), sync_client_of(service)

    async def in_one_loop() -> None:
        await asyncio.gather(*(converse(client, f"one loop {number}") for number in range(100)))

    async def in_a_thread(thread: int) -> None:
        await asyncio.gather(*(converse(client, f"thread {thread} {number}") for number in range(10)))

    def without_a_loop() -> None:
        for number in range(10):
            name = f"no loop {number}"
            with sync_client.create_session(session_id=name, device_id=f"device of {name}") as session:
                for turn in range(TURNS):
                    session.track_conversation_turn(user=f"{name} {turn}", assistant=name)
                    session.track_event(event=f"{name} {turn}")

    with ThreadPoolExecutor(6) as pool:
        work = [pool.submit(asyncio.run, in_a_thread(thread)) for thread in range(4)]
        work += [pool.submit(asyncio.run, in_one_loop()), pool.submit(without_a_loop)]
        for each in work:
            each.result()

    expected = [f"one loop {number}" for number in range(100)]
    expected += [f"thread {thread} {number}" for thread in range(4) for number in range(10)]
    expected += [f"no loop {number}" for number in range(10)]
    assert sorted(service.session_ids) == sorted(expected)
    for name in expected:
        check_whole(service, name)
    stats = client.stats()
    assert (stats["accepted"], stats["delivered"], stats["dropped"]) == (150 * 14, 150 * 14, {})


@pytest.mark.usefixtures("hasty")
def test_one_session_from_many_threads_starts_once_and_in_order() -> None:
    for _ in range(30):
        door = MemoryDoor()
        session = session_at(door, device_id="d")
        go = threading.Barrier(4)

        def record(number: int, session: Session = session, go: threading.Barrier = go) -> None:
            go.wait()
            for call in (
                session.track_event(event=f"{number}"),
                session.track_conversation_turn(user=f"{number}", assistant="a"),
                session.track_function_call(name="f"),
            ):
                with pytest.raises(StopIteration):
                    call.send(None)

        threads = [threading.Thread(target=record, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        asyncio.run(session.end_session())

        assert stream_problems(door.events) == []
        assert len(door.events) == 12 + 4


def test_one_session_in_one_loop_after_another(service: LocalMindlytics) -> None:
    session = client_of(service).create_session(device_id="d")
    steps: list[Callable[[], Awaitable[Any]]] = [
        session.start_session,
        lambda: session.track_conversation_turn(user="u", assistant="a"),
        session.flush,
        lambda: session.track_event(event="Seen"),
        session.end_session,
    ]

    async def take(step: Callable[[], Awaitable[Any]]) -> None:
        await step()

    for step in steps:
        asyncio.run(take(step))

    assert names(service.events()) == [
        *("start_session", "Conversation Started", "Conversation Turn", "Seen", "Conversation Ended", "end_session"),
    ]


def test_no_loop_at_all(service: LocalMindlytics) -> None:
    """A coroutine that is driven by something other than asyncio."""

    def drive(work: Awaitable[Any]) -> None:
        for _ in work.__await__():
            pytest.fail("it waits for a loop")

    session = client_of(service).create_session(device_id="d")
    drive(session.__aenter__())
    drive(session.track_event(event="Seen"))
    drive(session.flush())
    assert len(service.events()) == 2
    drive(session.__aexit__(None, None, None))

    assert names(service.events()) == ["start_session", "Seen", "end_session"]


def test_a_session_does_not_wait_for_another_one(service: LocalMindlytics) -> None:
    """Its own events are settled while another session's are refused again and again."""
    again = Fault.answer(503, headers={"Retry-After": "0"})
    service.on_request(
        lambda request: again if any(event["session_id"] == "slow" for event in request.events) else None
    )
    client = client_of(service)

    async def main() -> None:
        slow = client.create_session(session_id="slow", device_id="d")
        await slow.track_event(event="Seen")
        service.wait_for(lambda service: service.requests)
        async with client.create_session(session_id="quick", device_id="d"):
            pass
        assert names(service.events()) == ["start_session", "end_session"]
        service.on_request(None)
        await slow.flush()

    asyncio.run(main())
