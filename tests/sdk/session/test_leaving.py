"""Leaving a session: everything is ended, what is waited for, and that the application's own exception gets out."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from typing import Any

import pytest
from support.sdk import PATIENCE, Told, client_of, names, sync_client_of

from mlsdk import MLEvent, Session
from mlsdk.local import Fault, LocalMindlytics

WHOLE = ["start_session", "Conversation Started", "Conversation Turn", "Conversation Ended", "end_session"]


class AppError(Exception):
    """The application's own."""


async def say(session: Session) -> None:
    await session.track_conversation_turn(user="Hello", assistant="Hi")


async def fail_within(session: Session) -> None:
    async with session:
        await say(session)
        raise AppError


def ended(service: LocalMindlytics) -> bool:
    return names(service.events())[-1:] == ["end_session"]


# -- what gets out ----------------------------------------------------------------------------------------------------


def test_the_applications_exception_gets_out_and_everything_is_ended(service: LocalMindlytics) -> None:
    async def main() -> None:
        with pytest.raises(AppError):
            await fail_within(client_of(service).create_session(device_id="d"))
        assert names(service.events()) == WHOLE

    asyncio.run(main())


def test_the_applications_exception_gets_out_when_the_service_is_down(service: LocalMindlytics) -> None:
    service.close_port()
    client = client_of(service, flush_timeout=0.1)

    async def main() -> None:
        with pytest.raises(AppError) as problem:
            await fail_within(client.create_session(device_id="d"))
        assert problem.value.__context__ is None
        service.reopen()
        await client.flush(PATIENCE)

    asyncio.run(main())

    assert names(service.events()) == WHOLE


def test_a_session_that_was_ended_within_its_context_is_left_quietly(service: LocalMindlytics) -> None:
    async def main() -> None:
        async with client_of(service).create_session(device_id="d") as session:
            await say(session)
            await session.end_session()

    asyncio.run(main())

    assert names(service.events()) == WHOLE


# -- what is waited for -----------------------------------------------------------------------------------------------


@pytest.mark.timed
@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whoever_wants_to_be_gone_is_not_held_up(service: LocalMindlytics, kind: type[BaseException]) -> None:
    """The ends are recorded all the same."""
    service.plan(Fault.hang())
    session = sync_client_of(service).create_session(device_id="d")

    def chat() -> None:
        with session:
            session.track_conversation_turn(user="Hello", assistant="Hi")
            raise kind

    began = time.monotonic()
    with pytest.raises(kind):
        chat()
    assert time.monotonic() - began < 5
    assert service.received == 0
    service.wait_for(lambda service: service.hanging)
    service.release()
    service.wait_for(ended)
    assert names(service.events()) == WHOLE


def test_a_cancelled_task_leaves_at_once(service: LocalMindlytics) -> None:
    service.plan(Fault.hang())

    async def main() -> None:
        entered = asyncio.Event()

        async def chat() -> None:
            async with client_of(service).create_session(device_id="d") as session:
                await say(session)
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(chat())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, PATIENCE)
        await service.wait_for_async(lambda service: service.hanging)
        service.release()
        await service.wait_for_async(ended)

    asyncio.run(main())


def test_leaving_is_itself_cancelled_without_harm(service: LocalMindlytics) -> None:
    service.plan(Fault.hang())

    async def main() -> None:
        session = client_of(service).create_session(device_id="d")
        await say(session)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(session.end_session(), 0.1)
        service.release()
        await session.flush()

    asyncio.run(main())

    assert names(service.events()) == WHOLE


def test_recording_never_waits(service: LocalMindlytics) -> None:
    """A coroutine that does not suspend: it is over after one step, whatever the service does."""
    service.plan(Fault.hang())
    session = client_of(service).create_session(device_id="d")
    for call in (
        session.start_session(),
        session.user_identify(id="jj"),
        session.user_alias(id="kk", previous_id="jj"),
        session.start_conversation(),
        session.track_event(event="Seen"),
        session.track_conversation_turn(user="u", assistant="a"),
        session.track_conversation_usage(cost={"cost": 1}),
        session.track_function_call(name="f"),
        session.end_conversation(),
    ):
        with pytest.raises(StopIteration):
            call.send(None)
    service.wait_for(lambda service: service.hanging)
    service.release()
    asyncio.run(session.end_session())

    assert service.received == 10


@pytest.mark.timed
@pytest.mark.parametrize("leave", ["end_session", "flush", "context"])
def test_waiting_ends_after_the_timeout_and_what_is_left_arrives_later(service: LocalMindlytics, leave: str) -> None:
    service.plan(Fault.hang())
    client = client_of(service, flush_timeout=0.2)

    async def main() -> None:
        session = client.create_session(device_id="d")
        began = time.monotonic()
        if leave == "context":
            async with session:
                await say(session)
        else:
            await say(session)
            await getattr(session, leave)()
        assert 0.2 <= time.monotonic() - began < 5
        assert service.received == 0
        service.release()
        await session.flush(PATIENCE)
        assert service.received >= 3
        await client.close(PATIENCE)

    asyncio.run(main())

    assert names(service.events()) == WHOLE


def test_flush_returns_when_what_was_recorded_before_is_settled(service: LocalMindlytics) -> None:
    async def main() -> None:
        async with client_of(service).create_session(device_id="d") as session:
            for number in range(3):
                await session.track_event(event=f"{number}")
                await session.flush()
                assert names(service.events())[1:] == [f"{earlier}" for earlier in range(number + 1)]

    asyncio.run(main())


