"""What an application is told of trouble: `on_error`, `has_errors`, `get_errors`."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest
from support.sdk import PATIENCE, Told, client_of, names, sync_client_of

from mlsdk import APIResponse, DeliveryError, MindlyticsError, Session
from mlsdk.local import Fault, LocalMindlytics, RequestInfo

TEXT = "Invalid wire type: undefined"


@pytest.fixture
def picky(service: LocalMindlytics) -> Iterator[LocalMindlytics]:
    """A service that refuses each event called `Bad ...`, and the batches that hold one."""

    def judge(request: RequestInfo) -> Fault | None:
        is_bad = any(event.get("event", "").startswith("Bad") for event in request.events)
        return Fault.answer(400, body=TEXT) if is_bad else None

    service.on_request(judge)
    yield service
    service.on_request(None)


async def good_and_bad(session: Session, bad: int) -> None:
    for number in range(bad):
        await session.track_event(event=f"Good {number}")
        await session.track_event(event=f"Bad {number}")


def test_each_refused_event_is_reported(picky: LocalMindlytics) -> None:
    told = Told()

    async def main() -> None:
        async with client_of(picky).create_session(device_id="d", on_error=told) as session:
            assert not session.has_errors()
            await good_and_bad(session, 3)
        # leaving has waited for the callback too
        assert [type(error) for error in told.errors] == [DeliveryError] * 3
        assert {(error.status, error.message, error.retryable) for error in told.errors} == {(400, TEXT, False)}
        assert isinstance(told.errors[0], MindlyticsError)
        assert session.has_errors()
        assert session.errors == 3
        assert session.get_errors() == [APIResponse(errored=True, status=400, message=TEXT)] * 3

    asyncio.run(main())

    assert names(picky.events()) == ["start_session", "Good 0", "Good 1", "Good 2", "end_session"]


def test_the_last_100_errors_are_kept_and_all_are_counted(picky: LocalMindlytics) -> None:
    async def main() -> None:
        async with client_of(picky).create_session(device_id="d") as session:
            await good_and_bad(session, 120)
        assert session.errors == 120
        assert len(session.get_errors()) == 100

    asyncio.run(main())


def test_errors_reach_the_session_whose_event_it_was(picky: LocalMindlytics) -> None:
    mine, theirs = Told(), Told()

    async def main() -> None:
        client = client_of(picky)
        async with (
            client.create_session(device_id="d", on_error=mine) as one,
            client.create_session(device_id="d", on_error=theirs) as other,
        ):
            await good_and_bad(one, 2)
            await other.track_event(event="Good")

    asyncio.run(main())

    assert (len(mine.errors), len(theirs.errors)) == (2, 0)


def test_an_outage_is_one_entry_and_its_retries_are_none(service: LocalMindlytics) -> None:
    told = Told()
    service.on_request(lambda _: None if told.errors else Fault.answer(503))

    async def main() -> None:
        async with client_of(service).create_session(device_id="d", on_error=told):
            pass

    asyncio.run(main())

    assert [(error.status, error.retryable) for error in told.errors] == [(503, True)]
    assert names(service.events()) == ["start_session", "end_session"]


def test_a_slip_is_no_entry(service: LocalMindlytics) -> None:
    service.fail_next(503)
    told = Told()

    async def main() -> None:
        async with client_of(service).create_session(device_id="d", on_error=told):
            pass

    asyncio.run(main())

    assert told.errors == []
    assert names(service.events()) == ["start_session", "end_session"]


def test_without_an_answer_the_status_is_minus_one(service: LocalMindlytics) -> None:
    told = Told()
    service.on_request(lambda _: None if told.errors else Fault.reset())

    async def main() -> None:
        async with client_of(service).create_session(device_id="d", on_error=told):
            pass

    asyncio.run(main())

    assert [error.status for error in told.errors] == [-1]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_callbacks_run_on_the_loop_that_made_the_session(picky: LocalMindlytics, kind: str) -> None:
    seen: list[object] = []

    def plain(error: MindlyticsError) -> None:
        seen.append(asyncio.get_running_loop())

    async def slow(error: MindlyticsError) -> None:
        await asyncio.sleep(0.01)
        seen.append(asyncio.get_running_loop())

    async def main() -> None:
        on_error = plain if kind == "plain" else slow
        async with client_of(picky).create_session(device_id="d", on_error=on_error) as session:
            await good_and_bad(session, 2)
        assert seen == [asyncio.get_running_loop()] * 2

    asyncio.run(main())


@pytest.mark.parametrize("api", ["sync", "async without a loop", "async after its loop"])
def test_without_that_loop_they_run_on_one_daemon_thread(picky: LocalMindlytics, api: str) -> None:
    seen: set[threading.Thread] = set()

    def on_error(error: MindlyticsError) -> None:
        seen.add(threading.current_thread())

    async def make() -> Session:
        return client_of(picky).create_session(device_id="d", on_error=on_error)

    async def use(session: Session) -> None:
        async with session:
            await good_and_bad(session, 2)

    if api == "sync":
        with sync_client_of(picky).create_session(device_id="d", on_error=on_error) as session:
            session.track_event(event="Bad")
    elif api == "async without a loop":
        asyncio.run(use(client_of(picky).create_session(device_id="d", on_error=on_error)))
    else:
        asyncio.run(use(asyncio.run(make())))

    (thread,) = seen
    assert thread.daemon
    assert thread not in (threading.main_thread(), threading.current_thread())
    assert thread.name == "mlsdk-callbacks"


def test_callbacks_of_the_synchronous_api_run_on_that_thread_inside_a_loop_too(picky: LocalMindlytics) -> None:
    """The loop that runs is the one that the synchronous API blocks."""
    seen: set[str] = set()

    async def main() -> None:
        session = sync_client_of(picky).create_session(
            device_id="d", on_error=lambda _: seen.add(threading.current_thread().name)
        )
        with session:
            session.track_event(event="Bad")
        assert seen == {"mlsdk-callbacks"}

    asyncio.run(main())


@pytest.mark.parametrize("kind", [ValueError, SystemExit, asyncio.CancelledError])
def test_a_callback_that_raises_harms_nobody(
    picky: LocalMindlytics, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[object] = []

    async def on_error(error: MindlyticsError) -> None:
        calls.append(error)
        raise kind("broken callback")

    async def main() -> None:
        async with client_of(picky).create_session(device_id="d", on_error=on_error) as session:
            await good_and_bad(session, 3)

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())

    assert len(calls) == 3
    assert names(picky.events()) == ["start_session", "Good 0", "Good 1", "Good 2", "end_session"]


def test_a_slow_callback_does_not_hold_up_delivery(picky: LocalMindlytics) -> None:
    go_on = threading.Event()

    def on_error(error: MindlyticsError) -> None:
        go_on.wait(PATIENCE)

    client = sync_client_of(picky)
    session = client.create_session(device_id="d", on_error=on_error)
    session.track_event(event="Bad")
    session.track_event(event="Good")
    session.flush(0.1)
    picky.wait_for(lambda service: "Good" in names(service.events()))
    client.flush()
    go_on.set()
    session.end_session()


def test_a_callback_may_use_the_session(picky: LocalMindlytics) -> None:
    """Only not wait for itself."""

    async def main() -> None:
        done = asyncio.Event()

        async def on_error(error: MindlyticsError) -> None:
            await session.track_event(event="Noted")
            await session.flush()
            done.set()

        session = client_of(picky, flush_timeout=2 * PATIENCE).create_session(device_id="d", on_error=on_error)
        await session.track_event(event="Bad")
        await picky.wait_for_async(lambda service: "Noted" in names(service.events()))
        in_time, _ = await asyncio.wait({asyncio.ensure_future(done.wait())}, timeout=PATIENCE / 2)
        await session.end_session()
        assert in_time

    asyncio.run(main())


def test_closing_the_client_waits_for_the_callbacks(picky: LocalMindlytics) -> None:
    seen: list[object] = []

    async def on_error(error: MindlyticsError) -> None:
        await asyncio.sleep(0.05)
        seen.append(error)

    async def main() -> None:
        async with client_of(picky) as client:
            session = client.create_session(device_id="d", on_error=on_error)
            await session.track_event(event="Bad")
        assert len(seen) == 1

    asyncio.run(main())