def test_flush_of_a_session_that_has_no_events_returns_at_once(service: LocalMindlytics) -> None:
    asyncio.run(client_of(service).create_session(device_id="d").flush())

    assert service.requests == []


# -- a refused key ----------------------------------------------------------------------------------------------------


@pytest.mark.timed
def test_a_refused_key_is_reported_once_and_nobody_waits_for_a_cure(service: LocalMindlytics) -> None:
    told = Told()

    async def main() -> None:
        client = client_of(service, api_key="bad_key", exit_timeout=0)
        session = client.create_session(device_id="d", on_error=told)
        began = time.monotonic()
        async with session:
            for _ in range(3):
                await say(session)
                await session.flush()
        await session.flush()
        assert time.monotonic() - began < 5
        assert [(error.status, error.message) for error in session.get_errors()] == [
            (403, "Unauthorized: No organization found for given apikey")
        ]

    asyncio.run(main())

    assert [(error.status, error.message) for error in told.errors] == [
        (403, "Unauthorized: No organization found for given apikey")
    ]
    assert service.events() == []


def test_sessions_after_a_refusal_are_told_of_it_too(service: LocalMindlytics) -> None:
    async def main() -> None:
        client = client_of(service, api_key="bad_key", exit_timeout=0)
        for _ in range(3):
            told = Told()
            async with client.create_session(device_id="d", on_error=told):
                pass
            assert [error.status for error in told.errors] == [403]

    asyncio.run(main())


# -- live events ------------------------------------------------------------------------------------------------------


def heard() -> tuple[list[str], Any]:
    events: list[str] = []

    def on_event(event: MLEvent) -> None:
        events.append(event.event)

    return events, on_event


def test_leaving_waits_for_the_sessions_own_end(service: LocalMindlytics) -> None:
    events, on_event = heard()

    async def main() -> None:
        async with client_of(service).create_session(device_id="d", on_event=on_event) as session:
            await say(session)
        assert events[-1] == "Session Ended"

    asyncio.run(main())


def test_an_end_that_is_delivered_after_everybody_left_harms_nobody(
    service: LocalMindlytics, caplog: pytest.LogCaptureFixture
) -> None:
    """The session waits in vain for the news that its end was delivered; the sender brings them when nobody waits."""
    service.plan(Fault.hang())
    client = client_of(service, flush_timeout=0.1)
    _, on_event = heard()

    async def main() -> None:
        async with client.create_session(device_id="d", on_event=on_event) as session:
            await say(session)
        service.release()
        await client.flush(PATIENCE)
        async with client.create_session(device_id="d") as session:
            await say(session)
            await session.flush(PATIENCE)

    asyncio.run(main())
    client_done: Future[bool] = client._door.settled()

    assert client_done.result(PATIENCE)
    assert names(service.events()) == WHOLE * 2
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.timed
def test_no_live_events_are_waited_for_when_the_end_was_not_delivered(service: LocalMindlytics) -> None:
    service.on_request(
        lambda request: Fault.answer(400) if any(e["type"] == "end_session" for e in request.events) else None
    )
    _, on_event = heard()

    async def main() -> None:
        began = time.monotonic()
        async with client_of(service).create_session(device_id="d", on_event=on_event):
            pass
        assert time.monotonic() - began < 5

    asyncio.run(main())


def test_a_websocket_that_cannot_connect_holds_nobody_up(service: LocalMindlytics) -> None:
    errors, (_, on_event) = Told(), heard()
    client = client_of(service, wss_endpoint="ws://127.0.0.1:9", session_ended_timeout=100 * PATIENCE)

    async def main() -> None:
        async with client.create_session(device_id="d", on_event=on_event, on_error=errors) as session:
            await say(session)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert names(service.events()) == WHOLE
    assert len(errors.errors) == 1


def test_a_leaving_that_is_cancelled_closes_its_websocket(service: LocalMindlytics) -> None:
    _, on_event = heard()

    async def main() -> None:
        session = client_of(service).create_session(device_id="d", on_event=on_event)
        await say(session)
        await session.flush(PATIENCE)
        assert service.readers == 1
        service.on_request(lambda _: Fault.hang())
        leaving = asyncio.create_task(session.end_session())
        await asyncio.to_thread(service.wait_for, lambda service: len(service.requests) > 2)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        service.on_request(None)
        service.release()
        await asyncio.to_thread(service.wait_for, lambda service: service.readers == 0)

    asyncio.run(main())


def test_on_error_alone_opens_no_websocket(service: LocalMindlytics) -> None:
    async def main() -> None:
        async with client_of(service).create_session(device_id="d", on_error=Told()) as session:
            await say(session)
            assert service.readers == 0

    asyncio.run(main())

    assert {request.path for request in service.requests} == {"/bc/v1/events/queue"}


def test_a_cancelled_context_closes_its_websocket(service: LocalMindlytics) -> None:
    _, on_event = heard()
    session = sync_client_of(service).create_session(device_id="d", on_event=on_event)

    def chat() -> None:
        with session:
            service.wait_for(lambda service: service.readers == 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chat()
    service.wait_for(lambda service: service.readers == 0)
    service.wait_for(ended)
